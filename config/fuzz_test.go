package config_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/rolegate/rolegate/config"
)

// FuzzLoad: whatever the file holds, loading it ends, tells the same twice, and a proxy comes back exactly when nothing
// is wrong with it; and then it keeps what Load promises.
func FuzzLoad(f *testing.F) {
	f.Add(fixture(f, "tutorial/aws-sts-auth-config.yaml") + "---\n" + fixture(f, "tutorial/aws-mcp-remote-proxy.yaml"))
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(string(file.Data))
		}
	}
	file := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		writeFile(t, file, []byte(text))
		proxies, problems := config.LoadAll([]string{file}, config.LoadOptions{})
		again, problemsAgain := config.LoadAll([]string{file}, config.LoadOptions{})
		if diff := cmp.Diff(proxies, again, plain); diff != "" {
			t.Errorf("proxies differ:\n%s", diff)
		}
		if diff := cmp.Diff(problems, problemsAgain); diff != "" {
			t.Errorf("problems differ:\n%s", diff)
		}
		if (len(proxies) == 0) != (len(problems.Errors()) > 0) {
			t.Fatalf("%d proxies, problems:\n%s", len(proxies), problems)
		}
		for _, p := range problems {
			if strings.ContainsFunc(p.Field+p.What+p.Mend, func(r rune) bool { return r < ' ' }) {
				t.Errorf("control characters in %q", p)
			}
		}
		for _, p := range proxies {
			promised(t, p)
		}
	})
}

// FuzzPolicyDocument: whatever a ConfigMap holds for policies, loading ends, tells the same twice, and a proxy that comes
// of it has policies.
func FuzzPolicyDocument(f *testing.F) {
	cases, err := filepath.Glob("testdata/authz*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatal("no cases", err)
	}
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(string(file.Data))
		}
	}
	f.Add("type: cedarv1\ncedar: {policies: [permit(principal, action, resource);]}\n")
	dir, refs := layOut(f, map[string]string{"a.yaml": guarded + "  authzConfig: {type: configMap, configMap: {name: authz}}\n"})
	f.Fuzz(func(t *testing.T, text string) {
		writeFile(t, filepath.Join(refs, "configmaps", "authz", "authz.json"), []byte(text))
		p, problems := config.Load([]string{dir}, config.LoadOptions{Refs: refs})
		again, problemsAgain := config.Load([]string{dir}, config.LoadOptions{Refs: refs})
		if diff := cmp.Diff(p, again, plain); diff != "" {
			t.Errorf("proxies differ:\n%s", diff)
		}
		if diff := cmp.Diff(problems, problemsAgain); diff != "" {
			t.Errorf("problems differ:\n%s", diff)
		}
		if (p == nil) != (len(problems.Errors()) > 0) {
			t.Fatalf("proxy %v, problems:\n%s", p, problems)
		}
		for _, e := range problems {
			if strings.ContainsFunc(e.What+e.Mend, func(r rune) bool { return r < ' ' }) || e.Line == 0 {
				t.Errorf("%q", e)
			}
		}
		if p != nil && p.Authz == nil {
			t.Error("nothing decides")
		}
		if p != nil {
			promised(t, p)
		}
	})
}

func promised(t *testing.T, p *config.Proxy) {
	t.Helper()
	switch {
	case p.Name == "", p.Namespace == "", p.RemoteURL == "", p.Port < 1, p.Port > 65535, !strings.HasPrefix(p.Endpoint, "/"):
		t.Errorf("incomplete: %+v", p)
	case p.OIDC != nil && (p.OIDC.Issuer == "" || p.OIDC.Audience == ""):
		t.Errorf("open provider: %+v", p.OIDC)
	case p.OIDC == nil && p.AWSSTS != nil:
		t.Errorf("credentials for nobody's token: %+v", p)
	case p.AWSSTS != nil && (p.AWSSTS.Region == "" || p.AWSSTS.Service == "" || p.AWSSTS.SessionDuration == nil):
		t.Errorf("incomplete: %+v", p.AWSSTS)
	case p.Authz != nil && (len(p.Authz.Policies) == 0 || p.Authz.GroupEntityType == ""):
		t.Errorf("incomplete: %+v", p.Authz)
	case p.OIDC == nil && len(p.RequiredScopes) > 0:
		t.Errorf("scopes of nobody's token: %+v", p)
	case p.Limits.BodyTimeout.Std() <= 0, p.Limits.MaxBodyBytes <= 0, p.Limits.MaxConnections <= 0:
		t.Errorf("no limit: %+v", p.Limits)
	case p.Audit.MaxDataSize < 1, p.Audit.QueueSize < 16, p.Audit.OnFull == "":
		t.Errorf("incomplete: %+v", p.Audit)
	case slices.ContainsFunc(p.TrustedProxies, func(n netip.Prefix) bool { return !n.IsValid() || n.Bits() == 0 }):
		t.Errorf("anybody is believed: %v", p.TrustedProxies)
	}
}

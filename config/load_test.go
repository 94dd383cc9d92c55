package config_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/rolegate/rolegate/config"
)

var update = flag.Bool("update", false, "write the expected problems and the reference page anew")

// TestCases loads each testdata/*.txtar. Its files are laid out in a folder; "problems" holds what Load of the folder
// says. A line "proxy: NAME" in the comment names the proxy, "all" in its place loads all of them; "refs: none" loads
// without the folder of references.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			problems := load(t, archive)
			for i, f := range archive.Files {
				if f.Name != "problems" {
					continue
				}
				if *update {
					archive.Files[i].Data = []byte(problems)
					writeFile(t, name, txtar.Format(archive))
					return
				}
				if diff := cmp.Diff(string(f.Data), problems); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				return
			}
			t.Error("the case has no problems file")
		})
	}
}

func load(t *testing.T, archive *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	o := config.LoadOptions{Refs: "refs"}
	for _, f := range archive.Files {
		if f.Name != "problems" {
			writeFile(t, filepath.Join(dir, f.Name), f.Data)
		}
	}
	writeFile(t, filepath.Join(dir, "refs", "readme"), nil)
	for line := range strings.Lines(string(archive.Comment)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "proxy: "); ok {
			o.Proxy = name
		}
		if line == "refs: none" {
			o.Refs = ""
		}
	}
	old, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	defer t.Chdir(old)
	if o.Proxy == "all" {
		proxies, problems := config.LoadAll([]string{"."}, o)
		if (len(proxies) == 0) != (len(problems.Errors()) > 0) {
			t.Errorf("%d proxies, yet %d mistakes", len(proxies), len(problems.Errors()))
		}
		return problems.String()
	}
	proxy, problems := config.Load([]string{"."}, o)
	if (proxy == nil) != (len(problems.Errors()) > 0) {
		t.Errorf("proxy %v, yet %d mistakes", proxy, len(problems.Errors()))
	}
	return problems.String()
}

// loadYAML loads one file with the given text.
func loadYAML(t testing.TB, text string) (*config.Proxy, config.Problems) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxy.yaml")
	writeFile(t, file, []byte(text))
	return config.Load([]string{file}, config.LoadOptions{})
}

func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fixture is a file of testdata.
func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// plain compares proxies by their settings.
var plain = cmp.Options{cmpopts.IgnoreUnexported(config.Proxy{}, config.Authz{}), cmp.AllowUnexported(config.Secret{}), cmpopts.EquateComparable(netip.Prefix{})}

// The tutorial's two manifests, as written there with the placeholders filled in, load unchanged and say nothing.
func TestTutorial(t *testing.T) {
	got, problems := config.Load([]string{"testdata/tutorial"}, config.LoadOptions{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := &config.Proxy{
		Name: "aws-mcp-proxy", Namespace: "toolhive-system",
		RemoteURL:   "https://aws-mcp.us-east-1.api.aws/mcp",
		ResourceURL: "https://mcp.example.com/mcp",
		Endpoint:    "/mcp",
		Port:        8080,
		OIDC: &config.OIDCProvider{
			Issuer: "https://dev-123456.okta.com/oauth2/default", Audience: "toolhive-aws-proxy", Scopes: []string{"openid"},
		},
		AWSSTS: &config.AWSSTS{
			Region: "us-east-1", Service: "aws-mcp",
			FallbackRoleArn: "arn:aws:iam::123456789012:role/DefaultMCPRole",
			RoleMappings: []config.RoleMapping{{
				Claim: "s3-readers", RoleArn: "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole", Priority: new(int32(10)),
			}},
			RoleClaim: "groups", SessionDuration: new(int32(3600)), SessionNameClaim: "sub",
		},
		AllowedOrigins: []string{"https://mcp.example.com"},
		Limits: config.Limits{
			MaxBodyBytes: 8 << 20, MaxHeaderBytes: 64 << 10, HeaderTimeout: "10s", BodyTimeout: "30s", IdleTimeout: "2m",
			WriteTimeout: "30s", ResponseTimeout: "5m", MaxConnections: 10000, MaxStreamsPerCaller: 100,
		},
		Audit: config.Audit{Enabled: true, MaxDataSize: 1024, OnFull: "block", QueueSize: 4096},
	}
	if diff := cmp.Diff(want, got, plain); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The tutorial with its placeholders left in doesn't load, and each of them is told.
func TestPlaceholdersAreMistakes(t *testing.T) {
	text := fixture(t, "tutorial/aws-sts-auth-config.yaml") + "---\n" + fixture(t, "tutorial/aws-mcp-remote-proxy.yaml")
	text = strings.NewReplacer("region: us-east-1", "region: <YOUR_AWS_REGION>", "123456789012", "<YOUR_AWS_ACCOUNT_ID>",
		"mcp.example.com", "<YOUR_DOMAIN>", "dev-123456.okta.com/oauth2/default", "<YOUR_OIDC_ISSUER>", "toolhive-aws-proxy", "<YOUR_OIDC_AUDIENCE>").Replace(text)
	_, problems := loadYAML(t, text)
	var fields []string
	for _, p := range problems.Errors() {
		if strings.Contains(p.What, "still has the placeholder <YOUR_") {
			fields = append(fields, p.Field)
		}
	}
	want := []string{
		"awsSts.region", "awsSts.fallbackRoleArn", "awsSts.roleMappings[0].roleArn", "oidcConfig.resourceUrl",
		"oidcConfig.inline.issuer", "oidcConfig.inline.audience",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, problems)
	}
}

// A proxy that asks nobody for a token is refused unless its document says so in so many words.
func TestNoAuthenticationIsRefused(t *testing.T) {
	const head = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPRemoteProxy\nmetadata: {name: open}\nspec:\n  remoteUrl: https://mcp.example.com/mcp\n"
	for _, tt := range []struct {
		name, spec string
		ok         bool
	}{
		{"nothing said", "", false},
		{"empty oidcConfig", "  oidcConfig: {}\n", false},
		{"oidcConfig without a value", "  oidcConfig:\n", false},
		{"type alone", "  oidcConfig: {type: inline}\n", false},
		{"no audience", "  oidcConfig: {type: inline, inline: {issuer: https://idp.example.com}}\n", false},
		{"empty audience", "  oidcConfig: {type: inline, inline: {issuer: https://idp.example.com, audience: \"\"}}\n", false},
		{"no issuer", "  oidcConfig: {type: inline, inline: {audience: a}}\n", false},
		{"reference to nothing", "  oidcConfigRef: {name: gone, audience: a}\n", false},
		{"unauthenticated without acknowledge", "  unauthenticated: {}\n", false},
		{"not acknowledged", "  unauthenticated: {acknowledge: false}\n", false},
		{"acknowledged as a string", "  unauthenticated: {acknowledge: \"true\"}\n", false},
		{"acknowledged as yes", "  unauthenticated: {acknowledge: yes}\n", false},
		{"misspelled", "  unauthenticatd: {acknowledge: true}\n", false},
		{"acknowledged, and yet a provider", "  unauthenticated: {acknowledge: true}\n  oidcConfig: {type: inline, inline: {issuer: https://idp.example.com, audience: a}}\n", false},
		{"acknowledged", "  unauthenticated: {acknowledge: true}\n", true},
		{"a provider", "  oidcConfig: {type: inline, inline: {issuer: https://idp.example.com, audience: a}}\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy, problems := loadYAML(t, head+tt.spec)
			if (proxy != nil) != tt.ok {
				t.Errorf("loaded: %v\n%s", proxy != nil, problems)
			}
			if proxy != nil && (proxy.OIDC == nil) != (tt.name == "acknowledged") {
				t.Errorf("OIDC is %v", proxy.OIDC)
			}
		})
	}
}

// No slip in a key of the tutorial, and no key that is removed by accident where it is needed, goes unnoticed.
func TestMisspelledKeysAreMistakes(t *testing.T) {
	text := fixture(t, "tutorial/aws-sts-auth-config.yaml") + "---\n" + fixture(t, "tutorial/aws-mcp-remote-proxy.yaml")
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		key, _, isKey := strings.Cut(strings.TrimLeft(line, " -"), ":")
		if !isKey || strings.HasPrefix(key, "#") || slices.Contains([]string{"cpu", "memory", "limits", "requests"}, key) {
			continue // what is within resources is the cluster's
		}
		for _, wrong := range []string{strings.ToUpper(key), key + "x", key[1:], strings.ToUpper(key[:1]) + key[1:]} {
			slipped := slices.Clone(lines)
			slipped[i] = strings.Replace(line, key+":", wrong+":", 1)
			if proxy, problems := loadYAML(t, strings.Join(slipped, "")); proxy != nil {
				t.Errorf("%s for %s loads\n%s", wrong, key, problems)
			}
		}
	}
	for _, gone := range []string{
		"region: us-east-1", "type: awsSts", "type: inline", "issuer: https://dev-123456.okta.com/oauth2/default", "audience: toolhive-aws-proxy",
		"remoteURL: https://aws-mcp.us-east-1.api.aws/mcp", "claim: s3-readers",
	} {
		if !strings.Contains(text, gone) {
			t.Fatalf("the tutorial has no %q", gone)
		}
		if proxy, problems := loadYAML(t, strings.Replace(text, gone, "", 1)); proxy != nil {
			t.Errorf("without %q it loads\n%s", gone, problems)
		}
	}
}

// A mistake that the rooms behind find is placed where the document has the setting.
func TestAt(t *testing.T) {
	p, problems := config.Load([]string{"testdata/tutorial"}, config.LoadOptions{})
	if p == nil {
		t.Fatal(problems)
	}
	for _, tt := range []struct{ field, want string }{
		{"awsSts.roleMappings[0].claim", "testdata/tutorial/aws-sts-auth-config.yaml:17: awsSts.roleMappings[0].claim: wrong; right"},
		{"awsSts.roleMappings[0].matcher", "testdata/tutorial/aws-sts-auth-config.yaml:17: awsSts.roleMappings[0].matcher: wrong; right"},
		{"oidcConfig.inline.issuer", "testdata/tutorial/aws-mcp-remote-proxy.yaml:17: oidcConfig.inline.issuer: wrong; right"},
		{"limits.bodyTimeout", "testdata/tutorial/aws-mcp-remote-proxy.yaml:6: limits.bodyTimeout: wrong; right"},
	} {
		if got := p.At(tt.field, "wrong", "right").String(); got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
	}
}

package config_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
)

// guarded is a proxy whose callers have tokens; what says more about it follows.
const guarded = `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: aws}
spec:
  remoteUrl: https://mcp.example.com/mcp
  oidcConfig:
    type: inline
    resourceUrl: https://mcp.example.com/mcp
    scopes: [openid, b]
    inline: {issuer: https://idp.example.com, audience: a}
`

// layOut writes files into a folder of their own: documents, and what they refer to below refs.
func layOut(t testing.TB, files map[string]string) (documents, refs string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	writeFile(t, filepath.Join(dir, "refs", "readme"), nil)
	return dir, filepath.Join(dir, "refs")
}

// Wherever policies are written, the same comes of it.
func TestAuthz(t *testing.T) {
	const inline = "  authzConfig: {type: inline, inline: {policies: [one, two], entitiesJson: '[1]'}"
	full := &config.Authz{
		Policies: []string{"one", "two"}, EntitiesJSON: "[1]", GroupClaim: "g", RoleClaim: "r", GroupEntityType: "Team",
		MultiValuedClaims: []string{"m", "n"}, Schema: "strict",
	}
	plainly := &config.Authz{Policies: []string{"one", "two"}, EntitiesJSON: "[1]", GroupEntityType: "THVGroup"}
	const document = `{"version": "1.0", "type": "cedarv1", "cedar": {"policies": ["one", "two"], "entities_json": "[1]",
		"group_claim_name": "g", "role_claim_name": "r", "group_entity_type": "Team", "multi_valued_claims": ["m", "n"], "schema": "strict"}}`
	const object = "---\napiVersion: toolhive.stacklok.dev/v1alpha1\nkind: MCPAuthzConfig\nmetadata: {name: shared}\nspec:\n  type: cedarv1\n  config:\n    policies: [one, two]\n    entities_json: '[1]'\n"
	for _, tt := range []struct {
		name, spec, key, document string
		want                      *config.Authz
	}{
		{"nothing", "", "", "", nil},
		{"inline", inline + "}\n", "", "", plainly},
		{"inline with everything", inline + ", groupClaimName: g, roleClaimName: r, groupEntityType: Team, multiValuedClaims: [m, n], schema: strict}\n", "", "", full},
		{"ConfigMap in JSON", "  authzConfig: {type: configMap, configMap: {name: authz}}\n", "authz.json", document, full},
		{
			"ConfigMap in YAML", "  authzConfig: {type: configMap, configMap: {name: authz, key: a.yaml}}\n", "a.yaml",
			"type: cedarv1\ncedar:\n  policies:\n    - one\n    - two\n  entities_json: '[1]'\n", plainly,
		},
		{
			"ConfigMap in YAML with a number for its version", "  authzConfig: {type: configMap, configMap: {name: authz, key: a.yaml}}\n", "a.yaml",
			"version: 1.0\ntype: cedarv1\ncedar: {policies: [one, two], entities_json: '[1]'}\n", plainly,
		},
		{
			"ConfigMap in JSON with a number for its version", "  authzConfig: {type: configMap, configMap: {name: authz}}\n", "authz.json",
			`{"version": 1, "type": "cedarv1", "cedar": {"policies": ["one", "two"], "entities_json": "[1]"}}`, plainly,
		},
		{
			"authzConfig wins", "  authzConfig: {type: configMap, configMap: {name: authz}, groupClaimName: G, roleClaimName: R, groupEntityType: T, multiValuedClaims: [M]}\n",
			"authz.json", document,
			&config.Authz{
				Policies: []string{"one", "two"}, EntitiesJSON: "[1]", GroupClaim: "G", RoleClaim: "R", GroupEntityType: "T",
				MultiValuedClaims: []string{"M"}, Schema: "strict",
			},
		},
		{"MCPAuthzConfig", "  authzConfigRef: {name: shared}\n" + object, "", "", plainly},
		{
			"MCPAuthzConfig with everything",
			"  authzConfigRef: {name: shared}\n" + object + "    group_claim_name: g\n    role_claim_name: r\n    group_entity_type: Team\n    multi_valued_claims: [m, n]\n    schema: strict\n",
			"", "", full,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, refs := layOut(t, map[string]string{"a.yaml": guarded + tt.spec, "refs/configmaps/authz/" + tt.key: tt.document})
			p, problems := config.Load([]string{dir}, config.LoadOptions{Refs: refs})
			if p == nil {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(tt.want, p.Authz, plain); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A mistake that only compiling tells stands where the text is: the item of a list, or the line of a ConfigMap's
// document. It is told beside other mistakes, also for policies that the proxy to make doesn't use.
func TestCompileAuthz(t *testing.T) {
	const other = `---
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPAuthzConfig
metadata: {name: shared}
spec:
  type: cedarv1
  config:
    entities_json: bad
    policies:
      - good
      - bad
`
	for _, tt := range []struct {
		name, spec, document string
		want                 []string
	}{
		{"good", "  authzConfig:\n    type: inline\n    inline: {policies: [good]}\n", "", nil},
		{
			"inline", "  authzConfig:\n    type: inline\n    inline:\n      policies:\n        - good\n        - |\n          good\n          bad\n        - bad\n      entitiesJson: bad\n", "",
			[]string{
				"a.yaml:16: authzConfig.inline.policies[1]: aws: no policy; a policy",
				"a.yaml:19: authzConfig.inline.policies[2]: aws: no policy; a policy",
				"a.yaml:20: authzConfig.inline.entitiesJson: aws: no policy; a policy",
			},
		},
		{
			"beside another mistake", "  authzConfig: {type: inline, inline: {policies: [bad, 7]}}\n  proxyPort: -1\n", "",
			[]string{
				"a.yaml:11: authzConfig.inline.policies[1]: is the number 7; a string: put it in quotes",
				"a.yaml:11: authzConfig.inline.policies[0]: aws: no policy; a policy",
				"a.yaml:12: proxyPort: -1 is not a port; 1 to 65535",
			},
		},
		{
			"ConfigMap", "  authzConfig:\n    type: configMap\n    configMap: {name: authz}\n",
			"{\"type\": \"cedarv1\",\n \"cedar\": {\n  \"entities_json\": \"bad\",\n  \"policies\": [\n   \"good\",\n   \"bad\"]}}\n",
			[]string{
				"a.yaml:13: authzConfig.configMap: ConfigMap authz, key authz.json, line 6: cedar.policies[1]: aws: no policy; a policy",
				"a.yaml:13: authzConfig.configMap: ConfigMap authz, key authz.json, line 3: cedar.entities_json: aws: no policy; a policy",
			},
		},
		{
			"MCPAuthzConfig", "  authzConfigRef: {name: shared}\n" + other, "",
			[]string{
				"a.yaml:19: config.entities_json: aws: no policy; a policy", "a.yaml:19: config.entities_json: : no policy; a policy",
				"a.yaml:22: config.policies[1]: aws: no policy; a policy", "a.yaml:22: config.policies[1]: : no policy; a policy",
			},
		},
		{
			"unused MCPAuthzConfig", other, "",
			[]string{"a.yaml:18: config.entities_json: : no policy; a policy", "a.yaml:21: config.policies[1]: : no policy; a policy"},
		},
		{
			"unused proxy", "---\n" + strings.Replace(guarded, "aws", "unused", 1) + "  authzConfig: {type: inline, inline: {policies: [bad]}}\n", "",
			[]string{"a.yaml:22: authzConfig.inline.policies[0]: unused: no policy; a policy"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, refs := layOut(t, map[string]string{"a.yaml": guarded + tt.spec, "refs/configmaps/authz/authz.json": tt.document})
			t.Chdir(dir)
			p, problems := config.Load([]string{"a.yaml"}, config.LoadOptions{Refs: refs, Proxy: "aws", CompileAuthz: compileAuthz})
			if (p == nil) != (tt.want != nil) {
				t.Errorf("proxy %v", p)
			}
			var got []string
			for _, e := range problems.Errors() {
				got = append(got, e.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// compileAuthz finds fault with every text that says so.
func compileAuthz(a *config.Authz, proxy string) (problems config.Problems) {
	for i, text := range a.Policies {
		if strings.Contains(text, "bad") {
			problems = append(problems, a.Problem("policies["+string(rune('0'+i))+"]", proxy+": no policy", "a policy"))
		}
	}
	if a.EntitiesJSON == "bad" {
		problems = append(problems, a.Problem("entitiesJson", proxy+": no policy", "a policy"))
	}
	return problems
}

// Without files, problems name the kind and the field.
func TestAuthzProblem(t *testing.T) {
	inline := func(s *config.RemoteProxy) {
		s.AuthzConfig = &config.ProxyAuthz{Type: "inline", Inline: &config.AuthzInline{Policies: []string{"one"}}}
	}
	inMap := func(s *config.RemoteProxy) {
		s.AuthzConfig = &config.ProxyAuthz{Type: "configMap", ConfigMap: &config.AuthzConfigMap{Name: "authz"}}
	}
	shared := func(s *config.RemoteProxy) { s.AuthzConfigRef = &config.Ref{Name: "shared"} }
	from := sources("us-east-1", "arn:aws:iam::123456789012:role/R")
	from.ConfigMap = func(name, key string) ([]byte, error) {
		if name != "authz" || key != "authz.json" {
			return nil, errors.New("is not there")
		}
		return []byte("type: cedarv1\ncedar:\n  policies:\n  - one\n"), nil
	}
	given := &config.AuthzConfig{Type: "cedarv1", Config: &config.Cedar{Policies: []string{"one"}}}
	from.AuthzConfig = func(string) (*config.AuthzConfig, error) { return given, nil }
	for _, tt := range []struct {
		change      func(*config.RemoteProxy)
		place, want string
	}{
		{inline, "policies[0]", "MCPRemoteProxy: authzConfig.inline.policies[0]: wrong; right"},
		{inline, "entitiesJson", "MCPRemoteProxy: authzConfig.inline.entitiesJson: wrong; right"},
		{inline, "groupClaimName", "MCPRemoteProxy: authzConfig.groupClaimName: wrong; right"},
		{inMap, "policies[0]", "MCPRemoteProxy: authzConfig.configMap: ConfigMap authz, key authz.json, line 4: cedar.policies[0]: wrong; right"},
		{inMap, "entitiesJson", "MCPRemoteProxy: authzConfig.configMap: ConfigMap authz, key authz.json, line 2: cedar.entities_json: wrong; right"},
		{inMap, "schema", "MCPRemoteProxy: authzConfig.schema: wrong; right"},
		{shared, "policies[0]", "MCPAuthzConfig: config.policies[0]: wrong; right"},
		{shared, "entitiesJson", "MCPAuthzConfig: config.entities_json: wrong; right"},
	} {
		spec := proxySpec()
		tt.change(spec)
		p, problems := config.Resolve("aws", "mcp", spec, from)
		if p == nil {
			t.Fatal(problems)
		}
		if got := p.Authz.Problem(tt.place, "wrong", "right").String(); got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
		if spec.AuthzConfig != nil && spec.AuthzConfig.GroupEntityType != "" || given.Config.GroupEntityType != "" {
			t.Error("Resolve changed a document")
		}
	}
}

// Every token's scopes are advertised, each once, but not offline_access.
func TestRequiredScopes(t *testing.T) {
	p, problems := loadYAML(t, guarded+"  requiredScopes: [a, b, offline_access, c, a]\n")
	if p == nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff([]string{"a", "b", "offline_access", "c", "a"}, p.RequiredScopes); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"openid", "b", "a", "c"}, p.OIDC.Scopes); diff != "" {
		t.Errorf("advertised (-want +got):\n%s", diff)
	}
}

func TestTools(t *testing.T) {
	const object = "---\napiVersion: toolhive.stacklok.dev/v1alpha1\nkind: MCPToolConfig\nmetadata: {name: few}\nspec: "
	for _, tt := range []struct {
		spec string
		want *config.Tools
	}{
		{"", nil},
		{"  tools: []\n", nil},
		{"  tools: [a, b]\n", &config.Tools{Filter: []string{"a", "b"}}},
		{"  toolConfigRef: {name: few}\n" + object + "{}\n", nil},
		{"  toolConfigRef: {name: few}\n" + object + "{toolsFilter: [a]}\n", &config.Tools{Filter: []string{"a"}}},
		{"  tools: [b]\n  toolConfigRef: {name: few}\n" + object + "{toolsFilter: [a]}\n", &config.Tools{Filter: []string{"a"}}},
		{
			"  toolConfigRef: {name: few}\n" + object + "{toolsOverride: {a: {name: b, description: \" what\\nit does \"}, b: {name: a}, c: {description: d}, e: {name: e}}}\n",
			&config.Tools{Override: map[string]config.ToolOverride{
				"a": {Name: "b", Description: " what\nit does "}, "b": {Name: "a"}, "c": {Description: "d"}, "e": {Name: "e"},
			}},
		},
	} {
		p, problems := loadYAML(t, guarded+tt.spec)
		if p == nil {
			t.Errorf("%s: %s", tt.spec, problems)
			continue
		}
		if diff := cmp.Diff(tt.want, p.Tools); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.spec, diff)
		}
	}
}

// What a proxy refers to is validated with it also where no file is, and stays as it was.
func TestSharedPoliciesAndTools(t *testing.T) {
	authz := &config.AuthzConfig{Type: "cedarv1", Config: &config.Cedar{Policies: []string{"one"}, MultiValuedClaims: []string{"m"}}}
	tools := &config.ToolConfig{ToolsFilter: []string{"a"}, ToolsOverride: map[string]config.ToolOverride{"a": {Description: "d"}}}
	from := sources("us-east-1", "arn:aws:iam::123456789012:role/R")
	from.AuthzConfig = func(string) (*config.AuthzConfig, error) { return authz, nil }
	from.ToolConfig = func(string) (*config.ToolConfig, error) { return tools, nil }
	spec := proxySpec()
	spec.AuthzConfigRef, spec.ToolConfigRef = &config.Ref{Name: "shared"}, &config.Ref{Name: "few"}
	p, problems := config.Resolve("aws", "mcp", spec, from)
	if p == nil {
		t.Fatal(problems)
	}
	p.Authz.Policies[0], p.Authz.MultiValuedClaims[0] = "changed", "changed"
	p.Tools.Filter[0] = "changed"
	p.Tools.Override["b"] = config.ToolOverride{}
	if authz.Config.Policies[0] != "one" || authz.Config.MultiValuedClaims[0] != "m" || tools.ToolsFilter[0] != "a" || len(tools.ToolsOverride) != 1 {
		t.Errorf("the proxy shares its settings with %+v, %+v", authz.Config, tools)
	}
	authz.Config.Policies[0], tools.ToolsFilter[0] = "", ""
	p, problems = config.Resolve("aws", "mcp", spec, from)
	want := "MCPAuthzConfig: config.policies[0]: is empty; a Cedar policy\nMCPToolConfig: toolsFilter[0]: is empty; the name of a tool, as clients see it\n"
	if diff := cmp.Diff(want, problems.String()); p != nil || diff != "" {
		t.Errorf("proxy %v (-want +got):\n%s", p, diff)
	}
}

// Once a proxy is loaded, its policies still know where they stand.
func TestAuthzProblemAfterLoad(t *testing.T) {
	dir, _ := layOut(t, map[string]string{"a.yaml": guarded + "  authzConfig:\n    type: inline\n    inline:\n      policies:\n        - one\n        - two\n"})
	t.Chdir(dir)
	p, problems := config.Load([]string{"a.yaml"}, config.LoadOptions{})
	if p == nil {
		t.Fatal(problems)
	}
	if got, want := p.Authz.Problem("policies[1]", "wrong", "right").String(), "a.yaml:16: authzConfig.inline.policies[1]: wrong; right"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

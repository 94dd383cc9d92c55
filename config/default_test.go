package config_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
)

// Every default that a doc comment states is what Default fills in, and Default fills in no other.
func TestDefaultsAreAsDocumented(t *testing.T) {
	proxy := &config.RemoteProxy{
		CABundleRef: &config.CABundleRef{ConfigMapRef: &config.ConfigMapKeyRef{}},
		OIDC:        &config.OIDC{Inline: &config.OIDCInline{}},
		AuthzConfig: &config.ProxyAuthz{ConfigMap: &config.AuthzConfigMap{}},
	}
	shared := &config.RemoteProxy{OIDCRef: &config.OIDCRef{}}
	provider := &config.OIDCConfig{Inline: &config.OIDCInline{CABundleRef: proxy.CABundleRef}}
	auth := &config.ExternalAuth{AWSSTS: &config.AWSSTS{RoleMappings: []config.RoleMapping{{Matcher: "true"}}}}
	authz := &config.AuthzConfig{Config: &config.Cedar{}}
	for _, s := range []interface{ Default() }{proxy, shared, provider, auth, authz, &config.ToolConfig{}} {
		s.Default()
		before, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		s.Default()
		if after, _ := json.Marshal(s); string(after) != string(before) {
			t.Errorf("Default twice is not Default once:\n%s\n%s", before, after)
		}
	}
	auth.AWSSTS.RoleMappings[0].Matcher = "" // given above, not filled in

	types := schema(t)
	for _, v := range []any{
		*proxy, *proxy.OIDC, *shared.OIDCRef, *proxy.OIDC.Inline, proxy.Limits, *proxy.CABundleRef.ConfigMapRef,
		*auth.AWSSTS, auth.AWSSTS.RoleMappings[0], *proxy.AuthzConfig, *proxy.AuthzConfig.ConfigMap, *authz.Config,
	} {
		typ := reflect.TypeOf(v).Name()
		got := filled(t, v)
		for _, f := range types[typ].fields {
			want := f.fallback
			if m := aside.FindStringSubmatch(want); m != nil {
				want = m[1]
			}
			if !literal.MatchString(want) { // such as the origin of resourceUrl: other tests
				want = ""
			}
			if diff := cmp.Diff(want, got[f.name]); diff != "" {
				t.Errorf("%s.%s (-documented +filled in):\n%s", typ, f.name, diff)
			}
		}
	}
}

// filled are the fields that have a value of their own, as JSON: neither zero nor a part with fields.
func filled(t *testing.T, v any) map[string]string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, value := range all {
		if s := string(value); s != `""` && s != "null" && s != "false" && s[0] != '{' && name != "roleMappings" {
			out[name] = s
		}
	}
	return out
}

// What is said to be the default but follows from another setting.
func TestDefaultsThatFollow(t *testing.T) {
	p := &config.RemoteProxy{OldPort: 9090, OIDC: &config.OIDC{
		ResourceURL: "https://MCP.example.com:443/mcp", Inline: &config.OIDCInline{Scopes: []string{"a"}},
	}}
	p.Default()
	if p.ProxyPort != 9090 {
		t.Errorf("proxyPort is %d", p.ProxyPort)
	}
	if diff := cmp.Diff([]string{"a"}, p.OIDC.Scopes); diff != "" {
		t.Errorf("scopes: %s", diff)
	}
	if diff := cmp.Diff([]string{"https://mcp.example.com"}, p.AllowedOrigins); diff != "" {
		t.Errorf("allowedOrigins: %s", diff)
	}
	a := &config.ExternalAuth{AWSSTS: &config.AWSSTS{RoleMappings: []config.RoleMapping{{Claim: "a"}}}}
	a.Default()
	if got := a.AWSSTS.RoleMappings[0].OnError; got != "" {
		t.Errorf("onError of a claim is %q", got)
	}
}

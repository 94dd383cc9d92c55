package token_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

func TestMetadata(t *testing.T) {
	resource, servers := "https://gate.test/mcp", []string{issuer}
	for _, c := range []struct {
		name, method string
		scopes       []string
		status       int
		body         string
		header       map[string]string
	}{
		{
			"with scopes", "GET",
			[]string{"mcp:read", "offline_access", "mcp:write", "bad scope", `"`, "mcp:read"},
			200,
			`{"resource":"https://gate.test/mcp","authorization_servers":["` + issuer + `"],"bearer_methods_supported":["header"],"scopes_supported":["mcp:read","mcp:write"]}`,
			map[string]string{"Content-Type": "application/json", "Cache-Control": "public, max-age=300"},
		},
		{
			"without scopes", "GET",
			[]string{"offline_access"},
			200,
			`{"resource":"https://gate.test/mcp","authorization_servers":["` + issuer + `"],"bearer_methods_supported":["header"]}`, nil,
		},
		{"head", "HEAD", nil, 200, "", map[string]string{"Content-Type": "application/json"}},
		{"preflight", "OPTIONS", nil, 204, "", map[string]string{
			"Access-Control-Allow-Methods": "GET, HEAD, OPTIONS", "Access-Control-Allow-Headers": "*, Authorization", "Access-Control-Max-Age": "3600",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			metadata := token.Metadata(resource, servers, c.scopes)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := metadata(w, r); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			r := must(http.NewRequest(c.method, server.URL, nil))
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			rec := httptest.NewRecorder()
			if _, err := rec.Body.ReadFrom(resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || rec.Body.String() != c.body {
				t.Errorf("%d %s\nwant %d %s", resp.StatusCode, rec.Body, c.status, c.body)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("Access-Control-Allow-Origin %q", got)
			}
			for k, want := range c.header {
				if got := resp.Header.Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
		})
	}
}

func TestMetadataRefusals(t *testing.T) {
	for method, metadata := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST": token.Metadata("https://gate.test/mcp", nil, nil), "DELETE": token.Metadata("https://gate.test/mcp", nil, nil),
		"GET": token.Metadata("https://gate.test/\xff", nil, nil),
	} {
		e := fault.Of(metadata(httptest.NewRecorder(), httptest.NewRequest(method, "/", nil)))
		switch {
		case e == nil:
			t.Errorf("%s passes", method)
		case method == "GET" && e.Kind != fault.Internal, method != "GET" && (e.Kind != fault.BadMethod || e.Allow != "GET, HEAD, OPTIONS"):
			t.Errorf("%s: %+v", method, e)
		}
	}
}

func TestChallenge(t *testing.T) {
	const at = "https://gate.test/.well-known/oauth-protected-resource/mcp"
	_, missing := token.Bearer(http.Header{})
	_, malformed := token.Bearer(http.Header{"Authorization": {"Bearer !"}})
	for _, c := range []struct {
		name   string
		url    string
		scopes []string
		err    *fault.Error
		want   string
	}{
		{"no token", at, []string{"a", "b"}, fault.Of(missing), `Bearer resource_metadata="` + at + `", scope="a b"`},
		{"no scopes", at, nil, fault.Of(missing), `Bearer resource_metadata="` + at + `"`},
		{
			"bad token", at,
			[]string{"a", "offline_access"},
			fault.Of(malformed),
			`Bearer error="invalid_token", error_description="the token is malformed", resource_metadata="` + at + `", scope="a"`,
		},
		{
			"lack of scope", at,
			[]string{"a"},
			fault.New(fault.Denied, "more scopes are needed").Challenged("insufficient_scope", "b", "c"),
			`Bearer error="insufficient_scope", error_description="more scopes are needed", resource_metadata="` + at + `", scope="b c"`,
		},
		{
			"words that would break out", at + "\"\r\n",
			[]string{`a"`, "b\n", "c d", "", "e"},
			fault.New(fault.Denied, "say \"no\"\\\r\nX: y\x00é").Challenged(`x"y`),
			`Bearer error="x'y", error_description="say 'no'???X: y??", resource_metadata="` + at + `'??", scope="e"`,
		},
		{"nothing", "", nil, nil, "Bearer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := token.Challenge(c.url, c.scopes, c.err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

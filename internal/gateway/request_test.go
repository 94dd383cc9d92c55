package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	trouble "github.com/rolegate/rolegate/internal/fake/stage"
)

// saw is what the backend took the caller for.
func saw(t *testing.T, r result) (role, session string) {
	t.Helper()
	body := r.body
	for line := range strings.Lines(r.body) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			body = data
		}
	}
	var m struct {
		Result struct {
			StructuredContent struct{ Role, SessionName string }
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("answer %q: %v", r.body, err)
	}
	return m.Result.StructuredContent.Role, m.Result.StructuredContent.SessionName
}

func TestEachUserGetsTheirRole(t *testing.T) {
	s := stage(t)
	for user, role := range map[string]string{"ann": fake.S3Role, "bob": fake.AdminRole, "eve": fake.DefaultRole} {
		r := s.do(call{user: user, session: s.open(user), body: whoami})
		gotRole, gotSession := saw(t, r)
		if gotRole != role || gotSession != user {
			t.Errorf("%s: role %q, session %q", user, gotRole, gotSession)
		}
	}
}

func TestNoTokenIs401WithMetadata(t *testing.T) {
	s := stage(t)
	r := s.do(call{body: listTools})
	r.refused(t, http.StatusUnauthorized)
	challenge := r.header.Get("WWW-Authenticate")
	if !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, `resource_metadata="http://localhost:8080/.well-known/oauth-protected-resource/mcp"`) {
		t.Errorf("WWW-Authenticate: %s", challenge)
	}
	if strings.Contains(challenge, "error=") {
		t.Errorf("an error code although no token was sent: %s", challenge)
	}
	bad := s.do(call{token: s.world.ExpiredToken("ann"), body: listTools})
	bad.refused(t, http.StatusUnauthorized)
	if c := bad.header.Get("WWW-Authenticate"); !strings.Contains(c, `error="invalid_token"`) {
		t.Errorf("WWW-Authenticate of a bad token: %s", c)
	}
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		resp, err := http.Get(strings.TrimSuffix(s.url, "/mcp") + path)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Resource             string
			AuthorizationServers []string `json:"authorization_servers"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if m.Resource != "http://localhost:8080/mcp" || len(m.AuthorizationServers) != 1 || m.AuthorizationServers[0] != s.world.IDP.URL() {
			t.Errorf("%s: %+v", path, m)
		}
	}
}

func TestOtherPathsAre404(t *testing.T) {
	s := stage(t)
	for _, path := range []string{"/", "/mcp/", "/mcp2", "/metrics", "/healthz", "/.well-known/openid-configuration"} {
		resp, err := http.Get(strings.TrimSuffix(s.url, "/mcp") + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestOneUserIsOneSTSCall(t *testing.T) {
	t.Run("1000 calls", func(t *testing.T) {
		s := stage(t)
		session, token := s.open("ann"), s.world.Token("ann")
		for range 1000 {
			if r := s.do(call{token: token, session: session, body: rpc("ping", "{}")}); r.status != http.StatusOK {
				t.Fatalf("%d %s", r.status, r.body)
			}
		}
		if n := s.world.STS.Count(); n != 1 {
			t.Errorf("%d STS calls for one user", n)
		}
	})
	t.Run("100 at once, cold", func(t *testing.T) {
		s := stage(t, spec("limits: {maxStreamsPerCaller: 200}"))
		s.world.STS.Fail(trouble.Trouble{Delay: 200 * time.Millisecond, Times: 1})
		token := s.world.Token("ann")
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if r := s.do(call{token: token, body: initialize}); r.status != http.StatusOK {
					t.Errorf("%d %s", r.status, r.body)
				}
			})
		}
		all.Wait()
		if n := s.world.STS.Count(); n != 1 {
			t.Errorf("%d STS calls for 100 first calls", n)
		}
	})
}

func TestSTSOutageSparesWhoHasCredentials(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.STS.Fail(trouble.Trouble{Kind: trouble.Reset})
	if r := s.do(call{user: "ann", session: session, body: whoami}); r.status != http.StatusOK {
		t.Errorf("warm user: %d %s", r.status, r.body)
	}
	r := s.do(call{user: "bob", body: initialize})
	r.refused(t, http.StatusServiceUnavailable)
	if r.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestSTSFailureIsNeverALoginLoop(t *testing.T) {
	for _, tc := range []struct {
		code   string
		status int
	}{
		{"ExpiredTokenException", 401},
		{"IDPRejectedClaim", 401},
		{"AccessDenied", 403},
		{"InvalidIdentityToken", 502},
		{"IDPCommunicationError", 503},
		{"Throttling", 503},
		{"ValidationError", 500},
		{"RegionDisabledException", 500},
		{"SomethingNew", 500},
	} {
		t.Run(tc.code, func(t *testing.T) {
			s := stage(t)
			s.world.STS.Fail(trouble.Trouble{Code: tc.code})
			r := s.do(call{user: "ann", body: initialize})
			r.refused(t, tc.status)
			if has := r.header.Get("WWW-Authenticate") != ""; has != (tc.status == 401) {
				t.Errorf("WWW-Authenticate: %q", r.header.Get("WWW-Authenticate"))
			}
			if !strings.Contains(s.log.String(), `"hint"`) {
				t.Error("the log has no hint")
			}
		})
	}
}

func TestRotatedKeyPassesAtOnce(t *testing.T) {
	s := stage(t)
	s.open("ann")
	kid := s.world.IDP.Add("fresh", "RS256")
	if r := s.do(call{token: s.world.Token("ann", idp.WithKID(kid)), body: initialize}); r.status != http.StatusOK {
		t.Errorf("first token with the new key: %d %s", r.status, r.body)
	}
}

func TestProviderOutageIsNot401(t *testing.T) {
	s := stageWith(t, fake.Options{}, func(w *fake.World, d string) string {
		w.IDP.Fail(trouble.Trouble{Status: 503})
		return d
	})
	r := s.do(call{user: "ann", body: initialize})
	r.refused(t, http.StatusServiceUnavailable)
	if r.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	s.world.IDP.Heal()
	eventually(t, "the gateway recovers by itself", func() bool {
		return s.do(call{user: "ann", body: initialize}).status == http.StatusOK
	})
}

func TestLegalSubjectsGetIn(t *testing.T) {
	long := "user|" + strings.Repeat("x", 295)
	subjects := []string{"auth0|5f7c8ec7c33c6c004bbafe82", long, "urn:example:people:ann", "ann smith/42", "ann@example.com", "日本語"}
	var users []idp.User
	for _, sub := range subjects {
		users = append(users, idp.User{Name: sub, Claims: idp.Claims{"groups": []string{"s3-readers"}}})
	}
	s := stageWith(t, fake.Options{Users: users})
	seen := map[string]string{}
	for _, sub := range subjects {
		session := s.open(sub)
		_, name := saw(t, s.do(call{user: sub, session: session, body: whoami}))
		if len(name) < 2 || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-") != "" {
			t.Errorf("%q: session name %q", sub, name)
		}
		_, again := saw(t, s.do(call{user: sub, session: session, body: whoami}))
		if again != name {
			t.Errorf("%q: session names %q and %q", sub, name, again)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%q and %q share the session name %q", sub, other, name)
		}
		seen[name] = sub
	}
}

// A role chosen from one token and credentials lent for another would put everybody on the fallback role, or worse.
func TestRoleAndSTSReadTheSameToken(t *testing.T) {
	s := stage(t)
	token := s.world.Token("bob")
	s.do(call{token: token, body: initialize})
	calls := s.world.STS.Calls()
	if len(calls) != 1 || calls[0].Subject != "bob" || calls[0].RoleARN != fake.AdminRole || calls[0].SessionName != "bob" || calls[0].Signed {
		t.Errorf("STS saw %+v", calls)
	}
}

func TestWithoutFallbackAStrangerIsDenied(t *testing.T) {
	s := stage(t, replace("    fallbackRoleArn: >-\n      "+fake.DefaultRole+"\n", ""))
	r := s.do(call{user: "eve", body: initialize})
	r.refused(t, http.StatusForbidden)
	if n := s.world.STS.Count(); n != 0 {
		t.Errorf("%d STS calls", n)
	}
}

func TestBackendDownIsAJSONRPCError(t *testing.T) {
	s := stage(t, func(w *fake.World, d string) string {
		return strings.Replace(d, w.RemoteURL(), "http://127.0.0.1:1/mcp", 1)
	})
	r := s.do(call{user: "ann", body: `{"jsonrpc":"2.0","id":"seven","method":"tools/list"}`})
	r.refused(t, http.StatusBadGateway)
	if !strings.Contains(r.body, `"id":"seven"`) {
		t.Errorf("the request's id is not in the answer: %s", r.body)
	}
}

func TestBackendErrorsPassThrough(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.AWS.Fail(trouble.Trouble{Code: "ThrottlingException", Status: 429, RetryAfter: "7", Message: "Rate exceeded", Times: 1})
	r := s.do(call{user: "ann", session: session, body: whoami})
	if r.status != 429 || r.header.Get("Retry-After") != "7" || !strings.Contains(r.body, "Rate exceeded") {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	s.world.AWS.Fail(trouble.Trouble{Code: "InternalFailure", Status: 500, Times: 1})
	if r := s.do(call{user: "ann", session: session, body: whoami}); r.status != 500 || !strings.Contains(r.body, "InternalFailure") {
		t.Errorf("%d %s", r.status, r.body)
	}
	s.world.AWS.Fail(trouble.Trouble{Code: "Unauthorized", Status: 401, Times: 1})
	r = s.do(call{user: "ann", session: session, body: whoami})
	r.refused(t, http.StatusBadGateway) // a 401 would send the client to sign in again
}

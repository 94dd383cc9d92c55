package provider_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/aws"
)

// The clients of the provider. Their ids are the subjects of their tokens: plain ones, one as hosted providers form
// them, and one that is far too long for a session name.
var (
	reader  = client("svc-reader", "RS256", map[string]any{"groups": []string{"s3-readers"}})
	admin   = client("svc-admin", "ES256", map[string]any{"groups": []string{"admins"}, "org": "engineering"})
	hosted  = client("auth0|5f7c8ec7c33c6c004bbafe82", "ES256", nil)
	long    = client(strings.Repeat("urn:example:team/", 17)+"robot-no-42", "RS256", map[string]any{"groups": []string{"s3-readers"}})
	late    = client("svc-late", "RS256", nil)
	later   = client("svc-later", "ES256", nil)
	edwards = client("svc-edwards", "EdDSA", map[string]any{"groups": []string{"s3-readers"}})
)

func client(id, alg string, claims map[string]any) member {
	return member{ID: id, Secret: "the-client-secret-of-" + alg, Alg: alg, Audience: fake.Audience, Claims: claims}
}

// TestRealProvider plays what follows in order, on one stand. The keys are rotated last.
func TestRealProvider(t *testing.T) {
	s := raise(t, reader, admin, hosted, long, late, later, edwards)
	for _, part := range []struct {
		name string
		play func(*testing.T)
	}{
		{"keys that STS refuses are told at load", s.warnsAtLoad},
		{"each caller arrives under a role and a session name", s.arrives},
		{"a session belongs to its caller until it is deleted", s.hasSession},
		{"a modern caller has no session", s.hasNoSession},
		{"streams flow event by event", s.streams},
		{"news of the server arrive", s.hearsNews},
		{"a cancellation reaches the server", s.cancels},
		{"a token signed with EdDSA is verified here and refused by STS", s.refusesEdDSA},
		{"after a rotation new tokens pass and old ones do not", s.rotates},
	} {
		t.Run(part.name, part.play)
	}
	t.Run("no token and no credential shows", s.keepsSecrets)
}

func (s *stand) warnsAtLoad(t *testing.T) {
	warned := s.await(t, 1, func(l line) bool { return l.Level == "WARN" && strings.Contains(l.Msg, "STS refuses") })
	var keys []string
	if err := json.Unmarshal(warned[0].Keys, &keys); err != nil || len(keys) != 1 || !strings.Contains(keys[0], s.provider.kids["EdDSA"]) {
		t.Errorf("the warning names %q, want the EdDSA key %s alone", keys, s.provider.kids["EdDSA"])
	}
	if !strings.Contains(warned[0].Hint, "RS256") {
		t.Errorf("the hint does not say what STS takes: %q", warned[0].Hint)
	}
}

var legalName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

func (s *stand) arrives(t *testing.T) {
	for _, want := range []struct {
		member
		role, prefix string
	}{
		{reader, fake.S3Role, "svc-reader"},
		{admin, fake.AdminRole, "svc-admin"},
		{hosted, fake.DefaultRole, "auth0-5f7c8ec7c33c6c004bbafe82-"},
		{long, fake.S3Role, "urn-example-team-urn-example-team-"},
	} {
		before := s.STS.Count()
		var seen []aws.Identity
		for _, era := range eras {
			cs := s.mustConnect(t, want.member, era, nil)
			var names []string
			for tool, err := range cs.Tools(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, tool.Name)
			}
			if d := cmp.Diff(append(aws.ToolNames(), gateTool), names); d != "" {
				t.Errorf("%s, %s: tools (-want +got)\n%s", want.ID, era, d)
			}
			seen = append(seen, whoami(t, cs))
		}
		first := seen[0]
		if d := cmp.Diff(first, seen[1]); d != "" {
			t.Errorf("%s: the eras differ\n%s", want.ID, d)
		}
		if first.Role != want.role {
			t.Errorf("%s: the role is %s, want %s", want.ID, first.Role, want.role)
		}
		if plain := legalName.MatchString(want.ID); !legalName.MatchString(first.SessionName) ||
			!strings.HasPrefix(first.SessionName, want.prefix) || plain != (first.SessionName == want.ID) {
			t.Errorf("%s: the session name is %q, want %s...", want.ID, first.SessionName, want.prefix)
		}
		if n := s.STS.Count() - before; n != 1 {
			t.Errorf("%s: %d STS calls for two sessions, want 1", want.ID, n)
		}
		calls := s.STS.Calls()
		if last := calls[len(calls)-1]; last.Subject != want.ID || last.Code != "" || last.Signed {
			t.Errorf("%s: the STS call was %+v", want.ID, last)
		}
		s.toldAs(t, want.ID, first)
	}
}

// toldAs checks that the log tells of a caller's tool calls what the server saw.
func (s *stand) toldAs(t *testing.T, subject string, saw aws.Identity) {
	t.Helper()
	told := s.await(t, len(eras), func(l line) bool {
		// A line of the log holds no more than the start of a long subject.
		return l.Method == "tools/call" && l.Caller != "" && strings.HasPrefix(subject, strings.TrimSuffix(l.Caller, "..."))
	})
	for _, l := range told {
		if l.Role != saw.Role || l.SessionName != saw.SessionName || l.Decision != "allowed" || l.Why == "" || l.STS != "hit" {
			t.Errorf("%s: the log says %+v, the server saw %+v", subject, l, saw)
		}
	}
}

const list = `{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{}}`

func (s *stand) hasSession(t *testing.T) {
	cs := s.mustConnect(t, reader, legacy, nil)
	owner := whoami(t, cs).UserID
	sessions := s.AWS.Sessions()
	if len(sessions) != 1 || !slices.Contains(owners(sessions), owner) {
		t.Fatalf("the server has sessions %v, want one of %s", sessions, owner)
	}
	if _, bare := sessions[cs.ID()]; bare {
		t.Error("the client has the server's own session id")
	}
	token := s.token(t, reader)
	if status, answer, _ := s.post(t, token, cs.ID(), list); status != http.StatusOK {
		t.Errorf("another token of the caller: %d %s, want 200", status, answer)
	}
	before := s.AWS.Count()
	status, answer, _ := s.post(t, s.token(t, admin), cs.ID(), list)
	if status != http.StatusNotFound || !strings.Contains(answer, `"id":3`) || s.AWS.Count() != before {
		t.Errorf("a stranger with the session's id: %d %s, and %d requests reached the server; want 404 and none", status, answer, s.AWS.Count()-before)
	}
	id := cs.ID()
	if err := cs.Close(); err != nil {
		t.Errorf("close the session: %v", err)
	}
	deleted := s.requests(func(r aws.Request) bool { return r.Method == http.MethodDelete && r.SessionName == reader.ID })
	if len(deleted) == 0 || deleted[len(deleted)-1].Status/100 != 2 {
		t.Errorf("DELETE at the server: %+v", deleted)
	}
	if left := s.AWS.Sessions(); len(left) != 0 {
		t.Errorf("after the deletion the server has sessions %v", left)
	}
	if status, answer, _ := s.post(t, token, id, list); status != http.StatusNotFound {
		t.Errorf("the deleted session: %d %s, want 404", status, answer)
	}
}

func (s *stand) hasNoSession(t *testing.T) {
	before := s.AWS.Count()
	cs := s.mustConnect(t, admin, modern, nil)
	whoami(t, cs)
	if err := cs.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, r := range s.AWS.Requests()[before:] {
		if r.Method != http.MethodPost || r.Header.Get("Mcp-Protocol-Version") != modern || r.Header.Get("Mcp-Session-Id") != "" {
			t.Errorf("the server saw %s %v", r.Method, r.Header)
		}
	}
	if open := s.AWS.Sessions(); len(open) != 0 {
		t.Errorf("the server has sessions %v", open)
	}
}

const initialize = `{"jsonrpc":"2.0","id":"first","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

func (s *stand) refusesEdDSA(t *testing.T) {
	reached, asked := s.AWS.Count(), s.STS.Count()
	token := s.token(t, edwards)
	for range 2 {
		status, answer, header := s.post(t, token, "", initialize)
		if status != http.StatusBadGateway || !strings.Contains(answer, `"id":"first"`) || header.Get("WWW-Authenticate") != "" {
			t.Errorf("%d %s with %v; want 502 and no new sign-in", status, answer, header)
		}
		for _, word := range []string{"RS256", "InvalidIdentityToken", "arn:", token[:20]} {
			if strings.Contains(answer, word) {
				t.Errorf("the answer tells the client %q: %s", word, answer)
			}
		}
	}
	// One short retry; the second request is answered from memory.
	calls := s.STS.Calls()[asked:]
	if len(calls) != 2 || slices.ContainsFunc(calls, func(c stsCall) bool { return c.Code != "InvalidIdentityToken" }) {
		t.Errorf("STS was asked %+v, want InvalidIdentityToken twice", calls)
	}
	for _, l := range s.await(t, 2, func(l line) bool { return l.Caller == edwards.ID }) {
		if l.Level != "ERROR" || l.Auth != "ok" || l.Status != http.StatusBadGateway || l.Role != fake.S3Role ||
			!strings.Contains(l.Hint, "must be signed with RS256/384/512 or ES256/384/512") {
			t.Errorf("the log does not help the operator: %+v", l)
		}
	}
	for _, era := range eras {
		if cs, err := s.connect(t, edwards, era, nil); err == nil {
			t.Errorf("%s: connected", era)
			_ = cs.Close()
		}
	}
	if n := s.AWS.Count() - reached; n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
}

func (s *stand) rotates(t *testing.T) {
	old := s.token(t, reader)
	if status, answer, _ := s.post(t, old, "", initialize); status != http.StatusOK {
		t.Fatalf("before the rotation: %d %s", status, answer)
	}
	kid := s.provider.kids["RS256"]
	s.provider.keys(t, "rotate")
	if s.provider.kids["RS256"] == kid {
		t.Fatal("the keys did not change")
	}
	// These two were not here before, so STS judges the new keys too.
	for _, m := range []member{late, later} {
		if got := whoami(t, s.mustConnect(t, m, modern, nil)); got.Role != fake.DefaultRole || got.SessionName != m.ID {
			t.Errorf("%s: the server saw %+v", m.ID, got)
		}
	}
	status, answer, header := s.post(t, old, "", initialize)
	if status != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("a token of a key that left the set: %d %s with %q", status, answer, header.Get("WWW-Authenticate"))
	}
}

func (s *stand) keepsSecrets(t *testing.T) {
	_, metrics, _ := s.wire.send(t, http.MethodGet, s.gateway.Admin+"/metrics", "", nil)
	s.stop(t)
	shown := s.gateway.Log.String() + metrics
	tokens := s.wire.tokens()
	if len(tokens) < 10 {
		t.Errorf("only %d tokens were seen on the wire", len(tokens))
	}
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		for _, secret := range []string{token, parts[1][:40], parts[2]} {
			if strings.Contains(shown, secret) {
				t.Errorf("log or metrics show %s... of a token", secret[:12])
			}
		}
	}
	for _, lent := range s.STS.Issued() {
		if strings.Contains(shown, lent.SecretAccessKey) || strings.Contains(shown, lent.SessionToken[:40]) {
			t.Errorf("log or metrics show what was lent to %s", lent.SessionName)
		}
	}
	for _, word := range []string{"panic", "DATA RACE", "Bearer ey"} {
		if strings.Contains(shown, word) {
			t.Errorf("log or metrics hold %q", word)
		}
	}
	if lines := s.lines(func(l line) bool { return l.Msg == "request" }); len(lines) == 0 {
		t.Error("the log has no requests: nothing was proved")
	}
}

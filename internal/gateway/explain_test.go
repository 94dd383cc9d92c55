package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/gateway"
)

// rehearse makes a Rehearsal of the documents that a stand serves.
func rehearse(t *testing.T, w *fake.World, edits ...edit) *gateway.Rehearsal {
	t.Helper()
	documents := w.Documents()
	for _, e := range edits {
		documents = e(w, documents)
	}
	r, problems := gateway.NewRehearsal(load(t, documents))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func explain(t *testing.T, r *gateway.Rehearsal, q gateway.Question) *gateway.Explanation {
	t.Helper()
	e, err := r.Explain(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func bearer(text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }

// hints are those of toolsAnswer.
var toolHints = map[string]map[string]bool{"read_doc": {"readOnlyHint": true}, "drop_table": {"destructiveHint": true}, "plain": {}}

// TestExplainSaysWhatTheGatewayDoes asks the gateway, and then explain, and compares the answers; with the token, and
// with its claims alone. Neither STS nor the remote hears of the second.
func TestExplainSaysWhatTheGatewayDoes(t *testing.T) {
	remote := toolsServer()
	edits := []edit{
		remote.before(t),
		spec("tools: [read_doc, drop_table, plain, write_doc]"),
		policies(
			`@id("read") permit(principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`,
			`@id("write") @scopes("aws:write") permit(principal in THVGroup::"s3-readers", action, resource == Tool::"write_doc");`,
			`@id("small") permit(principal in THVGroup::"s3-readers", action, resource == Tool::"plain") when { context.arg_n < 5 };`,
			`@id("odd") forbid(principal, action, resource == Tool::"plain") when { context.arg_odd };`,
			`@id("uri") permit(principal, action == Action::"read_resource", resource) when { resource.uri == "s3://b/k" };`),
	}
	s := stage(t, edits...)
	r := rehearse(t, s.world, edits...)
	good := func(c idp.Claims) string { return s.world.IDP.Mint(c) }
	ann := good(idp.Claims{"sub": "ann", "groups": []string{"s3-readers"}})
	for name, c := range map[string]struct {
		token, body, tool string
		outcome           string
	}{
		"sign-in":               {token: ann, body: initialize, outcome: gateway.OutcomeAllowed},
		"a hint permits":        {token: ann, body: callTool("read_doc", "{}"), tool: "read_doc", outcome: gateway.OutcomeAllowed},
		"a hint does not":       {token: ann, body: callTool("drop_table", "{}"), tool: "drop_table", outcome: gateway.OutcomeDenied},
		"an argument permits":   {token: ann, body: callTool("plain", `{"n":4}`), tool: "plain", outcome: gateway.OutcomeDenied}, // odd errors
		"a forbid is evaluated": {token: ann, body: callTool("plain", `{"n":4,"odd":false}`), tool: "plain", outcome: gateway.OutcomeAllowed},
		"an argument does not":  {token: ann, body: callTool("plain", `{"n":5,"odd":false}`), tool: "plain", outcome: gateway.OutcomeDenied},
		"without the scope":     {token: ann, body: callTool("write_doc", "{}"), tool: "write_doc", outcome: gateway.OutcomeStepUp},
		"with the scope": {
			token: good(idp.Claims{"sub": "ann", "groups": "s3-readers", "scope": "openid aws:write"}),
			body:  callTool("write_doc", "{}"), tool: "write_doc", outcome: gateway.OutcomeAllowed,
		},
		"another group":       {token: good(idp.Claims{"sub": "bob", "groups": []string{"admins"}, "org": "engineering"}), body: callTool("write_doc", "{}"), tool: "write_doc", outcome: gateway.OutcomeDenied},
		"a tool not offered":  {token: ann, body: callTool("delete_all", "{}"), tool: "delete_all", outcome: gateway.OutcomeDenied},
		"a resource":          {token: ann, body: rpc("resources/read", `{"uri":"s3://b/k"}`), outcome: gateway.OutcomeAllowed},
		"another resource":    {token: ann, body: rpc("resources/read", `{"uri":"s3://b/l"}`), outcome: gateway.OutcomeDenied},
		"an unknown method":   {token: ann, body: rpc("sampling/createMessage", `{}`), outcome: gateway.OutcomeDenied},
		"a key twice":         {token: ann, body: `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, outcome: gateway.OutcomeFailed},
		"an expired token":    {token: s.world.ExpiredToken("ann"), body: initialize, outcome: gateway.OutcomeToken},
		"another audience":    {token: good(idp.Claims{"sub": "ann", "aud": "other"}), body: initialize, outcome: gateway.OutcomeToken},
		"no subject":          {token: good(idp.Claims{"sub": ""}), body: initialize, outcome: gateway.OutcomeToken},
		"a session's stray":   {token: ann, body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`, outcome: gateway.OutcomeAllowed},
		"what is not a token": {token: "abc.def.ghi", body: initialize, outcome: gateway.OutcomeToken},
	} {
		t.Run(name, func(t *testing.T) {
			was := s.do(call{token: c.token, body: c.body})
			calls, asked := s.world.STS.Count(), len(remote.asked(""))
			q := gateway.Question{Header: bearer(c.token), Message: []byte(c.body), Hints: toolHints[c.tool]}
			e := explain(t, r, q)
			compare(t, was, e, c.outcome)
			if name != "what is not a token" {
				q.Claims, q.Header = payload(t, c.token), nil
				compare(t, was, explain(t, r, q), c.outcome)
			}
			if s.world.STS.Count() != calls || len(remote.asked("")) != asked {
				t.Error("STS or the remote was asked")
			}
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range strings.Split(c.token, ".") {
				if len(part) > 8 && strings.Contains(string(text), part[:8]) {
					t.Errorf("the explanation holds a part of the token: %s", text)
				}
			}
		})
	}
}

func compare(t *testing.T, was result, e *gateway.Explanation, outcome string) {
	t.Helper()
	if e.Outcome != outcome {
		t.Errorf("outcome %s (%s), want %s", e.Outcome, e.Why, outcome)
	}
	if e.Answer.Relayed {
		if was.status != http.StatusOK && was.status != http.StatusAccepted {
			t.Errorf("explained as allowed; it was %d %s", was.status, was.body)
		}
		return
	}
	got := result{status: e.Answer.Status, body: string(e.Answer.Body)}
	if got.status != was.status || got.body != was.body || e.Answer.Challenge != was.header.Get("WWW-Authenticate") || e.Answer.Retry != was.header.Get("Retry-After") {
		t.Errorf("explained as %d %s %q; it was %d %s %q", got.status, got.body, e.Answer.Challenge, was.status, was.body, was.header.Get("WWW-Authenticate"))
	}
}

// payload is the claims of a token.
func payload(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestExplainTellsTheSTSRequest: what is told is what STS then gets.
func TestExplainTellsTheSTSRequest(t *testing.T) {
	s := stage(t)
	text := s.world.IDP.Mint(idp.Claims{"sub": "auth0|5f7c", "groups": []string{"s3-readers"}})
	e := explain(t, rehearse(t, s.world), gateway.Question{Header: bearer(text)})
	if e.STS == nil || !e.STS.Sent || e.STS.Request == nil {
		t.Fatalf("%+v", e.STS)
	}
	s.do(call{token: text, body: initialize})
	issued := s.world.STS.Issued()
	if len(issued) != 1 || e.STS.Request.URL != s.world.STS.URL()+"/" {
		t.Fatalf("%d issued; %s", len(issued), e.STS.Request.URL)
	}
	form := map[string]string{}
	for _, f := range e.STS.Request.Form {
		form[f.Name] = f.Value
	}
	want := map[string]string{
		"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "DurationSeconds": "3600", "RoleArn": fake.S3Role,
		"RoleSessionName": issued[0].SessionName, "WebIdentityToken": "[redacted]",
	}
	if d := cmp.Diff(want, form); d != "" {
		t.Error(d)
	}
	if e.Role.SessionName != issued[0].SessionName || e.Role.RoleARN != fake.S3Role {
		t.Errorf("%+v", e.Role)
	}
}

// TestExplainTellsEveryMapping: all of them, in the order in which they are tried.
func TestExplainTellsEveryMapping(t *testing.T) {
	w := newWorld(t, fake.Options{})
	r := rehearse(t, w)
	for name, c := range map[string]struct{ claims, want, role string }{
		"first":       {`{"sub":"bob","groups":["admins","s3-readers"],"org":"engineering"}`, "1 matched, 0 not reached", fake.AdminRole},
		"second":      {`{"sub":"ann","groups":["s3-readers"]}`, "1 no match, 0 matched", fake.S3Role},
		"with errors": {`{"sub":"ann","groups":7}`, "1 error, 0 no match", fake.DefaultRole},
	} {
		t.Run(name, func(t *testing.T) {
			e := explain(t, r, gateway.Question{Claims: []byte(c.claims)})
			var told []string
			for _, m := range e.Role.Mappings {
				told = append(told, fmt.Sprintf("%d %s", m.Index, m.Verdict))
				if (m.Verdict == "error") != (m.Error != "") {
					t.Errorf("%+v", m)
				}
			}
			if got := strings.Join(told, ", "); got != c.want || e.Role.RoleARN != c.role || e.Role.Fallback != fake.DefaultRole {
				t.Errorf("%s; %+v", got, e.Role)
			}
		})
	}
}

// TestExplainWithoutHints: annotations that are not given are unknown, and that is told.
func TestExplainWithoutHints(t *testing.T) {
	w := newWorld(t, fake.Options{})
	permit := `@id("p") permit(principal, action, resource) when { resource has readOnlyHint && resource.readOnlyHint };`
	for name, c := range map[string]struct {
		policies []string
		hints    map[string]bool
		outcome  string
		status   int
		told     string
	}{
		"a permit reads them, unknown": {[]string{permit}, nil, gateway.OutcomeDenied, 403, gateway.HintsUnknown},
		"a permit reads them, given":   {[]string{permit}, map[string]bool{"readOnlyHint": true}, gateway.OutcomeAllowed, 0, gateway.HintsGiven},
		"a permit reads them, none":    {[]string{permit}, map[string]bool{}, gateway.OutcomeDenied, 403, gateway.HintsGiven},
		"a forbid reads them, unknown": {
			[]string{`permit(principal, action, resource);`, `forbid(principal, action, resource) when { resource has destructiveHint && resource.destructiveHint };`},
			nil, gateway.OutcomeFailed, 503, gateway.HintsUnknown,
		},
		"nobody reads them": {[]string{`permit(principal, action, resource);`}, nil, gateway.OutcomeAllowed, 0, gateway.HintsNotRead},
	} {
		t.Run(name, func(t *testing.T) {
			r := rehearse(t, w, policies(c.policies...))
			for range 2 { // what was learnt for one question must not answer the next
				e := explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(callTool("x", "{}")), Hints: c.hints})
				if e.Outcome != c.outcome || e.Answer.Status != c.status || e.Policy.Hints != c.told || !e.Policy.Decided {
					t.Errorf("%s %d, annotations %s, decided %v: %s", e.Outcome, e.Answer.Status, e.Policy.Hints, e.Policy.Decided, e.Why)
				}
				e = explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(callTool("x", "{}")), Hints: map[string]bool{"destructiveHint": true}})
				if e.Policy.Hints == gateway.HintsUnknown || e.Outcome == gateway.OutcomeFailed {
					t.Errorf("given: %s %s", e.Outcome, e.Policy.Hints)
				}
			}
		})
	}
}

// TestExplainTellsPolicies: ids, places and texts, of what decided and of what failed.
func TestExplainTellsPolicies(t *testing.T) {
	w := newWorld(t, fake.Options{})
	r := rehearse(t, w, policies(
		`permit(principal, action, resource == Tool::"a");`,
		"// two in one text\n@id(\"broken\")\nforbid(principal, action, resource == Tool::\"b\") when { context.arg_gone == 1 };\npermit(principal, action, resource == Tool::\"b\");"))
	ask := func(method, params string) *gateway.PolicyFact {
		return explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(rpc(method, params))}).Policy
	}
	first := gateway.FoundFact{ID: "policies[0]", Place: "policies[0]", Line: 1, Effect: "permit", Text: `permit(principal, action, resource == Tool::"a");`}
	want := &gateway.PolicyFact{Policies: 3, Decided: true, Matched: []gateway.FoundFact{first}, Errors: []gateway.FoundFact{}, Hints: gateway.HintsNotRead}
	if d := cmp.Diff(want, ask("tools/call", `{"name":"a"}`)); d != "" {
		t.Error(d)
	}
	got := ask("tools/call", `{"name":"b"}`)
	if len(got.Matched) != 1 || got.Matched[0].ID != "broken" || got.Matched[0].Line != 2 || len(got.Errors) != 1 || got.Errors[0].Error == "" {
		t.Errorf("%+v", got)
	}
	if got := ask("tools/call", `{"name":"c"}`); !got.Decided || len(got.Matched) != 0 {
		t.Errorf("a default deny: %+v", got)
	}
	if got := ask("ping", `{}`); got.Decided || got.Policies != 3 {
		t.Errorf("ping: %+v", got)
	}
}

func TestQuestionsThatCantBeAsked(t *testing.T) {
	r := rehearse(t, newWorld(t, fake.Options{}))
	for _, claims := range []string{``, `[]`, `{"sub":"a","sub":"b"}`, `{`} {
		if e, err := r.Explain(t.Context(), gateway.Question{Claims: []byte(claims)}); err == nil {
			t.Errorf("%q: %+v", claims, e)
		}
	}
	if e := explain(t, r, gateway.Question{}); e.Outcome != gateway.OutcomeToken || e.Answer.Status != 401 || e.Token.Checks[0].Verdict != "failed" {
		t.Errorf("no token: %+v", e)
	}
}

// TestExplainTellsOfRenamedTools: a call is decided under the remote's name, and both are told.
func TestExplainTellsOfRenamedTools(t *testing.T) {
	r := rehearse(t, newWorld(t, fake.Options{}), spec("toolConfigRef: {name: tools}"), func(_ *fake.World, d string) string { return d + toolConfig },
		policies(`@id("drop") permit(principal, action, resource == Tool::"drop_table") when { resource.destructiveHint };`))
	q := gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(callTool("delete", "{}")), Hints: toolHints["drop_table"]}
	e := explain(t, r, q)
	want := &gateway.CallFacts{Kind: "request", Method: "tools/call", Target: "drop_table", Shown: "delete", Asked: true}
	if d := cmp.Diff(want, e.Call); d != "" || e.Outcome != gateway.OutcomeAllowed {
		t.Errorf("%s %s", e.Why, d)
	}
	q.Message = []byte(callTool("drop_table", "{}"))
	if e = explain(t, r, q); e.Outcome != gateway.OutcomeDenied || e.Policy.Decided {
		t.Errorf("%s, decided %v: %s", e.Outcome, e.Policy.Decided, e.Why)
	}
}

// TestExplainMirrorsAsClientsDo: the headers of a modern message are those of a client that keeps to the protocol, also
// for names that a header can't carry and beside members that mean nothing.
func TestExplainMirrorsAsClientsDo(t *testing.T) {
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	r := rehearse(t, newWorld(t, fake.Options{}), policies(`permit(principal, action, resource);`))
	for name, body := range map[string]string{
		"a tool":           rpc("tools/call", `{"name":"plain",`+meta+`}`),
		"an odd name":      rpc("tools/call", `{"name":"outil_é",`+meta+`}`),
		"encoded already":  rpc("tools/call", `{"name":"=?base64?eA==?=",`+meta+`}`),
		"a stray uri":      rpc("tools/call", `{"name":"plain","uri":"s3://b",`+meta+`}`),
		"a stray name":     rpc("resources/read", `{"name":"plain","uri":"s3://b/é",`+meta+`}`),
		"a name in a list": rpc("tools/list", `{"name":"plain",`+meta+`}`),
		"a task":           rpc("tasks/get", `{"taskId":"7",`+meta+`}`),
		"a prompt":         rpc("prompts/get", `{"name":" p ",`+meta+`}`),
	} {
		q := gateway.Question{Header: http.Header{}, Claims: []byte(`{"sub":"ann","groups":["s3-readers"]}`), Message: []byte(body)}
		gateway.Mirror(q.Header, q.Message)
		if e := explain(t, r, q); name == "a task" && e.Outcome != gateway.OutcomeDenied || name != "a task" && e.Outcome != gateway.OutcomeAllowed {
			t.Errorf("%s: %s, %s; headers %v", name, e.Outcome, e.Why, q.Header)
		}
	}
}

// TestExplainTellsScopes: what the challenge asks for is told without policies too; with policies it is what a gateway
// asks for that knows the tool's annotations.
func TestExplainTellsScopes(t *testing.T) {
	world := newWorld(t, fake.Options{})
	required := spec(`requiredScopes: ["mcp:use"]`)
	for name, c := range map[string]struct {
		edits   []edit
		hints   map[string]bool
		want    []string
		depends bool
	}{
		"no policies": {edits: []edit{required}, want: []string{"mcp:use"}},
		"policies": {
			edits: []edit{required, policies(`@scopes("aws:write") permit(principal, action, resource);`)},
			want:  []string{"aws:write", "mcp:use"},
		},
		"hints that are given": {
			edits: []edit{required, policies(`@scopes("aws:write") permit(principal, action, resource) when { resource has destructiveHint };`)},
			hints: map[string]bool{"destructiveHint": true}, want: []string{"aws:write", "mcp:use"}, depends: true,
		},
		"hints that are not": {
			edits: []edit{policies(`permit(principal, action, resource) when { resource has destructiveHint };`)}, depends: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rehearse(t, world, c.edits...)
			e := explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann","groups":["s3-readers"]}`), Message: []byte(callTool("plain", "{}")), Hints: c.hints})
			if diff := cmp.Diff(c.want, e.Answer.Scopes); diff != "" {
				t.Error(diff)
			}
			if step := e.Outcome == gateway.OutcomeStepUp; step != (c.want != nil) || step && !strings.Contains(e.Answer.Challenge, ` scope="`+strings.Join(c.want, " ")+`"`) {
				t.Errorf("%s: %s", e.Outcome, e.Answer.Challenge)
			}
			if e.Policy != nil && e.Policy.Depends != c.depends {
				t.Errorf("depends on hints: %v", e.Policy.Depends)
			}
		})
	}
}

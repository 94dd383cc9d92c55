package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fake"
	trouble "github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/gateway"
)

// watched is a stand whose records are kept. Clients sign what they do with their User-Agent: by it a record is found.
type watched struct {
	*stand
	server *gateway.Server
	book   *audit.Book
	lines  *fake.Log

	tokens  map[string]string // of users: one each
	session string            // ann's
	foreign string            // bob's

	mu     sync.Mutex
	secret []string // what must be in no record
}

// watch starts a server whose records are kept. At the end there is one for each request, in order with the schema and
// without anything secret.
func watch(t *testing.T, edits ...edit) *watched {
	t.Helper()
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, edits...)
	w := &watched{stand: s, server: server, lines: &fake.Log{}, tokens: map[string]string{}}
	book, err := audit.Open(audit.Options{Settings: config.Audit{Enabled: true, OnFull: config.OnFullBlock, QueueSize: 4096}, Stdout: w.lines})
	if err != nil {
		t.Fatal(err)
	}
	s.house.Book, w.book = book, book
	t.Cleanup(w.whole)
	for _, user := range []string{"ann", "bob", "eve"} {
		w.tokens[user] = s.world.Token(user)
		w.hide(w.tokens[user])
	}
	return w
}

// hide notes what must be in no record.
func (s *watched) hide(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = append(s.secret, texts...)
}

// enter opens sessions for ann and bob.
func (s *watched) enter() {
	s.t.Helper()
	s.session, s.foreign = s.do(call{token: s.tokens["ann"], body: initialize}).session, s.do(call{token: s.tokens["bob"], body: initialize, headers: map[string]string{"User-Agent": "bob"}}).session
	if s.session == "" || s.foreign == "" {
		s.t.Fatal("initialize gave no session")
	}
	for _, sealed := range []string{s.session, s.foreign} {
		s.hide(sealed, sealed[len("rg1.")+44:]) // the remote's own id too
	}
}

// counted is how many requests the gateway has counted.
func (s *watched) counted() (n int) {
	for _, v := range s.sums("rolegate_requests_total") {
		n += v
	}
	return n
}

// whole closes the book and looks at all of it.
func (s *watched) whole() {
	t := s.t
	eventually(t, "a record for each request", func() bool { return int(s.book.Stats().Written) >= s.counted() })
	if err := s.book.Close(context.Background()); err != nil {
		t.Error(err)
	}
	all := s.lines.String()
	ids, n, valid := map[string]bool{}, 0, schema(t)
	for line := range strings.Lines(all) {
		n++
		var members map[string]any
		if err := json.Unmarshal([]byte(line), &members); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := valid(members); err != nil {
			t.Errorf("against the schema: %v: %s", err, line)
		}
		id, _ := members["request_id"].(string)
		if id == "" || ids[id] {
			t.Errorf("a second record, or one of no request: %s", line)
		}
		ids[id] = true
	}
	if n != s.counted() {
		t.Errorf("%d records of %d requests", n, s.counted())
	}
	for _, lent := range s.world.STS.Issued() {
		s.hide(lent.SecretAccessKey, lent.SessionToken)
	}
	for _, secret := range append(s.secret, "eyJ") {
		if strings.Contains(all, secret) {
			t.Errorf("a record holds %.20s...", secret)
		}
	}
}

// schema is that of records, as it is published.
func schema(t *testing.T) func(members map[string]any) error {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/audit.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(members map[string]any) error { return resolved.Validate(members) }
}

// by gives the record of what was done under a name.
func (s *watched) by(agent string) audit.Record {
	s.t.Helper()
	var found string
	part := `"user_agent":` + quoted(agent) + `,`
	eventually(s.t, "the record of "+agent, func() bool {
		for line := range strings.Lines(s.lines.String()) {
			if strings.Contains(line, part) && strings.HasSuffix(line, "\n") {
				found = line
			}
		}
		return found != ""
	})
	var r audit.Record
	if err := json.Unmarshal([]byte(found), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// facts are members of a record, by name; nil for one that must not be there.
type facts map[string]any

// holds says how a record differs from the facts.
func (f facts) holds(r audit.Record) string {
	var members map[string]any
	if err := json.Unmarshal(r.AppendJSON(nil), &members); err != nil {
		return err.Error()
	}
	want, got := map[string]any{}, map[string]any{}
	for name, value := range f {
		if got[name] = members[name]; value != nil {
			text, err := json.Marshal(value)
			if err == nil {
				err = json.Unmarshal(text, &value) // numbers as they come out of a record
			}
			if err != nil {
				return err.Error()
			}
		}
		want[name] = value
	}
	return cmp.Diff(want, got)
}

// TestEveryRequestLeavesOneRecord, whatever became of it; and the record says what.
func TestEveryRequestLeavesOneRecord(t *testing.T) {
	s := watch(t, behind(t, act), spec("allowedOrigins: ['https://a.example']", "limits: {bodyTimeout: 2s}"), judged)
	s.enter()
	for _, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			err := d.done(t.Context(), s, http.DefaultClient, d.name)
			if err != nil {
				t.Error(err)
			}
			if diff := d.want.holds(s.by(d.name)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// An upload that breaks off is no client error to be counted as a refusal: nobody is there any more.
func TestARecordOfABrokenUpload(t *testing.T) {
	s := watch(t, behind(t, act))
	conn := s.dial()
	write(t, conn, s.postHead("ann")+"User-Agent: broken\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"")
	_ = conn.CloseWrite()
	rest(t, conn)
	want := facts{"outcome": "aborted", "status": 499, "type": "http_request", "caller": "ann", "decision": "aborted", "rpc_code": nil}
	if diff := want.holds(s.by("broken")); diff != "" {
		t.Error(diff)
	}
}

// TestRecordsJoinWithAWS: what a record says of STS and of the remote is what they themselves know.
func TestRecordsJoinWithAWS(t *testing.T) {
	s := watch(t)
	s.enter()
	s.do(call{token: s.tokens["ann"], session: s.session, body: whoami, headers: map[string]string{"User-Agent": "warm"}})
	first, warm := s.by("bob"), s.by("warm")
	if first.Method != "initialize" {
		t.Fatalf("%+v", first)
	}
	seen, ok := s.world.AWS.Last()
	if !ok {
		t.Fatal("nothing reached the remote")
	}
	lent, _ := s.world.STS.Lookup(seen.AccessKeyID)
	var request string
	for _, c := range s.world.STS.Calls() {
		if c.AccessKeyID == seen.AccessKeyID {
			request = c.RequestID
		}
	}
	want := facts{
		"type": "mcp_tool_call", "outcome": "success", "sts": "hit", "role": fake.S3Role, "mapping": 0, "session_name": "ann",
		"access_key_id": seen.AccessKeyID, "sts_request_id": request, "assumed_role": lent.AssumedRoleARN, "aws_request_id": seen.ID,
		"session": audit.SessionDigest(s.session), "issuer": s.world.IDP.URL(), "caller": "ann", "stream": true,
	}
	if diff := want.holds(warm); diff != "" || request == "" {
		t.Errorf("STS request %q:\n%s", request, diff)
	}
	if diff := (facts{"sts": "miss", "caller": "bob", "session": audit.SessionDigest(s.foreign), "client_name": "test", "client_version": "1"}).holds(first); diff != "" {
		t.Error(diff)
	}

	s.world.AWS.ExpireCredentials(1) // a second attempt, with new credentials: those are the ones of the answer
	s.do(call{token: s.tokens["ann"], session: s.session, body: whoami, headers: map[string]string{"User-Agent": "again"}})
	seen, _ = s.world.AWS.Last()
	if diff := (facts{"outcome": "success", "access_key_id": seen.AccessKeyID, "aws_request_id": seen.ID}).holds(s.by("again")); diff != "" || seen.AccessKeyID == warm.AccessKeyID {
		t.Errorf("key %s, and %s before:\n%s", seen.AccessKeyID, warm.AccessKeyID, diff)
	}

	s.world.STS.Fail(trouble.Trouble{Code: "AccessDenied", Message: "Not authorized to perform sts:AssumeRoleWithWebIdentity"})
	s.do(call{token: s.tokens["eve"], body: whoami, headers: map[string]string{"User-Agent": "refused"}})
	if diff := (facts{"caller": "eve", "role": fake.DefaultRole, "mapping": -1, "session_name": "eve", "access_key_id": nil, "aws_request_id": nil, "sts": "miss", "type": "mcp_tool_call"}).holds(s.by("refused")); diff != "" {
		t.Error(diff)
	}
}

// TestSourceAddress: X-Forwarded-For is believed of proxies that the configuration names, and of nobody else.
func TestSourceAddress(t *testing.T) {
	for name, c := range map[string]struct {
		trusted, forwarded, source string
	}{
		"a stranger's word":         {"", "203.0.113.7", "127.0.0.1"},
		"another network's proxies": {"10.0.0.0/8", "203.0.113.7", "127.0.0.1"},
		"a trusted proxy":           {"127.0.0.0/8", "203.0.113.7", "203.0.113.7"},
		"behind what a client says": {"127.0.0.0/8", "198.51.100.1, 203.0.113.7", "203.0.113.7"},
		"two trusted proxies":       {"127.0.0.0/8, 10.0.0.0/8", "198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"},
		"nobody is named":           {"127.0.0.0/8", "", "127.0.0.1"},
		"nonsense":                  {"127.0.0.0/8", "<script>", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			edits := []edit{behind(t, act)}
			if c.trusted != "" {
				edits = append(edits, spec("trustedProxies: ["+c.trusted+"]"))
			}
			s := watch(t, edits...)
			headers := map[string]string{"User-Agent": "it", "X-Real-Ip": "192.0.2.1", "Forwarded": "for=192.0.2.2"}
			if c.forwarded != "" {
				headers["X-Forwarded-For"] = c.forwarded
			}
			s.do(call{body: listTools, headers: headers}) // refused: that is when an address matters
			r := s.by("it")
			if r.Source != c.source || !strings.HasPrefix(r.RemoteAddr, "127.0.0.1:") {
				t.Errorf("source %q of %q, want %q", r.Source, r.RemoteAddr, c.source)
			}
		})
	}
}

// TestRecordsFollowTheSettings: types, claims, arguments and what is redacted of them.
func TestRecordsFollowTheSettings(t *testing.T) {
	s := watch(t, behind(t, act), replace("    enabled: true\n", `    enabled: true
    component: edge
    excludeEventTypes: [mcp_tools_list]
    includeRequestData: true
    maxDataSize: 80
    redactKeys: [shoe_size]
    claims: [groups, email, aud]
`))
	agent := func(name string) map[string]string { return map[string]string{"User-Agent": name} }
	s.do(call{token: s.tokens["ann"], body: listTools, headers: agent("list")})
	for name, arguments := range map[string]string{
		"short": `{"a":1,"shoeSize":"xx-secret-xx","nested":[{"api_key":"xx-secret-xx"}]}`,
		"long":  `{"password":"xx-secret-xx","b":"` + strings.Repeat("y", 100) + `"}`,
	} {
		s.do(call{token: s.tokens["ann"], body: callTool("ok", arguments), headers: agent(name)})
	}
	s.hide("xx-secret-xx")
	want := facts{
		"component": "edge", "claims": map[string]any{"groups": []string{"s3-readers", "developers"}, "aud": fake.Audience}, "arguments_cut": nil,
		"arguments": map[string]any{"a": 1, "shoeSize": "[redacted]", "nested": []any{map[string]any{"api_key": "[redacted]"}}},
	}
	if diff := want.holds(s.by("short")); diff != "" {
		t.Error(diff)
	}
	if r := s.by("long"); r.Arguments != nil || len(r.ArgumentsCut) != 80 || !strings.HasPrefix(r.ArgumentsCut, `{"password":"[redacted]","b":"yyy`) {
		t.Errorf("%s, %q", r.Arguments, r.ArgumentsCut)
	}
	if strings.Contains(s.lines.String(), `"list"`) {
		t.Error("a type that is excluded was recorded")
	}
	s.do(call{token: s.tokens["ann"], body: listTools})
	s.excluded(2)
}

// excluded makes up for requests that leave no record because the settings say so.
func (s *watched) excluded(n int) {
	for range n {
		s.house.Book.Write(context.Background(), &audit.Record{Schema: audit.Schema, Time: time.Now(), Type: config.EventHTTP, Outcome: audit.Success, RequestID: fmt.Sprint("left out ", n, time.Now().UnixNano())})
	}
}

// panicking is a body, or an answer's writer, that panics.
type panicking struct{ http.ResponseWriter }

func (panicking) Read([]byte) (int, error)  { panic("in the body") }
func (panicking) Close() error              { return nil }
func (panicking) Write([]byte) (int, error) { panic("in the writer") }

// TestAPanicLeavesARecord, and if the answer about it panics too.
func TestAPanicLeavesARecord(t *testing.T) {
	s := watch(t, behind(t, act))
	request := func(agent string) *http.Request {
		return s.request(t.Context(), call{token: s.tokens["ann"], body: listTools, headers: map[string]string{"User-Agent": agent}})
	}
	r := request("reading")
	r.URL.Path, r.Body = "/mcp", panicking{}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "in the body") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want := facts{"outcome": "failure", "status": 500, "decision": "internal", "rpc_code": -32603, "caller": "ann"}
	if diff := want.holds(s.by("reading")); diff != "" {
		t.Error(diff)
	}

	r = s.request(t.Context(), call{body: listTools, headers: map[string]string{"User-Agent": "writing"}})
	r.URL.Path = "/mcp"
	func() {
		defer func() { _ = recover() }() // net/http would
		s.server.ServeHTTP(panicking{httptest.NewRecorder()}, r)
	}()
	if diff := (facts{"outcome": "denied", "decision": "unauthenticated", "status": 401}).holds(s.by("writing")); diff != "" {
		t.Error(diff)
	}
}

// TestACutDrainKeepsItsRecords: requests that still wait when draining has taken too long are told so, and are in the
// book as what they are: it was not the client who went away.
func TestACutDrainKeepsItsRecords(t *testing.T) {
	s, _, term := serve(t, gateway.Settings{DrainTimeout: 2 * time.Second}, behind(t, act))
	file := t.TempDir() + "/audit.jsonl"
	book, err := audit.Open(audit.Options{Settings: config.Audit{Enabled: true, LogFile: file, OnFull: config.OnFullBlock}})
	if err != nil {
		t.Fatal(err)
	}
	s.house.Book = book
	const calls = 20
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			got := s.do(call{user: "ann", body: callTool("silent", "{}")})
			if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "the gateway is stopping") {
				t.Errorf("answered %d %s", got.status, got.body)
			}
		})
	}
	eventually(t, "all of them wait", func() bool { return s.sums("rolegate_requests_in_flight")[""] == calls })
	if err := term(); err != nil {
		t.Error(err)
	}
	if err := book.Close(t.Context()); err != nil { // as the process does when the server has ended
		t.Error(err)
	}
	all.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(`"outcome":"failure"`)); n != calls {
		t.Errorf("%d records of %d requests", n, calls)
	}
}

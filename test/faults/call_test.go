package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// meta is what a call of 2026-07-28 carries in its params.
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"faults","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// call is a request of a client.
type call struct {
	id, token, body string
	header          http.Header
	method          string // POST by default
}

var serial atomic.Int64

// tool is a call of a tool, of the modern era and so without a session, under an id of its own.
func tool(token, name, arguments string) call {
	c := call{id: fmt.Sprintf("id-%06d", serial.Add(1)), token: token}
	c.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":%q,"arguments":%s,%s}}`, c.id, name, arguments, meta)
	c.header = http.Header{
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {name},
	}
	return c
}

// whoami asks the remote whom it takes the caller for.
func whoami(token string) call { return tool(token, "aws___run_script", `{"code":"whoami"}`) }

// answer is what a client got, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the connection: there was no answer, or it broke off
	took   time.Duration
}

func (c call) request(ctx context.Context, url string) (*http.Request, error) {
	method := http.MethodPost
	if c.method != "" {
		method = c.method
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	for name, v := range c.header {
		req.Header[name] = v
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// send sends a call and reads the whole answer.
func send(ctx context.Context, client *http.Client, url string, c call) (a answer) {
	begin := time.Now()
	defer func() { a.took = time.Since(begin) }()
	req, err := c.request(ctx, url)
	if err != nil {
		return answer{err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body), err: err}
}

func (s *stand) do(c call) answer {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience) // a hang is a failure that is told, not one of the whole run
	defer cancel()
	return send(ctx, s.client, s.url, c)
}

// message is a JSON-RPC answer.
type message struct {
	JSONRPC string
	ID      json.RawMessage
	Result  json.RawMessage
	Error   *struct {
		Code    int
		Message string
	}
}

// message finds the JSON-RPC answer, in JSON or in the last event of a stream.
func (a answer) message() (m message, err error) {
	text := a.body
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		text = ""
		for line := range strings.Lines(a.body) {
			if data, ok := strings.CutPrefix(line, "data:"); ok && strings.TrimSpace(data) != "" {
				text = data
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, fmt.Errorf("read answer %q: %w", a.body, err)
	}
	return m, nil
}

// identity is whom the remote took the caller for.
type identity struct{ Role, SessionName, Output string }

// allowed checks an answer of the remote to whoami: it came, in time, whole, and under the call's own id.
func (a answer) allowed(t *testing.T, c call, within time.Duration) (who identity) {
	t.Helper()
	if a.err != nil || a.status != http.StatusOK {
		t.Errorf("%s: %d %s (%v), want 200", c.id, a.status, a.body, a.err)
		return who
	}
	if a.took > within {
		t.Errorf("%s: it took %v, want %v at most", c.id, a.took, within)
	}
	m, err := a.message()
	if err != nil || string(m.ID) != strconv.Quote(c.id) || m.Error != nil {
		t.Errorf("%s: answer %s (%v)", c.id, a.body, err)
		return who
	}
	var result struct{ StructuredContent identity }
	if err := json.Unmarshal(m.Result, &result); err != nil || result.StructuredContent.Role == "" {
		t.Errorf("%s: result %s (%v)", c.id, m.Result, err)
	}
	return result.StructuredContent
}

// verdict is how a refusal must look, as docs/design.md and docs/operations.md have it.
type verdict struct {
	status   int
	decision string        // in the log
	later    int           // Retry-After in seconds; 0 for none, soon for what depends on the provider's next fetch
	within   time.Duration // by when it must have come
	unread   bool          // decided before the body was read: the answer carries no id
}

// soon is a Retry-After between 1 and 30 s.
const soon = -1

// refused checks a refusal: status, headers, JSON-RPC form, id, deadline, secrecy, and its one line in the log.
func (s *stand) refused(c call, a answer, want verdict) {
	t := s.t
	t.Helper()
	if a.err != nil || a.status != want.status {
		t.Errorf("%s: %d %s (%v), want %d", c.id, a.status, a.body, a.err, want.status)
		return
	}
	if a.took > want.within {
		t.Errorf("%s: refused after %v, want %v at most", c.id, a.took, want.within)
	}
	m, err := a.message()
	if err != nil || m.JSONRPC != "2.0" || m.Error == nil || m.Error.Code == 0 || m.Error.Message == "" || m.Result != nil {
		t.Errorf("%s: not a JSON-RPC error: %s (%v)", c.id, a.body, err)
	}
	if id := strconv.Quote(c.id); want.unread && m.ID != nil || !want.unread && string(m.ID) != id {
		t.Errorf("%s: the answer's id is %s (unread: %v)", c.id, m.ID, want.unread)
	}
	checkHeaders(t, c, a, want)
	for _, secret := range []string{"127.", "dial", "arn:aws", "eyJ", "ASIA", "sts:", "goroutine"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("%s: the answer holds %q: %s", c.id, secret, a.body)
		}
	}
	checkLine(t, s.log, c, a, want)
}

func checkHeaders(t *testing.T, c call, a answer, want verdict) {
	t.Helper()
	for name, v := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Mcp-Session-Id": "", "Set-Cookie": "", "Location": "",
	} {
		if got := a.header.Get(name); got != v {
			t.Errorf("%s: %s: %q, want %q", c.id, name, got, v)
		}
	}
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	switch {
	case want.later == 0 && a.header.Get("Retry-After") != "",
		want.later > 0 && (err != nil || seconds != want.later),
		want.later == soon && (err != nil || seconds < 1 || seconds > 30):
		t.Errorf("%s: Retry-After: %q, want %d", c.id, a.header.Get("Retry-After"), want.later)
	}
	challenge := a.header.Get("Www-Authenticate")
	if want.status != http.StatusUnauthorized {
		if challenge != "" {
			t.Errorf("%s: a %d with WWW-Authenticate sends the client to sign in: %s", c.id, a.status, challenge)
		}
		return
	}
	for _, part := range []string{"Bearer ", `error="invalid_token"`, `resource_metadata="http://localhost:8080/.well-known/oauth-protected-resource/mcp"`} {
		if !strings.Contains(challenge, part) {
			t.Errorf("%s: WWW-Authenticate %q lacks %s", c.id, challenge, part)
		}
	}
}

// checkLine looks for the one line of the log that tells of a refusal.
func checkLine(t *testing.T, log *book, c call, a answer, want verdict) {
	t.Helper()
	id := a.header.Get("X-Request-Id")
	if id == "" {
		t.Errorf("%s: no X-Request-Id", c.id)
		return
	}
	var lines []string
	settle(func() bool { lines = log.lines(`"msg":"request"`, id); return len(lines) > 0 }) // it is written after the answer
	var line struct {
		Decision, Hint, Error string
		Status                int
	}
	if len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &line) != nil {
		t.Errorf("%s: %d lines in the log: %q", c.id, len(lines), lines)
		return
	}
	if line.Status != want.status || line.Decision != want.decision || line.Error == "" || line.Hint == "" {
		t.Errorf("%s: the log tells %s; want %d %s with an error and a hint", c.id, lines[0], want.status, want.decision)
	}
}

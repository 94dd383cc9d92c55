package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// narrow permits one tool, one prompt and one resource.
const narrow = `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: open}
spec:
  remoteUrl: REMOTE/mcp
  unauthenticated: {acknowledge: true}
  authzConfig:
    type: inline
    inline:
      policies:
        - permit(principal, action == Action::"call_tool", resource == Tool::"ok");
        - permit(principal, action == Action::"get_prompt", resource == Prompt::"hello");
        - permit(principal, action == Action::"read_resource", resource) when { resource.uri == "s3://b/k" };
        - forbid(principal, action == Action::"call_tool", resource) when { context has arg_mode && context.arg_mode == "unsafe" };
`

// reading is what somebody makes of a message: what policy is asked about.
type reading struct {
	method, name, uri string
	mode              string   // an argument
	uris              []string // of subscriptions/listen
	id                bool
}

// permitted says whether narrow lets it pass.
func (r reading) permitted() bool {
	switch r.method {
	case "tools/call":
		return r.name == "ok" && r.mode != "unsafe"
	case "prompts/get":
		return r.name == "hello"
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		return r.uri == "s3://b/k"
	case "subscriptions/listen":
		for _, uri := range r.uris {
			if uri != "s3://b/k" {
				return false
			}
		}
		return true
	case "", // an answer of the client's
		"initialize", "server/discover", "ping", "logging/setLevel", "completion/complete",
		"tools/list", "prompts/list", "resources/list", "resources/templates/list":
		return true
	}
	return strings.HasPrefix(r.method, "notifications/") && !r.id
}

// reader finds the member of an object that one kind of JSON reader finds: of equal names the first or the last, with
// names that are equal as they are, or but for case.
type reader struct{ first, fold bool }

func (r reader) member(object []byte, name string) (found json.RawMessage) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return found
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return found
		}
		if (key == name || r.fold && strings.EqualFold(key, name)) && (found == nil || !r.first) {
			found = v
		}
	}
	return found
}

// read is what the reader makes of a message. What is no string is an empty one.
func (r reader) read(message []byte) (saw reading) {
	params := r.member(message, "params")
	saw.method, saw.id = word(r.member(message, "method")), r.member(message, "id") != nil
	saw.name, saw.uri = word(r.member(params, "name")), word(r.member(params, "uri"))
	saw.mode = word(reader{first: r.first}.member(r.member(params, "arguments"), "mode")) // Mode is another argument
	if raw := (reader{first: r.first}).member(r.member(params, "arguments"), "mode"); saw.mode == "" {
		saw.mode = string(raw) // of a number, as it is written
	}
	_ = json.Unmarshal(r.member(r.member(params, "notifications"), "resourceSubscriptions"), &saw.uris)
	return saw
}

// word is a JSON string; "" for what is none.
func word(raw json.RawMessage) (s string) {
	_ = json.Unmarshal(raw, &s)
	return s
}

// structs is how most programs in Go read: names but for case, the last of equals, and members that are there twice
// are merged.
func structs(message []byte) reading {
	var m struct {
		Method string
		ID     json.RawMessage
		Params struct {
			Name, URI     string
			Arguments     map[string]json.RawMessage
			Notifications struct{ ResourceSubscriptions []string }
		}
	}
	_ = json.NewDecoder(bytes.NewReader(message)).Decode(&m) // of what is wrong in part, the rest is read
	mode := word(m.Params.Arguments["mode"])
	if mode == "" {
		mode = string(m.Params.Arguments["mode"]) // of a number, as it is written
	}
	return reading{m.Method, m.Params.Name, m.Params.URI, mode, m.Params.Notifications.ResourceSubscriptions, m.ID != nil}
}

// arrival is what reached the remote.
type arrival struct {
	body   string
	header http.Header
}

// scales is a gateway with few permissions, and a remote that keeps what reaches it.
type scales struct {
	gate    *gateway.Gateway
	mu      sync.Mutex
	arrived []arrival
}

// newScales makes a gateway by the document.
func newScales(f *testing.F, document string) *scales {
	s := &scales{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a body that breaks off is not what was sent
		s.mu.Lock()
		s.arrived = append(s.arrived, arrival{string(body), r.Header.Clone()})
		s.mu.Unlock()
		answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	f.Cleanup(backend.Close)
	gate, problems := gateway.New(load(f, strings.Replace(document, "REMOTE", backend.URL, 1)), gateway.NewHouse(nil, telemetry.NewMetrics("test", "test")), nil)
	if err := problems.Err(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { gate.Retire(nil) })
	s.gate = gate
	return s
}

// send sends a message, and gives the status and what reached the remote.
func (s *scales) send(body string, header http.Header) (int, []arrival) {
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
	r.Header = header
	r.Header["Content-Type"] = []string{"application/json"}
	w := httptest.NewRecorder()
	s.gate.ServeHTTP(w, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived := s.arrived
	s.arrived = nil
	return w.Code, arrived
}

// decoys are messages that say one thing to one reader and another to the next, beside honest ones.
var decoys = []string{
	callTool("ok", `{"mode":"safe"}`), callTool("ok", `{"mode":"unsafe"}`), callTool("bad", `{}`),
	rpc("prompts/get", `{"name":"hello"}`), rpc("prompts/get", `{"name":"other"}`),
	rpc("resources/read", `{"uri":"s3:\/\/b\/k"}`), rpc("resources/read", `{"uri":"s3:__b_k"}`), rpc("resources/subscribe", `{"uri":"s3://b/k"}`),
	rpc("tools/list", `{}`), rpc("tasks/get", `{"taskId":"1"}`), rpc("call_tool", `{"name":"ok"}`), rpc("notifications/cancelled", `{}`), initialize,
	rpc("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["s3://b/k"]}}`),
	rpc("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["s3://b/k","file:///x"],"resourcesubscriptions":[]}}`),
	rpc("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["s3://b/k","file:///x"]}}`),
	rpc("subscriptions/listen", `{"notifications":{"ResourceSubscriptions":["file:///x"]}}`), rpc("subscriptions/listen", `{"Notifications":{"resourceSubscriptions":["file:///x"]}}`),
	rpc("tools/call", `{"name":"ok","Arguments":{"mode":"unsafe"}}`), rpc("tools/call", `{"Name":"ok","name":"ok"}`), rpc("tools/call", `{"Name":"bad"}`),
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","name":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bad","name":"ok"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","Name":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","n\u0061me":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","name\u0000":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok\u0000bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"o\u006b"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok"},"params":{"name":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok"},"Params":{"name":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","param` + "\u017f" + `":{"name":"bad"},"params":{"name":"ok"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call","params":{"name":"bad"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","params":{"name":"bad"},"arguments":{"name":"bad"}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","arguments":{"mode":"safe","mode":"unsafe"}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","arguments":{"m\u006fde":"unsafe"}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","arguments":{},"Arguments":{"mode":"unsafe"}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok","arguments":[{"mode":"unsafe"}]}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1,"name":"ok"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[{"name":"ok"}]}`,
	`{"jsonrpc":"2.0","id":1e0,"method":"tools/call","params":{"name":"ok","n":1e400}}`,
	`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"bad"}}`, `{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"bad"}}`,
	`[` + callTool("ok", `{}`) + `,` + callTool("bad", `{}`) + `]`, callTool("ok", `{}`) + callTool("bad", `{}`), callTool("ok", `{}`) + "\n\x00",
	"\ufeff" + callTool("ok", `{}`), ` ` + callTool("ok", `{}`) + "\r\n", `{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}`,
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"ok\xff\"}}",
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ok"}/*,"name":"bad"*/}`,
}

// renaming offers the tool ok as fine.
const renaming = narrow + `  toolConfigRef: {name: tools}
---
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPToolConfig
metadata: {name: tools}
spec:
  toolsOverride: {ok: {name: fine}}
`

// FuzzDecidedIsSent: what reaches the remote is what was sent, byte for byte but for one value that rolegate writes
// itself (the name of a tool that is offered under another one, or baggage, which stays here), and whoever reads it, in
// whatever way JSON is read, finds something there that policy permits.
func FuzzDecidedIsSent(f *testing.F) {
	plain, renamed := newScales(f, narrow), newScales(f, renaming)
	for _, body := range decoys {
		f.Add(body, "", "", "", "")
		f.Add(strings.ReplaceAll(body, `"ok"`, `"fine"`), "", "", "", "")
	}
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{},"baggage":"user=ann"}`
	f.Add(rpc("tools/call", `{"name":"ok",`+meta+`}`), "2026-07-28", "tools/call", "ok", "")
	f.Add(rpc("tools/call", `{"name":"fine",`+meta+`}`), "2026-07-28", "tools/call", "fine", "")
	f.Add(rpc("tools/call", `{"name":"ok","arguments":{"mode":"safe"},`+meta+`}`), "2026-07-28", "tools/call", "ok", "safe")
	f.Add(rpc("tools/call", `{"name":"ok","arguments":{"mode":42.0},`+meta+`}`), "2026-07-28", "tools/call", "ok", "42")
	f.Add(rpc("tools/call", `{"name":"ok","arguments":{"mode":1e999},`+meta+`}`), "2026-07-28", "tools/call", "ok", "1e999")
	f.Add(rpc("tools/call", `{"name":"ok","arguments":{"mode":["x"],"other":"safe"},`+meta+`}`), "2026-07-28", "tools/call", "ok", "safe")
	f.Add(rpc("tools/call", `{"name":"ok","arguments":{"mode":"safe"},`+meta+`}`), "2026-07-28", "tools/call", "ok", "unsafe")
	f.Add(rpc("tools/call", `{"name":"ok",`+meta+`}`), "2026-07-28", "tools/call", "bad", "")
	f.Add(rpc("tools/call", `{"name":"bad",`+meta+`}`), "2026-07-28", "tools/call", "=?base64?b2s=?=", "")
	f.Add(rpc("resources/read", `{"uri":"s3://b/k",`+meta+`}`), "2026-07-28", "ping", "s3://b/k", "")
	f.Fuzz(func(t *testing.T, body, version, method, name, mode string) {
		for _, s := range []*scales{plain, renamed} {
			header := http.Header{}
			for key, v := range map[string]string{mcp.HeaderVersion: version, mcp.HeaderMethod: method, mcp.HeaderName: name, "Mcp-Param-Mode": mode} {
				if v != "" {
					header[key] = []string{v}
				}
			}
			s.weigh(t, body, header)
		}
	})
}

// weigh sends a message, and judges what reached the remote.
func (s *scales) weigh(t *testing.T, body string, header http.Header) {
	status, arrived := s.send(body, header)
	if len(arrived) == 0 {
		if status < 400 {
			t.Errorf("%d, and nothing reached the remote", status)
		}
		return
	}
	if len(arrived) != 1 || !json.Valid([]byte(body)) {
		t.Fatalf("%q was sent, and %d messages arrived: %q", body, len(arrived), arrived)
	}
	got := arrived[0].body
	if !rewritten(body, got, 2) {
		t.Fatalf("%q was sent, and %q arrived", body, got)
	}
	raw := []byte(got)
	for _, saw := range []reading{
		structs(raw), reader{first: true}.read(raw), reader{}.read(raw), reader{first: true, fold: true}.read(raw), reader{fold: true}.read(raw),
	} {
		if !saw.permitted() || raw[bytes.IndexAny(raw, "[{")] == '[' {
			t.Errorf("%q passed as %q, and somebody reads %+v", body, got, saw)
		}
		byHeader(t, saw, arrived[0].header)
	}
}

// rewritten says whether got is what was sent, but for as many values at most in whose place the gateway's own stand.
func rewritten(sent, got string, most int) bool {
	if sent == got || most == 0 {
		return sent == got
	}
	same := 0
	for same < min(len(sent), len(got)) && sent[same] == got[same] {
		same++
	}
	for _, own := range []string{`"ok"`, `""`} {
		for at := same; at >= max(0, same-len(own)); at-- {
			if !strings.HasPrefix(got[at:], own) {
				continue
			}
			for end := at + 1; end <= len(sent); end++ {
				if json.Valid([]byte(sent[at:end])) && rewritten(sent[end:], got[at+len(own):], most-1) {
					return true
				}
			}
		}
	}
	return false
}

// byHeader is a reader of the headers that repeat the message.
func byHeader(t *testing.T, saw reading, h http.Header) {
	if v := h.Get(mcp.HeaderMethod); v != "" && v != saw.method {
		t.Errorf("Mcp-Method is %q, the method is %q", v, saw.method)
	}
	v, mode := decoded(h.Get(mcp.HeaderName)), decoded(h.Get("Mcp-Param-Mode"))
	within := strings.HasPrefix(saw.mode, "{") || strings.HasPrefix(saw.mode, "[") // the header may mirror a part of it
	if mode != "" && saw.mode != "" && !within && mode != saw.mode && !sameNumber(mode, saw.mode) {
		t.Errorf("Mcp-Param-Mode is %q, the argument is %q", mode, saw.mode)
	}
	switch {
	case v == "":
	case saw.method == "tools/call" || saw.method == "prompts/get":
		if v != saw.name {
			t.Errorf("Mcp-Name is %q, the name is %q", v, saw.name)
		}
	case strings.HasPrefix(saw.method, "resources/") && !strings.HasSuffix(saw.method, "list"):
		if v != saw.uri {
			t.Errorf("Mcp-Name is %q, the URI is %q", v, saw.uri)
		}
	}
}

// decoded is the value of a header that may be encoded.
func decoded(v string) string {
	if coded, ok := strings.CutPrefix(v, "=?base64?"); ok && strings.HasSuffix(coded, "?=") {
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSuffix(coded, "?=")) // else nothing equals it
		return string(b)
	}
	return v
}

func sameNumber(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && x == y
}

// TestTheScalesAreTrue: the readers of the fuzz target tell decoys apart, and what is permitted does pass.
func TestTheScalesAreTrue(t *testing.T) {
	for message, want := range map[string][5]string{ // structs, first, last, first and last but for case
		`{"params":{"name":"a","name":"b"}}`:                 {"b", "a", "b", "a", "b"},
		`{"params":{"name":"a","NAME":"b"}}`:                 {"b", "a", "a", "a", "b"},
		`{"params":{"name":"a"},"params":{"n\u0061me":"b"}}`: {"b", "a", "b", "a", "b"},
		`{"params":{"name":"a"},"Params":{}}`:                {"a", "a", "a", "a", ""},
	} {
		raw := []byte(message)
		got := [5]string{
			structs(raw).name, reader{first: true}.read(raw).name, reader{}.read(raw).name,
			reader{first: true, fold: true}.read(raw).name, reader{fold: true}.read(raw).name,
		}
		if got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
}

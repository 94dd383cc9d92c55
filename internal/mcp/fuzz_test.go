package mcp_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// loose is the message as encoding/json reads it into a struct: names in any case, the last of equals wins.
type loose struct {
	Method string
	ID     json.RawMessage
	Params json.RawMessage
}

type looseParams struct {
	Name, URI     json.RawMessage
	Arguments     json.RawMessage
	Notifications json.RawMessage
}

// unlessNull is raw; nil where it is null.
func unlessNull(raw json.RawMessage) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// membersAgree holds what a call gives of params against another reading of them.
func membersAgree(t *testing.T, c *mcp.Call, params map[string]json.RawMessage, first bool) {
	if c.Kind == mcp.Response {
		params = nil
	}
	if want := unlessNull(params["arguments"]); !bytes.Equal(want, c.Arguments()) {
		t.Errorf("arguments %s, another reader finds %s", c.Arguments(), want)
	}
	filter := unlessNull(params["notifications"])
	list, ok := c.Subscriptions()
	if want := unlessNull(members(filter, first)["resourceSubscriptions"]); !bytes.Equal(want, list) || ok != (filter == nil || filter[0] == '{') {
		t.Errorf("subscriptions %s %v, another reader finds %s", list, ok, want)
	}
	word := func(raw json.RawMessage) (s string) {
		_ = json.Unmarshal(raw, &s)
		return s
	}
	meta := members(params["_meta"], first)
	parent, state := c.Trace()
	if word(meta["traceparent"]) != parent || word(meta["tracestate"]) != state {
		t.Errorf("trace %q %q, another reader finds %s", parent, state, params["_meta"])
	}
	info := json.RawMessage(nil)
	if c.Era == mcp.Modern {
		info = meta["io.modelcontextprotocol/clientInfo"]
	}
	if info == nil && c.Method == mcp.MethodInitialize {
		info = params["clientInfo"]
	}
	client := members(info, first)
	if name, version := c.Client(); word(client["name"]) != name || word(client["version"]) != version {
		t.Errorf("client %q %q, another reader finds %s", name, version, info)
	}
}

// members are the members of an object as a reader finds them that wants exact names; first says which of equals wins.
func members(raw []byte, first bool) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return nil
		}
		if _, there := m[name]; !there || !first {
			m[name] = v
		}
	}
	return m
}

// FuzzRead holds what is read against three other readings of the same bytes.
func FuzzRead(f *testing.F) {
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":[1,-2.5e3,true,null]}}}`,
		`{"jsonrpc":"2.0","id":"x","method":"resources/read","params":{"uri":"a:b\/\u00e9\ud83d\ude00"}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`, `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"name":1e999}}`,
		`{"jsonrpc":"2.0","id":1,"ID":2,"method":"ping"}`, `{"id":1,"id":2}`, `{"id":1,"\u0069d":2}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","NAME":"u","na\u006de":"v"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"x","param` + "\u017f" + `":{}}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", ``, ` `, `{}x`,
	} {
		f.Add(body, "", "", "")
	}
	f.Add(modern("tools/call", `"name":"t"`), "2026-07-28", "tools/call", "t")
	f.Add(modern("tools/call", `"name":"é"`), "2026-07-28", "tools/call", "=?base64?w6k=?=")
	f.Add(modern("tools/list", ""), "2025-11-25", "tools/list", "")
	for _, params := range []string{
		`"clientInfo":{"name":"a","version":"1"}`, `"clientInfo":[{"name":"a"}]`, `"arguments":null`, `"arguments":[]`, `"arguments":{"a":{"arguments":1}}`,
		`"notifications":{"resourceSubscriptions":["a:b"]}`, `"notifications":null`, `"notifications":[{"resourceSubscriptions":["a:b"]}]`,
		`"notifications":{"ResourceSubscriptions":["a:b"]}`, `"notifications":{"resourceSub` + "\u017f" + `criptions":[],"resourceSubscriptions":["a"]}`,
		`"_meta":{"traceparent":"00-a","tracestate":1,"io.modelcontextprotocol/clientInfo":{"name":7,"vers\u0069on":"\u0031"}}`,
	} {
		f.Add(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{`+params+`}}`, "", "", "")
		f.Add(modern("server/discover", params), "2026-07-28", "server/discover", "")
	}
	f.Add(modern("server/discover", `"a":1`), "2026-07-28", "server/discover", "")
	f.Add(strings.Replace(modern("ping", ""), `"_meta":{`, `"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"a\n","version":"2"},"traceparent":"x",`, 1), "2026-07-28", "ping", "")
	f.Fuzz(func(t *testing.T, body, version, method, name string) {
		r := post(body)
		for header, v := range map[string]string{mcp.HeaderVersion: version, mcp.HeaderMethod: method, mcp.HeaderName: name} {
			if v != "" {
				r.Header[header] = []string{v}
			}
		}
		c, err := mcp.Read(httptest.NewRecorder(), r, mcp.Limits{})
		defer c.Release()
		raw := []byte(body)
		if c.ID != nil {
			for _, first := range []bool{true, false} {
				if id := members(raw, first)["id"]; !bytes.Equal(id, c.ID) {
					t.Errorf("id %s, another reader finds %s", c.ID, id)
				}
			}
		}
		if err != nil {
			refused(t, asFault(t, err), c.ID)
			return
		}
		if got, err := io.ReadAll(c.Open()); err != nil || string(got) != body {
			t.Errorf("body %q (%v)", got, err)
		}
		agrees(t, c, raw)
		if c.Era == mcp.Modern && (version != mcp.Version20260728 || c.Kind == mcp.Request && method != c.Method) {
			t.Errorf("modern with headers %q, %q", version, method)
		}
	})
}

// refused checks that a refusal is a JSON-RPC error with that id.
func refused(t *testing.T, e *fault.Error, id []byte) {
	w := httptest.NewRecorder()
	mcp.WriteError(w, e, id)
	m := members(w.Body.Bytes(), true)
	if !json.Valid(w.Body.Bytes()) || m["error"] == nil || !bytes.Equal(m["id"], id) {
		t.Errorf("answer %s to the request %q", w.Body, id)
	}
}

// agrees holds an accepted call against the other readings.
func agrees(t *testing.T, c *mcp.Call, body []byte) {
	if !jsontext.Value(body).IsValid() {
		t.Fatalf("jsontext finds no valid message in %q", body)
	}
	for _, first := range []bool{true, false} {
		m := members(body, first)
		if m["params"] != nil && m["params"][0] != '{' && c.Kind != mcp.Response {
			t.Errorf("params %s", m["params"])
		}
		p := members(m["params"], first)
		var method, name, uri string
		_ = json.Unmarshal(m["method"], &method)
		_ = json.Unmarshal(p["name"], &name)
		_ = json.Unmarshal(p["uri"], &uri)
		if method != c.Method || !bytes.Equal(m["params"], c.Params) {
			t.Errorf("%q %s, another reader finds %q %s", c.Method, c.Params, method, m["params"])
		}
		if c.Target != "" && c.Target != name && c.Target != uri {
			t.Errorf("target %q, another reader finds %q and %q", c.Target, name, uri)
		}
		membersAgree(t, c, p, first)
	}
	var l loose
	var p looseParams
	if err := json.Unmarshal(body, &l); err != nil {
		t.Errorf("another reader finds no message: %v", err)
	}
	if l.Method != c.Method || !bytes.Equal(l.ID, c.ID) || !bytes.Equal(l.Params, c.Params) {
		t.Errorf("call %+v, a reader without case finds %+v", c, l)
	}
	if c.Params != nil {
		if err := json.Unmarshal(l.Params, &p); err != nil {
			t.Errorf("another reader finds no params: %v", err)
		}
	}
	if c.Target != "" && !sameText(p.Name, c.Target) && !sameText(p.URI, c.Target) {
		t.Errorf("target %q, a reader without case finds %+v", c.Target, p)
	}
	if c.Kind == mcp.Response {
		return
	}
	if !bytes.Equal(unlessNull(p.Arguments), c.Arguments()) {
		t.Errorf("arguments %s, a reader without case finds %s", c.Arguments(), p.Arguments)
	}
	var filter struct{ ResourceSubscriptions json.RawMessage }
	if list, ok := c.Subscriptions(); ok && p.Notifications != nil {
		if err := json.Unmarshal(p.Notifications, &filter); err != nil || !bytes.Equal(unlessNull(filter.ResourceSubscriptions), list) {
			t.Errorf("subscriptions %s, a reader without case finds %s (%v)", list, p.Notifications, err)
		}
	}
}

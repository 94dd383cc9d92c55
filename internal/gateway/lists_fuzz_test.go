package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// offer is what the remote answers.
type offer struct {
	contentType, body string
	zipped            bool
	status            int
}

// shopWindow is a gateway with few permissions before a remote that answers everything with one offer.
type shopWindow struct {
	gate *gateway.Gateway
	next atomic.Pointer[offer]
}

func newShopWindow(tb testing.TB) *shopWindow {
	s := &shopWindow{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		o := s.next.Load()
		body := []byte(o.body)
		if w.Header().Set("Content-Type", o.contentType); o.zipped {
			w.Header().Set("Content-Encoding", "gzip")
			body = zip(o.body)
		}
		w.WriteHeader(o.status)
		_, _ = w.Write(body)
	}))
	tb.Cleanup(backend.Close)
	gate, problems := gateway.New(load(tb, strings.Replace(narrow, "REMOTE", backend.URL, 1)), gateway.NewHouse(nil, telemetry.NewMetrics("test", "test")), nil)
	if err := problems.Err(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { gate.Retire(nil) })
	s.gate = gate
	return s
}

// show has a client ask while the remote offers o.
func (s *shopWindow) show(o offer, method, body string) *httptest.ResponseRecorder {
	s.next.Store(&o)
	r := httptest.NewRequest(method, "/mcp", strings.NewReader(body))
	if r.Header.Set("Accept", "application/json, text/event-stream"); body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		s.gate.ServeHTTP(w, r)
	}()
	return w
}

// eventData is the data of each event of a stream, as those read it who know CR, CRLF and LF for the end of a line, or
// LF alone. One without an end is read too.
func eventData(stream string, lf bool) (events []string) {
	stream = strings.ReplaceAll(strings.TrimPrefix(stream, "\ufeff"), "\r\n", "\n")
	if !lf {
		stream = strings.ReplaceAll(stream, "\r", "\n")
	}
	var data []string
	for line := range strings.SplitSeq(stream, "\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			events, data = append(events, strings.Join(data, "\n")), nil
		case name == "data":
			data = append(data, value)
		}
	}
	return append(events, strings.Join(data, "\n"))
}

// hiddenItem is an item of a list that narrow does not permit, as a reader finds it in a message; "" without one.
func (r reader) hiddenItem(message []byte) string {
	result := r.member(message, "result")
	for list, permitted := range map[string]reading{
		"tools": {method: "tools/call", name: "ok"}, "prompts": {method: "prompts/get", name: "hello"},
		"resources": {method: "resources/read", uri: "s3://b/k"}, "resourceTemplates": {method: "resources/read", uri: "s3://b/k"},
	} {
		var items []json.RawMessage
		_ = json.Unmarshal(r.member(result, list), &items) // what is no list has none
		for _, item := range items {
			var name, uri, template string
			_ = json.Unmarshal(r.member(item, "name"), &name)
			_ = json.Unmarshal(r.member(item, "uri"), &uri)
			_ = json.Unmarshal(r.member(item, "uriTemplate"), &template)
			if list == "resourceTemplates" {
				uri = template
			}
			if permitted.name != "" && name != permitted.name || permitted.uri != "" && uri != permitted.uri {
				return string(item)
			}
		}
	}
	return ""
}

// wares are answers with and without lists, honest and otherwise.
var wares = []string{
	secretList, secretText, toolsAnswer, "data: " + secretList + "\n\n", "id: 1\ndata: " + secretText + "\n\n", "data: \r\r" + secretList + "\n\n",
	"[" + secretList + "]", "\ufeff" + secretList, secretList + "\n\n", secretList + secretList, "{}" + secretList, "Accepted", "<html>",
	strings.Replace(secretList, "tools", "Tools", 1), strings.Replace(secretList, "result", "Result", 1), strings.Replace(secretList, "tools", `t\u006fols`, 1),
	strings.Replace(secretList, `"result":`, `"result":{},"result":`, 1), strings.Replace(secretList, `"tools":`, `"tools":[],"tools":`, 1),
	strings.Replace(secretList, `"tools":`, `"content":[{"tools":[]}],"tools":`, 1),
	`{"id":1,"result":{"prompts":[{"name":"other"},{"name":"hello"}]}}`, `{"id":1,"result":{"resources":[{"uri":"s3://b/k"},{"uri":"s3://b/other"}]}}`,
	`{"id":1,"result":{"resourceTemplates":[{"uriTemplate":"s3://{b}"}]}}`, `{"id":1,"error":{"code":1,"message":"m","data":{"tools":[{"name":"secret"}]}}}`,
}

// FuzzListsThroughGateway: whatever was asked and whatever the remote answers, in whatever form, no client finds in it
// an item of a list that it may not use.
func FuzzListsThroughGateway(f *testing.F) {
	s := newShopWindow(f)
	asks := []string{
		listTools, callTool("ok", `{}`), rpc("prompts/get", `{"name":"hello"}`), rpc("resources/read", `{"uri":"s3://b/k"}`), rpc("completion/complete", `{}`),
		rpc("ping", `{}`), initialize, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`,
		rpc("resources/templates/list", `{}`), http.MethodGet, http.MethodDelete,
	}
	for i, ware := range wares {
		for ask := range asks {
			contentType := []string{"application/json", "text/event-stream", "text/plain", "text/event-stream, text/event-stream", "text/event-stream, application/json"}[(i+ask)%5]
			f.Add(ware, contentType, uint8(ask), i%3 == 0, uint16(200))
		}
		f.Add(ware, "text/event-stream", uint8(1), false, uint16(200))
		f.Add(ware, "application/json", uint8(1), false, uint16(202))
		f.Add(ware, "application/json", uint8(i%len(asks)), false, uint16(400))
	}
	f.Fuzz(func(t *testing.T, ware, contentType string, ask uint8, zipped bool, status uint16) {
		method, body := http.MethodPost, asks[int(ask)%len(asks)]
		if body == http.MethodGet || body == http.MethodDelete {
			method, body = body, ""
		}
		w := s.show(offer{contentType, ware, zipped, 200 + int(status)%400}, method, body)
		got, said := w.Body.String(), strings.ToLower(strings.Join(w.Result().Header["Content-Type"], ", "))
		if w.Header().Get("Content-Encoding") != "" {
			t.Errorf("what is compressed passes: %q", got)
		}
		stream := strings.Contains(said, "text/event-stream")
		var messages []string
		if !stream || strings.Contains(said, "json") {
			messages = append(messages, got)
		}
		if stream || method == http.MethodGet && w.Code < 300 { // some look at the type no more, having sent a GET
			messages = append(append(messages, eventData(got, false)...), eventData(got, true)...)
		}
		for _, m := range messages {
			for _, r := range []reader{{}, {first: true}, {fold: true}, {first: true, fold: true}} {
				if item := r.hiddenItem([]byte(m)); item != "" {
					t.Errorf("%s %s, answered %d %q: somebody reads %s in %q", method, body, w.Code, said, item, got)
				}
			}
		}
	})
}

// TestTheShopWindowIsTrue: the readers of the fuzz target find what is hidden, and what may be used does pass.
func TestTheShopWindowIsTrue(t *testing.T) {
	for message, want := range map[string][2]string{ // as it is written, and but for case
		secretList: {`{"name":"secret"}`, `{"name":"secret"}`},
		strings.Replace(secretList, "tools", "TOOLS", 1): {"", `{"name":"secret"}`},
		secretText: {"", ""},
	} {
		if got := [2]string{reader{}.hiddenItem([]byte(message)), reader{fold: true}.hiddenItem([]byte(message))}; got != want {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
	if got := eventData("data: \r\r{}\n\n", true); len(got) == 0 || got[0] != " \r\r{}" {
		t.Errorf("%q", got)
	}
	if got := eventData("data:a\r\rdata:b\r\n\r\n", false); strings.Join(got, "|") != "a|b||" {
		t.Errorf("%q", got)
	}
	s := newShopWindow(t)
	w := s.show(offer{"application/json", secretText, false, 200}, http.MethodPost, callTool("ok", `{}`))
	if got, _ := io.ReadAll(w.Result().Body); string(got) != secretText {
		t.Errorf("%d %s", w.Code, got)
	}
	w = s.show(offer{"text/event-stream", "data: " + secretList + "\n\n", true, 200}, http.MethodPost, listTools)
	if got := w.Body.String(); !strings.Contains(got, `[{"name":"ok"}]`) {
		t.Errorf("%d %s", w.Code, got)
	}
}

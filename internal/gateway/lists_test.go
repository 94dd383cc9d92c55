package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	permitOK   = `permit(principal, action == Action::"call_tool", resource == Tool::"ok");`
	secretList = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"ok"},{"name":"secret"}]}}`
	secretText = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"secret"}],"structuredContent":{"tools":[{"name":"secret"}]}}}`
)

// says answers every request alike.
func says(contentType string, status int, body string) *standIn {
	return &standIn{answer: func(w http.ResponseWriter, _ *http.Request, _ string, _ []byte) {
		w.Header()["Content-Type"] = strings.Split(contentType, "|")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}}
}

// TestNoListComesAnotherWay: a client that gives two requests the same id can have a list come as the answer to one that
// asks for something else, and a client may take for a stream, or for JSON, what calls itself something else.
func TestNoListComesAnotherWay(t *testing.T) {
	event := "data: " + secretList + "\n\n"
	requests := map[string]call{
		"call": {body: callTool("ok", `{}`)}, "completion": {body: rpc("completion/complete", `{}`)}, "ping": {body: rpc("ping", `{}`)},
		"initialize": {body: initialize}, "list": {body: listTools}, "notification": {body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`},
		"response": {body: `{"jsonrpc":"2.0","id":1,"result":{}}`}, "GET": {method: http.MethodGet}, "DELETE": {method: http.MethodDelete},
	}
	for name, answer := range map[string]struct{ contentType, body string }{
		"JSON":                       {"application/json", secretList},
		"no type":                    {"", secretList},
		"page":                       {"text/html", secretList},
		"JSON of another case":       {"application/json", strings.Replace(secretList, "tools", "Tools", 1)},
		"result of another case":     {"application/json", strings.Replace(secretList, "result", "Result", 1)},
		"batch":                      {"application/json", "[" + secretList + "]"},
		"long before it":             {"application/json", strings.Replace(secretList, `"tools"`, `"content":"`+strings.Repeat("c", 100<<10)+`","tools"`, 1)},
		"stream":                     {"text/event-stream", event},
		"stream, CR":                 {"text/event-stream", "data: \r\r" + secretList + "\n\n"},
		"stream, twice":              {"text/event-stream, text/event-stream", event},
		"stream, in two headers":     {"text/event-stream|text/event-stream", event},
		"stream, two charsets":       {"text/event-stream; charset=utf-8; charset=utf-8", event},
		"stream, a quote":            {`text/event-stream; charset="utf-8`, event},
		"stream, capital":            {"Text/Event-Stream", event},
		"stream or JSON":             {"application/json, text/event-stream", event},
		"JSON or stream":             {"text/event-stream, application/json", secretList + "\n\n"},
		"JSON or stream, in headers": {"text/event-stream|application/json", secretList + "\n\n"},
	} {
		s := stage(t, says(answer.contentType, 200, answer.body).before(t), policies(permitOK))
		for request, c := range requests {
			c.user = "ann"
			resp, err := http.DefaultClient.Do(s.request(t.Context(), c))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body) // what breaks off is not shown either
			_ = resp.Body.Close()
			if strings.Contains(string(body), "secret") {
				t.Errorf("%s, %s: %d %v %s", request, name, resp.StatusCode, resp.Header, body)
			}
			if json := strings.Contains(name, "JSON"); resp.StatusCode == 200 && json && (request == "call" || request == "ping") {
				t.Errorf("%s, %s: 200 %s", request, name, body)
			}
		}
	}
	// A client that reads whatever a GET gives as a stream.
	for _, contentType := range []string{"text/plain", "application/json", ""} {
		s := stage(t, says(contentType, 200, event).before(t), policies(permitOK))
		s.do(call{user: "ann", method: http.MethodGet}).refused(t, 502)
	}
}

// TestOtherAnswersPassUntouched: byte for byte, whatever stands deeper in a result, and however the answer comes.
func TestOtherAnswersPassUntouched(t *testing.T) {
	long := strings.Replace(secretText, "secret", strings.Repeat(`secret \u00e9 `, 100<<10), 1)
	odd := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"\ud800","a":1,"a":2}],"content":[]}}` + "\n"
	call1 := call{user: "ann", body: callTool("ok", `{}`)}
	ready := call{user: "ann", body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`}
	for name, tt := range map[string]struct {
		c      call
		status int
		body   string
	}{
		"a result": {call1, 200, secretText}, "a long one": {call1, 200, long}, "what is ambiguous": {call1, 200, odd}, "no body": {call1, 200, ""},
		"an error": {call1, 200, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"tools","data":{"tools":[]}}}`},
		"a page":   {call1, 404, "<html>no result</html>"}, "words to a call": {call1, 202, "Accepted"},
		"words": {ready, 202, "Accepted"}, "words with 200": {ready, 200, "ok"}, "an object": {ready, 200, "{}"},
		"no stream": {call{user: "ann", method: http.MethodGet}, 405, "Method Not Allowed"}, "the end": {call{user: "ann", method: http.MethodDelete}, 200, `{"ok":true}`},
	} {
		for _, contentType := range []string{"application/json", "text/plain"} {
			s := stage(t, says(contentType, tt.status, tt.body).before(t), policies(permitOK))
			a := s.do(tt.c)
			if a.status != tt.status || a.body != tt.body || a.header.Get("Content-Type") != contentType && tt.body != "" {
				t.Errorf("%s: %d %v, %d bytes: %.200s", name, a.status, a.header, len(a.body), a.body)
			}
		}
	}
	zipped := &standIn{answer: func(w http.ResponseWriter, _ *http.Request, _ string, _ []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		answerJSON(w, string(zip(long)))
	}}
	if a := stage(t, zipped.before(t), policies(permitOK)).do(call1); a.status != 200 || a.body != long || a.header.Get("Content-Encoding") != "" {
		t.Errorf("gzip: %d %v, %d bytes", a.status, a.header, len(a.body))
	}
	coded := &standIn{answer: func(w http.ResponseWriter, _ *http.Request, _ string, _ []byte) {
		w.Header().Set("Content-Encoding", "br")
		answerJSON(w, secretText)
	}}
	stage(t, coded.before(t), policies(permitOK)).do(call1).refused(t, 502)
}

// TestALongAnswerIsNotKept: what has been looked at is on its way before the rest comes; at a list the answer breaks off.
func TestALongAnswerIsNotKept(t *testing.T) {
	next := make(chan struct{})
	r := &standIn{answer: func(w http.ResponseWriter, r *http.Request, _ string, _ []byte) {
		w.Header().Set("Content-Type", "application/json")
		for _, part := range []string{`{"jsonrpc":"2.0","id":1,"result":{"content":"begun`, ` and gone on"`, `,"tools":[{"name":"secret"}]}}`} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	}}
	s := stage(t, r.before(t), policies(permitOK))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resp, err := http.DefaultClient.Do(s.request(ctx, call{user: "ann", body: callTool("ok", `{}`)}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got string
	for _, want := range []string{"begun", "gone on"} {
		for p := make([]byte, 200); !strings.Contains(got, want); {
			n, err := resp.Body.Read(p)
			if got += string(p[:n]); err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		next <- struct{}{}
	}
	rest, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(string(rest), "secret") {
		t.Errorf("%q, %v", rest, err)
	}
	eventually(t, "the log tells why", func() bool {
		return strings.Contains(s.log.String(), "a list, in the answer to a request that asks for no list")
	})
}

// TestASilentCompressedStreamBegins: its headers do not wait for its first bytes.
func TestASilentCompressedStreamBegins(t *testing.T) {
	r := &standIn{answer: func(w http.ResponseWriter, r *http.Request, _ string, _ []byte) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}}
	s := stage(t, r.before(t), policies(permitOK))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := http.DefaultClient.Do(s.request(ctx, call{user: "ann", method: http.MethodGet}))
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "" {
		t.Error(resp.StatusCode, resp.Header)
	}
}

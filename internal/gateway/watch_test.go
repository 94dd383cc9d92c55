package gateway_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/gateway"
)

// recording turns records of answers on.
func recording(more string) edit {
	return replace("    enabled: true\n", "    enabled: true\n    includeResponseData: true\n"+more)
}

// TestAnswersAreRecordedWhereTheSettingsAsk: what the client got, bounded and without what is redacted.
func TestAnswersAreRecordedWhereTheSettingsAsk(t *testing.T) {
	long := strings.Repeat("y", 200)
	answers := map[string]func(w http.ResponseWriter){
		"json": func(w http.ResponseWriter) {
			answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"{\"pin\":1}"}],"structuredContent":[{"apiKey":"xx-secret-xx","shoe_size":"xx-secret-xx"}]}}`)
		},
		"events": func(w http.ResponseWriter) {
			events(w, progress, `{"jsonrpc":"2.0","id":7,"result":{"not":"ours"}}`, `{"jsonrpc":"2.0","id":1,"result":{"is":"ours"}}`)
		},
		"error": func(w http.ResponseWriter) {
			answerJSON(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{"password":"xx-secret-xx"}}}`)
		},
		"long": func(w http.ResponseWriter) {
			answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"secret":"xx-secret-xx","b":"`+long+`"}}`)
		},
		"none": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"html": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"breaks": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"a":"so far`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	remote := &standIn{answer: func(w http.ResponseWriter, r *http.Request, method string, _ []byte) {
		if method == "tools/list" {
			answerJSON(w, toolsAnswer)
			return
		}
		answers[r.UserAgent()](w)
	}}
	s := watch(t, remote.before(t), recording("    maxDataSize: 150\n    redactKeys: [shoe_size]\n    excludeEventTypes: [mcp_ping]\n"),
		policies(`permit(principal, action, resource) unless { resource == Tool::"drop_table" };`))
	s.hide("xx-secret-xx")
	for name, want := range map[string]facts{
		"json": {"response_cut": nil, "response": map[string]any{
			"content":           []any{map[string]any{"type": "text", "text": `{"pin":1}`}},
			"structuredContent": []any{map[string]any{"apiKey": "[redacted]", "shoe_size": "[redacted]"}},
		}},
		"events": {"response": map[string]any{"is": "ours"}, "stream": true},
		"error":  {"response": map[string]any{"code": -32602, "message": "no", "data": map[string]any{"password": "[redacted]"}}, "rpc_code": -32602},
		"long":   {"response": nil, "response_cut": (`{"secret":"[redacted]","b":"` + long)[:150]},
		"none":   {"response": nil, "response_cut": nil, "status": 503},
		"html":   {"response": nil, "response_cut": nil},
		"breaks": {"response": nil, "response_cut": `{"a":"so far`, "outcome": "failure"},
	} {
		resp, err := http.DefaultClient.Do(s.request(t.Context(), call{token: s.tokens["ann"], body: callTool("ok", "{}"), headers: map[string]string{"User-Agent": name}}))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // one of them breaks off
		_ = resp.Body.Close()
		if diff := want.holds(s.by(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	s.do(call{token: s.tokens["ann"], body: listTools, headers: map[string]string{"User-Agent": "list"}})
	if r := s.by("list"); !bytes.Contains(r.Response, []byte("read_doc")) || bytes.Contains(r.Response, []byte("drop_table")) || r.Hidden != 1 {
		t.Errorf("a list: %s, %d hidden", r.Response, r.Hidden)
	}
	s.do(call{body: listTools, headers: map[string]string{"User-Agent": "refused"}})
	if diff := (facts{"response": nil, "response_cut": nil, "status": 401}).holds(s.by("refused")); diff != "" {
		t.Error(diff)
	}
}

// TestAnswersAreNotRecordedOtherwise, with arguments or without.
func TestAnswersAreNotRecordedOtherwise(t *testing.T) {
	s := watch(t, behind(t, act), replace("    enabled: true\n", "    enabled: true\n    includeRequestData: true\n"))
	s.do(call{token: s.tokens["ann"], body: callTool("ok", `{"a":1}`), headers: map[string]string{"User-Agent": "it"}})
	if diff := (facts{"response": nil, "response_cut": nil, "arguments": map[string]any{"a": 1}}).holds(s.by("it")); diff != "" {
		t.Error(diff)
	}
}

func zip(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.Bytes()
}

// TestAnswersInGzipAreUnderstood, and pass byte for byte, whether they can be understood or not.
func TestAnswersInGzipAreUnderstood(t *testing.T) {
	whole := zip(toolError)
	broken := bytes.Clone(whole)
	broken[len(broken)-6] ^= 1 // of the checksum
	data := bytes.Clone(whole)
	data[14] ^= 0xff
	event := "data: " + toolError + "\n\n"
	bomb := bytes.Join([][]byte{ // 65 MiB that are small
		zip(`{"jsonrpc":"2.0","id":1,"result":{"a":"`), bytes.Repeat(zip(strings.Repeat("x", 1<<20)), 65), zip(`","isError":true}}`),
	}, nil)
	tests := map[string]struct {
		body    []byte
		coding  string
		stream  bool
		outcome string
		kept    any
	}{
		"JSON":                   {body: whole, outcome: "application_error", kept: map[string]any{"isError": true, "content": []any{map[string]any{"type": "text", "text": "no"}}}},
		"events":                 {body: zip(event), stream: true, outcome: "application_error", kept: map[string]any{"isError": true, "content": []any{map[string]any{"type": "text", "text": "no"}}}},
		"an old name":            {body: whole, coding: "x-gzip", outcome: "application_error", kept: map[string]any{"isError": true, "content": []any{map[string]any{"type": "text", "text": "no"}}}},
		"a result":               {body: zip(okResult), outcome: "success", kept: map[string]any{"content": []any{}}},
		"two members":            {body: append(zip(toolError[:20]), zip(toolError[20:])...), outcome: "application_error", kept: map[string]any{"isError": true, "content": []any{map[string]any{"type": "text", "text": "no"}}}},
		"large":                  {body: zip(`{"jsonrpc":"2.0","id":1,"result":{"isError":true,"a":"` + strings.Repeat("x", 5<<20) + `"}}`), outcome: "application_error"},
		"without its end":        {body: whole[:len(whole)-4], outcome: "application_error", kept: map[string]any{"isError": true, "content": []any{map[string]any{"type": "text", "text": "no"}}}},
		"a wrong checksum":       {body: broken, outcome: "success"},
		"broken":                 {body: data, outcome: "success"},
		"no gzip":                {body: []byte(toolError), outcome: "success"},
		"events that are broken": {body: append(zip(event), "xxxxxxxxxxxxxxxx"...), stream: true, outcome: "success"},
		"nothing":                {outcome: "success"},
		"another coding":         {body: whole, coding: "br", outcome: "success"},
		"too large":              {body: bomb, outcome: "success"},
	}
	s := watch(t, recording(""), behind(t, func(w http.ResponseWriter, r *http.Request) {
		test := tests[r.UserAgent()]
		w.Header().Set("Content-Type", map[bool]string{true: "text/event-stream", false: "application/json"}[test.stream])
		w.Header().Set("Content-Encoding", cmp.Or(test.coding, "gzip"))
		for rest := test.body; len(rest) > 0; { // in pieces
			n := min(len(rest), 1+len(test.body)/3)
			_, _ = w.Write(rest[:n])
			_ = http.NewResponseController(w).Flush()
			rest = rest[n:]
		}
	}))
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			resp, err := client.Do(s.request(t.Context(), call{token: s.tokens["ann"], body: callTool("ok", "{}"), headers: map[string]string{"User-Agent": name}}))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			got, err := io.ReadAll(resp.Body)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(test.body) || resp.Header.Get("Content-Encoding") == "" {
				t.Errorf("%d bytes of %d, %v, coding %q", len(got), len(test.body), err, resp.Header.Get("Content-Encoding"))
			}
			want := facts{"outcome": test.outcome, "status": 200, "bytes": len(test.body), "response": test.kept, "error": nil}
			if len(test.body) == 0 {
				want["bytes"] = nil
			}
			if diff := want.holds(s.by(name)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAStreamInGzipIsNotHeldBack: each piece is on its way before the next one comes.
func TestAStreamInGzipIsNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	s := watch(t, behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for _, m := range []string{progress, progress, toolError} {
			_, _ = io.WriteString(z, "data: "+m+"\n\n")
			_ = z.Flush()
			_ = http.NewResponseController(w).Flush()
			<-next
		}
		_ = z.Close()
	}))
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(s.request(t.Context(), call{token: s.tokens["ann"], body: callTool("ok", "{}"), headers: map[string]string{"User-Agent": "it"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(z)
	for _, m := range []string{progress, progress, toolError} {
		if line, err := lines.ReadString('\n'); line != "data: "+m+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = lines.ReadString('\n')
		next <- struct{}{}
	}
	if diff := (facts{"outcome": "application_error", "is_error": true, "stream": true}).holds(s.by("it")); diff != "" {
		t.Error(diff)
	}
}

// TestTheConsoleShowsNoDataThatNobodyAskedFor: where no records are kept, the page shows neither arguments nor answers; where
// they are, it shows what the records hold.
func TestTheConsoleShowsNoDataThatNobodyAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		audit string
		shown bool
	}{
		"no records":           {"    enabled: false\n    includeRequestData: true\n    includeResponseData: true\n", false},
		"records without data": {"    enabled: true\n", false},
		"records with data":    {"    enabled: true\n    includeRequestData: true\n    includeResponseData: true\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, behind(t, act), replace("    enabled: true\n", test.audit), spec("console: {enabled: true}"))
			s.do(call{user: "ann", body: callTool("ok", `{"a":1}`)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.AdminAddr().String()+"/console/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				data, ok := strings.CutPrefix(lines.Text(), `data: {"schema":`)
				if !ok {
					continue
				}
				var record map[string]any
				if err := json.Unmarshal([]byte(`{"schema":`+data), &record); err != nil {
					t.Fatal(err)
				}
				if (record["arguments"] != nil) != test.shown || (record["response"] != nil) != test.shown || record["target"] != "ok" {
					t.Errorf("%v", record)
				}
				return
			}
			t.Errorf("the page got no record: %v", lines.Err())
		})
	}
}

package aws_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"curl-test","version":"1.0"}}}`

// send sends one message the way curl does, signed, and gives status, AWS error type and header.
func send(t *testing.T, s signer, method, url, body string, header http.Header) (int, string, http.Header) {
	t.Helper()
	resp, answer := exchange(t, s, method, url, body, header)
	var e struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal([]byte(answer), &e) // an SSE answer has no type
	return resp.StatusCode, e.Type, resp.Header
}

func exchange(t *testing.T, s signer, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "*/*")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for n, v := range header {
		r.Header[n] = v
	}
	resp, err := s.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("x-amzn-RequestId") == "" {
		t.Error("no request id")
	}
	return resp, string(b)
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func del(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del(name) }
}

// signatureCase is a request, how it was signed or spoilt, and what has to come of it.
type signatureCase struct {
	signer signer
	url    string
	body   string // "" is initialize
	status int
	code   string
	leak   string // the violation
}

func signatureCases() map[string]signatureCase {
	const bad = "InvalidSignatureException"
	someone := ann
	someone.AccessKeyID = "ASIANOBODY"
	another := ann
	another.SessionToken = bob.SessionToken
	guess := ann
	guess.SecretAccessKey = "guess"
	return map[string]signatureCase{
		"right":                  {signer: signer{who: ann}, status: 200},
		"right, with a query":    {signer: signer{who: ann}, url: "/mcp?b=2&a=1%2F&c", status: 200},
		"right, more signed":     {signer: signer{who: ann, before: set("X-Forwarded-For", "1.2.3.4")}, status: 200},
		"right, unsigned extras": {signer: signer{who: ann, after: set("Traceparent", "00-1-2-01")}, status: 200},
		"right, large":           {signer: signer{who: ann}, body: initialize + strings.Repeat(" ", 8<<20), status: 200},
		"body changed": {signer: signer{who: ann, after: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(initialize, "1", "2", 1)))
		}}, status: 403, code: bad},
		"hash of another body":      {signer: signer{who: ann, hash: strings.Repeat("0", 64)}, status: 403, code: bad},
		"unsigned payload":          {signer: signer{who: ann, hash: "UNSIGNED-PAYLOAD"}, status: 403, code: bad},
		"path changed":              {signer: signer{who: ann, after: func(r *http.Request) { r.URL.Path = "/mcp/" }}, status: 403, code: bad},
		"query changed":             {signer: signer{who: ann, after: func(r *http.Request) { r.URL.RawQuery = "a=1" }}, status: 403, code: bad},
		"host changed":              {signer: signer{who: ann, after: func(r *http.Request) { r.Host = "aws-mcp.us-east-1.api.aws" }}, status: 403, code: bad},
		"signed header changed":     {signer: signer{who: ann, after: set("Content-Type", "application/json; charset=utf-8")}, status: 403, code: bad},
		"signed header gone":        {signer: signer{who: ann, before: set("X-Forwarded-For", "1.2.3.4"), after: del("X-Forwarded-For")}, status: 403, code: bad},
		"signature changed":         {signer: signer{who: ann, after: flipSignature}, status: 403, code: bad},
		"content type not signed":   {signer: signer{who: ann, before: del("Content-Type"), after: set("Content-Type", "application/json")}, status: 403, code: bad},
		"wrong secret":              {signer: signer{who: guess}, status: 403, code: bad},
		"wrong region":              {signer: signer{who: ann, region: "eu-west-1"}, status: 403, code: bad},
		"wrong service":             {signer: signer{who: ann, service: "execute-api"}, status: 403, code: bad},
		"too old":                   {signer: signer{who: ann, at: time.Now().Add(-6 * time.Minute)}, status: 403, code: bad},
		"from the future":           {signer: signer{who: ann, at: time.Now().Add(6 * time.Minute)}, status: 403, code: bad},
		"date changed":              {signer: signer{who: ann, after: set("X-Amz-Date", time.Now().UTC().Add(time.Minute).Format("20060102T150405Z"))}, status: 403, code: bad},
		"expired credentials":       {signer: signer{who: stale}, status: 403, code: "ExpiredTokenException"},
		"unknown key":               {signer: signer{who: someone}, status: 403, code: "UnrecognizedClientException"},
		"another's session token":   {signer: signer{who: another}, status: 403, code: "UnrecognizedClientException"},
		"nothing signed":            {signer: signer{who: ann, after: unsign}, status: 403, code: "MissingAuthenticationTokenException"},
		"half an authorization":     {signer: signer{who: ann, after: set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request")}, status: 403, code: "IncompleteSignatureException"},
		"another path":              {signer: signer{who: ann}, url: "/elsewhere", status: 404, code: "UnknownOperationException"},
		"the client's token":        {signer: signer{who: ann, after: set("Authorization", "Bearer abc")}, status: 403, code: "AccessDeniedException", leak: "an Authorization header with scheme Bearer"},
		"the token as well":         {signer: signer{who: ann, after: func(r *http.Request) { r.Header.Add("Authorization", "Bearer abc") }}, status: 403, code: "AccessDeniedException", leak: "an Authorization header with scheme Bearer"},
		"the token, another header": {signer: signer{who: ann, before: set("X-Token", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwcyJ9.c2ln")}, status: 403, code: "AccessDeniedException", leak: "a JWT in header X-Token"},
		"a cookie":                  {signer: signer{who: ann, before: set("Cookie", "a=b")}, status: 403, code: "AccessDeniedException", leak: "header Cookie"},
		"proxy credentials":         {signer: signer{who: ann, after: set("Proxy-Authorization", "Basic eA==")}, status: 403, code: "AccessDeniedException", leak: "header Proxy-Authorization"},
		"the client's X-Amz":        {signer: signer{who: ann, after: set("X-Amz-Target", "x")}, status: 403, code: "AccessDeniedException", leak: "unsigned header X-Amz-Target"},
		"presigned":                 {signer: signer{who: ann}, url: "/mcp?X-Amz-Signature=1", status: 403, code: "AccessDeniedException", leak: "query parameter X-Amz-Signature"},
	}
}

func TestSignatures(t *testing.T) {
	s := server(t, aws.Options{})
	for name, tt := range signatureCases() {
		t.Run(name, func(t *testing.T) {
			s.Forget()
			url, body := "/mcp", tt.body
			if tt.url != "" {
				url = tt.url
			}
			if body == "" {
				body = initialize
			}
			status, code, _ := send(t, tt.signer, http.MethodPost, s.URL()+url, body, nil)
			last, _ := s.Last()
			if status != tt.status || code != tt.code || last.Code != tt.code {
				t.Errorf("got %d %s, want %d %s; the server says %s", status, code, tt.status, tt.code, last.Why)
			}
			var leaks []string
			for _, v := range s.Violations() {
				leaks = append(leaks, v.What)
			}
			if got := strings.Join(leaks, "; "); got != tt.leak {
				t.Errorf("violations %q, want %q", got, tt.leak)
			}
		})
	}
}

func unsign(r *http.Request) {
	for n := range r.Header {
		if n == "Authorization" || strings.HasPrefix(n, "X-Amz-") {
			r.Header.Del(n)
		}
	}
}

func flipSignature(r *http.Request) {
	a := r.Header.Get("Authorization")
	last := "0"
	if strings.HasSuffix(a, "0") {
		last = "1"
	}
	r.Header.Set("Authorization", a[:len(a)-1]+last)
}

func TestRequestsAreWrittenDown(t *testing.T) {
	s := server(t, aws.Options{Keep: 2})
	for range 2 {
		send(t, signer{who: bob}, http.MethodGet, s.URL()+"/mcp", "", nil)
	}
	send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp?q=1", initialize, http.Header{"X-Note": {"a", "b"}})
	all := s.Requests()
	if len(all) != 2 || s.Count() != 3 {
		t.Fatalf("%d kept of %d, want 2 of 3", len(all), s.Count())
	}
	got := all[1]
	if got.Method != "POST" || got.URI != "/mcp?q=1" || string(got.Body) != initialize || got.AccessKeyID != "ASIAANN" ||
		got.SessionName != "ann" || got.Status != 200 || !got.Done || got.Aborted || "http://"+got.Host != s.URL() {
		t.Errorf("recorded %+v", got)
	}
	if d := cmp.Diff([]string{"a", "b"}, got.Header.Values("X-Note")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"accept", "content-length", "content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-note"}, got.SignedHeaders); d != "" {
		t.Error(d)
	}
}

func TestSessionsBelongToRoleAndSessionName(t *testing.T) {
	s := server(t, aws.Options{})
	_, _, h := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", initialize, nil)
	session := http.Header{"Mcp-Session-Id": {h.Get("Mcp-Session-Id")}}
	const list = `{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}`
	for _, tt := range []struct {
		name string
		who  sts.Issued
		want int
	}{{"ann", ann, 200}, {"ann with new credentials", ann2, 200}, {"bob", bob, 404}} {
		if got, _, _ := send(t, signer{who: tt.who}, http.MethodPost, s.URL()+"/mcp", list, session); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	// curl lists without notifications/initialized, as the tutorial has it.
	if _, answer := exchange(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", list, session); !strings.Contains(answer, `"name":"aws___run_script"`) {
		t.Errorf("tools/list: %s", answer)
	}
	if _, answer := exchange(t, signer{who: bob}, http.MethodPost, s.URL()+"/mcp", list, session); answer != `{"error":{"code":-30001,"message":"Session not found"},"id":2,"jsonrpc":"2.0"}`+"\n" {
		t.Errorf("another's session: %s", answer)
	}
	if got, _, _ := send(t, signer{who: bob}, http.MethodDelete, s.URL()+"/mcp", "", session); got != 404 {
		t.Errorf("bob deletes: %d, want 404", got)
	}
	if d := cmp.Diff(map[string]string{h.Get("Mcp-Session-Id"): "AROAEXAMPLE:ann"}, s.Sessions()); d != "" {
		t.Error(d)
	}
	if got, _, _ := send(t, signer{who: ann}, http.MethodDelete, s.URL()+"/mcp", "", session); got != 204 {
		t.Errorf("ann deletes: %d, want 204", got)
	}
	if got, _, _ := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", list, session); got != 404 || len(s.Sessions()) != 0 {
		t.Errorf("after the deletion: %d with %d sessions, want 404 with none", got, len(s.Sessions()))
	}
}

func TestDroppedSessionsAreLost(t *testing.T) {
	s := server(t, aws.Options{})
	_, _, h := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", initialize, nil)
	resp, err := http.Post(s.URL()+"/_admin/drop-sessions", "", nil)
	if err != nil || resp.StatusCode != 204 {
		t.Fatalf("admin: %v %v", resp, err)
	}
	resp.Body.Close()
	got, _, _ := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", `{"jsonrpc":"2.0","id":2,"method":"ping"}`, http.Header{"Mcp-Session-Id": {h.Get("Mcp-Session-Id")}})
	if got != 404 {
		t.Errorf("got %d, want 404", got)
	}
}

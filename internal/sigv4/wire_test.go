package sigv4_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/sigv4"
)

// send sends body through Transport to url, with the headers that h adds, and gives the status and text of the answer.
func send(t *testing.T, base http.RoundTripper, method, url, token string, h http.Header, body []byte) (int, string) {
	t.Helper()
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	ctx := sigv4.With(t.Context(), credentials(token), hashOf(body))
	req, err := http.NewRequestWithContext(ctx, method, url, rd)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	res, err := (&sigv4.Transport{Base: base, Region: region, Service: service}).RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// verifier is a server that refuses, with the reason, whatever the judge does not agree with.
func verifier(token func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := judge(r, token(r)); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, r.RequestURI)
	})
}

func arrivedToken(r *http.Request) string { return r.Header.Get("X-Amz-Security-Token") }

var targets = []string{
	"",
	"/",
	"/mcp",
	"/mcp/",
	"/a b/c%20d",
	"/gr%C3%BC%C3%9Fe/ሴ",
	"/a%2Fb%2fc",
	"/runtimes/arn%3Aaws%3Abedrock:us-east-1/invocations",
	"/$-_.+!*'(),;:@&=~",
	"/a//b/./c/../d/",
	"/%2e%2e/x",
	"/100%25",
	"/mcp?a=1&b=2",
	"/mcp?b=2&a=1&b=1&a=0&a-=3",
	"/mcp?a+b=c+d&e=%2B",
	"/mcp?a;b=1;c&d=2",
	"/mcp?bad=%zz&worse=%&half=%4",
	"/mcp?empty&also=&=noname&&",
	"/mcp?x=a/b:c@d!e'f(g)h*i,j$k~l",
	"/mcp?lower=%c3%9f&raw=ß",
	"/mcp?",
	"/mcp?q=a=b=c",
}

func TestWhatLeavesIsWhatIsSigned(t *testing.T) {
	srv := httptest.NewServer(verifier(arrivedToken))
	defer srv.Close()
	for _, target := range targets {
		for _, token := range []string{"", sessionToken} {
			for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
				var body []byte
				h := http.Header{}
				if method == http.MethodPost {
					body = []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
					h.Set("Content-Type", "application/json")
				}
				if status, text := send(t, srv.Client().Transport, method, srv.URL+target, token, h, body); status != 200 {
					t.Errorf("%s %s: %s", method, target, text)
				}
			}
		}
	}
}

func TestHeadersThatBreakSignatures(t *testing.T) {
	srv := httptest.NewServer(verifier(arrivedToken))
	defer srv.Close()
	cases := map[string]http.Header{
		"traceparent":         {"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"a=b"}},
		"forwarded":           {"X-Forwarded-For": {"10.0.0.1", "10.0.0.2"}, "X-Forwarded-Host": {"h"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=1"}},
		"connection date":     {"Connection": {"X-Amz-Date, X-Amz-Security-Token, Authorization"}},
		"connection names":    {"Connection": {"close, X-Hop", "x-hop2"}, "X-Hop": {"1"}, "X-Hop2": {"1"}},
		"connection type":     {"Connection": {"Content-Type"}, "Content-Type": {"application/json"}},
		"client's signature":  {"Authorization": {"Bearer client", "AWS4-HMAC-SHA256 x"}, "X-Amz-Date": {"20000101T000000Z"}, "X-Amz-Security-Token": {"theirs"}, "X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}, "X-Amz-Target": {"evil"}},
		"names in lower case": {"authorization": {"Bearer client"}, "x-amz-date": {"20000101T000000Z"}, "x-amz-security-token": {"theirs"}, "cookie": {"a=b"}, "proxy-authorization": {"x"}, "content-type": {"text/plain"}},
		"stale session":       {"Mcp-Session-Id": {"stale"}, "Mcp-Protocol-Version": {"2025-11-25"}, "Last-Event-Id": {"9"}},
		"hop by hop":          {"Te": {"trailers"}, "Upgrade": {"h2c"}, "Keep-Alive": {"1"}, "Proxy-Connection": {"x"}, "Proxy-Authorization": {"x"}, "Trailer": {"X"}, "Transfer-Encoding": {"chunked"}, "Expect": {"100-continue"}, "Cookie": {"a=b"}},
		"surplus space":       {"Content-Type": {"  application/json;\t  charset=utf-8  "}},
		"empty content type":  {"Content-Type": {"  "}},
		"bytes":               {"Content-Type": {"text/x; n=\"gr\xc3\xbc\xdf\""}},
		"user agent":          {"User-Agent": {"me"}, "Accept-Encoding": {"br"}, "Accept": {"application/json, text/event-stream"}},
		"trace of aws":        {"X-Amzn-Trace-Id": {"Root=1"}},
		"foreign length":      {"Content-Length": {"99"}, "Host": {"elsewhere"}},
	}
	for name, h := range cases {
		t.Run(name, func(t *testing.T) {
			before := h.Clone()
			for _, token := range []string{"", sessionToken} {
				if status, text := send(t, srv.Client().Transport, http.MethodPost, srv.URL+"/mcp?x=1", token, h, []byte("{}")); status != 200 {
					t.Error(text)
				}
			}
			if diff := cmp.Diff(before, h); diff != "" {
				t.Errorf("the caller's headers changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	srv := httptest.NewServer(verifier(arrivedToken))
	defer srv.Close()
	for _, size := range []int{1, 63, 1 << 10, 100 << 10, 8 << 20} {
		body := bytes.Repeat([]byte{'x'}, size)
		if status, text := send(t, srv.Client().Transport, http.MethodPost, srv.URL+"/mcp", sessionToken, nil, body); status != 200 {
			t.Errorf("%d bytes: %s", size, text)
		}
	}
}

func TestHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(verifier(arrivedToken))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for _, target := range targets {
		if status, text := send(t, srv.Client().Transport, http.MethodPost, srv.URL+target, sessionToken, nil, []byte("{}")); status != 200 {
			t.Errorf("%s: %s", target, text)
		}
	}
}

// The default port of a scheme leaves neither in Host nor in the signature, whoever wrote it into the URL.
func TestHost(t *testing.T) {
	cases := []struct{ url, host, want string }{
		{"http://example.com:80/", "", "example.com"},
		{"https://example.com:443/", "", "example.com"},
		{"https://example.com:80/", "", "example.com:80"},
		{"https://EXAMPLE.com/", "", "example.com"},
		{"https://example.com:/", "", "example.com"},
		{"http://127.0.0.1:1/", "mcp.example.com:80", "mcp.example.com"},
		{"https://[::1]:443/", "", "[::1]"},
		{"http://[fe80::1%25eth0]:8080/", "", "[fe80::1]:8080"},
	}
	for _, c := range cases {
		arrived, err := overWire(t, c.url, c.host)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if arrived.Host != c.want {
			t.Errorf("%s (%s): Host %q, want %q", c.url, c.host, arrived.Host, c.want)
		}
	}
	for _, bad := range []string{"http://grüße.example/", "http://a_b$c/"} {
		if _, err := overWire(t, bad, ""); err == nil {
			t.Errorf("%s: signed", bad)
		}
	}
}

// overWire signs a POST and gives what a server reads of the bytes that net/http writes, once the judge agrees.
func overWire(t *testing.T, rawURL, host string) (*http.Request, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	req := post(u, http.Header{"Content-Type": {"application/json"}}, []byte("{}"))
	req.Host = host
	return writeAndJudge(req)
}

// The bytes themselves, once: nothing but what is expected, in the form that is expected.
func TestBytesOnTheWire(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	read := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var raw strings.Builder
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
		if err != nil {
			read <- err.Error()
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		read <- raw.String()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}()
	h := http.Header{
		"Authorization": {"Bearer secret-of-the-client"}, "Cookie": {"a=b"}, "X-Amz-Target": {"x"}, "Connection": {"X-Amz-Date"},
		"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}, "User-Agent": {"ua"}, "Accept-Encoding": {"identity"},
	}
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	send(t, base, http.MethodPost, "http://"+ln.Addr().String()+"/a b/../m?q=x+y&q=%zz", "TOKEN", h, []byte("{}"))

	got := <-read
	got = regexp.MustCompile(`\d{8}T\d{6}Z`).ReplaceAllString(got, "DATE")
	got = regexp.MustCompile(`/\d{8}/`).ReplaceAllString(got, "/DAY/")
	got = regexp.MustCompile(`Signature=[0-9a-f]{64}`).ReplaceAllString(got, "Signature=HEX")
	want := strings.Join([]string{
		"POST /m?q=x%20y&q=%25zz HTTP/1.1",
		"Host: " + ln.Addr().String(),
		"User-Agent: ua",
		"Content-Length: 2",
		"Accept: text/event-stream",
		"Accept-Encoding: identity",
		"Authorization: AWS4-HMAC-SHA256 Credential=" + accessKey + "/DAY/us-east-1/aws-mcp/aws4_request, " +
			"SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=HEX",
		"Content-Type: application/json",
		"X-Amz-Content-Sha256: " + hashOf([]byte("{}")),
		"X-Amz-Date: DATE",
		"X-Amz-Security-Token: TOKEN",
		"",
		"{}",
	}, "\r\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
}

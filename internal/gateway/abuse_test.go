package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/gateway"
)

// What a client holds is counted while its message is still on the way: a body takes memory before it is read to its end.
func TestAnUploadCountsAsOpen(t *testing.T) {
	s := stage(t, spec("limits: {maxStreamsPerCaller: 1}"))
	const much = "Content-Length: 1000000\r\n\r\n{" // so much that net/http does not wait for the rest after a refusal
	uploads := []net.Conn{s.dial()}
	write(t, uploads[0], s.postHead("ann")+much)
	eventually(t, "an upload is refused", func() bool {
		conn := s.dial()
		uploads = append(uploads, conn)
		write(t, conn, s.postHead("ann")+much)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // the two race for the one place
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		result{status: resp.StatusCode, body: string(body)}.refused(t, http.StatusTooManyRequests)
		return true
	})
	if r := s.do(call{user: "bob", body: initialize}); r.status != http.StatusOK {
		t.Errorf("another caller: %d", r.status)
	}
	for _, conn := range uploads {
		_ = conn.Close()
	}
	eventually(t, "the caller gets in again", func() bool { return s.do(call{user: "ann", body: initialize}).status == http.StatusOK })
}

func TestCallersWithoutATokenAreCountedByAddress(t *testing.T) {
	backend := httptest.NewServer(pausing("text/event-stream", time.Minute))
	t.Cleanup(backend.Close)
	url := gate(t, `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: open}
spec:
  remoteUrl: `+backend.URL+`/mcp
  unauthenticated: {acknowledge: true}
  limits: {maxStreamsPerCaller: 2}
`, nil)
	from := func(address string) *http.Response {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		if got := from("127.0.0.1").StatusCode; got != want {
			t.Errorf("stream %d: %d, want %d", i, got, want)
		}
	}
	if runtime.GOOS == "linux" { // elsewhere 127.0.0.2 is not an address of this machine
		if got := from("127.0.0.2").StatusCode; got != http.StatusOK {
			t.Errorf("another address: %d", got)
		}
	}
}

func TestAnUnfinishedBodyEndsOnEveryPath(t *testing.T) {
	s, _, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {bodyTimeout: 200ms}"))
	for _, path := range []string{"/mcp", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp", "/nothing"} {
		conn := s.dial()
		write(t, conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
		if answer := rest(t, conn); !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s: %q", path, answer)
		}
	}
}

func TestMetadataIsLoggedLikeTheRest(t *testing.T) {
	s := stage(t)
	resp, err := http.Get(strings.TrimSuffix(s.url, "/mcp") + "/.well-known/oauth-protected-resource/mcp")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	id := resp.Header.Get("X-Request-Id")
	if id == "" {
		t.Fatal("no X-Request-Id")
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, id) && strings.Contains(line, `"path":"/.well-known/oauth-protected-resource/mcp"`) && strings.Contains(line, `"status":200`) {
			return
		}
	}
	t.Errorf("no line with %s", id)
}

// Whoever sends request after request and reads no answer holds a connection and a goroutine.
func TestAClientThatReadsNoAnswersIsLetGo(t *testing.T) {
	s, _, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {writeTimeout: 300ms}"))
	conn := s.dial()
	_ = conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	many := strings.Repeat("GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n", 200)
	var err error
	for err == nil {
		_, err = io.WriteString(conn, many)
	}
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Error("the connection is held open")
	}
}

func TestOneRequestWritesABoundedLine(t *testing.T) {
	s := stage(t, spec("limits: {maxHeaderBytes: 100000}"))
	for name, header := range map[string]string{
		"Origin":               "Origin: " + strings.Repeat("\xff", 60_000),
		"MCP-Protocol-Version": "MCP-Protocol-Version: " + strings.Repeat("\xff", 60_000),
		"Authorization":        "Authorization: Bearer " + strings.Repeat("\xff", 60_000),
		"path":                 "X: y",
	} {
		path := "/mcp"
		if name == "path" {
			path += strings.Repeat("%22", 20_000)
		}
		before := len(s.log.String())
		conn := s.dial()
		write(t, conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+header+"\r\nConnection: close\r\n\r\n")
		rest(t, conn)
		if n := len(s.log.String()) - before; n == 0 || n > 4<<10 {
			t.Errorf("60 KB of %s: %d bytes of log", name, n)
		}
	}
}

// A stream may stay open for hours; the call that opened it must not stay in memory for as long.
func TestAnOpenStreamDoesNotHoldItsCall(t *testing.T) {
	const streams, size = 16, 4 << 20
	s := stage(t, spec("limits: {maxStreamsPerCaller: 100}"), behind(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		pausing("text/event-stream", time.Minute)(w, r)
	}))
	body := rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"`+strings.Repeat("x", size)+`"}}`)
	inUse := func() int {
		runtime.GC()
		runtime.GC() // the first only moves what sync.Pool holds aside
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := inUse()
	for range streams {
		if resp := s.begin(t.Context(), http.DefaultClient, call{user: "ann", body: body}); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	eventually(t, "the memory is let go", func() bool { return inUse()-before < streams*size/4 })
	runtime.KeepAlive(body)
}

func TestSlowHeadersEnd(t *testing.T) {
	s, _, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {headerTimeout: 200ms}"))
	for _, text := range []string{"", "GET /mcp HTTP/1.1\r\nHost: x\r\nX: "} {
		conn := s.dial()
		write(t, conn, text)
		if answer := rest(t, conn); strings.HasPrefix(answer, "HTTP/1.1 2") {
			t.Errorf("%q", answer)
		}
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	s, _, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {idleTimeout: 200ms}"))
	conn := s.dial()
	write(t, conn, "GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n")
	if answer := rest(t, conn); !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
		t.Errorf("%q", answer)
	}
}

func TestLargeHeadersAre431(t *testing.T) {
	s, _, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {maxHeaderBytes: 8192}"))
	for size, want := range map[int]string{6 << 10: "HTTP/1.1 401 ", 16 << 10: "HTTP/1.1 431 "} {
		conn := s.dial()
		write(t, conn, fmt.Sprintf("GET /mcp HTTP/1.1\r\nHost: x\r\nX: %s\r\nConnection: close\r\n\r\n", strings.Repeat("x", size)))
		if answer := rest(t, conn); !strings.HasPrefix(answer, want) {
			t.Errorf("%d KiB: %.80q", size>>10, answer)
		}
	}
}

func TestConnectionsOverTheLimitWaitTheirTurn(t *testing.T) {
	s, _, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {maxConnections: 1}"))
	const get = "GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n"
	one, other := s.dial(), s.dial()
	write(t, one, get)
	if r := first(t, one); r.status != http.StatusUnauthorized {
		t.Fatal(r.status)
	}
	write(t, other, get)
	_ = other.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := other.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the second connection was served beside the first")
	}
	_ = one.Close()
	if r := first(t, other); r.status != http.StatusUnauthorized {
		t.Error(r.status)
	}
}

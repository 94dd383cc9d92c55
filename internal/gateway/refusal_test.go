package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
)

// dial opens a connection to the gateway, for what no HTTP client would send.
func (s *stand) dial() *net.TCPConn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/mcp"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// rest reads what comes until the gateway closes the connection, in ten seconds.
func rest(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(conn)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Errorf("the connection is held open; so far %q", all)
	}
	return string(all)
}

// first reads the first answer on a connection.
func first(t *testing.T, conn net.Conn) result {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return result{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

// postHead is the head of a POST, but for how long it is.
func (s *stand) postHead(user string) string {
	return "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nAuthorization: Bearer " + s.world.Token(user) + "\r\n"
}

func TestSlowBodyIs408(t *testing.T) {
	s := stage(t, spec("limits: {bodyTimeout: 200ms}"))
	conn := s.dial()
	write(t, conn, s.postHead("ann")+"Content-Length: 100\r\n\r\n{\"jsonrpc\"")
	first(t, conn).refused(t, http.StatusRequestTimeout)
}

// An answer that net/http makes up for a handler that only returns is a 200: to a client whose message broke off, that
// would say that all went well.
func TestAClientThatIsGoneNeverGetsA200(t *testing.T) {
	s := stage(t, behind(t, pausing("application/json", 300*time.Millisecond)), spec("limits: {bodyTimeout: 1s}"))
	for name, text := range map[string]string{
		"truncated body": s.postHead("ann") + "Content-Length: 100\r\n\r\n{\"jsonrpc\"",
		"cut in a chunk": s.postHead("ann") + "Transfer-Encoding: chunked\r\n\r\n20\r\n{\"jsonrpc\"",
	} {
		conn := s.dial()
		write(t, conn, text)
		_ = conn.CloseWrite()
		if answer := rest(t, conn); answer != "" {
			t.Errorf("%s: %q", name, answer)
		}
	}
	slow := stage(t, behind(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	conn := slow.dial()
	write(t, conn, slow.postHead("ann")+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(initialize), initialize))
	_ = conn.CloseWrite()
	if answer := rest(t, conn); answer != "" {
		t.Errorf("whole call, then half closed: %q", answer)
	}
	for _, s := range []*stand{s, slow} {
		eventually(t, "the log says so", func() bool { return strings.Contains(s.log.String(), `"decision":"aborted"`) })
		if strings.Contains(s.log.String(), `"status":200`) {
			t.Error("the log tells of a 200")
		}
	}
}

// What a client sent comes back in a refusal; it must not read as AWS's word on the credentials.
func TestWhatAClientSentIsNotTakenForExpiredCredentials(t *testing.T) {
	var calls atomic.Int64
	s := stage(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var m struct{ ID json.RawMessage }
		_ = json.NewDecoder(r.Body).Decode(&m)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(map[string]int{`"ExpiredToken"`: 400, `"ExpiredTokenException"`: 403, `"<Code>ExpiredToken"`: 400}[string(m.ID)])
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"unknown tool","data":{"code":"ExpiredToken","__type":%s}}}`, m.ID, m.ID)
	}))
	ids := []string{"ExpiredToken", "ExpiredTokenException", "<Code>ExpiredToken"}
	for _, id := range ids {
		r := s.do(call{user: "ann", body: `{"jsonrpc":"2.0","id":"` + id + `","method":"tools/call","params":{"name":"x"}}`})
		if r.status/100 != 4 || !strings.Contains(r.body, `"unknown tool"`) {
			t.Errorf("%s: %d %s", id, r.status, r.body)
		}
	}
	if n := s.world.STS.Count(); n != 1 || calls.Load() != int64(len(ids)) {
		t.Errorf("%d STS calls, %d calls of the remote", n, calls.Load())
	}
}

func TestExpiredCredentialsAreKnownByTheirCode(t *testing.T) {
	for name, refuse := range map[string]func(http.ResponseWriter){
		"header": func(w http.ResponseWriter) {
			w.Header().Set("X-Amzn-Errortype", "com.amazon.coral.service#ExpiredTokenException:http://internal.amazon.com/")
			w.WriteHeader(http.StatusBadRequest)
		},
		"__type": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}`)
		},
		"code": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"code":"ExpiredToken","message":"expired"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			s := stage(t, behind(t, func(w http.ResponseWriter, _ *http.Request) {
				if calls.Add(1) == 1 {
					refuse(w)
				}
			}))
			if r := s.do(call{user: "ann", body: listTools}); r.status != http.StatusOK || calls.Load() != 2 || s.world.STS.Count() != 2 {
				t.Errorf("%d after %d calls, %d STS calls", r.status, calls.Load(), s.world.STS.Count())
			}
		})
	}
}

func TestARemoteThatFindsAllExpiredCostsTwoSTSCalls(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.AWS.ExpireCredentials(1000)
	for range 20 {
		if r := s.do(call{user: "ann", session: session, body: whoami}); r.status != http.StatusForbidden || !strings.Contains(r.body, "ExpiredToken") {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if n := s.world.STS.Count(); n > 2 {
		t.Errorf("%d STS calls", n)
	}
}

// answering is a remote that says the same bytes on every connection.
func answering(t *testing.T, answer string) edit {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
					_, _ = io.Copy(io.Discard, conn) // until the gateway has read it
				}
			}()
		}
	}()
	return func(w *fake.World, d string) string {
		return strings.Replace(d, w.RemoteURL(), "http://"+l.Addr().String()+"/mcp", 1)
	}
}

func TestAStatusThatMakesNoSenseIs502(t *testing.T) {
	for _, status := range []string{"101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade", "101 x", "000 x", "099 x", "600 x", "999 x"} {
		t.Run(status[:3], func(t *testing.T) {
			s := stage(t, answering(t, "HTTP/1.1 "+status+"\r\nRetry-After: 99999\r\nContent-Encoding: gzip\r\nX-Amzn-Requestid: r\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"))
			r := s.do(call{user: "ann", body: initialize})
			r.refused(t, http.StatusBadGateway)
			for _, name := range []string{"Retry-After", "Content-Encoding", "X-Amzn-Requestid", "Upgrade"} {
				if v := r.header.Get(name); v != "" {
					t.Errorf("%s: %s", name, v)
				}
			}
			if media := r.header.Get("Content-Type"); media != "application/json" {
				t.Errorf("Content-Type: %s", media)
			}
		})
	}
}

func TestLargeResponseHeaders(t *testing.T) {
	for size, status := range map[int]int{200 << 10: http.StatusOK, 300 << 10: http.StatusBadGateway} {
		s := stage(t, answering(t, "HTTP/1.1 200 OK\r\nX-Filler: "+strings.Repeat("x", size)+"\r\nContent-Length: 2\r\n\r\n{}"))
		if r := s.do(call{user: "ann", body: initialize}); r.status != status {
			t.Errorf("%d KiB: %d", size>>10, r.status)
		}
	}
}

func TestARemoteThatDoesNotAnswerInTimeIs504(t *testing.T) {
	s := stage(t, behind(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }),
		spec("limits: {responseTimeout: 200ms}"))
	s.do(call{user: "ann", body: initialize}).refused(t, http.StatusGatewayTimeout)
	if !strings.Contains(s.log.String(), "limits.responseTimeout") {
		t.Error("the log does not name the limit")
	}
}

// A header of the remote that a browser obeys would act in this host's name.
func TestTheRemoteDoesNotSpeakForThisHost(t *testing.T) {
	stays := map[string]string{
		"Vary": "Accept-Encoding", "Set-Cookie": "a=b", "Location": "https://evil.example/", "Clear-Site-Data": `"*"`, "Refresh": "0; url=https://evil.example",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "1", "Www-Authenticate": "Basic",
		"Strict-Transport-Security": "max-age=1", "Alt-Svc": `h2="evil.example:443"`, "Content-Security-Policy": "x", "Link": "</x>; rel=preload", "X-Request-Id": "theirs",
	}
	passes := map[string]string{"Content-Type": "application/problem+json", "Retry-After": "7", "X-Amzn-Requestid": "r-1", "X-Amzn-Errortype": "Throttled", "Cache-Control": "no-cache", "X-Ratelimit-Remaining": "3"}
	s := stage(t, spec("allowedOrigins: ['https://a.example']"), behind(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, headers := range []map[string]string{stays, passes} {
			for name, v := range headers {
				w.Header().Set(name, v)
			}
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	r := s.do(call{user: "ann", body: initialize, headers: map[string]string{"Origin": "https://a.example"}})
	if r.status != http.StatusTooManyRequests {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for name, v := range stays {
		for _, got := range r.header.Values(name) {
			if got == v {
				t.Errorf("%s: %s reached the client", name, got)
			}
		}
	}
	for name, v := range passes {
		if got := r.header.Get(name); got != v {
			t.Errorf("%s: %q, want %q", name, got, v)
		}
	}
	if got := r.header.Values("Vary"); len(got) != 1 || got[0] != "Origin" {
		t.Errorf("Vary: %q", got)
	}
	if got := r.header.Get("Access-Control-Allow-Origin"); got != "https://a.example" {
		t.Errorf("Access-Control-Allow-Origin: %s", got)
	}
}

// Looking at a refusal for expired credentials must not wait for a stream to end.
func TestARefusalThatStreamsIsPassedOnAtOnce(t *testing.T) {
	s := stage(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	resp := s.begin(t.Context(), http.DefaultClient, call{user: "ann", method: http.MethodGet})
	if e := event(t, bufio.NewReader(resp.Body)); resp.StatusCode != http.StatusForbidden || e != "one" {
		t.Errorf("%d %s", resp.StatusCode, e)
	}
}

func TestLongSessionIDs(t *testing.T) {
	for size, status := range map[int]int{1000: http.StatusOK, 1900: http.StatusOK, 3000: http.StatusBadGateway} {
		id := strings.Repeat("s", size)
		var last atomic.Value
		s := stage(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
			last.Store(r.Header.Get("Mcp-Session-Id"))
			w.Header().Set("Mcp-Session-Id", id)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
		}))
		r := s.do(call{user: "ann", body: initialize})
		if r.status != status {
			t.Errorf("%d characters: %d %s", size, r.status, r.body)
		}
		if status != http.StatusOK {
			if r.session != "" {
				t.Errorf("%d characters: session %q", size, r.session)
			}
			continue
		}
		if r := s.do(call{user: "ann", session: r.session, body: listTools}); r.status != http.StatusOK || last.Load() != id {
			t.Errorf("%d characters, second call: %d %s", size, r.status, r.body)
		}
	}
}

// A header about a body that is not there says nothing, however often.
func TestContentTypeLeavesWithABodyOnly(t *testing.T) {
	var saw atomic.Value
	s := stage(t, behind(t, func(_ http.ResponseWriter, r *http.Request) { saw.Store(r.Header["Content-Type"]) }))
	conn := s.dial()
	write(t, conn, "GET /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.world.Token("ann")+"\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n")
	if r := first(t, conn); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if got := saw.Load().([]string); len(got) != 0 {
		t.Errorf("the backend saw %q", got)
	}
}

func TestARedirectThatKeepsTheMethodIsFollowed(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther} {
		s := stage(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/mcp" {
				w.Header().Set("Location", "/there")
				w.WriteHeader(status)
			}
		}))
		if r := s.do(call{user: "ann", method: http.MethodGet}); r.status != http.StatusOK {
			t.Errorf("%d on GET: %d %s", status, r.status, r.body)
		}
		s.do(call{user: "ann", body: listTools}).refused(t, http.StatusBadGateway)
		s.do(call{user: "ann", method: http.MethodDelete}).refused(t, http.StatusBadGateway)
	}
}

// The id of an event is worth as much as the session that it is of: alone it might open another caller's stream.
func TestLastEventIDLeavesWithItsSessionOnly(t *testing.T) {
	var saw atomic.Value
	s := stage(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		saw.Store(r.Header.Get("Last-Event-Id"))
		w.Header().Set("Mcp-Session-Id", "abc")
	}))
	session := s.do(call{user: "ann", body: initialize}).session
	for session, want := range map[string]string{"": "", session: "e-7"} {
		if r := s.do(call{user: "ann", method: http.MethodGet, session: session, headers: map[string]string{"Last-Event-ID": "e-7"}}); r.status != http.StatusOK || saw.Load() != want {
			t.Errorf("session %q: %d, the backend saw %q", session, r.status, saw.Load())
		}
	}
}

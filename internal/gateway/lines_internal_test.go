package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newLines(timeout time.Duration) *lines {
	return &lines{dialer: &net.Dialer{}, tls: &tls.Config{}, timeout: timeout}
}

func send(t *testing.T, l *lines, ctx context.Context, method, target, body string) (*http.Response, error) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	r := (&http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{"X-A": {"b"}}, ContentLength: int64(len(body))}).WithContext(ctx)
	if body != "" {
		r.Body = io.NopCloser(strings.NewReader(body))
	}
	return l.RoundTrip(r)
}

func whole(t *testing.T, l *lines, method, target, body string) string {
	t.Helper()
	resp, err := send(t, l, t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// counting is a server that counts its connections.
func counting(t *testing.T, secure bool, h http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, &conns
}

func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	_, _ = w.Write(b)
}

// raw is a server that answers each request on a connection with the next of its texts, byte for byte.
func raw(t *testing.T, answers ...string) (target string, conns *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conns = new(atomic.Int32)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for _, answer := range answers {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(c, answer)
				}
				_, _ = in.ReadByte() // until the other side has had enough
			}()
		}
	}()
	return "http://" + listener.Addr().String() + "/", conns
}

func needLines(t *testing.T) {
	t.Helper()
	if !ownLines {
		t.Skip("not on " + runtime.GOOS)
	}
}

func TestALineServesCallAfterCall(t *testing.T) {
	needLines(t)
	for _, secure := range []bool{false, true} {
		s, conns := counting(t, secure, echo)
		l := newLines(time.Minute)
		if secure {
			l.tls = s.Client().Transport.(*http.Transport).TLSClientConfig
		}
		for i := range 20 {
			body := strings.Repeat(fmt.Sprint(i), 1+i*40_000) // up to beyond patientBody
			if got := whole(t, l, http.MethodPost, s.URL, body); got != body {
				t.Fatalf("call %d: %d bytes came back, %d went", i, len(got), len(body))
			}
		}
		if n := conns.Load(); n > 3 { // one, but where this machine has other work for sentTime
			t.Errorf("TLS %v: %d connections for 20 calls one after the other, want 1", secure, n)
		}
		l.CloseIdleConnections()
	}
}

func TestALineThatTheRemoteClosedIsNotUsed(t *testing.T) {
	needLines(t)
	s, conns := counting(t, false, echo)
	l := newLines(time.Minute)
	for range 5 {
		if got := whole(t, l, http.MethodPost, s.URL, "x"); got != "x" {
			t.Fatalf("got %q", got)
		}
		s.CloseClientConnections()
	}
	if n := conns.Load(); n != 5 {
		t.Errorf("%d connections, want 5", n)
	}
}

func TestALineOutOfStepIsNotUsedAgain(t *testing.T) {
	needLines(t)
	const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, first := range map[string]string{
		"bytes after the answer": fine + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
		"asks to close":          "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":               "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		target, conns := raw(t, first, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
		l := newLines(5 * time.Second)
		for range 2 {
			if got := whole(t, l, http.MethodPost, target, "x"); got != "ok" {
				t.Errorf("%s: got %q, want the answer of a new connection", name, got)
			}
		}
		if n := conns.Load(); n != 2 {
			t.Errorf("%s: %d connections, want 2", name, n)
		}
		l.CloseIdleConnections()
	}
}

func TestALinePassesOverInterimAnswers(t *testing.T) {
	needLines(t)
	target, _ := raw(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	if got := whole(t, newLines(5*time.Second), http.MethodPost, target, "x"); got != "ok" {
		t.Errorf("got %q", got)
	}
}

func TestALineRefusesWhatItCannotRead(t *testing.T) {
	needLines(t)
	for name, answer := range map[string]string{
		"nonsense":            "SSH-2.0-x\r\n\r\n",
		"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"switching protocols": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"interim for ever":    strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9),
		"huge headers":        "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxResponseHeaders) + "\r\n\r\n",
	} {
		target, _ := raw(t, answer)
		if resp, err := send(t, newLines(5*time.Second), t.Context(), http.MethodPost, target, "x"); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: status %d, want an error", name, resp.StatusCode)
		}
	}
}

func TestALineIsCutWhenTheCallEnds(t *testing.T) {
	needLines(t)
	gone := make(chan struct{}, 2)
	s, conns := counting(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	l := newLines(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := send(t, l, ctx, http.MethodGet, s.URL, ""); err == nil {
		t.Error("an answer came to a call that was cancelled")
	}
	resp, err := send(t, l, t.Context(), http.MethodGet, s.URL+"/stream", "")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = resp.Body.Close() })
	if n, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes of a body that was closed", n)
	}
	for range 2 {
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("the remote does not notice")
		}
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2: a connection that was cut served again", n)
	}
}

func TestALineWaitsNoLongerThanItMay(t *testing.T) {
	needLines(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // nobody accepts
	began := time.Now()
	_, err = send(t, newLines(100*time.Millisecond), t.Context(), http.MethodPost, "http://"+listener.Addr().String(), strings.Repeat("x", 8<<20))
	if !isTimeout(err) {
		t.Errorf("got %v, want a timeout", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestARefusalThatComesBeforeTheBodyIsReadIsRelayed(t *testing.T) {
	needLines(t)
	for _, size := range []int{100 << 10, 8 << 20} {
		s, _ := counting(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		})
		resp, err := send(t, newLines(5*time.Second), t.Context(), http.MethodPost, s.URL, strings.Repeat("x", size))
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%d bytes: status %d", size, resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
}

func TestLinesNeverMixAnswers(t *testing.T) {
	needLines(t)
	s, conns := counting(t, false, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		for i := range b { // in pieces, so that a reader may stop between them
			_, _ = w.Write(b[i : i+1])
			if i%7 == 0 {
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	l := newLines(time.Minute)
	defer l.CloseIdleConnections()
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := range 60 {
				body := fmt.Sprintf("worker %d call %d %s", worker, i, strings.Repeat("-", i))
				resp, err := send(t, l, t.Context(), http.MethodPost, s.URL, body)
				if err != nil {
					t.Error(err)
					return
				}
				if i%5 == 4 {
					_, _ = resp.Body.Read(make([]byte, 3))
				} else if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, []byte(body)) {
					t.Errorf("got %q, %v; want %q", got, err, body)
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if n := conns.Load(); n > 16*14 {
		t.Errorf("%d connections: none was used again", n)
	}
}

func TestAnIdleLineIsClosedInTime(t *testing.T) {
	needLines(t)
	s, conns := counting(t, false, echo)
	l := newLines(time.Minute)
	whole(t, l, http.MethodPost, s.URL, "x")
	for _, idle := range l.idle {
		idle[0].since = time.Now().Add(-lineIdleTime - time.Second)
	}
	whole(t, l, http.MethodPost, s.URL, "x")
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestWaitReturnsWhenThereIsSomethingToRead(t *testing.T) {
	needLines(t)
	next := make(chan struct{})
	s, _ := counting(t, false, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	resp, err := send(t, newLines(time.Minute), t.Context(), http.MethodGet, s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 100)
	for range 3 {
		resp.Body.(patient).Wait()
		if n, err := resp.Body.Read(buf); string(buf[:n]) != "data: x\n\n" || err != nil {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		next <- struct{}{}
	}
	resp.Body.(patient).Wait()
	if n, err := resp.Body.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %v at the end", buf[:n], err)
	}
	resp.Body.(patient).Wait() // after the end it does not wait
}

func TestNothingIsKeptForAConfigurationThatWasReplaced(t *testing.T) {
	needLines(t)
	s, conns := counting(t, false, echo)
	l := newLines(time.Minute)
	resp, err := send(t, l, t.Context(), http.MethodPost, s.URL, "x")
	if err != nil {
		t.Fatal(err)
	}
	l.CloseIdleConnections() // while the call is under way
	if b, err := io.ReadAll(resp.Body); string(b) != "x" || err != nil {
		t.Fatalf("%q, %v: a call under way was cut", b, err)
	}
	whole(t, l, http.MethodPost, s.URL, "x")
	if n := conns.Load(); n != 2 || len(l.idle) != 0 {
		t.Errorf("%d connections, want 2; kept: %v", n, l.idle)
	}
}

func TestIdleLinesAreSweptWithoutAnotherCall(t *testing.T) {
	needLines(t)
	s, _ := counting(t, false, echo)
	l := newLines(time.Minute)
	whole(t, l, http.MethodPost, s.URL, "x")
	l.sweep()
	if len(l.idle) != 1 || l.sweeper == nil {
		t.Fatalf("%d idle connections, want one that is still good and a next sweep", len(l.idle))
	}
	for _, idle := range l.idle {
		idle[0].since = time.Now().Add(-lineIdleTime)
	}
	l.sweep()
	if len(l.idle) != 0 || l.sweeper != nil {
		t.Errorf("%d idle connections are left", len(l.idle))
	}
}

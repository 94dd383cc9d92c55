package mcp_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// pad is a message of exactly n bytes.
func pad(n int) string {
	body := `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":""}}`
	return strings.Replace(body, `""`, `"`+strings.Repeat("x", n-len(body))+`"`, 1)
}

// TestBodySizes: announced or in chunks, in one piece or byte by byte, what is read is what was sent, up to the limit
// and not a byte more.
func TestBodySizes(t *testing.T) {
	const limit = 8 << 20
	sizes := []int{56, 1 << 10, 8 << 10, 8<<10 + 512, 8<<10 + 513, 128 << 10, 128<<10 + 513, 1 << 20, 1<<20 + 513, limit - 1, limit, limit + 1}
	for _, n := range sizes {
		body := pad(n)
		for name, length := range map[string]int64{"announced": int64(n), "chunked": -1} {
			r := post(body)
			r.ContentLength = length
			if n < 2<<10 {
				r.Body = io.NopCloser(iotest.OneByteReader(r.Body))
			}
			c, err := mcp.Read(httptest.NewRecorder(), r, mcp.Limits{MaxBody: limit})
			if n > limit {
				if e := asFault(t, err); e.Kind != fault.TooLarge {
					t.Errorf("%d, %s: %v", n, name, e)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%d, %s: %v", n, name, err)
			}
			sum := sha256.Sum256([]byte(body))
			if string(c.Body) != body || c.Hash != hex.EncodeToString(sum[:]) {
				t.Errorf("%d, %s: body or hash differs", n, name)
			}
			got, err := io.ReadAll(c.Open())
			if err != nil || string(got) != body {
				t.Errorf("%d, %s: Open gives other bytes (%v)", n, name, err)
			}
			c.Release()
		}
	}
	for _, body := range []string{"", "1", "{"} {
		c, err := read(t, post(body), mcp.Limits{MaxBody: limit})
		if e := asFault(t, err); e.Kind != fault.Malformed || c.ID != nil {
			t.Errorf("%q: %v", body, e)
		}
	}
}

// TestBodyAnnouncedTooLarge: a body over the limit is refused before any of it is read.
func TestBodyAnnouncedTooLarge(t *testing.T) {
	r := post(pad(2000))
	r.Body = io.NopCloser(iotest.ErrReader(errors.New("it was read")))
	w := httptest.NewRecorder()
	_, err := mcp.Read(w, r, mcp.Limits{MaxBody: 1999})
	if e := asFault(t, err); e.Kind != fault.TooLarge || w.Header().Get("Connection") != "close" {
		t.Errorf("%v, headers %v", e, w.Header())
	}
}

func TestBodyErrors(t *testing.T) {
	tests := []struct {
		name   string
		length int64
		body   io.Reader
		want   fault.Kind
	}{
		{"less than announced", 100, strings.NewReader(pad(60)), fault.Malformed},
		{"more than announced", 60, strings.NewReader(pad(100)), fault.Malformed},
		{"much more than announced", 60, strings.NewReader(pad(1 << 20)), fault.Malformed},
		{"more than announced and allowed", 60, strings.NewReader(pad(1<<20 + 1)), fault.TooLarge},
		{"the connection broke", 100, io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)), fault.Aborted},
		{"a network error", 100, iotest.ErrReader(&net.OpError{Op: "read", Err: errors.New("reset")}), fault.Aborted},
		{"broken chunks", -1, iotest.ErrReader(errors.New("malformed chunked encoding")), fault.Malformed},
		{"somebody else's limit", -1, iotest.ErrReader(&http.MaxBytesError{Limit: 1}), fault.TooLarge},
		{"a reader that gives nothing", -1, idle{}, fault.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post("")
			r.Body, r.ContentLength = io.NopCloser(tt.body), tt.length
			_, err := read(t, r, mcp.Limits{MaxBody: 1 << 20})
			if e := asFault(t, err); e.Kind != tt.want {
				t.Errorf("%v, want %v", e, tt.want)
			}
		})
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// serve starts a real server whose door is Read and WriteError; it gives the server's address, and the outcome of
// each Read.
func serve(t *testing.T, lim mcp.Limits) (string, <-chan error) {
	t.Helper()
	outcome := make(chan error, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := mcp.Read(w, r, lim)
		defer c.Release()
		if err != nil {
			mcp.WriteError(w, fault.Of(err), c.ID)
		} else {
			_, _ = io.Copy(w, c.Open())
		}
		outcome <- err
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), outcome
}

// send opens a connection and writes what it is given.
func send(t *testing.T, addr, what string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, what); err != nil {
		t.Fatal(err)
	}
	return conn
}

const postHead = "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

// TestSlowBody: a body that does not arrive in time is answered and its connection closed, whether it is announced,
// in chunks, or refused before it was read.
func TestSlowBody(t *testing.T) {
	tests := []struct {
		name, wire string
		status     int
	}{
		{"announced", postHead + "Content-Length: 50\r\n\r\n{", 408},
		{"chunked", postHead + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 408},
		{"refused unread", "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{", 415},
		{"too large, unread", postHead + "Content-Length: 2000\r\n\r\n{", 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serve(t, mcp.Limits{MaxBody: 1000, BodyTimeout: 50 * time.Millisecond})
			conn := send(t, addr, tt.wire)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || !bytes.HasPrefix(body, []byte(`{"jsonrpc":"2.0","error":`)) {
				t.Errorf("%s %s (%v)", resp.Status, body, err)
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is still open: %v", err)
			} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestDeadlineIsCleared: the time for the body does not end the answer, or the next request of the connection.
func TestDeadlineIsCleared(t *testing.T) {
	const wait = time.Second
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := mcp.Read(w, r, mcp.Limits{BodyTimeout: wait})
		defer c.Release()
		if err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
			t.Error("the request ended with the body's deadline")
		case <-time.After(wait + wait/4):
		}
	}))
	defer srv.Close()
	for range 2 {
		resp, err := http.Post(srv.URL, "application/json", strings.NewReader(pad(100)))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

// deadlines records what is set on a connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestDeadline: one deadline for the whole body, taken away when the body is here, and left in place when it is not.
func TestDeadline(t *testing.T) {
	tests := []struct {
		name    string
		r       *http.Request
		timeout time.Duration
		want    int // deadlines set
		cleared bool
	}{
		{"a message", post(pad(100)), time.Hour, 2, true},
		{"a message without a limit", post(pad(100)), 0, 0, false},
		{"no JSON, but all of it", post("x"), time.Hour, 2, true},
		{"too large", post(pad(2000)), time.Hour, 1, false},
		{"another type", post(pad(100), "Content-Type: text/plain"), time.Hour, 1, false},
		{"no body to wait for", httptest.NewRequest("GET", "/mcp", http.NoBody), time.Hour, 0, false},
	}
	for _, tt := range tests {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		c, _ := mcp.Read(w, tt.r, mcp.Limits{MaxBody: 1000, BodyTimeout: tt.timeout})
		c.Release()
		if len(w.set) != tt.want || tt.want > 0 && w.set[len(w.set)-1].IsZero() != tt.cleared {
			t.Errorf("%s: deadlines %v", tt.name, w.set)
		}
	}
}

// TestClientHangsUp: a body that broke off is nobody's mistake but the client's.
func TestClientHangsUp(t *testing.T) {
	for name, wire := range map[string]string{
		"announced": postHead + "Content-Length: 50\r\n\r\n{",
		"chunked":   postHead + "Transfer-Encoding: chunked\r\n\r\n20\r\n{",
	} {
		addr, outcome := serve(t, mcp.Limits{BodyTimeout: 5 * time.Second})
		_ = send(t, addr, wire).Close()
		if e := asFault(t, <-outcome); e.Kind != fault.Aborted {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// TestWire: length and chunks as the server understands them, and two requests on one connection.
func TestWire(t *testing.T) {
	addr, _ := serve(t, mcp.Limits{})
	body := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	conn := send(t, addr, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", postHead, len(body), body)+
		fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n7\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", postHead, body[:7], len(body)-7, body[7:])+
		fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", postHead, len(body)-1, body))
	br := bufio.NewReader(conn)
	for i, want := range []string{body, body, `{"jsonrpc":"2.0","error":{"code":-32700,`} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		if !strings.HasPrefix(string(got), want) {
			t.Errorf("answer %d: %s", i, got)
		}
	}
}

// TestBodyIsNotShared: buffers go round between callers, and no reader ever sees another's bytes, not even one that
// a transport still reads after the call was released.
func TestBodyIsNotShared(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				body := strings.ReplaceAll(pad(100+(g*i*997)%200_000), "x", string(rune('a'+g)))
				c, err := mcp.Read(httptest.NewRecorder(), post(body), mcp.Limits{})
				if err != nil {
					t.Error(err)
					return
				}
				early, late := c.Open(), c.Open()
				_, _ = io.CopyN(io.Discard, early, 10)
				_ = early.Close()
				_ = early.Close()
				c.Release()
				c.Release()
				if c.Body != nil || c.Params != nil {
					t.Error("a released call still shows its body")
				}
				wg.Go(func() {
					runtime.Gosched()
					got, err := io.ReadAll(late)
					if err != nil || string(got) != body {
						t.Errorf("another body, or none: %v", err)
					}
					_ = late.Close()
					if _, err := late.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
						t.Errorf("read after close: %v", err)
					}
				})
			}
		})
	}
	wg.Wait()
}

// TestOpenReadAndClose: a transport may close a body while it reads it.
func TestOpenReadAndClose(t *testing.T) {
	for range 50 {
		c, err := mcp.Read(httptest.NewRecorder(), post(pad(100_000)), mcp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		body := c.Open()
		c.Release()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, body) })
		wg.Go(func() { _ = body.Close() })
		wg.Wait()
	}
}

// allocated is how many bytes f takes from the heap when all pools are empty.
func allocated(f func()) int {
	runtime.GC()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func TestMemory(t *testing.T) {
	const mib = 1 << 20
	var names []string
	for i := range mib / 10 {
		names = append(names, fmt.Sprintf(`"%05x":0`, i))
	}
	tests := []struct {
		name string
		body string
		most int // of the body's size
	}{
		{"1 MiB", pad(mib), 2},
		{"8 MiB", pad(8 * mib), 2},
		{"1 MiB of names in one object", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{` + strings.Join(names, ",") + `}}}`, 10},
		{"1 MiB of small objects", `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[` + strings.Repeat(`{"a":1},`, mib/8) + `0]}}`, 2},
	}
	for _, tt := range tests {
		for name, length := range map[string]int64{"announced": int64(len(tt.body)), "chunked": -1} {
			r, w := post(tt.body), httptest.NewRecorder()
			r.ContentLength = length
			got := allocated(func() {
				c, err := mcp.Read(w, r, mcp.Limits{})
				if err != nil {
					t.Error(err)
				}
				c.Release()
			})
			t.Logf("%s, %s: %.2f times the body", tt.name, name, float64(got)/float64(len(tt.body)))
			if got > tt.most*len(tt.body) {
				t.Errorf("%s, %s: %d bytes for a body of %d", tt.name, name, got, len(tt.body))
			}
		}
	}
}

// TestMemoryOfPromises: memory follows what arrives, not what is announced.
func TestMemoryOfPromises(t *testing.T) {
	r, w := post(""), httptest.NewRecorder()
	r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF))), 8<<20
	if got := allocated(func() { _, _ = mcp.Read(w, r, mcp.Limits{}) }); got > 256<<10 {
		t.Errorf("%d bytes for a body of one", got)
	}
}

// TestAllocations: a usual call takes the Call, its id, its target and its hash from the heap, and no more.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector lets pools forget at random")
	}
	body := modernCall(1<<10, prose)
	src := strings.NewReader(body)
	r := &http.Request{
		Method: http.MethodPost, ProtoMajor: 1, Header: modernHeader(),
		Body: io.NopCloser(src), ContentLength: int64(len(body)),
	}
	got := testing.AllocsPerRun(200, func() {
		src.Reset(body)
		c, err := mcp.Read(silent{}, r, mcp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
	})
	if got > 5 { // one to spare: the collector may empty a pool
		t.Errorf("%v allocations", got)
	}
}

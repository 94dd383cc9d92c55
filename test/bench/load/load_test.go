package load_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/test/bench/load"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // 100 to 1: the order must not matter
	}
	for _, c := range []struct {
		all  []time.Duration
		p    float64
		want time.Duration
	}{
		{nil, 50, 0},
		{[]time.Duration{7}, 99, 7},
		{[]time.Duration{3, 1, 2}, 50, 2},
		{[]time.Duration{4, 1, 3, 2}, 50, 2},
		{[]time.Duration{4, 1, 3, 2}, 51, 3},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.1, 100},
		{hundred, 100, 100},
	} {
		if got := load.Percentile(c.all, c.p); got != c.want {
			t.Errorf("p%g of %d: %d, want %d", c.p, len(c.all), got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("Percentile has changed the order of what it was given")
	}
}

func TestSpreading(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   load.Spread
	}{
		{nil, load.Spread{}},
		{[]float64{5}, load.Spread{Median: 5, Min: 5, Max: 5}},
		{[]float64{9, 1, 4}, load.Spread{Median: 4, Min: 1, Max: 9}},
		{[]float64{9, 1, 4, -2}, load.Spread{Median: 2.5, Min: -2, Max: 9}},
	} {
		if d := cmp.Diff(c.want, load.Spreading(c.values)); d != "" {
			t.Error(d)
		}
	}
}

func TestRatios(t *testing.T) {
	for _, c := range []struct{ of, by, want []float64 }{
		{[]float64{1, 3, 5}, []float64{2, 2, 2}, []float64{0.5, 1.5, 2.5}},
		{[]float64{1, 3}, []float64{2}, []float64{0.5}},
		{[]float64{1, 3}, []float64{2, 0}, nil},
		{[]float64{1, -3}, []float64{2, 2}, nil},
		{[]float64{1}, nil, nil},
	} {
		if d := cmp.Diff(c.want, load.Ratios(c.of, c.by)); d != "" {
			t.Errorf("%v by %v: %s", c.of, c.by, d)
		}
	}
}

// serve answers a call with its own body, unless answer does.
func serve(t *testing.T, answer http.HandlerFunc) load.Target {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(server.Close)
	return load.Target{Addr: server.Listener.Addr().String()}
}

func generator(t *testing.T, target load.Target, conns int) *load.Generator {
	t.Helper()
	g, err := load.Open(target, conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func call(body string) []load.Request {
	return []load.Request{load.NewRequest("POST", "example.com", "/mcp", []string{"Content-Type: application/json"}, body)}
}

const withID = `{"id":` + load.ID + `}`

// TestStallShowsInEveryCallThatItHeldUp: one connection, calls due every 10 ms, and a server that stalls once for 300 ms.
// A loop that is closed, or that counts from when it got to send, would see one slow call.
func TestStallShowsInEveryCallThatItHeldUp(t *testing.T) {
	var n atomic.Int32
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 10 {
			time.Sleep(300 * time.Millisecond)
		}
		_, _ = io.Copy(w, r.Body)
	})
	r := generator(t, target, 1).Run(load.Plan{Requests: call(withID), Calls: 60, Rate: 100})
	if r.Errors != 0 || len(r.Latencies) != 60 {
		t.Fatalf("%d errors, %d latencies: %v", r.Errors, len(r.Latencies), r.First)
	}
	for i, d := range r.Latencies[9:30] { // due while it stalled, each 10 ms later than the one before
		if least := 300*time.Millisecond - time.Duration(i)*10*time.Millisecond; d < least {
			t.Errorf("call %d: %s, want at least %s", 9+i, d, least)
		}
	}
	if r.Elapsed < 590*time.Millisecond {
		t.Errorf("60 calls of 100/s took %s", r.Elapsed)
	}
}

// TestScheduleDoesNotWait: a server that takes 200 ms for each call gets 50 of them within their half second where there
// are connections for all.
func TestScheduleDoesNotWait(t *testing.T) {
	var mu sync.Mutex
	var came []time.Time
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		came = append(came, time.Now())
		mu.Unlock()
		time.Sleep(200 * time.Millisecond)
		_, _ = io.Copy(w, r.Body)
	})
	r := generator(t, target, 50).Run(load.Plan{Requests: call(withID), Calls: 50, Rate: 100})
	if r.Errors != 0 {
		t.Fatal(r.First)
	}
	// 50 calls of 200 ms over one connection would take ten seconds; the margin is for a busy machine.
	if took := came[len(came)-1].Sub(came[0]); r.Elapsed < 490*time.Millisecond || took > 5*time.Second {
		t.Errorf("the calls came within %s, in a run of %s; want about 490ms, and no less for the run", took, r.Elapsed)
	}
}

func TestEveryCallHasItsOwnID(t *testing.T) {
	var mu sync.Mutex
	ids := map[string]int{}
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		ids[string(body)]++
		mu.Unlock()
		_, _ = w.Write(body)
	})
	if r := generator(t, target, 4).Run(load.Plan{Requests: call(withID), Calls: 200}); r.Errors != 0 {
		t.Fatal(r.First)
	}
	if len(ids) != 200 || ids[`{"id":1000000000}`] != 1 || ids[`{"id":1000000199}`] != 1 {
		t.Errorf("%d ids of 200 calls", len(ids))
	}
}

func TestWhatIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"another call's answer": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":1999999999}`) },
		"no answer to a call":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) },
		"a refusal":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"a connection cut":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"an answer cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, withID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := generator(t, serve(t, answer), 2).Run(load.Plan{Requests: call(withID), Calls: 6})
			if r.Errors != 6 || len(r.Latencies) != 0 || r.First == nil {
				t.Errorf("%d errors of 6 calls, %d latencies, %v", r.Errors, len(r.Latencies), r.First)
			}
		})
	}
}

// TestAfterAnErrorItGoesOn: a connection that broke is made anew, and only its call is lost.
func TestAfterAnErrorItGoesOn(t *testing.T) {
	var n atomic.Int32
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 3 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.Copy(w, r.Body)
	})
	r := generator(t, target, 1).Run(load.Plan{Requests: call(withID), Calls: 10})
	if r.Errors != 1 || len(r.Latencies) != 9 || !strings.HasPrefix(r.First.Error(), "call 2: ") {
		t.Errorf("%d errors, %d latencies, %v", r.Errors, len(r.Latencies), r.First)
	}
}

func TestAnswersInChunks(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, piece := range []string{strings.Repeat("x", 70_000), string(body), "end"} {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
		}
	})
	if r := generator(t, target, 1).Run(load.Plan{Requests: call(withID), Calls: 5}); r.Errors != 0 {
		t.Error(r.First)
	}
}

// TestRequestsTakeTurns: many callers are many requests.
func TestRequestsTakeTurns(t *testing.T) {
	var mu sync.Mutex
	callers := map[string]int{}
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		callers[r.Header.Get("Authorization")]++
		mu.Unlock()
		_, _ = io.Copy(w, r.Body)
	})
	var all []load.Request
	for _, who := range []string{"ann", "bob", "eve"} {
		all = append(all, load.NewRequest("POST", "example.com", "/mcp", []string{"Authorization: Bearer " + who}, withID))
	}
	if r := generator(t, target, 2).Run(load.Plan{Requests: all, Calls: 9}); r.Errors != 0 {
		t.Fatal(r.First)
	}
	if d := cmp.Diff(map[string]int{"Bearer ann": 3, "Bearer bob": 3, "Bearer eve": 3}, callers); d != "" {
		t.Error(d)
	}
}

// TestLateEventsAreSeen: one event of each stream is held back for 100 ms after it was stamped, and the first one comes
// 50 ms after the request.
func TestLateEventsAreSeen(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		time.Sleep(50 * time.Millisecond)
		for i := range 3 {
			event := fmt.Sprintf("data: {%s%d}\n\n", load.Stamp, time.Now().UnixNano())
			if i == 1 {
				time.Sleep(100 * time.Millisecond)
			}
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
		}
	})
	s := generator(t, target, 2).Streams(load.Plan{Requests: call(withID), Calls: 4, Rate: 100})
	if s.Errors != 0 || len(s.First) != 4 || len(s.Delays) != 12 {
		t.Fatalf("%d errors (%v), %d streams, %d events", s.Errors, s.Why, len(s.First), len(s.Delays))
	}
	late := 0
	for _, d := range s.Delays {
		if d >= 100*time.Millisecond {
			late++
		}
	}
	if late < 4 {
		t.Errorf("%d late events of 4", late)
	}
	for i, d := range s.First {
		if d < 50*time.Millisecond {
			t.Errorf("stream %d: first event after %s", i, d)
		}
	}
}

func TestStreamThatBreaksOff(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "data: {%s%d}\n\n", load.Stamp, time.Now().UnixNano())
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if s := generator(t, target, 1).Streams(load.Plan{Requests: call(withID), Calls: 2, Rate: 100}); s.Errors != 2 || len(s.Delays) != 0 {
		t.Errorf("%d errors, %d events", s.Errors, len(s.Delays))
	}
}

func TestListen(t *testing.T) {
	over := make(chan struct{})
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(over)
	})
	conn, err := load.Listen(target, load.NewRequest("GET", "example.com", "/mcp", nil, ""))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Error("the server does not see the end of the stream")
	}
	if _, err := load.Listen(target, load.NewRequest("POST", "example.com", "/mcp", nil, "x")); err == nil {
		t.Error("an answer that is no stream was taken for one")
	}
}

// TestGarbageIsNoAnswer: what does not speak HTTP is an error, not a hang.
func TestGarbageIsNoAnswer(t *testing.T) {
	for _, garbage := range []string{
		"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, garbage)
					_ = c.Close()
				}()
			}
		}()
		r := generator(t, load.Target{Addr: l.Addr().String()}, 1).Run(load.Plan{Requests: call(withID), Calls: 1})
		if r.Errors != 1 {
			t.Errorf("%q was taken for an answer", garbage)
		}
		_ = l.Close()
	}
}

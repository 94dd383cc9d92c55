// Package load is a generator of HTTP calls for measuring a proxy, with the statistics of what it saw.
//
// It promises an open loop: the time at which each call is due is fixed before the first one is sent, and a call's
// latency counts from then, so that a server which stalls shows in every call that it held up, not only in the one that
// it stalled on. It promises to check that each answer is the one to its call. It uses little CPU: requests are made
// beforehand, connections are kept, answers are looked at and not decoded. It must never slow its schedule down to what
// the server can take.
package load

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Plan is what is sent.
type Plan struct {
	Requests []Request // the i-th call sends the i-th of them, and begins anew at the end
	Calls    int       // how many calls
	Rate     float64   // calls per second; 0 sends each call as soon as a connection is free, which is a closed loop
}

// Result is what came of a plan.
type Result struct {
	Latencies []time.Duration // of the calls that were answered in order, from when they were due to the answer's last byte
	Errors    int             // calls that were not
	First     error           // the first of the errors, nil for none
	Elapsed   time.Duration   // from when the first call was due to the last answer
}

// Generator sends plans to one target over connections that it keeps. One plan at a time.
type Generator struct {
	conns []*conn
}

// Open makes a generator with that many connections, all of them open.
func Open(t Target, conns int) (*Generator, error) {
	g := &Generator{}
	for range conns {
		c := &conn{target: t}
		if err := c.dial(); err != nil {
			g.Close()
			return nil, err
		}
		g.conns = append(g.conns, c)
	}
	return g, nil
}

// Close closes the connections.
func (g *Generator) Close() {
	for _, c := range g.conns {
		c.close()
	}
}

// schedule hands out calls at their times. One goroutine at a time waits for the next call's time; whoever else has a
// free connection waits for it to go.
type schedule struct {
	mu    sync.Mutex
	next  int
	calls int
	start time.Time
	every time.Duration // 0: each call is due when somebody asks for it
}

// take waits until the next call is due. It gives the call's number and when it was due, or false after the last.
func (s *schedule) take() (call int, due time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == s.calls {
		return 0, time.Time{}, false
	}
	call = s.next
	s.next++
	if s.every == 0 {
		return call, time.Now(), true
	}
	due = s.start.Add(time.Duration(call) * s.every)
	pauseUntil(due)
	return call, due, true
}

// Run sends a plan and waits for its answers.
func (g *Generator) Run(p Plan) Result {
	s := &schedule{calls: p.Calls, start: time.Now().Add(time.Millisecond)}
	if p.Rate > 0 {
		s.every = time.Duration(float64(time.Second) / p.Rate)
	}
	latencies, errs := make([]time.Duration, p.Calls), make([]error, p.Calls)
	var all sync.WaitGroup
	for _, c := range g.conns {
		all.Go(func() {
			for {
				i, due, ok := s.take()
				if !ok {
					return
				}
				errs[i] = c.call(p.Requests[i%len(p.Requests)], i)
				latencies[i] = time.Since(due)
			}
		})
	}
	all.Wait()
	r := Result{Elapsed: time.Since(s.start), Latencies: latencies[:0]}
	for i, err := range errs {
		if err == nil {
			r.Latencies = append(r.Latencies, latencies[i])
			continue
		}
		if r.Errors++; r.First == nil {
			r.First = fmt.Errorf("call %d: %w", i, err)
		}
	}
	return r
}

// Request is a request as it goes over the wire.
type Request struct {
	bytes []byte
	id    int // where the ten digits of its JSON-RPC id are; 0 for none
}

// ID is what stands in a body for the id of the call: ten digits, which are others in each call.
const ID = "1000000000"

// NewRequest makes a request. Where the body holds ID, each call puts its own number there, and wants it in the answer.
func NewRequest(method, host, path string, header []string, body string) Request {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for _, line := range header {
		b.WriteString(line + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	head := b.Len()
	b.WriteString(body)
	r := Request{bytes: []byte(b.String())}
	if at := strings.Index(body, ID); at >= 0 {
		r.id = head + at
	}
	return r
}

// fill writes a request into buf as the call of a number.
func (r Request) fill(buf []byte, call int) (filled, id []byte) {
	filled = append(buf[:0], r.bytes...)
	if r.id == 0 {
		return filled, nil
	}
	id = filled[r.id : r.id+len(ID)]
	for at, rest := len(id)-1, call; at > 0; at, rest = at-1, rest/10 {
		id[at] = byte('0' + rest%10)
	}
	return filled, id
}

var errMixedUp = errors.New("the answer is not the one to this call")

package aws

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

// Request is one request as it arrived, and what became of it.
type Request struct {
	ID             string // x-amzn-RequestId of the answer
	Time           time.Time
	Proto          string // "HTTP/1.1", "HTTP/2.0"
	Method         string
	Host           string
	RemoteAddr     string // of the connection that it came on
	URI            string // path and query as sent
	Header         http.Header
	Body           []byte
	BodyHash       string   // hex SHA-256 of Body
	AccessKeyID    string   // that signed
	SignedHeaders  []string // as the Authorization header lists them
	AssumedRoleARN string   // of a caller who was let in
	SessionName    string   // of a caller who was let in
	Status         int      // 0 while it is being answered, or where it never was
	Code           string   // AWS error code of a refusal
	Why            string   // text of a refusal
	Violations     []string
	Done           bool // the answer has ended
	Aborted        bool // the client hung up first
}

// Violation is something that must never reach the backend.
type Violation struct {
	RequestID string
	What      string
}

// Requests are the requests so far, oldest first, at most Options.Keep of them.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.requests))
	for n, r := range s.requests {
		out[n] = *r
		out[n].Header = r.Header.Clone()
		out[n].Violations = slices.Clone(r.Violations)
	}
	return out
}

// Last is the latest request; ok is false where there was none.
func (s *Server) Last() (r Request, ok bool) {
	all := s.Requests()
	if len(all) == 0 {
		return Request{}, false
	}
	return all[len(all)-1], true
}

// Count is how many requests arrived, those no longer remembered included.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Violations are the leaks so far, oldest first. A test of a gateway ends by finding none.
func (s *Server) Violations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// Forget drops the remembered requests and violations.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.violations, s.count = nil, nil, 0
}

func (s *Server) begin(r *http.Request) *Request {
	rec := &Request{
		ID: stage.RequestID(), Time: time.Now(), Proto: r.Proto, Method: r.Method, Host: r.Host, RemoteAddr: r.RemoteAddr,
		URI: r.RequestURI, Header: r.Header.Clone(),
	}
	if rec.URI == "" { // a handler that is called without a server
		rec.URI = r.URL.RequestURI()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if s.requests = append(s.requests, rec); len(s.requests) > s.keep {
		s.requests = slices.Delete(s.requests, 0, len(s.requests)-s.keep)
	}
	return rec
}

// locked changes a record while nobody reads it.
func (s *Server) locked(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *Server) end(rec *Request, r *http.Request, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.Status, rec.Done, rec.Aborted = a.code(), true, r.Context().Err() != nil
}

func (s *Server) violation(rec *Request, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.Violations = append(rec.Violations, what)
	s.violations = append(s.violations, Violation{rec.ID, what})
}

// answer watches a response: its status, and where it has to be cut.
type answer struct {
	http.ResponseWriter

	mu     sync.Mutex
	status int
	left   int // writes until the cut; -1 for no cut
	cut    bool
	cancel context.CancelFunc
}

func newAnswer(w http.ResponseWriter) *answer { return &answer{ResponseWriter: w, left: -1} }

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Flush is for handlers that ask for an http.Flusher.
func (a *answer) Flush() {
	if a.code() == 0 {
		a.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush() // best effort, as with http.Flusher
}

// WriteHeader notes the status, and asks proxies not to hold streams back.
func (a *answer) WriteHeader(status int) {
	a.mu.Lock()
	if a.status == 0 {
		a.status = status
		if strings.HasPrefix(a.Header().Get("Content-Type"), "text/event-stream") {
			a.Header().Set("X-Accel-Buffering", "no")
		}
	}
	a.mu.Unlock()
	a.ResponseWriter.WriteHeader(status)
}

// Write writes until the cut.
func (a *answer) Write(b []byte) (int, error) {
	a.mu.Lock()
	first, over := a.status == 0, a.left == 0
	if a.left > 0 {
		a.left--
	}
	if over && !a.cut {
		a.cut = true
		a.cancel()
	}
	a.mu.Unlock()
	if over {
		return 0, http.ErrAbortHandler
	}
	if first {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

func (a *answer) code() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// cutAfter lets n writes through (1 where n is 0) and ends the request at the next one.
func (a *answer) cutAfter(r *http.Request, n int) *http.Request {
	ctx, cancel := context.WithCancel(r.Context())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left, a.cancel = max(n, 1), cancel
	return r.WithContext(ctx)
}

// abortIfCut closes the connection, as a crash would, once the handler has returned from a cut.
func (a *answer) abortIfCut() {
	a.mu.Lock()
	cancel, cut := a.cancel, a.cut
	a.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if cut {
		panic(http.ErrAbortHandler)
	}
}

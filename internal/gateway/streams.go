package gateway

import (
	"io"
	"sync"
	"sync/atomic"
)

// person is whom open requests are counted for.
type person struct{ issuer, subject string }

// streams knows what is open: how many requests each caller has, and which answers are streams, so that they can be
// ended in order when the process stops.
type streams struct {
	mu    sync.Mutex
	count map[person]int
	open  map[*stream]struct{}

	cutting atomic.Bool // the process stops, and waits no longer for what is open
}

func newStreams() *streams {
	return &streams{count: map[person]int{}, open: map[*stream]struct{}{}}
}

// enter counts a request of a person in; false where limit are open already.
func (s *streams) enter(p person, limit int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[p] >= limit {
		return nil, false
	}
	s.count[p]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.count[p]--; s.count[p] == 0 {
			delete(s.count, p)
		}
	}, true
}

// watch wraps the body of a streamed answer. A listening stream carries no answer that a client waits for.
func (s *streams) watch(body io.ReadCloser, listening bool) *stream {
	st := &stream{ReadCloser: body, all: s, listening: listening}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[st] = struct{}{}
	return st
}

// end ends the open streams as if the remote had: the listening ones, or all. The client reads a well-formed end and
// may resume elsewhere.
func (s *streams) end(all bool) {
	if all {
		s.cutting.Store(true)
	}
	s.mu.Lock()
	var ending []*stream
	for st := range s.open {
		if all || st.listening {
			ending = append(ending, st)
		}
	}
	s.mu.Unlock()
	for _, st := range ending {
		st.ended.Store(true)
		_ = st.ReadCloser.Close() // wakes the blocked Read, whose error becomes io.EOF below
	}
}

// stream is the body of a streamed answer.
type stream struct {
	io.ReadCloser
	all       *streams
	listening bool
	ended     atomic.Bool
}

// Wait waits until Read has something to do, where the body can tell.
func (s *stream) Wait() {
	if body, ok := s.ReadCloser.(patient); ok {
		body.Wait()
	}
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && s.ended.Load() {
		err = io.EOF
	}
	return n, err
}

func (s *stream) Close() error {
	s.all.mu.Lock()
	delete(s.all.open, s)
	s.all.mu.Unlock()
	return s.ReadCloser.Close()
}

package telemetry

import (
	"io"
	"sync"
	"time"
)

// Spool gathers what is written within a few milliseconds and passes it on in one piece, so that a log line costs no
// system call of its own. Lines stay whole and in order. Where the reader is slow, writers wait for it: nothing is
// dropped. A process that is killed loses what the last 5 ms wrote.
type Spool struct {
	to io.Writer

	mu      sync.Mutex
	waiting []byte
	timer   *time.Timer
	armed   bool

	out  sync.Mutex // held while writing, so that pieces stay in order
	free []byte     // the buffer that is not in use; guarded by out
}

const (
	spoolTime = 5 * time.Millisecond
	spoolSize = 64 << 10 // from here on writers write by themselves
)

// NewSpool makes a spool before to. Flush it at the end.
func NewSpool(to io.Writer) *Spool { return &Spool{to: to} }

// Write takes p; it never fails, since whoever reads the log is not there to be told.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.waiting = append(s.waiting, p...)
	full := len(s.waiting) >= spoolSize
	if !full && !s.armed {
		s.armed = true
		if s.timer == nil {
			s.timer = time.AfterFunc(spoolTime, s.Flush)
		} else {
			s.timer.Reset(spoolTime)
		}
	}
	s.mu.Unlock()
	if full {
		s.Flush()
	}
	return len(p), nil
}

// Flush passes on what waits, and returns when it is written.
func (s *Spool) Flush() {
	s.out.Lock()
	defer s.out.Unlock()
	s.mu.Lock()
	piece := s.waiting
	s.waiting, s.armed = s.free[:0], false
	s.mu.Unlock()
	if len(piece) > 0 {
		_, _ = s.to.Write(piece) // a log that can't be written must not stop the gateway
	}
	if s.free = piece; cap(s.free) > 4*spoolSize {
		s.free = nil
	}
}

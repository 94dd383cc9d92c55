package audit

import (
	"context"
	"log/slog"
	"sync"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// branch leads to a Sink, which may be slow or away: what waits for it is bounded, and nobody else waits.
type branch struct {
	book *Book
	to   Sink

	mu      sync.Mutex
	lines   []byte
	entries []Entry // what waits; their ends are in lines
	busy    int     // how many the sink is being given; 0 when they were counted as failed
	over    bool

	silent bool // its failure was told of; of the goroutine
	wake   chan struct{}
	done   chan struct{}
}

func (b *Book) branch(to Sink) *branch {
	s := &branch{book: b, to: to, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// add hands over records, or as many as there is room for.
func (s *branch) add(lines []byte, entries []Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begin := 0
	for i, e := range entries {
		if len(s.entries) >= s.book.size || len(s.lines)+e.end-begin > mostBytes && len(s.entries) > 0 {
			s.book.failed.Add(uint64(len(entries) - i))
			break
		}
		s.lines = append(s.lines, lines[begin:e.end]...)
		begin, e.end = e.end, len(s.lines)
		s.entries = append(s.entries, e)
	}
	poke(s.wake)
}

func (s *branch) run() {
	defer close(s.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.book.abandoned:
			cancel()
		case <-ctx.Done():
		}
	}()
	for range s.wake {
		s.mu.Lock()
		lines, entries, over := s.lines, s.entries, s.over
		s.lines, s.entries, s.busy = nil, nil, len(entries)
		s.mu.Unlock()
		if len(entries) > 0 {
			s.write(ctx, lines, entries)
		}
		if over {
			return
		}
	}
}

func (s *branch) write(ctx context.Context, lines []byte, entries []Entry) {
	begin := 0
	for i := range entries {
		entries[i].Line = lines[begin : entries[i].end-1]
		begin = entries[i].end
	}
	ctx, cancel := context.WithTimeout(ctx, sinkTime)
	defer cancel()
	err := s.to.Write(ctx, entries)
	s.mu.Lock()
	busy := s.busy
	s.busy = 0
	s.mu.Unlock()
	if err != nil && busy > 0 {
		s.book.failed.Add(uint64(busy))
		if !s.silent {
			s.book.log.Error("audit records can't be exported", slog.String(telemetry.KeyError, err.Error()))
		}
	}
	s.silent = err != nil
}

// abandon gives up what the sink has not taken, and counts it.
func (s *branch) abandon() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.busy + len(s.entries)
	s.lines, s.entries, s.busy = nil, nil, 0
	s.book.failed.Add(uint64(n))
	return n
}

// close waits until the sink has taken, or refused, what waits for it.
func (s *branch) close() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	poke(s.wake)
	<-s.done
}

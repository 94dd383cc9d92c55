package telemetry_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// sink keeps the pieces that it is given.
type sink struct {
	mu     sync.Mutex
	pieces []string
	fail   error
	hold   chan struct{}
}

func (s *sink) Write(p []byte) (int, error) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pieces = append(s.pieces, string(p))
	return len(p), s.fail
}

func TestSpoolPassesOnInOnePiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sink{}
		s := telemetry.NewSpool(to)
		for round := range 2 {
			for i := range 3 {
				_, _ = fmt.Fprintf(s, "%d.%d\n", round, i)
			}
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			if want := fmt.Sprintf("%d.0\n%[1]d.1\n%[1]d.2\n", round); len(to.pieces) != round+1 || to.pieces[round] != want {
				t.Errorf("got %q, want %q in one piece", to.pieces, want)
			}
		}
		_, _ = s.Write([]byte("last\n"))
		s.Flush()
		if n := len(to.pieces); n != 3 || to.pieces[2] != "last\n" {
			t.Errorf("a flush leaves something behind: %q", to.pieces)
		}
	})
}

func TestSpoolGoesOnWhereTheLogCannotBeWritten(t *testing.T) {
	to := &sink{fail: errors.New("no space left on device")}
	s := telemetry.NewSpool(to)
	for range 2 {
		if n, err := s.Write([]byte("line\n")); n != 5 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		s.Flush()
	}
	if len(to.pieces) != 2 {
		t.Errorf("%d pieces, want 2", len(to.pieces))
	}
}

func TestSpoolKeepsLinesWholeAndInOrder(t *testing.T) {
	to := &sink{}
	s := telemetry.NewSpool(to)
	const writers, lines = 8, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				_, _ = fmt.Fprintf(s, "writer %d line %d %s\n", w, i, strings.Repeat("x", i%100))
			}
		})
	}
	wg.Wait()
	s.Flush()
	next := map[int]int{}
	for line := range strings.Lines(strings.Join(to.pieces, "")) {
		var w, i int
		var rest string
		if _, err := fmt.Sscanf(line, "writer %d line %d %s", &w, &i, &rest); err != nil && i%100 != 0 {
			t.Fatalf("a broken line: %q", line)
		}
		if i != next[w] {
			t.Fatalf("writer %d: line %d where %d was due", w, i, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			t.Errorf("writer %d: %d lines", w, n)
		}
	}
}

func TestSpoolHoldsBackWritersOfASlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sink{hold: make(chan struct{})}
		s := telemetry.NewSpool(to)
		written := 0
		go func() {
			for range 1000 {
				_, _ = s.Write(make([]byte, 1<<10))
				written++
			}
		}()
		synctest.Wait()
		if written > 200 {
			t.Errorf("%d KiB wait for a reader that does not read", written)
		}
		close(to.hold)
		synctest.Wait()
		s.Flush()
		total := 0
		for _, p := range to.pieces {
			total += len(p)
		}
		if total != 1000<<10 {
			t.Errorf("%d bytes came through, want all", total)
		}
	})
}

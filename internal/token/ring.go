package token

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The life of the key set. One goroutine fetches, so there is never more than one fetch. Requests read an immutable
// snapshot without a lock. A request that needs newer keys asks for a round and waits for its end, not for a lock.

const (
	refreshEvery  = 4 * time.Minute        // a key that left the set is refused within 5 minutes
	refreshSpread = 20 * time.Second       // earlier by up to this, so that replicas do not fetch in step
	fetchTimeout  = 10 * time.Second       // of a round: discovery and key set, redirects included
	askEvery      = 10 * time.Second       // a round for the sake of a request, at most this often
	patience      = 5 * time.Second        // how long a request waits for rounds
	minBackoff    = 250 * time.Millisecond // after a round that failed
	maxBackoff    = 30 * time.Second
)

type ring struct {
	source    *source
	log       *slog.Logger
	onRefresh func(error)
	set       atomic.Pointer[keySet] // nil before the first success
	wake      chan struct{}          // a round was asked for
	stopped   chan struct{}          // closed when run has ended

	mu      sync.Mutex // held for a few assignments, never while anything is awaited
	round   *round     // under way or asked for; nil
	asked   time.Time  // when a request last caused a round
	failure error      // of the last round that ended; nil if it succeeded
	fails   int        // rounds that failed in a row
	due     time.Time  // when the next round begins of itself
}

// round is one fetch. Its outcome stands once done is closed.
type round struct {
	done    chan struct{}
	failure error
}

func newRound() *round { return &round{done: make(chan struct{})} }

func newRing(src *source, log *slog.Logger, onRefresh func(error)) *ring {
	return &ring{
		source: src, log: log, onRefresh: onRefresh,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		round: newRound(), // the prefetch: requests that come before run has begun join it
	}
}

func (r *ring) current() *keySet { return r.set.Load() }

// trouble is the Trouble word of the last round that ended.
func (r *ring) trouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return troubleWord(r.failure)
}

// run fetches until ctx is done: at once, then every four minutes, sooner after a failure or when asked.
func (r *ring) run(ctx context.Context) {
	defer close(r.stopped)
	for {
		current := r.begin()
		fetchCtx, cancel := context.WithTimeout(ctx, fetchTimeout)
		set, err := r.source.fetch(fetchCtx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		pause := time.NewTimer(r.end(current, set, err))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-r.wake:
			pause.Stop()
		case <-pause.C:
		}
	}
}

func (r *ring) begin() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.wake: // asked for just as the pause ended: this is the round that was meant
	default:
	}
	if r.round == nil {
		r.round = newRound()
	}
	return r.round
}

// end publishes the outcome of a round and says how long to pause.
func (r *ring) end(current *round, set *keySet, err error) time.Duration {
	first := r.current() == nil
	if err == nil {
		r.set.Store(set)
	}
	r.mu.Lock()
	before := r.failure
	pause := refreshEvery - rand.N(refreshSpread)
	if r.fails++; err == nil {
		r.fails = 0
	} else {
		pause = backoff(r.fails)
	}
	r.failure, r.round, r.due = err, nil, time.Now().Add(pause)
	r.mu.Unlock()

	r.onRefresh(err)
	r.report(first, before, err)
	current.failure = err
	close(current.done)
	return pause
}

// report logs what changed, once: a provider that is away for a day is one line, not a thousand.
func (r *ring) report(first bool, before, now error) {
	switch set := r.current(); {
	case now == nil && (first || before != nil):
		r.log.Info("key set fetched", "keys", len(set.keys), "ignored", set.ignored)
	case now == nil:
		r.log.Debug("key set fetched", "keys", len(set.keys), "ignored", set.ignored)
	case troubleWord(before) == troubleWord(now):
		r.log.Debug("key set still not fetched", "trouble", troubleWord(now), "error", now)
	case set == nil:
		r.log.Warn("key set not fetched; no token can be verified until it is", "trouble", troubleWord(now), "error", now)
	default:
		r.log.Warn("key set not fetched; the keys at hand stay in use", "trouble", troubleWord(now), "error", now)
	}
}

// backoff is between half and all of 0.5 s, 1 s, 2 s ... 30 s: never below 0.25 s.
func backoff(fails int) time.Duration {
	d := maxBackoff
	if fails < 7 {
		d = min(d, minBackoff<<fails)
	}
	return d/2 + rand.N(d/2)
}

// ask gives the round under way, or causes one. It gives nil where a request caused one less than 10 s ago: then
// failure is that of the last round.
func (r *ring) ask() (current *round, failure error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round != nil {
		return r.round, nil
	}
	now := time.Now()
	if now.Sub(r.asked) < askEvery {
		return nil, r.failure
	}
	r.asked, r.round = now, newRound()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return r.round, nil
}

// later is when to try again after ResultUnavailable: when the next round has begun, within reason.
func (r *ring) later() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return min(max(time.Until(r.due), time.Second), maxBackoff)
}

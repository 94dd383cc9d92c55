package sts

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

const (
	// floor is how long before their end credentials are no longer served, so that a request that starts with good
	// credentials also arrives with them.
	floor = 60 * time.Second
	// ahead is how long before their end credentials are refreshed, at least (a sixth of their lifetime if that is
	// longer; less for credentials that are short-lived).
	ahead = 5 * time.Minute
	// minBackoff and maxBackoff bound the pause after a refresh that failed.
	minBackoff = 5 * time.Second
	maxBackoff = 2 * time.Minute
)

// entry is what is known of one key. The lease is read without the lock; the lock is never held across I/O.
type entry struct {
	lease atomic.Pointer[Lease]
	due   atomic.Int64 // from when on the lease should be refreshed, in Unix nanoseconds

	mu       sync.Mutex
	asked    bool      // somebody has waited here: it is not about to happen
	flight   *flight   // under way, or nil
	refusal  *flight   // the last one, where it is remembered
	until    time.Time // until when refusal is remembered
	failures int       // refreshes that failed in a row
	dropped  time.Time // when a lease was last dropped
	visited  bool      // a flight has landed: before that somebody is about to start one
}

// flight is one visit to STS. What it brings may be read when done is closed.
type flight struct {
	done    chan struct{}
	by      [32]byte // the token that it went with
	lease   *Lease
	failure *failure
}

var landed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// live says whether the lease may be served.
func (l *Lease) live(now time.Time) bool {
	return l != nil && now.Before(l.Expiry.Add(-floor))
}

// idle says whether nothing would be lost with the entry.
func (e *entry) idle(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked && !e.lease.Load().live(now) && e.flight == nil && !now.Before(e.until)
}

// unrenewed says whether refreshes of the lease keep failing: the last one did, and the one before it, while somebody
// uses the lease. A lease is used by the vault's lights until maxBackoff after the time when its next refresh was due:
// whoever uses it would have had it refreshed.
func (e *entry) unrenewed(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failures > 1 && now.Before(time.Unix(0, e.due.Load()).Add(maxBackoff))
}

// dropPause is how long after a drop the next lease of the key is kept, whatever the remote says of it.
const dropPause = 30 * time.Second

// drop forgets l, unless that was done too recently. It says whether l is no longer the lease.
func (e *entry) drop(l *Lease, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lease.Load() != l {
		return true
	}
	if !e.dropped.IsZero() && now.Sub(e.dropped) < dropPause {
		return false
	}
	e.dropped = now
	e.lease.Store(nil)
	return true
}

// wait gets a lease from STS, with whoever else waits for it.
func (v *Vault) wait(ctx context.Context, e *entry, c *token.Caller, g Grant) (*Lease, Source, error) {
	by := c.Subject.Token.Sum()
	for {
		f, source := v.board(ctx, e, c, g, by)
		v.onCache(string(source))
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, source, gaveUp(ctx)
		}
		if f.failure == nil {
			return f.lease, source, nil
		}
		if source == Joined && f.failure.ofToken && f.by != by {
			continue // it was another token that STS did not like
		}
		return nil, source, f.failure.report()
	}
}

// board gives the flight to wait for: the one under way, or a new one. A lease that has arrived meanwhile, or a refusal
// that is still remembered, is a flight that has landed.
func (v *Vault) board(ctx context.Context, e *entry, c *token.Caller, g Grant, by [32]byte) (*flight, Source) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = true
	now := time.Now()
	if lease := e.lease.Load(); lease.live(now) {
		return &flight{done: landed, lease: lease}, Hit
	}
	if e.flight != nil {
		return e.flight, Joined
	}
	if e.refusal != nil && now.Before(e.until) && (!e.refusal.failure.ofToken || e.refusal.by == by) {
		return e.refusal, Refused
	}
	e.flight = v.launch(ctx, e, c, g, by)
	return e.flight, Miss
}

// refresh starts a flight ahead of the lease's end, unless one is under way.
func (v *Vault) refresh(ctx context.Context, e *entry, c *token.Caller, g Grant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if e.flight != nil || now.UnixNano() < e.due.Load() {
		return
	}
	e.due.Store(now.Add(v.timeout + minBackoff).UnixNano()) // others need not look; land sets it anew
	v.onCache(eventRefresh)
	e.flight = v.launch(ctx, e, c, g, c.Subject.Token.Sum())
}

// launch starts a flight. It goes on when the request that it was started for ends.
func (v *Vault) launch(ctx context.Context, e *entry, c *token.Caller, g Grant, by [32]byte) *flight {
	f := &flight{done: make(chan struct{}), by: by}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.timeout)
	v.flights.Add(1)
	go func() {
		defer close(f.done)
		defer v.flights.Add(-1)
		defer cancel()
		f.lease, f.failure = v.assume(ctx, c.Subject.Token, g)
		if e.land(f, time.Now()) {
			v.onCache(eventRefreshFailed)
			v.log.LogAttrs(ctx, slog.LevelWarn, "refresh of credentials failed, the ones at hand are served", f.failure.attrs(g)...)
		}
	}()
	return f
}

// land enters what a flight brought. It says whether it was a refresh that failed, which no request will tell of.
func (e *entry) land(f *flight, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flight, e.visited = nil, true
	if f.failure == nil {
		f.lease.entry = e
		e.refusal, e.until, e.failures = nil, time.Time{}, 0
		e.due.Store(f.lease.refreshAt().UnixNano())
		e.lease.Store(f.lease)
		return false
	}
	if hold := f.failure.hold; hold > 0 {
		e.refusal, e.until = f, now.Add(hold)
	}
	if !e.lease.Load().live(now) {
		return false
	}
	e.due.Store(now.Add(backoff(e.failures)).UnixNano())
	e.failures++
	return true
}

// refreshAt is when to refresh a lease: for an hour's lease, some ten to twelve minutes before its end. Jitter keeps
// the users who came in together from returning together.
func (l *Lease) refreshAt() time.Time {
	life := l.Expiry.Sub(l.begin)
	early := min(max(ahead, life/6), floor+(life-floor)/2)
	early += time.Duration(rand.Float64() * float64(early) / 5)
	return l.Expiry.Add(-min(early, life*9/10))
}

// backoff is how long to pause after a failure, the n-th in a row from 0 on.
func backoff(n int) time.Duration {
	d := maxBackoff
	if n < 5 {
		d = min(minBackoff<<n, maxBackoff)
	}
	return jitter(d)
}

// jitter gives between all and one and a half times of d.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/2)
}

// gaveUp is the error of a request that ended before its flight landed.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, wordsAway).Later(laterAway).Because(ctx.Err())
	}
	return fault.New(fault.Aborted, "the client hung up").Because(ctx.Err())
}

// Package sts is the vault: it lends AWS credentials to callers, for their verified tokens
// (sts:AssumeRoleWithWebIdentity), and remembers them for as long as they are good.
//
// It promises that STS is asked once, however many requests of one user arrive: one flight for each key, whose result
// everyone who waits gets, and which nobody who hangs up cancels. Credentials are refreshed ahead of their end while
// the request goes on with the ones at hand; they are served while STS is away, and never within a minute of their
// end. Every failure is classified by its code, with words for the caller and a hint for the operator, and what would
// only hurt STS is not tried again at once. Memory is bounded. No lock is held across I/O.
//
// It must never send a token anywhere but to the regional STS endpoint, use AWS credentials of its own, or let a token
// or a credential into an error, a log line or a metric: what STS says is repeated only where no part of the token is in
// it.
package sts

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/token"
)

// Source says where an answer came from.
type Source string

// The sources of an answer.
const (
	Hit     Source = "hit"     // from memory: a live lease
	Refused Source = "refused" // from memory: a refusal that is still remembered
	Miss    Source = "miss"    // from STS, asked for this request
	Joined  Source = "joined"  // from STS, asked for another request of the same key
)

// Events of the cache that are not the Source of an answer.
const (
	eventRefresh       = "refresh"        // a lease is being refreshed ahead of its end
	eventRefreshFailed = "refresh_failed" // that brought nothing, and the lease at hand is still good
	eventEvicted       = "evicted"        // an entry was dropped for want of room
)

// Grant is what is asked for a caller.
type Grant struct {
	RoleARN     string
	SessionName string        // see SessionName
	Region      string        // of the STS endpoint, such as "us-east-1"
	Duration    time.Duration // whole seconds, 15 minutes to the role's maximum; 0 means an hour
}

// Lease is what was lent. It is shared by all requests of one key and never changed.
type Lease struct {
	Credentials    *sigv4.Credentials
	Expiry         time.Time // when the credentials end; they are not served in the last minute before
	AssumedRoleARN string    // as STS names it, session name included; "" where STS did not tell
	RequestID      string    // of the STS call, for CloudTrail; "" where STS did not tell

	begin time.Time
	entry *entry
}

// Options make a Vault. The zero value is good for production.
type Options struct {
	Transport  http.RoundTripper                  // what reaches STS; nil: one that honours HTTPS_PROXY, NO_PROXY and AWS_CA_BUNDLE
	Log        *slog.Logger                       // failures that no request sees; nil: nowhere
	OnCall     func(code string, d time.Duration) // after each call of STS; code is "ok" or of a fixed set of failures; may be nil
	OnCache    func(event string)                 // a Source, "refresh", "refresh_failed" or "evicted"; may be nil
	MaxEntries int                                // keys remembered; default 10000
	Timeout    time.Duration                      // of one flight, retries included; default 10s
}

// Vault lends and remembers credentials. It is safe for concurrent use.
type Vault struct {
	transport http.RoundTripper
	log       *slog.Logger
	onCall    func(string, time.Duration)
	onCache   func(string)
	timeout   time.Duration
	entries   *lru.Cache[key, *entry]
	regions   sync.Map // name -> *region
	flights   atomic.Int64
}

// New makes a Vault. It asks nothing of the network.
func New(o Options) *Vault {
	v := &Vault{
		transport: o.Transport,
		log:       cmp.Or(o.Log, slog.New(slog.DiscardHandler)),
		onCall:    o.OnCall,
		onCache:   o.OnCache,
		timeout:   cmp.Or(o.Timeout, 10*time.Second),
	}
	if v.onCall == nil {
		v.onCall = func(string, time.Duration) {}
	}
	if v.onCache == nil {
		v.onCache = func(string) {}
	}
	// The error is only for a size that is not positive.
	v.entries, _ = lru.New[key, *entry](max(cmp.Or(o.MaxEntries, 10_000), 1))
	return v
}

// Credentials lends credentials to a caller: those at hand, or new ones from STS. The key is everything that makes a
// difference to what STS lends: issuer, subject, audience, authorized party, the claims that become session tags or
// the source identity, role, session name, duration and region.
//
// The error is a *fault.Error: Unauthenticated (STS finds the token expired or not acceptable), Denied (the role's trust
// policy), BadUpstream (STS does not know the identity provider, or its answer can't be used), Unavailable (STS is
// away, or asks for fewer calls), Internal (a setting that STS refuses) or Aborted (ctx ended first).
func (v *Vault) Credentials(ctx context.Context, c *token.Caller, g Grant) (*Lease, Source, error) {
	g.Duration = cmp.Or(g.Duration, time.Hour)
	e := v.entry(keyOf(c, g))
	now := time.Now()
	lease := e.lease.Load()
	if !lease.live(now) {
		return v.wait(ctx, e, c, g)
	}
	if now.UnixNano() >= e.due.Load() {
		v.refresh(ctx, e, c, g)
	}
	v.onCache(string(Hit))
	return lease, Hit, nil
}

// Drop forgets a lease, because AWS said that its credentials are no longer good, and says whether asking for
// credentials may give others. Any number of drops of one lease cost one call of STS; and a key's leases are dropped
// once in dropPause at most, since a remote that finds all of them expired would have STS called for every request.
func (v *Vault) Drop(l *Lease) bool {
	if l == nil || l.entry == nil {
		return false
	}
	return l.entry.drop(l, time.Now())
}

// Stats are figures for metrics.
type Stats struct {
	Entries    int           // keys remembered
	Flights    int           // calls under way or queued
	NextExpiry time.Duration // until the first of the live leases ends; 0 where there is none
	Unrenewed  time.Duration // until the first of those ends which are in use and whose refresh keeps failing; 0 where there is none
}

// Stats counts. It walks over all entries.
func (v *Vault) Stats() Stats {
	s := Stats{Entries: v.entries.Len(), Flights: int(v.flights.Load())}
	now := time.Now()
	for _, e := range v.entries.Values() {
		l := e.lease.Load()
		if !l.live(now) {
			continue
		}
		left := l.Expiry.Sub(now)
		s.NextExpiry = sooner(s.NextExpiry, left)
		if e.unrenewed(now) {
			s.Unrenewed = sooner(s.Unrenewed, left)
		}
	}
	return s
}

// sooner is the lesser of the two; 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// entry finds or makes the entry of a key.
func (v *Vault) entry(k key) *entry {
	if e, ok := v.entries.Get(k); ok {
		return e
	}
	v.sweep(2)
	e := new(entry)
	was, ok, evicted := v.entries.PeekOrAdd(k, e)
	if ok {
		return was
	}
	if evicted {
		v.onCache(eventEvicted)
	}
	return e
}

// sweep drops up to n entries that nobody has asked for since their leases ended, so that what is kept follows the
// number of users who are there, not of those who ever were.
func (v *Vault) sweep(n int) {
	for range n {
		k, e, ok := v.entries.GetOldest()
		if !ok || !e.idle(time.Now()) {
			return
		}
		v.entries.Remove(k)
	}
}

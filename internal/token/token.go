// Package token is the doorkeeper: it takes the bearer token off a request, verifies it against the keys of the
// identity provider, and says who the caller is. It also tells clients where to get a token (RFC 9728, RFC 6750).
//
// It promises that a Caller exists only for a JWT whose signature, algorithm, type, issuer, audience and times were
// checked against a key that the provider published within the last five minutes, or as recently as the provider
// could be reached; that trouble with the provider is fault.Unavailable and never a refused token; that keys are
// fetched in one flight, with no lock held meanwhile, and no request waits for a fetch that it does not need; and that
// a token which was verified once is not verified again while it and its key are good.
//
// It must never accept a key, a key's address or an algorithm on the word of a token, never put the text of a token
// into an error, a log line or a cache key, and never change the claims of a Caller that it handed out.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rolegate/rolegate/config"
)

// Options say whose tokens a Verifier accepts and what it reports to.
type Options struct {
	OIDC      config.OIDCProvider
	CABundle  []byte                           // PEM, trusted besides the system's authorities and OIDC.CABundle; may be nil
	Transport http.RoundTripper                // nil: one that honours HTTPS_PROXY, NO_PROXY and the CA bundles
	Log       *slog.Logger                     // nil: silence
	OnVerify  func(result string, cached bool) // one call for each Verify, with one of the Result words; may be nil
	OnRefresh func(err error)                  // one call for each fetch of the key set, when its keys are in use; may be nil
	CacheSize int                              // verified tokens that are remembered; 0 means 10000
}

const defaultCacheSize = 10_000

// Verifier verifies the tokens of one identity provider for one audience. It is safe for concurrent use.
type Verifier struct {
	issuer, audience string
	ring             *ring
	cache            *cache
	onVerify         func(result string, cached bool)
	stop             func()
}

// New makes a Verifier and begins to fetch the provider's keys in the background. It does not wait for them and does
// not fail when the provider is away. The error names a setting that can't work: no issuer or audience, a URL that is
// not https where http was not allowed, a CA bundle without a certificate. Close ends the background work.
func New(o Options) (*Verifier, error) {
	if o.OIDC.Issuer == "" {
		return nil, errors.New("make token verifier: no issuer")
	}
	if o.OIDC.Audience == "" {
		return nil, errors.New("make token verifier: no audience")
	}
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnVerify == nil {
		o.OnVerify = func(string, bool) {}
	}
	if o.OnRefresh == nil {
		o.OnRefresh = func(error) {}
	}
	src, err := newSource(o)
	if err != nil {
		return nil, fmt.Errorf("make token verifier: %w", err)
	}
	remembered, err := newCache(o.CacheSize)
	if err != nil {
		return nil, fmt.Errorf("make token verifier: %w", err)
	}
	r := newRing(src, o.Log.With("issuer", o.OIDC.Issuer), o.OnRefresh)
	ctx, cancel := context.WithCancel(context.Background())
	go r.run(ctx)
	return &Verifier{
		issuer:   o.OIDC.Issuer,
		audience: o.OIDC.Audience,
		ring:     r,
		cache:    remembered,
		onVerify: o.OnVerify,
		stop: func() {
			cancel()
			<-r.stopped
			src.close()
		},
	}, nil
}

// Close ends the background work and waits for its end. Verify goes on with the keys at hand. Calling it again is fine.
func (v *Verifier) Close() { v.stop() }

// Verify turns a token into its caller. The same token gives the same *Caller while it and its key are good.
//
// The error is a *fault.Error: Unauthenticated with Challenge invalid_token where the token is to blame, Unavailable
// with RetryAfter where the provider is, Aborted where ctx was cancelled. Result gives the word for it. Verify waits
// for nothing while the keys at hand suffice, and never longer than 5 s for a fetch.
func (v *Verifier) Verify(ctx context.Context, raw Raw) (*Caller, error) {
	sum := raw.Sum()
	if c := v.cache.get(sum, v.ring.current(), time.Now()); c != nil {
		v.onVerify(ResultOK, true)
		return c, nil
	}
	c, refused := v.verify(ctx, raw, sum)
	if refused != nil {
		v.onVerify(refused.result, false)
		return nil, refused.fault()
	}
	v.onVerify(ResultOK, false)
	return c, nil
}

// verify looks at what the token says before it looks for the key: a token that is no good whoever signed it must not
// make us fetch keys.
func (v *Verifier) verify(ctx context.Context, raw Raw, sum [32]byte) (*Caller, *refusal) {
	t, refused := read(raw)
	if refused != nil {
		return nil, refused
	}
	c, refused := v.caller(raw, t.claims, time.Now())
	if refused != nil {
		return nil, refused
	}
	signer, refused := v.signer(ctx, t)
	if refused != nil {
		return nil, refused
	}
	return v.cache.put(sum, c, signer, time.Now()), nil
}

// Ready says whether keys were fetched at least once.
func (v *Verifier) Ready() bool { return v.ring.current() != nil }

// Status is the state of the key set, for metrics and health pages.
type Status struct {
	Ready   bool      // keys were fetched at least once
	Keys    int       // usable keys
	Ignored int       // published keys that can't verify tokens here: encryption, weak, unknown type
	Fetched time.Time // when the keys in use were fetched; zero before the first time
	Trouble string    // "" when the last fetch succeeded, else one of the Trouble words
	Cached  int       // verified tokens that are remembered
}

// Age is the seconds since the keys in use were fetched; -1 before the first time.
func (s Status) Age() float64 {
	if !s.Ready {
		return -1
	}
	return time.Since(s.Fetched).Seconds()
}

// Status reads the state of the key set.
func (v *Verifier) Status() Status {
	s := Status{Cached: v.cache.len(), Trouble: v.ring.trouble()}
	if set := v.ring.current(); set != nil {
		s.Ready, s.Keys, s.Ignored, s.Fetched = true, len(set.keys), set.ignored, set.fetched
	}
	return s
}

// STSRefuses names the keys, by kid and algorithm, whose tokens verify here but are refused by AWS STS, which takes
// RS256-512 and ES256-512 only. It is empty before the keys were fetched; OnRefresh(nil) tells when they were.
func (v *Verifier) STSRefuses() []string {
	set := v.ring.current()
	if set == nil {
		return nil
	}
	var names []string
	for _, k := range set.keys {
		if alg := k.stsRefuses(); alg != "" {
			names = append(names, strings.TrimSpace(clip(k.kid)+" "+alg))
		}
	}
	return names
}

package token

import (
	"context"
	"errors"
)

// signed names the key that verified a token and the set that it was found in.
type signed struct {
	key *key
	set *keySet
}

// signer finds the key that verifies a token: among the keys at hand, else among newer ones.
func (v *Verifier) signer(ctx context.Context, t *unverified) (signed, *refusal) {
	result, set := ResultUnavailable, v.ring.current()
	if set != nil {
		var k *key
		if k, result = set.find(t); k != nil {
			return signed{k, set}, nil
		}
	}
	return v.ring.search(ctx, t, set, result)
}

// search looks among newer keys than those of searched, where the verdict was result: the provider may have a new key,
// or another one under the same kid. It joins the round under way or causes one. A round that it joined may have begun
// before the key was published, so it may wait for a second one, but for no longer than patience.
func (r *ring) search(ctx context.Context, t *unverified, searched *keySet, result string) (signed, *refusal) {
	waiting, cancel := context.WithTimeoutCause(ctx, patience, errSlow)
	defer cancel()
	var failure error
	for range 2 {
		var current *round
		if current, failure = r.ask(); current != nil {
			failure = r.wait(waiting, current)
		}
		if ctx.Err() != nil {
			return signed{}, r.gone(ctx)
		}
		set := r.current()
		if set != searched {
			var k *key
			if k, result = set.find(t); k != nil {
				return signed{k, set}, nil
			}
			searched = set
		}
		if current == nil {
			break
		}
	}
	return signed{}, r.verdict(t, result, failure)
}

// wait gives the failure of a round when it has ended, or why it was not waited for any longer. The round goes on.
func (r *ring) wait(ctx context.Context, current *round) error {
	select {
	case <-current.done:
		return current.failure
	case <-r.stopped:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gone is for a request that ended while it waited.
func (r *ring) gone(ctx context.Context) *refusal {
	if errors.Is(ctx.Err(), context.Canceled) {
		return refuse(ResultAborted, "the request was cancelled while the key set was fetched").because(context.Cause(ctx))
	}
	return refuse(ResultUnavailable, "the request's time was up while the key set was fetched").because(context.Cause(ctx)).after(r.later())
}

// verdict says why no key verifies a token, after all was tried. Where the provider could not be asked about a kid that
// is not known, the provider is to blame and not the token.
func (r *ring) verdict(t *unverified, result string, failure error) *refusal {
	perhaps := result == ResultUnknownKey || result == ResultSignature // under the keys of now it may be a good one
	if result == ResultUnavailable || perhaps && failure != nil {
		return refuse(ResultUnavailable, "the key set of the provider could not be fetched; kid of the token: %s", clip(t.kid)).
			because(failure).after(r.later())
	}
	refused := refuse(result, "kid of the token: %s, alg: %s", clip(t.kid), t.alg)
	if result == ResultAlgorithm {
		refused.check = CheckKey // read let the algorithm pass; the key is for another
	}
	return refused
}

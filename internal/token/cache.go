package token

import (
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cache remembers verified tokens under their SHA-256. What was refused is not remembered.
type cache struct {
	entries *lru.Cache[[32]byte, *entry]
}

type entry struct {
	caller *Caller
	signer *key
	seen   atomic.Pointer[keySet] // the last set that the signer was found in
}

func newCache(size int) (*cache, error) {
	entries, err := lru.New[[32]byte, *entry](size)
	if err != nil {
		return nil, err
	}
	return &cache{entries}, nil
}

func (c *cache) len() int { return c.entries.Len() }

// get is the caller of a token that was verified before and is still good: not expired, and its key in the set.
func (c *cache) get(sum [32]byte, set *keySet, now time.Time) *Caller {
	e, ok := c.entries.Get(sum)
	if !ok {
		return nil
	}
	if !e.good(set, now) {
		c.entries.Remove(sum)
		return nil
	}
	return e.caller
}

// put remembers a caller. Of two who verify the same token at once, the second gets what the first stored.
func (c *cache) put(sum [32]byte, caller *Caller, signer signed, now time.Time) *Caller {
	e := &entry{caller: caller, signer: signer.key}
	e.seen.Store(signer.set)
	first, exists, _ := c.entries.PeekOrAdd(sum, e)
	switch {
	case !exists:
		return caller
	case first.good(signer.set, now):
		return first.caller
	}
	c.entries.Add(sum, e)
	return caller
}

func (e *entry) good(set *keySet, now time.Time) bool {
	if !now.Before(e.caller.Expiry.Add(leeway)) {
		return false
	}
	if e.seen.Load() == set {
		return true
	}
	if !set.has(e.signer) {
		return false
	}
	e.seen.Store(set)
	return true
}

package token_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/token"
)

func TestAVerifiedTokenIsNotVerifiedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		text := one(nil)
		first := accept(t, v, text)
		time.Sleep(10 * time.Minute) // the key set is another by now, with the same key
		if accept(t, v, text) != first {
			t.Error("another caller for the same token")
		}
		if n := v.Status().Cached; n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestARememberedTokenExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		text := one(map[string]any{"exp": time.Now().Add(time.Minute).Unix()})
		accept(t, v, text)
		time.Sleep(2*time.Minute - 2*time.Second)
		accept(t, v, text)
		time.Sleep(2 * time.Second)
		refused(t, v, text, token.ResultExpired)
		if n := v.Status().Cached; n != 0 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestFirstVerificationsAtOnceShareOneCaller(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.delay = time.Second // all wait for the first fetch and go on together
		v := newVerifier(t, p)
		text := one(nil)
		callers := make([]*token.Caller, 100)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { callers[i] = accept(t, v, text) })
		}
		wg.Wait()
		synctest.Wait()
		for _, c := range callers {
			if c != callers[0] {
				t.Fatal("two callers for one token")
			}
		}
	})
}

func TestWhatWasRefusedIsNotRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		text := one(map[string]any{"nbf": time.Now().Add(2 * time.Minute).Unix()})
		refused(t, v, text, token.ResultNotYet)
		time.Sleep(time.Minute)
		accept(t, v, text)
	})
}

func TestMemoryOfTokensIsBounded(t *testing.T) {
	o := options(newProvider(allKeys()))
	o.CacheSize = 3
	v := newVerifierWith(t, o)
	for i := range 20 {
		accept(t, v, mint("EdDSA", "ed", edKey(), map[string]any{"sub": fmt.Sprint(i)}))
	}
	if n := v.Status().Cached; n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

func TestLookingUpAVerifiedTokenAllocatesNothing(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	raw := token.NewRaw(mint("RS256", "rsa", rsaKey(), nil))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

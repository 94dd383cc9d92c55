package token_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/token"
)

// inBubble runs a test under a clock of its own, with a provider that has one key, "one".
func inBubble(t *testing.T, f func(t *testing.T, p *provider)) {
	p256() // made outside: keys are shared between bubbles
	otherEC()
	synctest.Test(t, func(t *testing.T) {
		f(t, newProvider(map[string]any{"one": p256().Public()}))
	})
}

// started is a verifier that has fetched its keys.
func started(t *testing.T, o token.Options) *token.Verifier {
	t.Helper()
	v := newVerifierWith(t, o)
	synctest.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
	return v
}

func one(changes map[string]any) string { return mint("ES256", "one", p256(), changes) }
func two() string                       { return mint("ES256", "two", otherEC(), nil) }

func rotate(p *provider) {
	p.set(func(p *provider) { p.keys = map[string]any{"one": p256().Public(), "two": otherEC().Public()} })
}

var errDown = errors.New("connection refused by 10.1.2.3")

// Pitfall 12: one failed first key fetch was 15 minutes of 401.
func TestOneFailedFirstFetchRecoversWithinSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.down = errDown
		v := newVerifier(t, p)
		refused(t, v, one(nil), token.ResultUnavailable)
		if v.Ready() {
			t.Error("ready without keys")
		}
		p.set(func(p *provider) { p.down = nil })
		time.Sleep(3 * time.Second)
		if !v.Ready() {
			t.Error("not ready 3 s after the provider came back")
		}
		accept(t, v, one(nil))
	})
}

// Pitfall 12: a rotated key was not fetched for a day.
func TestTheFirstTokenUnderANewKeyPasses(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := newVerifier(t, p)
		accept(t, v, one(nil))
		rotate(p)
		accept(t, v, two())
		accept(t, v, one(nil))
		if n := p.count(keysURL); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// Pitfall 12: a hanging provider queued every request behind a mutex.
func TestAHangingProviderDelaysNobodyWhoseKeyIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) { p.hang = true })
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { refused(t, v, mint("ES256", "nobody", otherEC(), nil), token.ResultUnavailable) })
		}
		synctest.Wait()
		begin := time.Now()
		for i := range 50 {
			accept(t, v, one(map[string]any{"n": i}))
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("known keys waited %s", d)
		}
		wg.Wait()
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("unknown keys waited %s", d)
		}
	})
}

func TestARequestDuringTheFirstFetchWaitsForIt(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.delay = 2 * time.Second // twice: discovery and key set
		v := newVerifier(t, p)
		begin := time.Now()
		accept(t, v, one(nil))
		if d := time.Since(begin); d != 4*time.Second {
			t.Errorf("waited %s, want 4s", d)
		}
	})
}

func TestNobodyWaitsLongForTheFirstFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.hang = true
		v := newVerifier(t, p)
		begin := time.Now()
		refused(t, v, one(nil), token.ResultUnavailable)
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("waited %s, want 5s", d)
		}
		if s := v.Status(); s.Ready || s.Age() != -1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAHundredUnknownKidsAreOneFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) { p.delay = time.Second })
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { refused(t, v, mint("ES256", fmt.Sprint("k", i), otherEC(), nil), token.ResultUnknownKey) })
		}
		wg.Wait()
		if n := p.count(keysURL); n != 2 {
			t.Errorf("%d fetches, want the prefetch and one", n)
		}
	})
}

func TestUnknownKidsCauseAFetchEveryTenSecondsAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		before := p.count(keysURL)
		for i := range 90 { // one a second
			refused(t, v, mint("ES256", fmt.Sprint("k", i), otherEC(), nil), token.ResultUnknownKey)
			time.Sleep(time.Second)
		}
		if n := p.count(keysURL) - before; n != 9 {
			t.Errorf("%d fetches in 90 s, want 9", n)
		}
	})
}

func TestABadTokenCausesNoFetch(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		before := p.count(keysURL)
		for _, changes := range []map[string]any{{"iss": "x"}, {"aud": "x"}, {"exp": 1}, {"sub": nil}} {
			if _, err := verify(v, mint("ES256", "nobody", otherEC(), changes)); err == nil {
				t.Error("accepted")
			}
		}
		if n := p.count(keysURL) - before; n != 0 {
			t.Errorf("%d fetches, want none", n)
		}
	})
}

func TestARoundThatBeganBeforeTheRotationIsFollowedByAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		var late bool
		p.set(func(p *provider) {
			p.answer[keysURL] = func() answer { // the first answer is from before the rotation
				if !late {
					late = true
					return answer{status: 200, body: keySetJSON(map[string]any{"one": p256().Public()})}
				}
				return p.usual(keysURL)
			}
			p.delay = 2 * time.Second
		})
		time.Sleep(3*time.Minute + 40*time.Second)
		for p.count(keysURL) == 1 { // until the refresh in the background is under way
			time.Sleep(time.Second)
		}
		rotate(p)
		accept(t, v, two())
	})
}

func TestAKeyThatLeftTheSetIsRefusedWithinFiveMinutes(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		kept, gone := two(), one(nil)
		rotate(p)
		accept(t, v, kept)
		accept(t, v, gone) // both are remembered now
		p.set(func(p *provider) { delete(p.keys, "one") })
		accept(t, v, gone)
		time.Sleep(5 * time.Minute)
		refused(t, v, gone, token.ResultUnknownKey)
		accept(t, v, kept)
	})
}

func TestAKeyReplacedUnderTheSameKid(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		old := one(nil)
		accept(t, v, old)
		p.set(func(p *provider) { p.keys = map[string]any{"one": otherEC().Public()} })
		accept(t, v, mint("ES256", "one", otherEC(), nil))
		refused(t, v, old, token.ResultSignature)
	})
}

func TestAKeyReplacedUnderTheSameKidWhileTheProviderIsAwayIsAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		swapped := mint("ES256", "one", otherEC(), nil)
		p.set(func(p *provider) { p.keys, p.down = map[string]any{"one": otherEC().Public()}, errDown })
		refused(t, v, swapped, token.ResultUnavailable)
		p.set(func(p *provider) { p.down = nil })
		time.Sleep(time.Minute)
		accept(t, v, swapped)
		refused(t, v, one(nil), token.ResultSignature)
	})
}

func TestStaleKeysServeWhileTheProviderIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) { p.down = errDown })
		time.Sleep(24 * time.Hour)
		accept(t, v, one(nil))
		if s := v.Status(); s.Trouble != token.TroubleUnreachable || s.Age() < 86_400 || s.Keys != 1 || !s.Ready {
			t.Errorf("%+v, age %g", s, s.Age())
		}
		refused(t, v, mint("ES256", "one", otherEC(), nil), token.ResultUnavailable) // perhaps a new key under the old name
		e := refused(t, v, two(), token.ResultUnavailable)                           // perhaps a new key: nobody can tell
		if strings.Contains(e.Public, "10.1.2.3") {
			t.Error("the public words hold the cause")
		}
		time.Sleep(5 * time.Second)
		refused(t, v, two(), token.ResultUnavailable)

		p.set(func(p *provider) { p.down = nil })
		rotate(p)
		time.Sleep(30 * time.Second)
		accept(t, v, two())
		if s := v.Status(); s.Trouble != "" || s.Age() > 30 {
			t.Errorf("%+v, age %g", s, s.Age())
		}
	})
}

func TestAnOutageIsNotHammered(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.down = errDown
		newVerifier(t, p)
		time.Sleep(time.Minute)
		if n := p.count(discovery); n < 6 || n > 16 {
			t.Errorf("%d attempts in the first minute", n)
		}
		before := p.count(discovery)
		time.Sleep(time.Hour)
		if n := p.count(discovery) - before; n < 110 || n > 250 {
			t.Errorf("%d attempts in an hour", n)
		}
	})
}

func TestAWaiterThatHangsUpDisturbsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		rotate(p)
		p.set(func(p *provider) { p.delay = 3 * time.Second })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := v.Verify(ctx, token.NewRaw(two()))
			checkRefusal(t, err, token.ResultAborted)
		})
		wg.Go(func() {
			hurried, done := context.WithTimeout(t.Context(), time.Second)
			defer done()
			_, err := v.Verify(hurried, token.NewRaw(two()))
			checkRefusal(t, err, token.ResultUnavailable)
		})
		wg.Go(func() { accept(t, v, two()) })
		synctest.Wait()
		cancel()
		wg.Wait()
		if n := p.count(keysURL); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

func TestGarbageNeverReplacesGoodKeys(t *testing.T) {
	for name, a := range map[string]answer{
		"not JSON":       {status: 200, body: "<html>Please sign in</html>"},
		"no keys":        {status: 200, body: `{"keys":[]}`},
		"null":           {status: 200, body: `null`},
		"no usable keys": {status: 200, body: `{"keys":[{"kty":"oct","k":"AAAA"},{},7,null]}`},
		"keys twice":     {status: 200, body: `{"keys":[],"keys":[]}`},
		"server error":   {status: 500, body: "oops"},
		"too large":      {status: 200, body: `{"keys":[],"pad":"` + strings.Repeat("x", 1<<20) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider) {
				v := started(t, options(p))
				p.set(func(p *provider) { p.answer[keysURL] = func() answer { return a } })
				time.Sleep(10 * time.Minute)
				accept(t, v, one(nil))
				if v.Status().Trouble == "" {
					t.Error("no trouble reported")
				}
			})
		})
	}
}

func TestAKeySetThatMovedIsFollowed(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) { p.jwks = "https://id.test/moved" })
		rotate(p)
		accept(t, v, two())
	})
}

func TestAKeySetThatMovedFromAHangingPlaceIsFollowed(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) {
			p.hangAt, p.jwks = keysURL, "https://id.test/moved"
			p.keys = map[string]any{"two": otherEC().Public()}
		})
		time.Sleep(5 * time.Minute) // one round is lost to the place that hangs, the next begins with the discovery
		accept(t, v, two())
	})
}

func TestAFetchThatHangsIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.hangAt = discovery
		v := newVerifier(t, p)
		time.Sleep(time.Second)
		p.set(func(p *provider) { p.hangAt = "" })
		time.Sleep(10 * time.Second)
		accept(t, v, one(nil))
	})
}

func TestADiscoveryDocumentThatChangesItsIssuerStopsTheRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) { p.issuer = "https://evil.test" })
		time.Sleep(65 * time.Minute) // past the hour after which it is read again
		rotate(p)
		refused(t, v, two(), token.ResultUnavailable)
		accept(t, v, one(nil))
		if got := v.Status().Trouble; got != token.TroubleIssuer {
			t.Errorf("trouble %q", got)
		}
	})
}

func TestAKeySetIsUsedWhileTheDiscoveryDocumentIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		p.set(func(p *provider) { p.answer[discovery] = func() answer { return answer{status: 502} } })
		rotate(p)
		time.Sleep(3 * time.Hour)
		accept(t, v, two())
		if s := v.Status(); s.Trouble != "" {
			t.Errorf("%+v", s)
		}
	})
}

func TestTroubleIsLoggedWhenItChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		var log fake.Log
		var failures, fetches atomic.Int32
		o := options(p)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		o.OnRefresh = func(err error) {
			fetches.Add(1)
			if err != nil {
				failures.Add(1)
			}
		}
		started(t, o)
		p.set(func(p *provider) { p.down = errDown })
		time.Sleep(time.Hour)
		p.set(func(p *provider) { p.down = nil })
		time.Sleep(time.Hour)
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings, want 1:\n%s", got, log.String())
		}
		if got := strings.Count(log.String(), "level=INFO"); got != 2 { // the first fetch, and the recovery
			t.Errorf("%d infos, want 2:\n%s", got, log.String())
		}
		if failures.Load() < 100 || fetches.Load()-failures.Load() < 10 {
			t.Errorf("%d fetches, %d failures reported", fetches.Load(), failures.Load())
		}
	})
}

func TestCloseLetsWaitersGo(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.hang = true
		v := newVerifier(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { refused(t, v, one(nil), token.ResultUnavailable) })
		synctest.Wait()
		begin := time.Now()
		v.Close()
		v.Close()
		wg.Wait()
		refused(t, v, one(nil), token.ResultUnavailable)
		if d := time.Since(begin); d != 0 {
			t.Errorf("took %s", d)
		}
	})
}

func TestKeysAtHandServeAfterClose(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		v := started(t, options(p))
		v.Close()
		accept(t, v, one(nil))
		refused(t, v, two(), token.ResultUnavailable)
	})
}

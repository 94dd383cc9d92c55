package sts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// TestOneUserIsOneCall: a chatty client costs one call of STS, however many requests it sends, one after another or all
// at once; and who has live credentials never notices that STS is away.
func TestOneUserIsOneCall(t *testing.T) {
	t.Run("1000 calls one after another", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{delay: 30 * time.Millisecond}
			events := make(map[string]int)
			v := sts.New(sts.Options{Transport: f, OnCache: func(e string) { events[e]++ }})
			var first *sts.Lease
			for i := range 1000 {
				l, source := lend(t, v, caller("u1"))
				if i == 0 {
					first = l
				}
				if want := map[bool]sts.Source{true: sts.Miss, false: sts.Hit}[i == 0]; source != want || l != first {
					t.Fatalf("call %d: %s, want %s", i, source, want)
				}
				time.Sleep(time.Second)
			}
			if f.calls() != 1 {
				t.Errorf("STS was called %d times", f.calls())
			}
			if diff := cmp.Diff(map[string]int{"miss": 1, "hit": 999}, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("100 cold calls at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{delay: 30 * time.Millisecond}
			v := sts.New(sts.Options{Transport: f})
			sources := together(t, v, 100)
			if f.calls() != 1 || sources[sts.Miss] != 1 || sources[sts.Joined] != 99 {
				t.Errorf("STS was called %d times; sources %v", f.calls(), sources)
			}
		})
	})
	t.Run("STS away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			v := sts.New(sts.Options{Transport: f})
			lend(t, v, caller("warm"))
			f.answer = down
			for range 3500 / 10 { // nearly an hour: the refreshes that fall due all fail
				if _, source := lend(t, v, caller("warm")); source != sts.Hit {
					t.Fatalf("a warm user waited: %s", source)
				}
				time.Sleep(10 * time.Second)
			}
			e := refuse(t, v, caller("cold"))
			if e.Kind != fault.Unavailable || e.RetryAfter <= 0 {
				t.Errorf("a cold user got %v, retry after %s", e, e.RetryAfter)
			}
			synctest.Wait()
		})
	})
}

// together asks for credentials n times at once and counts the sources.
func together(t *testing.T, v *sts.Vault, n int) map[sts.Source]int {
	t.Helper()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		sources = make(map[sts.Source]int)
	)
	for range n {
		wg.Go(func() {
			_, source, err := v.Credentials(context.Background(), caller("u1"), grant())
			mu.Lock()
			defer mu.Unlock()
			sources[source]++
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return sources
}

func TestRefreshAhead(t *testing.T) {
	for _, life := range []time.Duration{2 * time.Minute, 15 * time.Minute, time.Hour, 12 * time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{life: life, delay: 50 * time.Millisecond}
				refreshes := 0
				v := sts.New(sts.Options{Transport: f, OnCache: func(e string) {
					if e == "refresh" {
						refreshes++
					}
				}})
				first, _ := lend(t, v, caller("u1"))
				begin := time.Now()
				early := min(max(5*time.Minute, life/6), time.Minute+(life-time.Minute)/2)
				for f.calls() == 1 {
					asked := time.Now()
					l, source := lend(t, v, caller("u1"))
					if source != sts.Hit || time.Since(asked) != 0 || l != first {
						t.Fatalf("a request waited %s: %s", time.Since(asked), source)
					}
					if time.Since(begin) > life {
						t.Fatal("not refreshed")
					}
					synctest.Wait() // the background flight takes off
					time.Sleep(time.Second)
				}
				at := time.Since(begin)
				if earliest, latest := life-early*6/5-2*time.Second, life-early+2*time.Second; at < earliest || at > latest {
					t.Errorf("refreshed after %s, want %s to %s", at, earliest, latest)
				}
				if l, source := lend(t, v, caller("u1")); source != sts.Hit || l == first {
					t.Errorf("after the refresh: %s, same lease %v", source, l == first)
				}
				if refreshes != 1 || f.calls() != 2 {
					t.Errorf("%d refreshes, %d calls", refreshes, f.calls())
				}
			})
		})
	}
}

func TestFailedRefreshBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		var log bytes.Buffer
		v := sts.New(sts.Options{Transport: f, Log: slog.New(slog.NewTextHandler(&log, nil))})
		lend(t, v, caller("u1"))
		time.Sleep(50 * time.Minute)
		f.answer = always(400, refused("AccessDenied", "no"))
		for range 230 { // 3 min 50 s
			if _, source := lend(t, v, caller("u1")); source != sts.Hit {
				t.Fatalf("a request waited: %s", source)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		// 5, 10, 20, 40, 80 s and up to half of each: four to six tries, not 230.
		if n := f.calls() - 1; n < 4 || n > 6 {
			t.Errorf("%d refreshes in 230 s", n)
		}
		if n := strings.Count(log.String(), "refresh of credentials failed"); n != f.calls()-1 || !strings.Contains(log.String(), roleARN) {
			t.Errorf("the log tells %d failures:\n%s", n, log.String())
		}
		f.answer = nil
		for begin := time.Now(); ; time.Sleep(time.Second) {
			l, source := lend(t, v, caller("u1"))
			if source != sts.Hit || time.Since(begin) > 3*time.Minute {
				t.Fatalf("%s after the trouble: %s", time.Since(begin), source)
			}
			if time.Until(l.Expiry) > 50*time.Minute {
				break
			}
			synctest.Wait()
		}
	})
}

// TestFailedRefreshIsCounted: where credentials that are still good could not be refreshed, and only there: a failure
// that a request waits for is that request's to tell.
func TestFailedRefreshIsCounted(t *testing.T) {
	away := always(503, refused("ServiceUnavailable", "later"))
	for _, tc := range []struct {
		name   string
		answer func(int, url.Values) (int, string, error) // from the first lease on
		at     time.Duration                              // when the user comes back
		want   map[string]int
	}{
		{"it succeeds", nil, 55 * time.Minute, map[string]int{"miss": 1, "hit": 1, "refresh": 1}},
		{"it fails", away, 55 * time.Minute, map[string]int{"miss": 1, "hit": 1, "refresh": 1, "refresh_failed": 1}},
		{"it is refused", always(400, refused("AccessDenied", "no")), 55 * time.Minute, map[string]int{"miss": 1, "hit": 1, "refresh": 1, "refresh_failed": 1}},
		{"nothing is due", away, 10 * time.Minute, map[string]int{"miss": 1, "hit": 1}},
		{"the credentials have ended", away, 2 * time.Hour, map[string]int{"miss": 2}},
		{"they end while STS is asked", func(int, url.Values) (int, string, error) {
			time.Sleep(5 * time.Second)
			return 400, refused("AccessDenied", "no"), nil
		}, 59*time.Minute - time.Second, map[string]int{"miss": 1, "hit": 1, "refresh": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				var mu sync.Mutex
				events := make(map[string]int)
				v := sts.New(sts.Options{Transport: f, OnCache: func(e string) {
					mu.Lock()
					defer mu.Unlock()
					events[e]++
				}})
				lend(t, v, caller("u1"))
				f.answer = tc.answer
				time.Sleep(tc.at)
				_, _, _ = v.Credentials(t.Context(), caller("u1"), grant()) // the events say how it went
				time.Sleep(time.Minute)                                     // the flight lands, attempts included
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if diff := cmp.Diff(tc.want, events); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestFloor: credentials are served until a minute before their end, and not a moment longer.
func TestFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		v := sts.New(sts.Options{Transport: f})
		first, _ := lend(t, v, caller("u1"))
		f.answer = down
		time.Sleep(time.Until(first.Expiry.Add(-time.Minute - time.Millisecond)))
		if l, source := lend(t, v, caller("u1")); source != sts.Hit || l != first {
			t.Errorf("61 s before the end: %s", source)
		}
		time.Sleep(time.Millisecond)
		if e := refuse(t, v, caller("u1")); e.Kind != fault.Unavailable {
			t.Errorf("60 s before the end: %v", e)
		}
		synctest.Wait()
	})
}

// TestHangingUp: whoever started the flight may leave; those who wait with it, and those who come later, get its result.
func TestHangingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: time.Second}
		v := sts.New(sts.Options{Transport: f})
		ctx, hangUp := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, source, err := v.Credentials(ctx, caller("u1"), grant())
			if e := fault.Of(err); e == nil || e.Kind != fault.Aborted || !errors.Is(err, context.Canceled) || source != sts.Miss {
				t.Errorf("the first waiter got %s, %v", source, err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if _, source := lend(t, v, caller("u1")); source != sts.Joined {
				t.Errorf("the second waiter got %s", source)
			}
		})
		synctest.Wait()
		hangUp()
		wg.Wait()
		if _, source := lend(t, v, caller("u1")); source != sts.Hit || f.calls() != 1 {
			t.Errorf("afterwards: %s, %d calls", source, f.calls())
		}
	})
}

func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: time.Millisecond}
		v := sts.New(sts.Options{Transport: f})
		stale, _ := lend(t, v, caller("u1"))
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				v.Drop(stale)
				if l, _ := lend(t, v, caller("u1")); l == stale {
					t.Error("the dropped lease came back")
				}
			})
		}
		wg.Wait()
		v.Drop(stale) // late: it is not the current one
		if _, source := lend(t, v, caller("u1")); source != sts.Hit || f.calls() != 2 {
			t.Errorf("afterwards: %s, %d calls", source, f.calls())
		}
		v.Drop(nil)
		v.Drop(&sts.Lease{})
	})
}

// TestKeys: whatever makes a difference to what STS lends has a lease of its own; the token itself does not.
func TestKeys(t *testing.T) {
	f := &fake{}
	v := sts.New(sts.Options{Transport: f})
	ask := func(change func(*token.Caller, *sts.Grant)) sts.Source {
		c, g := caller("u1"), grant()
		change(c, &g)
		_, source, err := v.Credentials(context.Background(), c, g)
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	ask(func(*token.Caller, *sts.Grant) {})
	for name, change := range map[string]func(*token.Caller, *sts.Grant){
		"issuer":           func(c *token.Caller, _ *sts.Grant) { c.Issuer = "https://other" },
		"subject":          func(c *token.Caller, _ *sts.Grant) { c.Subject.ID = "u2" },
		"audience":         func(c *token.Caller, _ *sts.Grant) { c.Audience = []string{"other"} },
		"audiences":        func(c *token.Caller, _ *sts.Grant) { c.Audience = []string{"mcp", "other"} },
		"joined audience":  func(c *token.Caller, _ *sts.Grant) { c.Audience = []string{"3:mcp5:other"} },
		"authorized party": func(c *token.Caller, _ *sts.Grant) { c.AuthorizedParty = "other" },
		"role":             func(_ *token.Caller, g *sts.Grant) { g.RoleARN += "2" },
		"session name":     func(_ *token.Caller, g *sts.Grant) { g.SessionName = "u2" },
		"region":           func(_ *token.Caller, g *sts.Grant) { g.Region = "eu-west-1" },
		"duration":         func(_ *token.Caller, g *sts.Grant) { g.Duration = 15 * time.Minute },
		"session tags": func(c *token.Caller, _ *sts.Grant) {
			c.Subject.Claims["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"Team": []any{"blue"}}}
		},
		"other session tags": func(c *token.Caller, _ *sts.Grant) {
			c.Subject.Claims["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"Team": []any{"red"}}}
		},
		"flattened session tags": func(c *token.Caller, _ *sts.Grant) {
			c.Subject.Claims["https://aws.amazon.com/tags/principal_tags/Team"] = []any{"blue"}
		},
		"source identity": func(c *token.Caller, _ *sts.Grant) { c.Subject.Claims["https://aws.amazon.com/source_identity"] = "u1" },
	} {
		if got := ask(change); got != sts.Miss {
			t.Errorf("another %s: %s, want miss", name, got)
		}
		if got := ask(change); got != sts.Hit {
			t.Errorf("the same %s: %s, want hit", name, got)
		}
	}
	for name, change := range map[string]func(*token.Caller, *sts.Grant){
		"token":           func(c *token.Caller, _ *sts.Grant) { c.Subject.Token = token.NewRaw("another") },
		"unrelated claim": func(c *token.Caller, _ *sts.Grant) { c.Subject.Claims["iat"] = int64(7) },
		"duration unset":  func(_ *token.Caller, g *sts.Grant) { g.Duration = 0 },
	} {
		if got := ask(change); got != sts.Hit {
			t.Errorf("another %s: %s, want hit", name, got)
		}
	}
}

// TestTokenAndClaimsBelongTogether: STS gets the very token that the role and the session name were chosen from.
func TestTokenAndClaimsBelongTogether(t *testing.T) {
	f := &fake{}
	v := sts.New(sts.Options{Transport: f})
	for _, subject := range []string{"u1", "auth0|5f7c3e"} {
		c := callerWith(subject, "token-of-"+subject)
		name, err := sts.SessionName(c.Subject.Claims, "sub")
		if err != nil {
			t.Fatal(err)
		}
		g := grant()
		g.SessionName = name
		l, _, err := v.Credentials(context.Background(), c, g)
		if err != nil {
			t.Fatal(err)
		}
		want := url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "DurationSeconds": {"3600"},
			"RoleArn": {roleARN}, "RoleSessionName": {name}, "WebIdentityToken": {"token-of-" + subject},
		}
		if diff := cmp.Diff(want, f.forms[len(f.forms)-1]); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
		if l.AssumedRoleARN != "arn:aws:sts::123456789012:assumed-role/S3ReadOnlyMCPRole/"+name || !strings.HasPrefix(l.RequestID, "req-") {
			t.Errorf("lease %q, request %q", l.AssumedRoleARN, l.RequestID)
		}
	}
}

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		evicted := 0
		v := sts.New(sts.Options{Transport: f, MaxEntries: 3, OnCache: func(e string) {
			if e == "evicted" {
				evicted++
			}
		}})
		for i := range 5 {
			lend(t, v, caller(fmt.Sprint("u", i)))
		}
		if s := v.Stats(); s.Entries != 3 || evicted != 2 || s.Flights != 0 {
			t.Errorf("%+v, %d evicted", s, evicted)
		}
		time.Sleep(2 * time.Hour) // all have ended; newcomers make room without being asked to
		lend(t, v, caller("u5"))
		lend(t, v, caller("u6"))
		if s := v.Stats(); s.Entries != 2 || s.NextExpiry != time.Hour {
			t.Errorf("after the end of the others: %+v", s)
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: time.Second}
		v := sts.New(sts.Options{Transport: f})
		if s := v.Stats(); s != (sts.Stats{}) {
			t.Errorf("at first: %+v", s)
		}
		var wg sync.WaitGroup
		wg.Go(func() { lend(t, v, caller("u1")) })
		synctest.Wait()
		if s := v.Stats(); s != (sts.Stats{Entries: 1, Flights: 1}) {
			t.Errorf("under way: %+v", s)
		}
		wg.Wait()
		time.Sleep(10 * time.Minute)
		if s := v.Stats(); s != (sts.Stats{Entries: 1, NextExpiry: 50 * time.Minute}) {
			t.Errorf("later: %+v", s)
		}
	})
}

func BenchmarkWarm(b *testing.B) {
	v := sts.New(sts.Options{Transport: &fake{}})
	c, g := caller("u1"), grant()
	for i := range 12 {
		c.Subject.Claims[fmt.Sprint("claim", i)] = "x"
	}
	lend(b, v, c)
	b.ReportAllocs()
	for b.Loop() {
		if _, source, err := v.Credentials(b.Context(), c, g); source != sts.Hit || err != nil {
			b.Fatal(source, err)
		}
	}
}

func BenchmarkCold(b *testing.B) {
	v := sts.New(sts.Options{Transport: &fake{}})
	c := caller("u1")
	b.ReportAllocs()
	for b.Loop() {
		l, _ := lend(b, v, c)
		v.Drop(l)
	}
}

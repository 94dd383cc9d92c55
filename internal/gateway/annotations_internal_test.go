package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// roundTrip is a remote.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestHintsLastAsLongAsTheListSays, within bounds.
func TestHintsLastAsLongAsTheListSays(t *testing.T) {
	for name, test := range map[string]struct {
		pages []string // more members of each page's result
		want  time.Duration
	}{
		"not said":                         {[]string{``}, 5 * time.Minute},
		"null":                             {[]string{`,"ttlMs":null`}, 5 * time.Minute},
		"no time at all":                   {[]string{`,"ttlMs":0`}, 10 * time.Second},
		"below zero":                       {[]string{`,"ttlMs":-1`}, 10 * time.Second},
		"no number":                        {[]string{`,"ttlMs":"600000"`}, 10 * time.Second},
		"a minute":                         {[]string{`,"ttlMs":60000`}, time.Minute},
		"ten minutes":                      {[]string{`,"ttlMs":600000`}, 10 * time.Minute},
		"a day":                            {[]string{`,"ttlMs":86400000`}, time.Hour},
		"the page that ends first":         {[]string{`,"ttlMs":90000`, `,"ttlMs":60000`, `,"ttlMs":120000`}, time.Minute},
		"the page that says something":     {[]string{``, `,"ttlMs":600000`}, 10 * time.Minute},
		"one page without any time at all": {[]string{`,"ttlMs":60000`, `,"ttlMs":0`}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lists := 0
				g := &Gateway{House: NewHouse(nil, telemetry.NewMetrics("test", "test")), cfg: &config.Proxy{}, remote: &url.URL{Scheme: "https", Host: "remote.example.com"}}
				g.seal = roundTrip(func(r *http.Request) (*http.Response, error) {
					var m struct {
						ID     json.RawMessage
						Params struct{ Cursor string }
					}
					if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
						return nil, err
					}
					_ = r.Body.Close()
					page := len(m.Params.Cursor) // the cursor of page n is n letters long
					if page == 0 {
						lists++
					}
					more := test.pages[page]
					if page+1 < len(test.pages) {
						more += `,"nextCursor":"` + strings.Repeat("c", page+1) + `"`
					}
					body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"tool"}]%s}}`, m.ID, more)
					return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
				})
				ev := &audit.Event{Call: &mcp.Call{Era: mcp.Legacy}}
				for _, step := range []struct {
					wait time.Duration
					want int
				}{{0, 1}, {test.want - 1, 1}, {1, 2}, {test.want - 1, 2}} {
					time.Sleep(step.wait)
					if _, err := g.hints(t.Context(), ev, "", "tool"); err != nil {
						t.Fatal(err)
					}
					if lists != step.want {
						t.Errorf("%d lists, want %d", lists, step.want)
					}
				}
			})
		})
	}
}

// errAway is a failure that all callers share.
var errAway = errors.New("away")

// TestAnOlderListDoesForAWhile where no newer one can be had: one failure for all callers each five seconds, and one for
// each whose session is no good.
func TestAnOlderListDoesForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnotations()
		yes := true
		good := &hints{tools: map[string]*policy.Hints{"tool": {ReadOnly: &yes}}}
		asked := 0
		ask := func(answer *hints, err error) (*hints, error) {
			return a.of(t.Context(), place{"remote", "role"}, func(context.Context) (*hints, time.Duration, error) {
				asked++
				return answer, time.Minute, err
			})
		}
		own := personal{fault.New(fault.SessionLost, "session not found")}
		for i, step := range []struct {
			wait  time.Duration
			err   error // of the fetch
			known bool
			asked int
		}{
			{0, errAway, false, 1},
			{hintsRetry - 1, nil, false, 1},
			{1, own, false, 2},
			{0, own, false, 3},
			{0, nil, true, 4},
			{time.Minute - 1, errAway, true, 4},
			{1, errAway, true, 5},
			{hintsRetry - 1, errAway, true, 5},
			{1, own, true, 6},
			{0, own, true, 7},
			{hintsGrace - 2*hintsRetry, errAway, true, 8},
			{hintsRetry, errAway, false, 9},
			{hintsRetry, nil, true, 10},
		} {
			time.Sleep(step.wait)
			got, err := ask(good, step.err)
			if (err == nil) != step.known || (got == good) != step.known || asked != step.asked {
				t.Errorf("step %d: %v, %v; asked %d times, want %d", i, got, err, asked, step.asked)
			}
		}
		a.forget("remote")
		if _, err := ask(nil, errAway); err == nil {
			t.Error("a list that has changed is used further")
		}
	})
}

// TestWhoWaitsForABadSessionAsksForItself: the failure of the one who began the fetch is nobody else's.
func TestWhoWaitsForABadSessionAsksForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnotations()
		good := &hints{}
		own := personal{fault.New(fault.SessionLost, "session not found")}
		asking := func(d time.Duration, answer *hints, err error) fetch {
			return func(context.Context) (*hints, time.Duration, error) {
				time.Sleep(d)
				return answer, time.Minute, err
			}
		}
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := a.of(t.Context(), place{}, asking(time.Second, nil, own)); !errors.Is(err, own.why) {
				t.Errorf("who began it: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				if got, err := a.of(t.Context(), place{}, asking(time.Second, good, nil)); got != good || err != nil {
					t.Errorf("who waited: %v, %v", got, err)
				}
			})
			all.Go(func() {
				if _, err := a.of(t.Context(), place{}, asking(2*time.Second, nil, own)); err != nil && !errors.Is(err, own.why) {
					t.Errorf("who waited with a bad session: %v", err)
				}
			})
		}
		all.Wait()
		if got, err := a.of(t.Context(), place{}, asking(0, nil, errAway)); got != good || err != nil {
			t.Errorf("who came later: %v, %v", got, err)
		}
	})
}

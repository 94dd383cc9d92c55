package sts_test

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/sts"
)

// TestUnrenewed: credentials count as such while they are used and their refresh keeps failing. Those that run out
// because nobody uses them don't, and neither does one failure that was made good.
func TestUnrenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: 50 * time.Millisecond}
		v := sts.New(sts.Options{Transport: f})
		lend(t, v, caller("gone"))
		time.Sleep(10 * time.Minute)
		began := time.Now()
		step := func() { // busy calls every ten seconds
			lend(t, v, caller("busy"))
			time.Sleep(10 * time.Second)
		}
		for time.Since(began) < 47*time.Minute {
			if step(); v.Stats().Unrenewed != 0 {
				t.Fatalf("before anything failed: %+v", v.Stats())
			}
		}
		if s := v.Stats(); s.NextExpiry > 4*time.Minute { // gone's
			t.Fatalf("%+v", s)
		}
		failed := 0
		f.answer = func(n int, form url.Values) (int, string, error) {
			if failed++; failed <= 3 { // the attempts of one call
				return down(n, form)
			}
			return 0, "", nil
		}
		for failed < 4 {
			if step(); v.Stats().Unrenewed != 0 {
				t.Fatalf("one refresh failed: %+v", v.Stats())
			}
		}
		for range 30 { // gone's have ended
			step()
		}
		if s := v.Stats(); s.NextExpiry < 50*time.Minute || failed != 4 {
			t.Fatalf("not refreshed: %+v, %d attempts", s, failed)
		}

		f.answer = down
		for v.Stats().NextExpiry > 9*time.Minute {
			step()
		}
		if s := v.Stats(); s.Unrenewed == 0 || s.Unrenewed != s.NextExpiry {
			t.Errorf("the credentials in use are not refreshed: %+v", s)
		}
		time.Sleep(5 * time.Minute) // longer than the longest pause and two minutes
		if s := v.Stats(); s.Unrenewed != 0 || s.NextExpiry == 0 {
			t.Errorf("nobody uses them any more: %+v", s)
		}
	})
}

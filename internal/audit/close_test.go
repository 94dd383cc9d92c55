package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

// Close gives up when its time is over, says what is lost, and lets those go who wait.
func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{hold: make(chan struct{})}
		b := open(t, audit.Options{Stdout: out, Settings: config.Audit{QueueSize: 16, OnFull: "block"}})
		for i := range 16 {
			write(b, fmt.Sprint(i))
		}
		go write(b, "waits")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err == nil || !strings.Contains(err.Error(), "16 are lost") || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait() // the waiting one is gone too, or the bubble would not end
		write(b, "late")
		if got := b.Stats(); got.Dropped != 18 || got.Queued != 0 {
			t.Errorf("%+v", got)
		}
		close(out.hold)
		if err := b.Close(t.Context()); err != nil {
			t.Error("closed twice:", err)
		}
	})
}

// Close of what can't be written takes two seconds from Ending on, and says how much is lost; other sinks get all of it. A
// request that waits for room when the end is near waits no longer either.
func TestCloseOfAFailingOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, other := &slowOutput{fail: errors.New("no space left")}, new(sink)
		b := open(t, audit.Options{Stdout: out, Also: []audit.Sink{other}, Settings: config.Audit{QueueSize: 16, OnFull: "block"}})
		for i := range 16 {
			write(b, fmt.Sprint(i))
		}
		time.Sleep(time.Minute)
		began, waited := time.Now(), make(chan time.Duration, 1)
		go func() {
			write(b, "waits")
			waited <- time.Since(began)
		}()
		time.Sleep(time.Second)
		b.Ending()
		if d := <-waited; d != 3*time.Second {
			t.Errorf("waited for %s, 2s from the Ending on", d)
		}
		time.Sleep(time.Minute)
		if got := b.Stats(); got.Queued != 16 || got.Dropped != 1 {
			t.Errorf("before the end: %+v", got)
		}
		go write(b, "comes late")
		time.Sleep(time.Second)
		began = time.Now()
		err := b.Close(t.Context())
		if err == nil || err.Error() != "write audit records: 17 are lost: no space left" || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%v, after %s", err, time.Since(began))
		}
		synctest.Wait()
		if got := b.Stats(); got.Dropped != 18 || got.Queued != 0 || got.Written != 0 || len(other.got) < 16 {
			t.Errorf("%+v, and %d", got, len(other.got))
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error("closed twice:", err)
		}
	})
}

// Without Ending it is two seconds too.
func TestCloseAloneOfAFailingOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, audit.Options{Stdout: &slowOutput{fail: errors.New("no space left")}})
		write(b, "1")
		time.Sleep(time.Minute)
		began := time.Now()
		if err := b.Close(t.Context()); err == nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v, after %s", err, time.Since(began))
		}
	})
}

// What failed before the end and works again before it is over is not lost.
func TestCloseOfAnOutputThatRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{fail: errors.New("no space left"), most: 7}
		b := open(t, audit.Options{Stdout: out})
		write(b, "1", "2")
		time.Sleep(time.Minute)
		go func() {
			time.Sleep(time.Second)
			out.set(nil)
		}()
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if all := out.records(t); len(all) != 2 || b.Stats().Written != 2 || b.Stats().Dropped != 0 {
			t.Errorf("%+v, %+v", all, b.Stats())
		}
	})
}

package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

// slowOutput is standard output that can be held up, and can fail.
type slowOutput struct {
	mu   sync.Mutex
	got  bytes.Buffer
	hold chan struct{} // nil: not held up
	fail error
	most int // bytes that a failing write takes
}

func (s *slowOutput) Write(p []byte) (int, error) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		n, _ := s.got.Write(p[:min(s.most, len(p))])
		return n, s.fail
	}
	return s.got.Write(p)
}

func (s *slowOutput) set(fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *slowOutput) records(t testing.TB) []audit.Record {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return records(t, s.got.Bytes())
}

// records reads whole lines.
func records(t testing.TB, data []byte) []audit.Record {
	t.Helper()
	var all []audit.Record
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		t.Errorf("the end is not a whole line: %q", data[max(0, len(data)-100):])
	}
	for line := range bytes.Lines(data) {
		var r audit.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, r)
	}
	return all
}

func open(t testing.TB, o audit.Options) *audit.Book {
	t.Helper()
	o.Settings.Enabled = true
	b, err := audit.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(b *audit.Book, ids ...string) {
	for _, id := range ids {
		b.Write(context.Background(), &audit.Record{Schema: audit.Schema, Type: "mcp_ping", RequestID: id})
	}
}

func TestNoBookKeepsNothing(t *testing.T) {
	b, err := audit.Open(audit.Options{})
	if b != nil || err != nil {
		t.Fatal(b, err)
	}
	write(b, "1")
	if err := errors.Join(b.Reopen(), b.Close(t.Context())); err != nil || b.Stats() != (audit.Stats{}) {
		t.Error(err, b.Stats())
	}
}

// Whatever comes at once: each record is written once, those of one writer in their order, in whole lines.
func TestManyWriters(t *testing.T) {
	out := new(slowOutput)
	b := open(t, audit.Options{Stdout: out, Settings: config.Audit{QueueSize: 16}})
	const writers, each = 8, 500
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				write(b, fmt.Sprintf("%d/%d", w, i))
			}
		})
	}
	wg.Wait()
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := map[int]int{}
	for _, r := range out.records(t) {
		var w, i int
		if _, err := fmt.Sscanf(r.RequestID, "%d/%d", &w, &i); err != nil || i != next[w] {
			t.Fatalf("%q, expected %d/%d", r.RequestID, w, next[w])
		}
		next[w]++
	}
	for w := range writers {
		if next[w] != each {
			t.Errorf("writer %d: %d records", w, next[w])
		}
	}
	if got, want := b.Stats(), (audit.Stats{Written: writers * each}); got != want {
		t.Errorf("%+v", got)
	}
}

// Records that come within a few milliseconds are written in one piece.
func TestRecordsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pieces int
		b := open(t, audit.Options{Stdout: writerFunc(func(p []byte) (int, error) { pieces++; return len(p), nil })})
		write(b, "1", "2", "3")
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if pieces != 1 {
			t.Errorf("%d writes", pieces)
		}
		write(b, "4")
		if err := b.Close(t.Context()); err != nil || pieces != 2 {
			t.Error(err, pieces)
		}
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// With onFull: drop nobody waits; what is dropped is counted, and a record stands in its place.
func TestDropIsAnnouncedInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{hold: make(chan struct{})}
		var log bytes.Buffer
		b := open(t, audit.Options{
			Stdout: out, Settings: config.Audit{QueueSize: 16, OnFull: "drop"}, Component: "aws",
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		for i := range 20 {
			write(b, fmt.Sprint(i))
		}
		if got := b.Stats(); got.Dropped != 4 || got.Queued != 16 {
			t.Errorf("%+v", got)
		}
		close(out.hold)
		time.Sleep(time.Second)
		write(b, "20")
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range out.records(t) {
			if r.Type == audit.TypeDropped {
				got = append(got, fmt.Sprintf("%d dropped of %s", r.Dropped, r.Component))
				continue
			}
			got = append(got, r.RequestID)
		}
		if want := "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 4 dropped of aws 20"; strings.Join(got, " ") != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if n := strings.Count(log.String(), "being dropped"); n != 1 {
			t.Errorf("told %d times: %s", n, log.String())
		}
	})
}

// A stretch that nothing follows is announced all the same.
func TestDropIsAnnouncedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{hold: make(chan struct{})}
		b := open(t, audit.Options{Stdout: out, Settings: config.Audit{QueueSize: 16, OnFull: "drop"}})
		for i := range 16 {
			write(b, fmt.Sprint(i))
		}
		time.Sleep(time.Second) // the writer has them all, and is held up
		b.Write(t.Context(), &audit.Record{RequestID: "16", Time: time.Now()})
		began := time.Now().Add(-time.Hour).UTC() // of a stream that was open for an hour
		b.Write(t.Context(), &audit.Record{RequestID: "17", Time: began})
		close(out.hold)
		time.Sleep(time.Second)
		all := out.records(t)
		if last := all[len(all)-1]; len(all) != 17 || last.Type != audit.TypeDropped || last.Dropped != 2 || last.Outcome != audit.Failure || !last.Time.Equal(began) {
			t.Errorf("%d records, the last is %+v", len(all), last)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// With onFull: block writers wait until there is room, their context is over, or ten seconds are.
func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{hold: make(chan struct{})}
		b := open(t, audit.Options{Stdout: out, Settings: config.Audit{QueueSize: 16, OnFull: "block"}})
		for i := range 16 {
			write(b, fmt.Sprint(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		b.Write(ctx, &audit.Record{RequestID: "impatient"})
		if d := time.Since(began); d != 4*time.Second || b.Stats().Dropped != 1 {
			t.Errorf("waited %s; %+v", d, b.Stats())
		}
		began = time.Now()
		write(b, "waits for ever")
		if d := time.Since(began); d != 10*time.Second || b.Stats().Dropped != 2 {
			t.Errorf("waited %s; %+v", d, b.Stats())
		}
		done := make(chan struct{})
		go func() {
			write(b, "patient")
			close(done)
		}()
		time.Sleep(9 * time.Second)
		select {
		case <-done:
			t.Error("did not wait")
		default:
		}
		close(out.hold)
		<-done
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := out.records(t)
		if len(all) != 18 || all[16].Dropped != 2 || all[17].RequestID != "patient" {
			t.Errorf("%+v", all)
		}
	})
}

// Ten seconds are for all of a record's waiting, however often others were faster to take the room.
func TestBlockHasOneLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := writerFunc(func(p []byte) (int, error) { time.Sleep(4 * time.Second); return len(p), nil })
		b := open(t, audit.Options{Stdout: slow, Settings: config.Audit{QueueSize: 1, OnFull: "block"}})
		waits := make(chan time.Duration, 8)
		for i := range cap(waits) {
			go func() {
				began := time.Now()
				write(b, fmt.Sprint(i))
				waits <- time.Since(began)
			}()
		}
		for range cap(waits) {
			if d := <-waits; d > 10*time.Second {
				t.Errorf("waited %s", d)
			}
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.Stats(); got.Dropped != 5 { // room came at 0, 4 and 8 seconds
			t.Errorf("%+v", got)
		}
	})
}

// A context that is over keeps no record out that has room: those of requests whose clients hung up are such.
func TestAbandonedRequestsAreRecorded(t *testing.T) {
	out := new(slowOutput)
	b := open(t, audit.Options{Stdout: out})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Write(ctx, &audit.Record{RequestID: "gone"})
	if err := b.Close(t.Context()); err != nil || len(out.records(t)) != 1 {
		t.Error(err, out.records(t))
	}
}

// Large records fill the queue by their size.
func TestQueueIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{hold: make(chan struct{})}
		b := open(t, audit.Options{Stdout: out, Settings: config.Audit{QueueSize: 1000, OnFull: "drop"}})
		for range 40 {
			b.Write(t.Context(), &audit.Record{ArgumentsCut: strings.Repeat("x", 1<<20)})
		}
		if got := b.Stats(); got.Queued < 30 || got.Queued > 32 {
			t.Errorf("%+v", got)
		}
		close(out.hold)
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// What can't be written is tried again until it can: nothing is lost or written twice, no line is torn, and the log tells
// of it once.
func TestFailingOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowOutput{fail: errors.New("no space left"), most: 7}
		var log bytes.Buffer
		b := open(t, audit.Options{Stdout: out, Log: slog.New(slog.NewTextHandler(&log, nil))})
		write(b, "1", "2")
		time.Sleep(time.Minute)
		write(b, "3")
		if got := b.Stats(); got.Retried < 10 || got.Failed != 0 || got.Written != 0 || got.Queued != 3 {
			t.Errorf("%+v", got)
		}
		out.set(nil)
		time.Sleep(time.Minute)
		if got := b.Stats(); got.Written != 3 || got.Queued != 0 || got.Dropped != 0 {
			t.Errorf("%+v", got)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := out.records(t); len(all) != 3 || all[0].RequestID != "1" || all[2].RequestID != "3" {
			t.Errorf("%+v", all)
		}
		if n, m := strings.Count(log.String(), "can't be written"), strings.Count(log.String(), "written again"); n != 1 || m != 1 {
			t.Errorf("told %d and %d times:\n%s", n, m, log.String())
		}
	})
}

// sink keeps what it is given.
type sink struct {
	got  []string
	fail error
}

func (s *sink) Write(_ context.Context, batch []audit.Entry) error {
	if s.fail != nil {
		return s.fail
	}
	for _, e := range batch {
		s.got = append(s.got, fmt.Sprintf("%s %s %s %s %s", e.Type, e.Outcome, e.TraceID, e.SpanID, e.Line))
	}
	return nil
}

// Every record goes to the other sinks too, once, with or without a chain; one that fails holds up nobody.
func TestOtherSinks(t *testing.T) {
	for _, chained := range []bool{false, true} {
		out, good, bad := new(slowOutput), new(sink), &sink{fail: errors.New("away")}
		var log bytes.Buffer
		b := open(t, audit.Options{
			Stdout: out, Also: []audit.Sink{bad, good}, Settings: config.Audit{TamperEvident: chained},
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		for i := range 50 {
			b.Write(t.Context(), &audit.Record{Type: "mcp_ping", Outcome: "success", TraceID: "t", SpanID: "s", RequestID: fmt.Sprint(i)})
			if i == 25 {
				time.Sleep(20 * time.Millisecond)
			}
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(out.got.String()) {
			want = append(want, "mcp_ping success t s "+strings.TrimSuffix(line, "\n"))
		}
		if len(want) != 50 || strings.Join(good.got, "\n") != strings.Join(want, "\n") {
			t.Errorf("chained %v: %d and %d records", chained, len(want), len(good.got))
		}
		if n := strings.Count(log.String(), "can't be exported"); n != 1 || b.Stats().Failed == 0 {
			t.Errorf("told %d times, %+v", n, b.Stats())
		}
	}
}

// hungSink takes nothing until its context is over.
type hungSink struct{ began chan struct{} }

func (h hungSink) Write(ctx context.Context, _ []audit.Entry) error {
	h.began <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// A sink that hangs holds up neither requests nor the file; what it misses is counted, and Close does not wait for it for
// ever.
func TestHungSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, hung := new(slowOutput), hungSink{make(chan struct{}, 100)}
		b := open(t, audit.Options{Stdout: out, Also: []audit.Sink{hung}, Settings: config.Audit{QueueSize: 16, OnFull: "block"}})
		write(b, "1")
		<-hung.began
		began := time.Now()
		for i := range 40 {
			write(b, fmt.Sprint(i+2))
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(began); d > time.Second || len(out.records(t)) < 40 {
			t.Errorf("%s, %d records", d, len(out.records(t)))
		}
		if got := b.Stats(); got.Failed != 24 || got.Dropped != 0 { // 1 under way, 16 wait
			t.Errorf("%+v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Close(ctx)
		if err == nil || err.Error() != "export audit records: 17 were not taken: context deadline exceeded" {
			t.Error(err)
		}
		for range 2 { // also when the sink has ended
			if got := b.Stats(); got.Failed != 41 || got.Written != 41 || got.Dropped != 0 || got.Retried != 0 {
				t.Errorf("%+v", got)
			}
			synctest.Wait()
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error("closed twice:", err)
		}
	})
}

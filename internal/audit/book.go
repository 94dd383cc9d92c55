package audit

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// Entry is a record on its way to a Sink.
type Entry struct {
	Time    time.Time
	Type    string
	Outcome string
	TraceID string // 32 hexadecimal digits, or ""
	SpanID  string // 16 hexadecimal digits, or ""
	Line    []byte // JSON, without the line break; good until Sink.Write returns

	end int // of the line, its break included, among those of its batch
}

// Sink is where records go besides the file or standard output, such as an OTLP exporter. Write is called by one goroutine
// at a time, with records in their order, and each of them once: what a sink does not take is counted as failed, and not
// tried again. It holds up nobody: as many records wait for it as for the file, and what comes then it does not get.
// The context ends after sinkTime, or with the Book.
type Sink interface {
	Write(ctx context.Context, batch []Entry) error
}

const sinkTime = 30 * time.Second

// Options make a Book.
type Options struct {
	Settings  config.Audit
	Component string       // for records of the Book's own; "": none
	Stdout    io.Writer    // where records go without a log file; nil: os.Stdout
	Also      []Sink       // further places
	Log       *slog.Logger // trouble with writing; nil: nowhere
}

// Stats are figures for metrics.
type Stats struct {
	Queued  int    // records that wait to be written
	Written uint64 // records of requests that were written to the file or standard output
	Dropped uint64 // those that were not: the queue was full, or the end came before they could be
	Failed  uint64 // records that a sink did not take, whether they were written or not
	Retried uint64 // attempts at writing that failed: nothing is lost by them
}

// Book writes records. It is safe for concurrent use. A nil Book takes records and keeps none.
type Book struct {
	to        output
	also      []*branch
	log       *slog.Logger
	component string
	chain     *chain // nil: records are not linked
	size      int
	drop      bool

	mu      sync.Mutex
	lines   []byte // that wait
	entries []Entry
	queued  int           // records that wait or are being written
	bytes   int           // of them
	missing int64         // records of the current stretch of dropped ones
	since   time.Time     // when the request of the earliest of them began
	room    chan struct{} // closed when there is room; nil where nobody waits for it
	waiters int           // for room
	warned  time.Time     // when the log was last told of dropped records
	over    bool          // nobody writes any more
	lost    int           // records that were given up
	failing error         // why the last attempt at writing failed; nil where it did not

	spareLines   []byte // of the writer: what is not in use
	spareEntries []Entry
	linked       []byte
	last         time.Time // when writing is given up, once the end has come
	hopeless     bool      // it was

	wake, hurry     chan struct{} // to the writer: there is something; there is much
	again           chan struct{} // to the writer: try now
	ending          chan struct{} // the end is near: see Ending
	near            time.Time     // when that was told
	closing         chan struct{} // write what there is and end
	abandoned       chan struct{} // end
	done            chan struct{} // the writer has ended
	first           sync.Once     // for ending
	once, twice     sync.Once
	written         atomic.Uint64
	dropped, failed atomic.Uint64
	retried         atomic.Uint64
}

// output is the place where records are kept. write appends buf[off:] and says how far it got, and so what is left; it
// may begin a line again that was cut off.
type output interface {
	write(buf []byte, off int) (int, error)
	close() error
}

const (
	gatherTime = 5 * time.Millisecond
	gatherSize = 64 << 10
	mostBytes  = 32 << 20         // of records that wait: they may hold arguments
	patience   = 5 * time.Second  // between two attempts at most
	warnEvery  = 10 * time.Second // while records are dropped
	waitTime   = 10 * time.Second // for room
	lastTime   = 2 * time.Second  // for either, when the end is near and nothing can be written
)

// Open opens the book that the settings describe, nil where they don't turn it on. A file is made if it isn't there, and
// closed to others if it was open to them; a symbolic link, or what is not a regular file, is refused. Where records
// are linked, the last line of the file is read, and the chain goes on from it.
func Open(o Options) (*Book, error) {
	s := o.Settings
	if !s.Enabled {
		return nil, nil
	}
	b := &Book{
		log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), component: o.Component,
		size: int(cmp.Or(s.QueueSize, 4096)), drop: s.OnFull == config.OnFullDrop,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), again: make(chan struct{}, 1),
		ending: make(chan struct{}), closing: make(chan struct{}), abandoned: make(chan struct{}), done: make(chan struct{}),
	}
	if s.TamperEvident {
		b.chain = newChain()
	}
	if s.LogFile == "" {
		var w io.Writer = os.Stdout
		if o.Stdout != nil {
			w = o.Stdout
		}
		b.to = stream{w}
	} else {
		f, err := openFile(s.LogFile, b.chain, b.log)
		if err != nil {
			return nil, fmt.Errorf("open audit.logFile: %w", err)
		}
		b.to = f
	}
	for _, s := range o.Also {
		b.also = append(b.also, b.branch(s))
	}
	go b.run()
	return b, nil
}

// Write hands over a record. Where the queue is full it waits for room as long as ctx allows, ten seconds at most, or
// not at all, as audit.onFull says; a record that finds no room is dropped, counted, and announced by a record in its
// place. A request that was abandoned has a context that is over: give one that isn't.
func (b *Book) Write(ctx context.Context, r *Record) {
	if b == nil {
		return
	}
	r.Line(func(line []byte) { b.WriteLine(ctx, r, line) })
}

// WriteLine is Write for who has the record's JSON already: line is that, and a line break. It is the caller's again when
// WriteLine returns.
func (b *Book) WriteLine(ctx context.Context, r *Record, line []byte) {
	if b == nil {
		return
	}
	b.mu.Lock()
	if b.full(len(line)) && !b.drop {
		for until := time.Now().Add(waitTime); !b.over && b.full(len(line)) && b.wait(ctx, &until); {
		}
	}
	if b.over || b.full(len(line)) {
		b.miss(r.Time)
	} else {
		b.announce()
		b.add(r, line)
	}
	much := len(b.lines) > 4*gatherSize
	b.mu.Unlock()
	if much {
		runtime.Gosched() // the writer should have its turn
	}
}

// full tells whether there is no room for n bytes more. A single record always has room.
func (b *Book) full(n int) bool {
	return b.queued >= b.size || b.queued > 0 && b.bytes+n > mostBytes
}

// wait lets others work until there may be room, and is false when waiting is over: at until, which comes nearer when the
// end does. The lock is held before and after.
func (b *Book) wait(ctx context.Context, until *time.Time) bool {
	if b.room == nil {
		b.room = make(chan struct{})
	}
	room := b.room
	b.waiters++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiters--
	}()
	limit := time.NewTimer(time.Until(*until))
	defer limit.Stop()
	for ending := b.ending; ; ending = nil {
		select {
		case <-room:
			return true
		case <-ending:
			if soon := time.Now().Add(lastTime); soon.Before(*until) && b.fails() {
				*until = soon
				limit.Reset(lastTime)
			}
			continue
		case <-limit.C:
		case <-ctx.Done():
		case <-b.abandoned:
		}
		return false
	}
}

// fails tells whether the last attempt at writing failed.
func (b *Book) fails() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing != nil
}

func (b *Book) add(r *Record, line []byte) {
	idle := len(b.entries) == 0
	before := len(b.lines)
	b.lines = append(b.lines, line...)
	b.entries = append(b.entries, Entry{Time: r.Time, Type: r.Type, Outcome: r.Outcome, TraceID: r.TraceID, SpanID: r.SpanID, end: len(b.lines)})
	b.queued++
	b.bytes += len(line)
	if idle {
		poke(b.wake)
	}
	if before < gatherSize && len(b.lines) >= gatherSize {
		poke(b.hurry)
	}
}

// miss counts a record that is dropped.
func (b *Book) miss(at time.Time) {
	if b.missing == 0 || at.Before(b.since) {
		b.since = at
	}
	b.missing++
	b.dropped.Add(1)
	if now := time.Now(); now.Sub(b.warned) > warnEvery {
		b.warned = now
		b.log.Error("audit records are being dropped", slog.String(telemetry.KeyHint, "they can't be written as fast as they come: see audit.queueSize and audit.onFull"))
	}
}

// announce puts a record where some are missing.
func (b *Book) announce() {
	if b.missing == 0 {
		return
	}
	r := dropped(b.component, b.missing, b.since)
	b.missing = 0
	b.add(&r, append(r.AppendJSON(nil), '\n'))
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Reopen opens the log file anew, after it was renamed. What is handed over from now on goes to the new one, whose chain
// goes on from the old one's last record: a record of its own says so at once, so that a restart finds it. A file that has
// the name already is refused where Open would refuse it, and with a chain unless it ends with the record that was written
// last. On an error the old one stays in use. A Book on standard output has nothing to do.
func (b *Book) Reopen() error {
	if b == nil {
		return nil
	}
	f, ok := b.to.(*file)
	if !ok {
		return nil
	}
	err := f.reopen()
	poke(b.again)
	poke(b.wake) // the new file may need its first record
	if err != nil {
		return fmt.Errorf("reopen audit.logFile: %w", err)
	}
	return nil
}

// Ending tells that Close will come. From then on nobody waits for room for more than two seconds where records can't be
// written, so that requests which are to end do. Nothing else changes: what waits is tried again as before.
func (b *Book) Ending() {
	if b != nil {
		b.first.Do(func() {
			b.near = time.Now()
			close(b.ending)
		})
	}
}

// Close writes what was handed over and closes the file. Where writing fails, it is tried until two seconds after Ending,
// once at least; without Ending, for two seconds. If it does not work by then, or ctx ends before, Close says how many
// records are lost, and how many the sinks have not taken when ctx ends. Records that are handed over later are dropped.
func (b *Book) Close(ctx context.Context) error {
	if b == nil {
		return nil
	}
	b.Ending()
	b.once.Do(func() { close(b.closing) })
	select {
	case <-b.done:
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.loss(b.failing)
	case <-ctx.Done():
	}
	unsent := 0
	for _, s := range b.also { // before their contexts end, or they would count for themselves
		unsent += s.abandon()
	}
	b.twice.Do(func() { close(b.abandoned) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose(b.queued)
	b.over, b.queued = true, 0
	err := b.loss(context.Cause(ctx))
	switch {
	case unsent == 0:
		return err
	case err == nil:
		return fmt.Errorf("export audit records: %d were not taken: %w", unsent, context.Cause(ctx))
	default:
		return fmt.Errorf("export audit records: %d were not taken; %w", unsent, err)
	}
}

// lose counts records that are given up.
func (b *Book) lose(n int) {
	b.lost += n
	b.dropped.Add(uint64(n))
}

// loss says, once, how many were.
func (b *Book) loss(cause error) error {
	n := b.lost
	if b.lost = 0; n == 0 {
		return nil
	}
	return fmt.Errorf("write audit records: %d are lost: %w", n, cause)
}

// Stats counts.
func (b *Book) Stats() Stats {
	if b == nil {
		return Stats{}
	}
	b.mu.Lock()
	queued := b.queued
	b.mu.Unlock()
	return Stats{Queued: queued, Written: b.written.Load(), Dropped: b.dropped.Load(), Failed: b.failed.Load(), Retried: b.retried.Load()}
}

// stream is standard output.
type stream struct{ w io.Writer }

func (s stream) write(buf []byte, off int) (int, error) {
	n, err := s.w.Write(buf[off:])
	if err == nil && n < len(buf)-off {
		err = io.ErrShortWrite
	}
	return off + n, err
}

func (stream) close() error { return nil }

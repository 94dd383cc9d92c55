package audit

import (
	"log/slog"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// The writer: one goroutine that gathers what came within a few milliseconds, links it, and writes it in one piece. At the
// end it gives up what can't be written, loudly.

func (b *Book) run() {
	defer close(b.done)
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		select {
		case <-b.wake:
			b.gather(pause)
		case <-b.closing:
		}
		if b.flush() {
			continue
		}
		select {
		case <-b.closing:
		default:
			continue
		}
		if b.end() {
			return
		}
		time.Sleep(time.Millisecond) // those who wait for room are about to use it
	}
}

// gather waits for more to come, unless there is much, or the end is near.
func (b *Book) gather(pause *time.Timer) {
	pause.Reset(gatherTime)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-b.hurry:
	case <-b.closing:
	}
}

// flush writes what waits. It is false where there was nothing, or where writing was given up.
func (b *Book) flush() bool {
	b.anchor()
	b.mu.Lock()
	if !b.hopeless {
		b.announce()
	}
	lines, entries := b.lines, b.entries
	b.lines, b.entries = b.spareLines[:0], b.spareEntries[:0]
	b.mu.Unlock()
	if len(entries) == 0 {
		b.spareLines, b.spareEntries = lines, entries
		return false
	}
	size := len(lines)
	out := b.link(lines, entries)
	for _, s := range b.also {
		s.add(out, entries)
	}
	n := b.put(out, entries)
	written, lost := requests(entries[:n]), requests(entries[n:])
	b.spare(lines, entries)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over { // counted as lost by then
		return false
	}
	b.written.Add(uint64(written))
	b.queued -= len(entries)
	b.lose(lost)
	b.bytes -= size
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
	if b.missing > 0 && !b.hopeless {
		poke(b.wake)
	}
	return true
}

// anchor writes the first record of a file that is empty although the chain has begun. A file with none would leave
// the next start nothing to go on from. Once it is written the file's last record is always the chain's.
func (b *Book) anchor() {
	f, ok := b.to.(*file)
	if !ok || b.chain == nil || b.chain.seq == 0 || b.hopeless || !f.empty() {
		return
	}
	r := continued(b.component, time.Now())
	line := append(r.AppendJSON(nil), '\n')
	entries := []Entry{{Time: r.Time, Type: r.Type, Outcome: r.Outcome, end: len(line)}}
	out := b.link(line, entries)
	for _, s := range b.also { // the chain has no gap there either
		s.add(out, entries)
	}
	b.put(out, entries)
}

// link gives what is to be written, and tells the entries where they end in it.
func (b *Book) link(lines []byte, entries []Entry) []byte {
	if b.chain == nil {
		return lines
	}
	begin, out := 0, b.linked[:0]
	for i := range entries {
		out = append(b.chain.append(out, lines[begin:entries[i].end-1]), '\n')
		begin, entries[i].end = entries[i].end, len(out)
	}
	b.linked = out
	return out
}

// spare keeps memory for the next time, if it is not much.
func (b *Book) spare(lines []byte, entries []Entry) {
	const most = 1 << 20
	clear(entries)
	b.spareLines, b.spareEntries = lines, entries
	if cap(lines) > most {
		b.spareLines = nil
	}
	if cap(entries) > most/128 {
		b.spareEntries = nil
	}
	if cap(b.linked) > most {
		b.linked = nil
	}
}

// put writes until everything is written, however often it takes, or until it is given up: by Close, or lastTime after
// Ending when the end has come. What comes after that is not tried any more. It gives how many records were written. The
// first failure of a stretch and its end are logged.
func (b *Book) put(out []byte, entries []Entry) int {
	if b.hopeless {
		return 0
	}
	var since time.Time
	for off, pause := 0, 50*time.Millisecond; ; pause = min(2*pause, patience) {
		var err error
		off, err = b.to.write(out, off)
		b.mu.Lock()
		b.failing = err
		b.mu.Unlock()
		if err == nil {
			break
		}
		b.retried.Add(1)
		if since.IsZero() {
			since = time.Now()
			b.log.Error("audit records can't be written", slog.String(telemetry.KeyError, err.Error()),
				slog.String(telemetry.KeyHint, "it is tried again until it works; meanwhile records wait, then audit.onFull says what happens"))
		}
		if b.hopeless = !b.pause(pause); b.hopeless {
			n := 0
			for n < len(entries) && entries[n].end <= off {
				n++
			}
			return n
		}
	}
	if !since.IsZero() {
		b.log.Warn("audit records are written again", slog.Duration("after", time.Since(since)))
	}
	return len(entries)
}

// pause is over early when the file was opened anew, and when the end has come. It is false when writing is given up.
func (b *Book) pause(d time.Duration) bool {
	closing := b.closing
	if !b.last.IsZero() { // which it has
		closing, d = nil, min(d, time.Until(b.last))
	}
	if d <= 0 {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.again:
	case <-closing:
		b.last = b.near.Add(lastTime)
	case <-b.abandoned:
		return false
	}
	return true
}

// end ends the writer if nothing came meanwhile.
func (b *Book) end() bool {
	b.mu.Lock()
	if !b.over && (len(b.entries) > 0 || b.missing > 0 && !b.hopeless || b.waiters > 0) {
		b.mu.Unlock()
		return false
	}
	b.over = true
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
	b.mu.Unlock()
	if f, ok := b.to.(*file); ok {
		f.stay()
		b.anchor()
	}
	if err := b.to.close(); err != nil {
		b.retried.Add(1)
		b.log.Error("audit records can't be written", slog.String(telemetry.KeyError, err.Error()))
	}
	for _, s := range b.also {
		s.close()
	}
	return true
}

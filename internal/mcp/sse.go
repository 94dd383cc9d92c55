package mcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// A stream of server-sent events (WHATWG HTML, "Server-sent events") is cut into units: a comment or a blank line
// between two events, or an event up to the blank line that ends it. A unit passes as soon as it is whole. Only an
// event has data, and only what Message makes of the data goes on.

// DefaultMaxEvent is the limit of one event where none is set: 16 MiB.
const DefaultMaxEvent = 16 << 20

var (
	errEventSize = errors.New("an event is too large")

	byteOrderMark = []byte("\ufeff")
)

// Stream gives what the client reads instead of a stream of events, each as soon as the remote has ended it. The events
// pass as they were but for the data that Message changes. Of an event that is not understood only comments, id and
// retry pass, so that the client can resume after it. An event without data, or with none but an empty line, passes,
// unless it has fields that nobody knows and a line of the stream has ended with a CR alone. An event is not understood
// either where a line of it that is no data is more than one to some reader; such a comment passes empty, such an id or
// retry not at all. An event that is larger than MaxEvent ends the stream with an error; one without an end is dropped.
//
// The reader has Wait, which waits for the body where that can be waited for; until then it holds no memory but for
// an event that has begun. Close may be called while Read runs.
func (f *ListFilter) Stream(body io.ReadCloser) io.ReadCloser {
	most := f.MaxEvent
	if most <= 0 {
		most = DefaultMaxEvent
	}
	return &eventStream{filter: f, body: body, most: most}
}

// eventStream reads the units of a stream, filtered.
type eventStream struct {
	filter *ListFilter
	body   io.ReadCloser
	most   int
	in     *buffer // what was read and has not passed; nil while that is nothing
	edited *buffer // the last event that was changed; nil without one
	ready  []byte  // passes next: units in in that are as they were
	then   []byte  // passes after ready: what edited holds
	unit   int     // in in: where the unit that is not yet whole begins
	line   int     // where its last line begins
	pos    int     // what was not looked at yet
	begun  bool    // the first unit has passed
	cr     bool    // the last byte that was looked at is a CR, so a LF belongs to it
	lone   bool    // some line has ended with a CR alone
	err    error   // of the body; nothing is read after it
}

// waiter is a body that can be waited for without a buffer.
type waiter interface{ Wait() }

// Wait waits until Read has something to do, where the body can tell.
func (s *eventStream) Wait() {
	if body, ok := s.body.(waiter); ok && s.in == nil && s.err == nil {
		body.Wait()
	}
}

// Close closes the body, which ends a Read that waits for it.
func (s *eventStream) Close() error { return s.body.Close() }

func (s *eventStream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.ready) == 0 {
		if s.ready, s.then = s.then, nil; len(s.ready) > 0 || s.pass() {
			continue
		}
		if s.err != nil {
			s.release()
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.ready)
	if s.ready = s.ready[n:]; len(s.ready) == 0 && len(s.then) == 0 && s.unit == len(s.in.data) {
		s.release()
	}
	return n, nil
}

// release gives the memory back when nothing of it is needed any more.
func (s *eventStream) release() {
	if s.in != nil {
		s.in.drop()
	}
	if s.edited != nil {
		s.edited.drop()
	}
	s.in, s.edited, s.ready, s.then = nil, nil, nil, nil
	s.unit, s.line, s.pos = 0, 0, 0
}

// fill reads some more. Everything before the unit has passed.
func (s *eventStream) fill() {
	switch b := s.in; {
	case b == nil:
		s.in = newBuffer(1)
	case s.unit > 0:
		b.data = b.data[:copy(b.data, b.data[s.unit:])]
		s.line, s.pos, s.unit = s.line-s.unit, s.pos-s.unit, 0
	}
	if b := s.in; len(b.data) == cap(b.data) {
		s.in = newBuffer(min(8*(cap(b.data)-slack), s.most) + slack)
		s.in.data = append(s.in.data, b.data...)
		b.drop()
	}
	for idle := 0; idle < 100; idle++ {
		b := s.in
		n, err := s.body.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if s.err = err; n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// pass makes the units ready that are whole, up to one that changes. It is false where there are none.
func (s *eventStream) pass() bool {
	if s.in == nil {
		return false
	}
	from := s.unit
	for {
		end, event := s.whole()
		if end < 0 {
			break
		}
		unit := s.in.data[s.unit:end]
		changed := event && s.judge(unit) || !event && s.mute(unit)
		s.begun = true
		if changed {
			s.ready, s.then = s.in.data[from:s.unit], s.edited.data
			s.unit = end
			return true
		}
		s.unit = end
	}
	s.ready = s.in.data[from:s.unit]
	return len(s.ready) > 0
}

// whole gives the end of the unit, and whether it is an event; -1 where the end is not here yet, or never will be.
func (s *eventStream) whole() (end int, event bool) {
	data := s.in.data
	if s.cr && s.pos < len(data) {
		s.cr = false
		if s.lone = s.lone || data[s.pos] != '\n'; data[s.pos] == '\n' {
			s.pos++
			if s.line = s.pos; s.unit == s.pos-1 {
				return s.pos, false // the rest of what has passed
			}
		}
	}
	for {
		i := lineEnd(data, s.pos)
		if min(i+1, len(data))-s.unit > s.most {
			s.err, s.in.data = errEventSize, data[:s.unit]
			s.line, s.pos = s.unit, s.unit
			return -1, false
		}
		if i == len(data) {
			s.pos = i
			return -1, false
		}
		line, first := data[s.line:i], s.line == s.unit
		s.pos = i + 1
		kind, _ := classify(line, first && !s.begun)
		ends := kind == blankLine || kind == commentLine && first
		if s.cr = data[i] == '\r'; s.cr && s.pos < len(data) {
			if data[s.pos] == '\n' {
				s.cr = false
				s.pos++
			} else if !ends { // else it is told the next time, as where nothing more is here yet: it comes after the unit
				s.cr, s.lone = false, true
			}
		}
		s.line = s.pos
		if ends {
			return s.pos, !first
		}
	}
}

// lineKind is what a line of a stream is.
type lineKind uint8

const (
	otherLine lineKind = iota // event, or a field that nobody knows
	blankLine
	commentLine
	dataLine
	idLine       // or retry
	nearlyData   // a field that some reader could take for data
	unknownField // a field that the specification does not have
)

// classify says what a line is, given without its end, and its value. A stream may begin with a byte order mark.
func classify(line []byte, first bool) (lineKind, []byte) {
	if first {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	if len(line) == 0 {
		return blankLine, nil
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "":
		return commentLine, value
	case "data":
		return dataLine, value
	case "id", "retry":
		return idLine, value
	case "event":
		return otherLine, value
	}
	if name = bytes.TrimFunc(bytes.TrimPrefix(name, byteOrderMark), notLetter); len(name) <= 8 && string(fold(nil, name)) == "data" {
		return nearlyData, value
	}
	return unknownField, value
}

func notLetter(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

// moreEnds end a line for some readers, Python's splitlines among them, and for the specification do not. To such a reader
// what follows is a line of its own, of data or one that ends the event. In a line of data they may stand: there they are
// within a string of the JSON, and what it is cut into is no JSON.
const moreEnds = "\v\f\x1c\x1d\x1e\u0085\u2028\u2029"

// lines goes through the lines of an event: what each is, its value, and its bytes with their end.
func lines(event []byte, first bool, yield func(kind lineKind, value, whole []byte)) {
	for len(event) > 0 {
		i := lineEnd(event, 0)
		kind, value := classify(event[:i], first)
		first = false
		if event[i] == '\r' && i+1 < len(event) && event[i+1] == '\n' {
			i++
		}
		yield(kind, value, event[:i+1])
		event = event[i+1:]
	}
}

// judge reads the data of an event. Where the client reads another event instead, that stands in edited.
func (s *eventStream) judge(event []byte) (changed bool) {
	d := dataOf(event, !s.begun)
	defer d.drop()
	d.doubtful = d.doubtful || d.unknown && s.lone
	if len(d.text) == 0 && !d.doubtful {
		return false
	}
	room := newBuffer(len(d.text) + slack)
	defer room.drop()
	var err error
	if !d.doubtful {
		var out []byte
		if out, changed, err = s.filter.rewrite(room.data, d.text); err == nil && !changed {
			return false
		}
		room.set(out)
	}
	edited := s.edit(len(event) + len(room.data)/8 + slack)
	if err != nil || d.doubtful {
		s.filter.Withheld++
		edited.set(appendWithheld(edited.data, event, !s.begun, s.lone))
	} else {
		edited.set(appendEdited(edited.data, event, room.data, !s.begun))
	}
	return true
}

// edit empties edited, for what the client reads next.
func (s *eventStream) edit(size int) *buffer {
	if s.edited != nil {
		s.edited.drop()
	}
	s.edited = newBuffer(size)
	return s.edited
}

// mute empties a comment that is more than one line to some readers. What the client reads instead stands in edited.
func (s *eventStream) mute(comment []byte) (changed bool) {
	if !bytes.ContainsAny(comment, moreEnds) {
		return false
	}
	edited := s.edit(slack)
	edited.set(appendMuted(edited.data, comment))
	return true
}

// eventData is the data of an event: its lines, joined by LF.
type eventData struct {
	text     []byte
	joined   *buffer // that text stands in; nil where it is a window on the event
	doubtful bool    // some reader could find other data in the event

	// It has a field that the specification does not have. To who does not know that a CR alone ends a line, such a line
	// after one is more of the line before: of data, be it of an event before.
	unknown bool
}

func (d *eventData) drop() {
	if d.joined != nil {
		d.joined.drop()
	}
}

func dataOf(event []byte, first bool) (d eventData) {
	count := 0
	lines(event, first, func(kind lineKind, value, whole []byte) {
		d.doubtful = d.doubtful || kind != dataLine && bytes.ContainsAny(whole, moreEnds)
		switch kind {
		case dataLine:
			if count++; count == 1 {
				d.text = value
				break
			}
			if d.joined == nil {
				d.joined = newBuffer(len(event))
				d.joined.data = append(d.joined.data, d.text...)
			}
			d.joined.data = append(append(d.joined.data, '\n'), value...)
			d.text = d.joined.data
		case nearlyData:
			d.doubtful = true
		case unknownField:
			d.unknown = true
		}
	})
	return d
}

// appendEdited appends the event with other data, which stands where the first line of the old stood.
func appendEdited(dst, event, data []byte, first bool) []byte {
	done := false
	lines(event, first, func(kind lineKind, _, whole []byte) {
		switch {
		case kind != dataLine:
			dst = append(dst, whole...)
		case !done:
			done = true
			end := whole[lineEnd(whole, 0):]
			for more := true; more; {
				var line []byte
				line, data, more = bytes.Cut(data, []byte("\n"))
				dst = append(append(append(dst, "data: "...), line...), end...)
			}
		}
	})
	return dst
}

// appendWithheld appends what passes of an event that is not understood. With cr a CR may stand before it. Where a LF
// comes to stand behind a CR, which would make one end of a line of them, the blank line gets a CR of its own. A comment
// that is more than one line to some readers is emptied.
func appendWithheld(dst, event []byte, first, cr bool) []byte {
	lines(event, first, func(kind lineKind, _, whole []byte) {
		odd := bytes.ContainsAny(whole, moreEnds)
		if odd && kind == commentLine {
			whole = appendMuted(nil, whole)
		}
		switch {
		case kind == commentLine || kind == idLine && !odd:
			cr = whole[len(whole)-1] == '\r'
		case kind != blankLine:
			return
		case cr && whole[0] == '\n':
			dst = append(dst, '\r')
		}
		dst = append(dst, whole...)
	})
	return dst
}

// appendMuted appends the comment without its text.
func appendMuted(dst, comment []byte) []byte {
	return append(append(dst, ':'), comment[lineEnd(comment, 0):]...)
}

// lineEnd gives the index, at or after i, of the first byte that is LF or CR; or len(src). It looks at eight bytes at
// a time, as plain does.
func lineEnd(src []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(src); i += 8 {
		w := binary.LittleEndian.Uint64(src[i:])
		lf, cr := w^('\n'*ones), w^('\r'*ones)
		if hit := ((lf-ones)&^lf | (cr-ones)&^cr) & tops; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(src); i++ {
		if c := src[i]; c == '\n' || c == '\r' {
			return i
		}
	}
	return i
}

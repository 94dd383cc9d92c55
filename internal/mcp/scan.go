package mcp

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// The scanner goes once through the bytes of a message. It finds where the members stand that the protocol speaks of,
// and whether any two readers of JSON could understand the bytes differently. It builds nothing.
//
// What is no JSON stops it: syntax (RFC 8259) and UTF-8. What is JSON but ambiguous (RFC 7493) is noted as a flaw and
// the scan goes on, so that the refusal can still carry the request's id: a repeated member name, a surrogate escape
// without its other half, a name that is a protocol name but for its case.

// maxDepth bounds nesting; the message itself is at depth 1.
const maxDepth = 64

// tooDeep is why a message is not scanned to its end although it may be JSON.
const tooDeep = "nested too deeply"

// field is a member that the reader wants to find again.
type field uint8

const (
	noField field = iota
	msgVersion
	msgID
	msgMethod
	msgParams
	msgResult
	msgError
	paramName
	paramURI
	paramTaskID
	paramArguments
	paramClientName // within params.clientInfo
	paramClientVersion
	paramNotifications
	metaProtocol
	metaTraceParent
	metaTraceState
	metaBaggage
	metaClient
	metaClientName // within metaClient
	metaClientVersion
	subscribed // params.notifications.resourceSubscriptions
	numFields
)

// level is where an object stands: names mean something at all but the first.
type level uint8

const (
	inside level = iota
	inMessage
	inParams
	inMeta
	inNotifications
	inParamsClient
	inMetaClient
)

// span is a half-open range of bytes. A found value is never empty, so the zero span means absent.
type span struct{ from, to uint32 }

// decoded marks, in span.from, a name that had escapes and stands in scanner.text.
const decoded = 1 << 31

// scanner is used for one message at a time and pooled between them.
type scanner struct {
	src    []byte
	pos    int
	broken string          // why it is no JSON; "" if it is
	flaw   string          // the first ambiguity; "" if there is none
	found  [numFields]span // raw values, a string with its quotes
	noID   bool            // more than one member could be taken for the id
	names  []span          // member names of the objects that are open, unquoted
	text   []byte          // names that had escapes, decoded
	slots  []uint32        // hash table of one large object's names
	seed   maphash.Seed
}

var scanners = sync.Pool{New: func() any { return &scanner{seed: maphash.MakeSeed()} }}

// scan goes through src, which must be under 2 GiB. Give the scanner back with done.
func scan(src []byte) *scanner {
	s := begin(src)
	if s.broken == "" && s.value(inMessage, 0) {
		s.end()
	}
	return s
}

// begin gives a scanner that stands before the first value of src.
func begin(src []byte) *scanner {
	s := scanners.Get().(*scanner)
	s.src, s.pos, s.broken, s.flaw, s.noID = src, 0, "", "", false
	s.found = [numFields]span{}
	s.names, s.text = s.names[:0], s.text[:0]
	if !utf8.Valid(src) {
		s.fail("not UTF-8")
		return s
	}
	s.space()
	return s
}

// end is called after the message's value: nothing but space may follow.
func (s *scanner) end() {
	if s.space(); s.pos != len(s.src) {
		s.fail("data after the message")
	}
}

// done gives the scanner back. One that grew on an unusual message is left to the garbage collector.
func (s *scanner) done() {
	s.src = nil
	if cap(s.names) <= 4096 && cap(s.slots) <= 8192 && cap(s.text) <= 64<<10 {
		scanners.Put(s)
	}
}

// raw is the found value as it was sent; nil if absent.
func (s *scanner) raw(f field) []byte {
	if x := s.found[f]; x.to != 0 {
		return s.src[x.from:x.to:x.to]
	}
	return nil
}

func (s *scanner) fail(why string) bool {
	s.broken = why
	return false
}

func (s *scanner) blemish(what string) {
	if s.flaw == "" {
		s.flaw = what
	}
}

func (s *scanner) space() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return
		}
	}
}

// take consumes the byte c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.pos < len(s.src) && s.src[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// value consumes one value. An object found here stands at level at; depth counts what is open around it.
func (s *scanner) value(at level, depth int) bool {
	if s.pos == len(s.src) {
		return s.fail("the message ends early")
	}
	switch c := s.src[s.pos]; c {
	case '{':
		return s.object(at, depth+1)
	case '[':
		return s.array(depth + 1)
	case '"':
		_, _, ok := s.str()
		return ok
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *scanner) object(at level, depth int) bool {
	if depth > maxDepth {
		return s.fail(tooDeep)
	}
	s.pos++
	names, text := len(s.names), len(s.text)
	if s.space(); s.take('}') {
		return true
	}
	for {
		f, next, ok := s.name(at)
		if !ok {
			return false
		}
		from := s.pos
		if !s.value(next, depth) {
			return false
		}
		if f != noField {
			if f == msgID && s.found[f].to != 0 {
				s.noID = true
			}
			s.found[f] = span{uint32(from), uint32(s.pos)}
		}
		if s.space(); s.take('}') {
			break
		}
		if !s.take(',') {
			return s.fail("a comma or } is missing")
		}
		s.space()
	}
	s.unique(s.names[names:])
	s.names, s.text = s.names[:names], s.text[:text]
	return true
}

// name consumes a member's name, its colon and the space around, and says what the member is and where an object
// that is its value would stand.
func (s *scanner) name(at level) (f field, next level, ok bool) {
	if s.pos == len(s.src) || s.src[s.pos] != '"' {
		return 0, 0, s.fail("a member's name is missing")
	}
	x, escaped, ok := s.str()
	if !ok {
		return 0, 0, false
	}
	if escaped {
		from := uint32(len(s.text))
		s.text = unescape(s.text, s.src[x.from:x.to])
		x = span{from | decoded, uint32(len(s.text)) | decoded}
	}
	s.names = append(s.names, x)
	if s.space(); !s.take(':') {
		return 0, 0, s.fail("a colon is missing")
	}
	s.space()
	if at != inside {
		f, next = s.know(at, s.spelled(x))
	}
	return f, next, true
}

func (s *scanner) array(depth int) bool {
	if depth > maxDepth {
		return s.fail(tooDeep)
	}
	s.pos++
	if s.space(); s.take(']') {
		return true
	}
	for {
		if !s.value(inside, depth) {
			return false
		}
		if s.space(); s.take(']') {
			return true
		}
		if !s.take(',') {
			return s.fail("a comma or ] is missing")
		}
		s.space()
	}
}

func (s *scanner) literal(word string) bool {
	if end := s.pos + len(word); end <= len(s.src) && string(s.src[s.pos:end]) == word {
		s.pos = end
		return true
	}
	return s.fail("no value")
}

func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.fail("no value")
	}
	if s.take('.') && !s.digits() {
		return s.fail("no digit after the point")
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			return s.fail("no digit in the exponent")
		}
	}
	return true
}

// digits consumes decimal digits, and says whether there were any.
func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.src) && s.src[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > from
}

// str consumes a string, and gives what stands between its quotes.
func (s *scanner) str() (inner span, escaped, ok bool) {
	from := s.pos + 1
	for i := from; ; {
		i = plain(s.src, i)
		if i == len(s.src) {
			return span{}, false, s.fail("a string has no end")
		}
		switch s.src[i] {
		case '"':
			s.pos = i + 1
			return span{uint32(from), uint32(i)}, escaped, true
		case '\\':
			escaped = true
			if i = s.escape(i); i < 0 {
				return span{}, false, s.fail("an escape that JSON does not have")
			}
		default:
			return span{}, false, s.fail("a control character in a string")
		}
	}
}

// escape gives the index after the escape that starts at i, or -1 when it is none.
func (s *scanner) escape(i int) int {
	if i+1 == len(s.src) {
		return -1
	}
	switch s.src[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return -1
	}
	r := hex4(s.src[i+2:])
	if r < 0 {
		return -1
	}
	i += 6
	if !utf16.IsSurrogate(r) {
		return i
	}
	if i+1 < len(s.src) && s.src[i] == '\\' && s.src[i+1] == 'u' {
		low := hex4(s.src[i+2:])
		if low < 0 {
			return -1
		}
		if utf16.DecodeRune(r, low) != utf8.RuneError {
			return i + 6
		}
	}
	s.blemish("half of a surrogate pair in a string")
	return i
}

// spelled is the text of a name in names.
func (s *scanner) spelled(x span) []byte {
	if x.from&decoded != 0 {
		return s.text[x.from&^decoded : x.to&^decoded]
	}
	return s.src[x.from:x.to]
}

// unique notes a flaw when a name stands twice among the names of one object.
func (s *scanner) unique(names []span) {
	if s.flaw != "" || len(names) < 2 {
		return
	}
	if len(names) > 16 {
		s.uniqueLarge(names)
		return
	}
	for i, x := range names {
		for _, y := range names[:i] {
			if x.to-x.from == y.to-y.from && bytes.Equal(s.spelled(x), s.spelled(y)) {
				s.blemish("a member's name is repeated")
				return
			}
		}
	}
}

// uniqueLarge is unique in linear time. The hash is seeded, so a sender can't choose names that collide.
func (s *scanner) uniqueLarge(names []span) {
	size := 1 << bits.Len(uint(2*len(names)))
	if cap(s.slots) < size {
		s.slots = make([]uint32, size)
	}
	slots := s.slots[:size]
	clear(slots)
	for i, x := range names {
		text := s.spelled(x)
		h := int(maphash.Bytes(s.seed, text)) & (size - 1)
		for ; slots[h] != 0; h = (h + 1) & (size - 1) {
			if bytes.Equal(text, s.spelled(names[slots[h]-1])) {
				s.blemish("a member's name is repeated")
				return
			}
		}
		slots[h] = uint32(i + 1)
	}
}

// plain gives the index, at or after i, of the first byte that is a quote, a backslash or a control character; or
// len(src). It looks at eight bytes at a time: in each term the lowest bit that is set marks the first such byte.
func plain(src []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(src); i += 8 {
		w := binary.LittleEndian.Uint64(src[i:])
		quote, slash := w^('"'*ones), w^('\\'*ones)
		hit := ((quote-ones)&^quote | (slash-ones)&^slash | (w-' '*ones)&^w) & tops
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(src); i++ {
		if c := src[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return i
}

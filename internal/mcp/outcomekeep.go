package mcp

import (
	"bytes"
	"strconv"
)

// Keep has the Watcher keep the beginning of the response's result or error, most bytes of each, for Response. It is to
// be called before Write; id is the raw id of the request. With most 0 nothing is kept, and in a stream only the response
// counts all the same. In a stream the response is the first one with that id, in
// whatever spelling; a JSON body is the response whatever id it has, since nothing else will come.
func (w *Watcher) Keep(id []byte, most int) {
	w.kept = &excerpt{want: id, most: most}
}

// Response is the raw result of the response, or the error, where it has one that is not null; the beginning of it where
// it is longer than what is kept, or where a JSON body has not passed whole. Something may stand behind a whole one. It
// is nil where Keep was not called, where no response passed, or one that a client can't read, and where it is no
// object, which every result and error is.
func (w *Watcher) Response() []byte {
	x := w.kept
	switch {
	case x == nil:
		return nil
	case w.stream && x.found:
		return x.value(x.failed)
	case w.stream || w.message.step == noJSON || w.message.method:
		return nil
	}
	return x.value(w.message.failure)
}

// excerpt is what a Watcher keeps of the message that passes, and then of the response.
type excerpt struct {
	want []byte // the request's id
	most int    // of a result and of an error

	result, failure, id []byte // from behind the member's name, with its colon, as far as they are kept

	of     member // whose value passes: memberResult, memberError, memberID; otherMember for none of them
	found  bool   // the response has passed: nothing more is kept
	failed bool   // it is an error
}

// write has the message take the next bytes, and keeps what it should.
func (x *excerpt) write(g *gist, p []byte) {
	for i := 0; i < len(p); {
		from := i
		i = g.next(p, i)
		x.took(g, p[from:i])
	}
}

// took is called after each step. One ends where a name in the message begins, and where it ends.
func (x *excerpt) took(g *gist, p []byte) {
	switch x.of {
	case memberResult:
		x.result = beginning(x.result, p, x.most)
	case memberError:
		x.failure = beginning(x.failure, p, x.most)
	case memberID:
		x.id = beginning(x.id, p, maxSpelling)
	}
	if g.depth > messageDepth {
		return
	}
	switch {
	case g.depth < messageDepth || g.step == inName || g.step == noJSON:
		x.of = otherMember
	case g.step == afterName: // where a name stands twice, the last value counts, as it does to most readers
		switch x.of = g.member; x.of {
		case memberResult:
			x.result = x.result[:0]
		case memberError:
			x.failure = x.failure[:0]
		case memberID:
			x.id = x.id[:0]
		}
	}
}

// maxSpelling bounds an id as an answer spells it: with escapes it can be six times as long as the request's, and space
// may stand before it.
const maxSpelling = 6*maxID + 64

func beginning(text, p []byte, most int) []byte {
	return append(text, p[:min(len(p), most-len(text))]...)
}

// end is called when a message of a stream has ended, and says whether it is the response.
func (x *excerpt) end(g *gist) (response bool) {
	if !g.method && g.outcome().Kind != OutcomeUnknown && sameID(x.id, x.want) {
		x.found, x.failed = true, g.failure
		return true
	}
	x.result, x.failure, x.id, x.of = x.result[:0], x.failure[:0], x.id[:0], otherMember
	return false
}

func (x *excerpt) value(failed bool) []byte {
	text := x.result
	if failed {
		text = x.failure
	}
	if text = bytes.TrimLeft(text, ": \t\r\n"); len(text) == 0 || text[0] != '{' {
		return nil
	}
	return text
}

// sameID says whether some client takes one id for the other: they have the same text, or are the same number.
func sameID(a, b []byte) bool {
	x, ok := spelledID(a)
	y, ok2 := spelledID(b)
	if !ok || !ok2 || bytes.Equal(x, y) {
		return ok && ok2
	}
	n, err := strconv.ParseFloat(string(x), 64)
	m, err2 := strconv.ParseFloat(string(y), 64)
	return err == nil && err2 == nil && n == m
}

// spelledID is the text of an id that is a string, or the number as it stands. Something may stand behind it. It is false
// for what is neither, or was cut off.
func spelledID(raw []byte) ([]byte, bool) {
	raw = bytes.TrimLeft(raw, ": \t\r\n")
	if len(raw) > 0 && (raw[0] == '-' || raw[0]-'0' <= 9) {
		if end := bytes.IndexAny(raw, ",} \t\r\n"); end >= 0 {
			raw = raw[:end]
		}
		return raw, true
	}
	for i := 1; i < len(raw) && raw[0] == '"'; i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return text(raw[:i+1])
		}
	}
	return nil, false
}

package mcp

import (
	"bytes"
	"unicode/utf8"
)

// A guard is for answers of any length to requests that ask for no list: they pass untouched and piece by piece, and
// stop where a list begins. What it goes by are names, of the members of the message and of the result; each is known
// before its value comes.

// Guard has the Watcher look for what no answer to such a request has, so that Write can tell when the answer must not
// pass on. It is to be called before Write, and for a JSON body only.
func (w *Watcher) Guard() { w.guard = new(guard) }

// Refusal is why what the last Write took must be withheld, and everything after it: a *fault.Error of kind
// BadUpstream. It is nil while the answer may pass, and where Guard was not called.
//
// What must be withheld is a result that has a list as a member, or a member that some reader takes for one; a member
// of the message that some reader takes for the result; and what is no JSON, is no object, or nests deeper than 256,
// from there on. What stands deeper in a result is not looked at. In names, but only there, UTF-8 must be valid.
func (w *Watcher) Refusal() error {
	if w.guard == nil || w.guard.why == "" {
		return nil
	}
	return withheld("%s, in the answer to a request that asks for no list", w.guard.why)
}

// maxSpelt is longer than any name that could be a list's is in JSON, where each character may be an escape.
const maxSpelt = 128

// guard follows a message, and reads the names that could matter.
type guard struct {
	why    string // it must not pass; "" if it may
	naming bool   // a name passes that could matter
	long   bool   // it has more than there is room for
	length int
	name   [maxSpelt]byte // the name, as far as it has passed, with its quotes
}

// write has the message take the next bytes.
func (x *guard) write(w *Watcher, p []byte) {
	for i := 0; i < len(p) && x.why == ""; {
		from := i
		i = w.message.next(p, i)
		if w.kept != nil {
			w.kept.took(&w.message, p[from:i])
		}
		x.took(&w.message, p[from:i])
	}
}

// took is called after each step. One ends where a name that could matter begins, behind the quote, and where it ends.
func (x *guard) took(g *gist, p []byte) {
	switch {
	case g.step == noJSON:
		x.why = "no JSON that can be read"
	case x.naming:
		n := copy(x.name[x.length:], p)
		x.length += n
		x.long = x.long || n < len(p)
		if g.step == afterName {
			x.naming = false
			x.why = x.judge(g)
		}
	case g.step == inName:
		x.naming, x.long, x.length = true, false, copy(x.name[:], `"`)
	}
}

// judge says why a name may not stand where it does; "" if it may.
func (x *guard) judge(g *gist) string {
	raw := x.name[:x.length]
	switch {
	case g.depth == resultDepth && g.parent != memberResult:
	case x.long: // a reader who stops at a control character could still take it for another
		if !printed(raw) {
			return "a member's name that is too long"
		}
	case g.depth == resultDepth && suspect(listNames, raw):
		return "a list"
	case g.depth == messageDepth && g.member != memberResult && suspect(resultName, raw):
		return "a member that could be taken for the result"
	}
	return ""
}

// suspect says whether some reader could take a raw name for one of p.
func suspect(p protocolNames, raw []byte) bool {
	if printed(raw) {
		return p.meant(raw[1:len(raw)-1]) != ""
	}
	name, ok := text(raw)
	return !ok || p.couldMean(name) || bytes.ContainsRune(name, utf8.RuneError)
}

// printed says whether a raw name has neither escapes nor anything but what ASCII can print.
func printed(raw []byte) bool {
	for _, c := range raw {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

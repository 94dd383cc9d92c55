package mcp

// A Watcher learns what became of a call from the bytes of the answer, as they pass. It keeps none of them, unless Keep
// asks for the beginning of the response: between two pieces it knows what is open, which member is being read and how
// far, and what it has found.
//
// The whole answer is checked to be JSON (RFC 8259; but not to be UTF-8), because an outcome is told only of what a
// client can read. Few members matter, each by its exact name and at its own level only: error, result and method of
// the message (JSON-RPC 2.0, sections 4 and 5), code of the error, isError of the result (MCP, tools, "Error Handling").

// OutcomeKind is what became of a call. A larger one is worse.
type OutcomeKind uint8

// The kinds.
const (
	OutcomeUnknown   OutcomeKind = iota // no response has passed that could be read
	OutcomeResult                       // a result
	OutcomeToolError                    // a result with "isError": true, which is how a tool tells that it failed
	OutcomeError                        // an error, of JSON-RPC or MCP
)

// Outcome is what became of a call, as its answer says.
type Outcome struct {
	Kind OutcomeKind
	Code int64 // of an error; 0 where it has none that is an integer and fits
}

// Watcher sees the bytes of one answer pass. It is made by NewWatcher and used by one goroutine at a time. It holds no
// memory but its own, under 200 bytes, and what Keep and Guard ask for.
type Watcher struct {
	message gist // the JSON body, or the data of the event that has begun

	stream bool
	place  uint8 // in a stream: where in the line, as an index in lineForm; notData
	cr     bool  // the last byte was a CR, so a LF belongs to it
	worst  Outcome

	numbered bool // an event had an id, or a time to come back
	blind    bool // nothing is known of what passes

	kept  *excerpt // nil: nothing of the answer is kept, and each message of a stream counts
	guard *guard   // nil: whatever passes may pass
}

// NewWatcher gives a Watcher of a stream of server-sent events, or of a JSON body.
func NewWatcher(stream bool) *Watcher { return &Watcher{stream: stream} }

// Outcome is the outcome of what has passed so far.
//
// A JSON body has one when it is whole. It is OutcomeUnknown where the body is cut off, is no JSON object, has data
// after it, or nests deeper than 256. In a stream an event counts when the blank line that ends it has passed, whatever
// its name is. Where Keep was called, the outcome is that of the response; else it is the worst of the events' outcomes,
// and the first of equals, such as two errors.
//
// An error that is not null makes a message an error, and next to it isError makes it a tool's failure, whatever else it
// has. Any other result counts only where there is no method, which would make a request or a notification of it. Where
// a name is repeated, the worst of the outcomes stands, and the first code that is an integer and fits.
func (w *Watcher) Outcome() Outcome {
	if w.stream {
		return w.worst
	}
	return w.message.outcome()
}

// Resumable says whether a stream had an event with an id, or said when to come back (fields id and retry): a client may
// ask for the rest of it then, so that a response which is missing here may come elsewhere.
func (w *Watcher) Resumable() bool { return w.numbered }

// Blind has the Watcher forget what it saw, because the rest could not be read: it knows nothing of the answer, not even
// that there is no response in it.
func (w *Watcher) Blind() { *w = Watcher{stream: w.stream, blind: true} }

// Blinded says whether Blind was called.
func (w *Watcher) Blinded() bool { return w.blind }

// Write takes the next bytes of the answer. It keeps nothing of p, and allocates nothing but what Keep asks for, and a
// name with escapes that Guard looks at.
func (w *Watcher) Write(p []byte) {
	if !w.stream {
		w.pass(p)
		return
	}
	for len(p) > 0 {
		if w.cr {
			if w.cr = false; p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		i := lineEnd(p, 0)
		w.partOfLine(p[:i])
		if i == len(p) {
			return
		}
		w.cr = p[i] == '\r'
		w.endOfLine()
		p = p[i+1:]
	}
}

// pass has the message take its next bytes.
func (w *Watcher) pass(p []byte) {
	switch {
	case w.guard != nil:
		w.guard.write(w, p)
	case w.kept == nil || w.kept.found:
		w.message.write(p)
	default:
		w.kept.write(&w.message, p)
	}
}

// lineForm is how a line of data begins. The byte order mark may stand on the first line of a stream only, and the
// space may be missing. (So may the colon: such a line is empty, and an empty line changes no JSON.)
const lineForm = "\ufeffdata: "

// Places in lineForm.
const (
	atField uint8 = 3 // after the byte order mark
	atSpace uint8 = 8
	inData  uint8 = 9
	notData uint8 = 10 // in a line that is none of data
)

// lineFeed stands between the lines of an event's data. Before the first it does no harm.
var lineFeed = []byte("\n")

// partOfLine takes the next bytes of a line, without its end.
func (w *Watcher) partOfLine(p []byte) {
	for len(p) > 0 && w.place < inData {
		switch {
		case p[0] == lineForm[w.place]:
			p = p[1:]
			if w.place++; w.place == atSpace {
				w.pass(lineFeed)
			}
		case w.place == 0:
			w.place = atField
		case w.place == atSpace:
			w.place = inData
		default:
			w.numbered = w.numbered || w.place == atField && (p[0] == 'i' || p[0] == 'r')
			w.place = notData
		}
	}
	if w.place == inData {
		w.pass(p)
	}
}

// endOfLine ends the event where the line was empty.
func (w *Watcher) endOfLine() {
	if w.place == 0 || w.place == atField {
		o := w.message.outcome()
		switch {
		case w.kept == nil && o.Kind > w.worst.Kind:
			w.worst = o
		case w.kept != nil && !w.kept.found && w.kept.end(&w.message):
			w.worst = o
		}
		w.message = gist{}
	}
	w.place = atField
}

// member is a member that matters.
type member uint8

const (
	otherMember member = iota
	memberResult
	memberError
	memberMethod
	memberID
	memberIsError
	memberCode
)

// outcome is that of the whole message.
func (g *gist) outcome() Outcome {
	switch {
	case g.step != atEnd:
	case g.failure && g.coded:
		return Outcome{OutcomeError, int64(g.code)}
	case g.failure:
		return Outcome{Kind: OutcomeError}
	case g.toolFailure:
		return Outcome{Kind: OutcomeToolError}
	case g.result && !g.method:
		return Outcome{Kind: OutcomeResult}
	}
	return Outcome{}
}

// matters says whether the members of the innermost object do. An error is as deep as a result.
func (g *gist) matters() bool {
	return g.depth == messageDepth || g.depth == resultDepth && g.parent != otherMember
}

// value notes what the value tells that begins with c. Where there can't be one the message is no JSON.
func (g *gist) value(c byte) bool {
	switch {
	case g.step > atFirstItem || g.depth == 0 && c != '{':
		g.step = noJSON
		return false
	case g.depth > resultDepth:
	case g.depth == messageDepth:
		g.parent = g.member
		switch g.member {
		case memberResult:
			g.result = true
		case memberError:
			g.failure = g.failure || c != 'n'
		case memberMethod:
			g.method = true
		}
	case g.member == memberIsError:
		g.toolFailure = g.toolFailure || c == 't'
	}
	return true
}

// noName is a name of which nothing has come: only the mark that stands before its characters, at most seven.
const noName = 1

// pack is the name as the bytes of one number, the mark first.
func pack(name string) uint64 {
	packed := uint64(noName)
	for i := range len(name) {
		packed = packed<<8 | uint64(name[i])
	}
	return packed
}

var (
	packedResult  = pack("result")
	packedError   = pack("error")
	packedMethod  = pack("method")
	packedID      = pack("id")
	packedIsError = pack("isError")
	packedCode    = pack("code")
)

// spelled is the member whose name has come to its end.
func (g *gist) spelled() member {
	switch {
	case g.depth == messageDepth && g.spelt == packedResult:
		return memberResult
	case g.depth == messageDepth && g.spelt == packedError:
		return memberError
	case g.depth == messageDepth && g.spelt == packedMethod:
		return memberMethod
	case g.depth == messageDepth && g.spelt == packedID:
		return memberID
	case g.depth == resultDepth && g.parent == memberResult && g.spelt == packedIsError:
		return memberIsError
	case g.depth == resultDepth && g.parent == memberError && g.spelt == packedCode:
		return memberCode
	}
	return otherMember
}

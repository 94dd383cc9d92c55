package mcp

import (
	"bytes"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rolegate/rolegate/internal/fault"
)

// The remote's answers hold lists of what it offers. They are filtered in its own bytes: what stays is untouched, and
// what can't be understood is withheld, so nothing is shown that was not judged.

// Hints are what the remote says of a tool in its annotations; nil where it says nothing.
type Hints struct {
	ReadOnly, Destructive, Idempotent, OpenWorld *bool
}

// Item is one element of a list.
type Item struct {
	Method string // the method that would use it: tools/call, prompts/get or resources/read
	Target string // its name, URI, or, of a resource template, URI template
	Raw    []byte // the element as it was sent; a window on the message
	Hints         // of its annotations; the bools are shared and not to be written

	// Odd is that readers could understand it differently, or that it does not name itself: Target may be "", and Hints
	// say nothing. A Judge never sees such an item.
	Odd bool

	// What a Judge may set: the name and the description that the client reads instead. "" leaves what was sent.
	Rename, Describe string
}

// A Judge says whether an item is shown. It is called once for each item that names itself, in their order, and must
// not keep the item.
type Judge func(*Item) bool

// ListFilter edits the answers of one exchange. It is for one goroutine.
type ListFilter struct {
	Judge     Judge  // must be set
	Method    string // of the request; "" for a stream that a GET opened
	Modern    bool   // the exchange is of the modern era, where a result says who may cache it
	Unasked   bool   // no answer is due: the request is none of JSON-RPC, but a notification, a response or a DELETE
	OnChanged func() // called when notifications/tools/list_changed passes; may be nil
	MaxEvent  int    // of a stream, in bytes; 0 means DefaultMaxEvent

	onAnswer func(msg []byte) // called with each response; may be nil

	Shown, Hidden int // items, so far
	Withheld      int // events of a stream that were not understood, so far
}

// ListMethod says whether a method's answer is a list.
func ListMethod(method string) bool {
	for i := range lists {
		if lists[i].method == method {
			return true
		}
	}
	return false
}

// ownResult says whether the result of a method is what a tool, prompt or resource answers. The protocol gives it no
// list; what else it has is its own.
func ownResult(method string) bool {
	switch method {
	case MethodToolsCall, MethodPromptsGet, MethodResourcesRead, MethodComplete:
		return true
	}
	return false
}

const toolsChanged = "notifications/tools/list_changed"

func withheld(hint string, args ...any) *fault.Error {
	return fault.New(fault.BadUpstream, "the remote MCP server's answer can't be understood").Hint(hint, args...)
}

// Message gives what the client reads instead of one JSON-RPC message of the remote; msg itself, where nothing
// changes. Each list of a result is filtered, whatever the method, since a client can bring about that an answer comes
// to another of its requests: by giving two the same id. The answer of a list method must have its list. An item that
// does not name itself is hidden; a result that was filtered for one caller says so in cacheScope, and in the legacy
// era only where it said something.
//
// A message that two readers could understand differently is an error, and must be withheld: a *fault.Error of kind
// BadUpstream. Where only an item of a list is so, that item is hidden. In the results of tools/call, prompts/get,
// resources/read and completion/complete a list is an error too, and nothing else is looked at: they may be ambiguous,
// and only their own members could be lists.
func (f *ListFilter) Message(msg []byte) ([]byte, error) {
	out, changed, err := f.rewrite(nil, msg)
	if err != nil {
		return nil, err
	}
	if !changed {
		return msg, nil
	}
	return out, nil
}

// Body is Message for the body of an answer that is no stream, without any content encoding. An empty body passes;
// so does one without a result, where no answer is due or the status is 202 or from 400 up.
func (f *ListFilter) Body(status int, body []byte) ([]byte, error) {
	if len(body) == 0 || (f.Unasked || status == http.StatusAccepted || status >= 400) && resultless(body) {
		return body, nil
	}
	return f.Message(body)
}

// resultless says whether no reader finds a JSON-RPC result in a body: it is text, and no object or array, or one that
// does not have the word. A body that is no JSON to us may be JSON to others.
func resultless(body []byte) bool {
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		return false // compressed, or an encoding that some readers detect
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(body, byteOrderMark), " \t\r\n")
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return true
	}
	if !bytes.Contains(text, []byte(`\u`)) && !bytes.Contains(fold(nil, text), []byte("result")) {
		return true
	}
	a := readAnswer(body, true)
	defer a.done()
	return a.doubt() == "" && !a.result
}

// rewrite appends to dst what the client reads instead of msg. Where nothing changes it appends nothing.
func (f *ListFilter) rewrite(dst, msg []byte) (out []byte, changed bool, err error) {
	a := readAnswer(msg, ownResult(f.Method))
	defer a.done()
	if why := a.doubt(); why != "" {
		return dst, false, withheld("%s, in %d bytes", why, len(msg))
	}
	if why := a.shape(f.Method); why != "" {
		return dst, false, withheld("%s", why)
	}
	if f.onAnswer != nil && (a.result || a.failure) {
		f.onAnswer(msg)
	}
	if !a.result {
		if name, _ := text(a.s.bytes(a.method)); f.OnChanged != nil && string(name) == toolsChanged {
			f.OnChanged()
		}
		return dst, false, nil
	}
	e := editor{src: msg, out: dst}
	f.edit(&e, a)
	e.finish()
	return e.out, e.changed, nil
}

// shape says why the answer is no message that may follow a request of that method; "" if it may.
func (a *answer) shape(method string) string {
	switch {
	case a.result && a.method.to != 0:
		return "both a request and a response"
	case !a.result && !a.failure && a.method.to == 0:
		return "neither a request, nor a notification, nor a response"
	case a.listed && ownResult(method):
		return "a list in the result of " + method
	case !a.result || !ListMethod(method):
		return ""
	}
	for _, l := range a.lists {
		if lists[l.kind].method == method {
			return ""
		}
	}
	return "a result of " + method + " without its list"
}

// edit filters the lists of a result.
func (f *ListFilter) edit(e *editor, a *answer) {
	if len(a.lists) == 0 {
		return
	}
	scope := a.scope
	switch v, ok := text(a.s.bytes(scope)); {
	case scope.to == 0 && f.Modern:
		e.put(span{a.inside, a.inside}, `"cacheScope":"private",`)
	case ok && string(v) == "private":
		scope = span{}
	}
	for i := range a.lists {
		if scope.to != 0 && scope.to < a.lists[i].at.from {
			e.put(scope, `"private"`)
			scope = span{}
		}
		f.filter(e, a, &a.lists[i])
	}
	if scope.to != 0 {
		e.put(scope, `"private"`)
	}
}

// filter removes from a list what is not shown. An element goes with the comma before it, or, before the first that
// is shown, with the one after it.
//
// Tools that share a name and are not annotated alike are never shown.
func (f *ListFilter) filter(e *editor, a *answer, l *list) {
	elements := a.elements[l.first:l.last]
	a.dispute(l)
	shown := 0
	var item Item
	for i := range elements {
		x := &elements[i]
		if !a.item(&item, l.kind, x) || !f.Judge(&item) || item.Describe != "" && x.secondDescription {
			if shown > 0 {
				e.put(span{elements[i-1].at.to, x.at.to}, "")
			}
			continue
		}
		if shown == 0 && i > 0 {
			e.put(span{elements[0].at.from, x.at.from}, "")
		}
		shown++
		e.item(x, &item)
	}
	if shown == 0 && len(elements) > 0 {
		e.put(span{l.at.from + 1, l.at.to - 1}, "")
	}
	f.Shown += shown
	f.Hidden += len(elements) - shown
}

// dispute makes the tools of a list odd that share a name and are not annotated alike: a caller can't tell which of them
// it would use.
func (a *answer) dispute(l *list) {
	if l.kind != listTools || l.last-l.first < 2 {
		return
	}
	elements := a.elements[l.first:l.last]
	named := make(map[string]*element, len(elements))
	for i := range elements {
		x := &elements[i]
		name, ok := text(a.s.bytes(x.name))
		if !ok {
			continue
		}
		y := named[string(name)]
		if y == nil {
			named[string(name)] = x
		} else if x.odd || y.odd || x.hints != y.hints {
			x.odd, y.odd = true, true
		}
	}
}

// truths are what Hints point to.
var truths = [...]bool{hintFalse: false, hintTrue: true}

// item makes the Item of an element; false where it is none.
func (a *answer) item(item *Item, kind int, x *element) bool {
	raw := x.name
	switch kind {
	case listResources:
		raw = x.uri
	case listTemplates:
		raw = x.template
	}
	target, ok := text(a.s.bytes(raw))
	if x.odd || !ok || !printable(target, maxTarget) {
		return false
	}
	*item = Item{Method: lists[kind].use, Target: string(target), Raw: a.s.bytes(x.at)}
	for i, at := range [...]**bool{&item.ReadOnly, &item.Destructive, &item.Idempotent, &item.OpenWorld} {
		if x.hints[i] != hintUnset {
			*at = &truths[x.hints[i]]
		}
	}
	return true
}

// editor copies a text with changes. They are made from its beginning to its end.
type editor struct {
	src, out []byte
	done     uint32 // how much of src was copied or replaced
	changed  bool
}

// put replaces what stands at x.
func (e *editor) put(x span, by string) {
	e.copy(x)
	e.out = append(e.out, by...)
}

// quote replaces what stands at x by a JSON string, with something before it.
func (e *editor) quote(x span, before, s string) {
	e.put(x, before)
	e.out = appendQuoted(e.out, s)
}

// copy copies up to x, and passes over it.
func (e *editor) copy(x span) {
	if !e.changed {
		e.changed = true
		if cap(e.out) == 0 {
			e.out = make([]byte, 0, len(e.src)+64)
		}
	}
	e.out = append(e.out, e.src[e.done:x.from]...)
	e.done = x.to
}

// finish copies what is left, where anything was changed.
func (e *editor) finish() {
	if e.changed {
		e.out = append(e.out, e.src[e.done:]...)
	}
}

// item writes the name and the description that a Judge has set.
func (e *editor) item(x *element, item *Item) {
	rename := func() {
		if item.Rename != "" && x.name.to != 0 {
			e.quote(x.name, "", item.Rename)
		}
	}
	if item.Describe == "" {
		rename()
		return
	}
	at, before := x.description, ""
	if at.to == 0 {
		end := x.name.to
		if end == 0 {
			end = max(x.uri.to, x.template.to)
		}
		at, before = span{end, end}, `,"description":`
	}
	if at.from < x.name.from {
		e.quote(at, before, item.Describe)
		rename()
		return
	}
	rename()
	e.quote(at, before, item.Describe)
}

// Tools reads one answer to tools/list: the tools, odd ones among them, the cursor of the next page, "" on the last,
// and for how long the list stays good, below zero where the remote does not say. Raw of the items are windows on msg.
// The error is that of Message, or that the answer is no list.
func Tools(msg []byte) (tools []Item, next string, ttl time.Duration, err error) {
	a := readAnswer(msg, false)
	defer a.done()
	why := a.doubt()
	if why == "" {
		why = a.shape(MethodToolsList)
	}
	if why == "" && !a.result {
		why = "no result"
	}
	cursor, ok := text(a.s.bytes(a.cursor))
	if raw := a.s.bytes(a.cursor); why == "" && !ok && raw != nil && raw[0] != 'n' {
		why = "nextCursor is no string"
	}
	if why != "" {
		return nil, "", 0, withheld("%s", why)
	}
	for i := range a.lists {
		l := &a.lists[i]
		if l.kind != listTools {
			continue
		}
		tools = make([]Item, l.last-l.first)
		for j := range tools {
			if x := &a.elements[l.first+j]; !a.item(&tools[j], listTools, x) {
				name, _ := text(a.s.bytes(x.name))
				tools[j] = Item{Method: MethodToolsCall, Target: string(name), Raw: a.s.bytes(x.at), Odd: true}
			}
		}
	}
	return tools, string(cursor), milliseconds(a.s.bytes(a.ttl)), nil
}

// milliseconds is a raw JSON integer as a duration, as long as there is one; -1 for null and where it is missing, 0 for
// what is no such integer.
func milliseconds(raw []byte) time.Duration {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	const most = math.MaxInt64 / int64(time.Millisecond)
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return -1
	case n < 0 || err != nil && n != math.MaxInt64:
		return 0
	case n > most:
		n = most
	}
	return time.Duration(n) * time.Millisecond
}

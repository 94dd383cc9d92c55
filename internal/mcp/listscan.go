package mcp

import (
	"bytes"
	"sync"
	"unicode"
)

// The scan of a message from the remote. It goes once through the bytes, by the same rules as the scan of a request,
// and finds where the lists of a result stand and what of each item a decision needs. Names mean something in the
// message, its result, an item of a list and an item's annotations.

// Depths of those four objects; what is in them is at the same depth as seen by scanner.value.
const (
	messageDepth     = 1
	resultDepth      = 2
	listDepth        = 3
	itemDepth        = 4
	annotationsDepth = 5
)

// lists is what there is to know of each list.
var lists = [...]struct {
	member string // of the result
	method string // whose answer has it
	use    string // the method that uses an item
}{
	listTools:     {"tools", MethodToolsList, MethodToolsCall},
	listPrompts:   {"prompts", MethodPromptsList, MethodPromptsGet},
	listResources: {"resources", MethodResourcesList, MethodResourcesRead},
	listTemplates: {"resourceTemplates", MethodTemplatesList, MethodResourcesRead},
}

const (
	listTools = iota
	listPrompts
	listResources
	listTemplates
)

// Names that a reader who ignores case could take for one that matters, for each level.
var (
	resultName      = names("result")
	resultNames     = names("tools", "prompts", "resources", "resourceTemplates", "cacheScope")
	listNames       = names("tools", "prompts", "resources", "resourceTemplates")
	itemNames       = names("name", "uri", "uriTemplate", "annotations", "description")
	annotationNames = names(hintNames[:]...)
)

var hintNames = [...]string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}

// hint is what an item's annotations say of one hint.
type hint uint8

const (
	hintUnset hint = iota
	hintFalse
	hintTrue
)

// element is one element of a list.
type element struct {
	at                  span // the element
	name, uri, template span // raw values; one of them names the item
	description         span
	hints               [len(hintNames)]hint
	odd                 bool // no item, or one that two readers could understand differently
	secondDescription   bool // a member that some reader takes for the description
}

// list is one list of a result.
type list struct {
	kind        int
	at          span // from [ to ]
	first, last int  // its elements in answer.elements
}

// answer is what a scan found in one message. It is pooled.
type answer struct {
	s        *scanner
	own      bool // the result may be ambiguous, where it has no list
	result   bool // there is one
	listed   bool // it has a list, or a member that some reader takes for one
	failure  bool // there is an error
	method   span
	inside   uint32 // where the members of the result begin
	scope    span   // raw value of cacheScope
	cursor   span   // of nextCursor
	ttl      span   // of ttlMs
	lists    []list
	elements []element
}

var answers = sync.Pool{New: func() any { return new(answer) }}

// readAnswer scans msg. With own a result without a list may be ambiguous. Give the answer back with done.
func readAnswer(msg []byte, own bool) *answer {
	a := answers.Get().(*answer)
	if len(msg) > mostBody {
		msg = nil // which is no message either
	}
	*a = answer{s: begin(msg), own: own, lists: a.lists[:0], elements: a.elements[:0]}
	s := a.s
	switch {
	case s.broken != "":
	case s.next() != '{':
		s.fail("no JSON object")
	case s.walk(messageDepth, a.message):
		s.end()
	}
	return a
}

func (a *answer) done() {
	a.s.done()
	a.s = nil
	if cap(a.elements) <= 4096 {
		answers.Put(a)
	}
}

// doubt is why the message can't be told to mean one thing; "" if it can.
func (a *answer) doubt() string {
	if a.s.broken != "" {
		return a.s.broken
	}
	return a.s.flaw
}

// message consumes the value of a member of the message.
func (a *answer) message(name []byte) bool {
	switch string(name) {
	case "result":
		a.result = true
		return a.readResult()
	case "error":
		a.failure = true
	case "method":
		return a.s.keep(&a.method, messageDepth)
	default:
		a.s.doubtful(resultName, name)
	}
	return a.s.value(inside, messageDepth)
}

func (a *answer) readResult() bool {
	s := a.s
	flaw, ok := s.flaw, false
	if s.next() == '{' {
		a.inside = uint32(s.pos + 1)
		ok = s.walk(resultDepth, a.resultMember)
	} else {
		ok = s.value(inside, messageDepth)
	}
	if a.own && !a.listed {
		s.flaw = flaw
	}
	return ok
}

func (a *answer) resultMember(name []byte) bool {
	s := a.s
	switch string(name) {
	case "cacheScope":
		return s.keep(&a.scope, resultDepth)
	case "nextCursor":
		return s.keep(&a.cursor, resultDepth)
	case "ttlMs":
		return s.keep(&a.ttl, resultDepth)
	}
	for kind := range lists {
		if string(name) == lists[kind].member {
			a.listed = true
			return a.readList(kind)
		}
	}
	a.listed = a.listed || listNames.couldMean(name)
	s.doubtful(resultNames, name)
	return s.value(inside, resultDepth)
}

// readList consumes the value of a list's member.
func (a *answer) readList(kind int) bool {
	s := a.s
	if s.next() != '[' {
		s.blemish("a list that is no array")
		return s.value(inside, resultDepth)
	}
	l := list{kind: kind, at: span{from: uint32(s.pos)}, first: len(a.elements)}
	s.pos++
	s.space()
	for more := !s.take(']'); more; {
		if !a.readElement() {
			return false
		}
		if s.space(); s.take(']') {
			break
		}
		if !s.take(',') {
			return s.fail("a comma or ] is missing")
		}
		s.space()
	}
	l.at.to, l.last = uint32(s.pos), len(a.elements)
	a.lists = append(a.lists, l)
	return true
}

// readElement consumes an element. What is ambiguous within it makes nothing but the element odd.
func (a *answer) readElement() bool {
	s := a.s
	flaw := s.flaw
	a.elements = append(a.elements, element{at: span{from: uint32(s.pos)}})
	e := &a.elements[len(a.elements)-1]
	var ok bool
	if s.next() == '{' {
		ok = s.walk(itemDepth, a.itemMember)
	} else {
		e.odd = true
		ok = s.value(inside, listDepth)
	}
	e.at.to = uint32(s.pos)
	e.odd, s.flaw = e.odd || s.flaw != flaw, flaw
	return ok
}

// itemMember consumes the value of a member of the element that was begun last.
func (a *answer) itemMember(name []byte) bool {
	s, e := a.s, &a.elements[len(a.elements)-1]
	switch string(name) {
	case "name":
		return s.keep(&e.name, itemDepth)
	case "uri":
		return s.keep(&e.uri, itemDepth)
	case "uriTemplate":
		return s.keep(&e.template, itemDepth)
	case "description":
		return s.keep(&e.description, itemDepth)
	case "inputSchema", "outputSchema", "title":
		return s.value(inside, itemDepth)
	case "annotations":
		if s.next() == '{' {
			return s.walk(annotationsDepth, a.annotation)
		}
		e.odd = e.odd || s.next() != 'n'
		return s.value(inside, itemDepth)
	}
	switch meant := itemNames.meant(name); {
	case meant == "description":
		e.secondDescription = true
	case meant != "" || hasControl(name):
		e.odd = true
	}
	return s.value(inside, itemDepth)
}

// annotation consumes the value of a member of that element's annotations.
func (a *answer) annotation(name []byte) bool {
	s, e := a.s, &a.elements[len(a.elements)-1]
	for i := range hintNames {
		if string(name) != hintNames[i] {
			continue
		}
		switch s.next() {
		case 't':
			e.hints[i] = hintTrue
		case 'f':
			e.hints[i] = hintFalse
		case 'n': // as if it were not there
		default:
			e.odd = true
		}
		return s.value(inside, annotationsDepth)
	}
	e.odd = e.odd || annotationNames.couldMean(name)
	return s.value(inside, annotationsDepth)
}

// walk goes through the object that comes next. visit consumes each member's value; the name is good until it does.
func (s *scanner) walk(depth int, visit func(name []byte) bool) bool {
	s.pos++
	names, text := len(s.names), len(s.text)
	if s.space(); s.take('}') {
		return true
	}
	for {
		if _, _, ok := s.name(inside); !ok {
			return false
		}
		if !visit(s.spelled(s.names[len(s.names)-1])) {
			return false
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

// next is the byte that comes next, 0 at the end.
func (s *scanner) next() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

// keep consumes one value, and notes where it stands.
func (s *scanner) keep(x *span, depth int) bool {
	from := s.pos
	if !s.value(inside, depth) {
		return false
	}
	*x = span{uint32(from), uint32(s.pos)}
	return true
}

// bytes is what stands in x; nil for the zero span.
func (s *scanner) bytes(x span) []byte {
	if x.to == 0 {
		return nil
	}
	return s.src[x.from:x.to:x.to]
}

// doubtful notes a flaw when a name that is none of p could be taken for one.
func (s *scanner) doubtful(p protocolNames, name []byte) {
	if p.couldMean(name) {
		s.blemish(flawCase)
	}
}

// couldMean says whether a name that is none of p could be taken for one: by a reader that ignores case, or by one
// that stops at a control character.
func (p protocolNames) couldMean(name []byte) bool {
	return p.meant(name) != "" || hasControl(name)
}

func hasControl(name []byte) bool { return bytes.IndexFunc(name, unicode.IsControl) >= 0 }

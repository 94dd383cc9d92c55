package mcp

import (
	"bytes"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// hex4 is the number that the first four bytes spell in hexadecimal, or -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends to dst the text of a JSON string, given without its quotes and already known to be well formed.
// Half of a surrogate pair becomes U+FFFD.
func unescape(dst, inner []byte) []byte {
	for {
		i := bytes.IndexByte(inner, '\\')
		if i < 0 {
			return append(dst, inner...)
		}
		dst = append(dst, inner[:i]...)
		c := inner[i+1]
		inner = inner[i+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(inner)
			inner = inner[4:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(inner) >= 6 && inner[0] == '\\' && inner[1] == 'u' {
					low = hex4(inner[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					inner = inner[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
}

// text is what a raw JSON string says. It is false for any other value.
func text(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	return unescape(nil, inner), true
}

// protocolNames maps a folded name to the protocol's own spelling, for one level.
type protocolNames map[string]string

func names(list ...string) protocolNames {
	m := make(protocolNames, len(list))
	for _, name := range list {
		m[string(fold(nil, []byte(name)))] = name
	}
	return m
}

var (
	messageNames = names("jsonrpc", "id", "method", "params", "result", "error")

	// Every member of the params of a message that a client sends, in any supported revision.
	paramsNames = names("_meta", "name", "arguments", "uri", "cursor", "ref", "argument", "context", "level",
		"protocolVersion", "capabilities", "clientInfo", "requestId", "reason", "progressToken", "progress", "total",
		"message", "inputResponses", "requestState", "notifications", "task", "taskId")

	// Of params.notifications those that name something; the others say yes or no.
	notificationsNames = names("resourceSubscriptions")
)

// maxName is longer than any protocol name is when it is folded.
const maxName = 24

// fold appends name as a reader sees it that ignores case: simple folding, lower or upper case, of any script. Four
// runes outside ASCII become an ASCII letter under one of these. A name with any other rune outside ASCII is no
// protocol name in any case, and folds to itself.
func fold(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		switch r {
		case 'ſ':
			r = 's'
		case '\u212A': // the Kelvin sign
			r = 'k'
		case 'İ', 'ı':
			r = 'i'
		}
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst
}

// meant is the protocol name that a name is but for its case; "" if it is none.
func (p protocolNames) meant(name []byte) string {
	if len(name) > 3*maxName {
		return ""
	}
	var room [3 * maxName]byte
	return p[string(fold(room[:0], name))]
}

const (
	flawCase    = "a member's name differs from the protocol's only by case"
	flawControl = "a control character in a member's name"
)

// know says what the member called name is, and where an object that is its value stands. It notes a flaw when the
// name is a protocol name but for its case, or could be one to a reader that stops at NUL.
func (s *scanner) know(at level, name []byte) (field, level) {
	var f field
	next, like := inside, protocolNames(nil)
	switch at {
	case inMessage:
		f, next = messageField(name)
		like = messageNames
	case inParams:
		f, next = paramsField(name)
		like = paramsNames
	case inNotifications:
		if string(name) == "resourceSubscriptions" {
			f = subscribed
		}
		like = notificationsNames
	case inMeta:
		return metaField(name)
	case inParamsClient:
		return clientField(name, paramClientName, paramClientVersion), inside
	case inMetaClient:
		return clientField(name, metaClientName, metaClientVersion), inside
	}
	if f != noField {
		return f, next
	}
	switch exact := like.meant(name); {
	case exact == "":
		if bytes.IndexFunc(name, unicode.IsControl) >= 0 {
			s.blemish(flawControl)
			s.noID = s.noID || at == inMessage
		}
	case string(name) != exact:
		s.blemish(flawCase)
		s.noID = s.noID || exact == "id"
	}
	return noField, next
}

func messageField(name []byte) (field, level) {
	switch string(name) {
	case "jsonrpc":
		return msgVersion, inside
	case "id":
		return msgID, inside
	case "method":
		return msgMethod, inside
	case "params":
		return msgParams, inParams
	case "result":
		return msgResult, inside
	case "error":
		return msgError, inside
	}
	return noField, inside
}

func paramsField(name []byte) (field, level) {
	switch string(name) {
	case "name":
		return paramName, inside
	case "uri":
		return paramURI, inside
	case "taskId":
		return paramTaskID, inside
	case "arguments":
		return paramArguments, inside
	case "clientInfo":
		return noField, inParamsClient
	case "notifications":
		return paramNotifications, inNotifications
	case "_meta":
		return noField, inMeta
	}
	return noField, inside
}

func metaField(name []byte) (field, level) {
	switch string(name) {
	case metaVersion:
		return metaProtocol, inside
	case metaClientInfo:
		return metaClient, inMetaClient
	case "traceparent":
		return metaTraceParent, inside
	case "tracestate":
		return metaTraceState, inside
	case "baggage":
		return metaBaggage, inside
	}
	return noField, inside
}

func clientField(name []byte, itsName, itsVersion field) field {
	switch string(name) {
	case "name":
		return itsName
	case "version":
		return itsVersion
	}
	return noField
}

package mcp

import (
	"bytes"
	"unicode"

	"github.com/rolegate/rolegate/internal/fault"
)

// Bounds on what is copied out of a message, in bytes.
const (
	maxMethod = 256
	maxTarget = 8 << 10
	maxID     = 1 << 10 // raw
)

func malformed(code int, words string) *fault.Error {
	return fault.New(fault.Malformed, words).Code(code)
}

// understand turns a scanned message into what it says: kind, id, method, target, params. It gives the version that
// params._meta claims, "" for none.
func (c *Call) understand(s *scanner) (version string, e *fault.Error) {
	first := byte(0)
	if body := bytes.TrimLeft(c.Body, " \t\r\n"); len(body) > 0 {
		first = body[0]
	}
	if first == '[' {
		return "", malformed(CodeInvalidRequest, "batches are not supported")
	}
	if s.broken == tooDeep {
		return "", malformed(CodeInvalidRequest, "the message is "+tooDeep).Hint("limit: %d", maxDepth)
	}
	if s.broken != "" {
		return "", malformed(CodeParse, "not a JSON message: "+s.broken).Hint("at byte %d of %d", s.pos, len(c.Body))
	}
	if first != '{' {
		return "", malformed(CodeInvalidRequest, "the message must be a JSON object")
	}
	id := s.raw(msgID)
	goodID := validID(id)
	if goodID && !s.noID {
		c.ID = bytes.Clone(id)
	}
	if s.flaw != "" {
		return "", malformed(CodeInvalidRequest, "an ambiguous message: "+s.flaw)
	}
	if v, _ := text(s.raw(msgVersion)); string(v) != "2.0" {
		return "", malformed(CodeInvalidRequest, `jsonrpc must be "2.0"`)
	}
	if id != nil && !goodID {
		return "", malformed(CodeInvalidRequest, "id must be a string or an integer, and short")
	}
	if e := c.shape(s); e != nil {
		return "", e
	}
	if c.Kind == Response {
		return "", nil
	}
	if e := c.readTarget(s); e != nil {
		return "", e
	}
	if raw := s.raw(metaProtocol); raw != nil {
		v, ok := text(raw)
		if !ok || len(v) == 0 {
			return "", malformed(CodeInvalidParams, "_meta: "+metaVersion+" must be a string")
		}
		return knownVersion(v), nil
	}
	return "", nil
}

// shape tells a request, a notification and a response apart (JSON-RPC 2.0, sections 4 and 5). What is more than
// one of them, or none, is refused.
func (c *Call) shape(s *scanner) *fault.Error {
	raw, params := s.raw(msgMethod), s.raw(msgParams)
	result, failure := s.raw(msgResult) != nil, s.raw(msgError) != nil
	if raw == nil {
		if result == failure || c.ID == nil || params != nil {
			return malformed(CodeInvalidRequest, "neither a request, nor a notification, nor a response")
		}
		c.Kind = Response
		return nil
	}
	if result || failure {
		return malformed(CodeInvalidRequest, "both a request and a response")
	}
	name, ok := text(raw)
	if !ok || !printable(name, maxMethod) {
		return malformed(CodeInvalidRequest, "method must be a short string without control characters")
	}
	if params != nil && params[0] != '{' {
		return malformed(CodeInvalidRequest, "params must be an object")
	}
	if m, ok := methods[string(name)]; ok {
		c.Method = m.name
	} else {
		c.Method = string(name)
	}
	c.Params, c.found = params, s.found
	c.Kind = Notification
	if c.ID != nil {
		c.Kind = Request
	}
	return nil
}

// readTarget reads what the method is about, where the protocol says which member of params that is.
func (c *Call) readTarget(s *scanner) *fault.Error {
	m := methods[c.Method]
	if !m.target {
		return nil
	}
	what := "params.name"
	if m.mirror == paramURI {
		what = "params.uri"
	}
	raw := s.raw(m.mirror)
	if raw == nil {
		if v, _ := text(s.raw(metaProtocol)); !m.needHeader && string(v) == Version20260728 {
			return nil // that version removed the method: the remote answers so
		}
		return malformed(CodeInvalidParams, what+" is missing")
	}
	target, ok := text(raw)
	if !ok || !printable(target, maxTarget) {
		return malformed(CodeInvalidParams, what+" must be a string, not empty, not too long, without control characters")
	}
	c.Target = string(target)
	return nil
}

// validID says whether raw is a string or an integer, of a length that can be sent back (2026-07-28, "Requests").
func validID(raw []byte) bool {
	if len(raw) == 0 || len(raw) > maxID {
		return false
	}
	if raw[0] == '"' {
		return true
	}
	digits := bytes.TrimPrefix(raw, []byte("-"))
	for _, b := range digits {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(digits) > 0
}

// printable says whether b has between 1 and most bytes, and no control character (category Cc).
func printable(b []byte, most int) bool {
	return len(b) > 0 && len(b) <= most && bytes.IndexFunc(b, unicode.IsControl) < 0
}

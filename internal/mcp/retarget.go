package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

// Retarget replaces the tool that a tools/call names: the body gets the JSON encoding of name where params.name
// stood, and every other byte stays. Body, Params, Target and Hash are those of the new message. Readers from an Open
// before it still give the old one. A client's Mcp-Name header is the caller's to replace. On any other call, and
// after Release, it does nothing. name must be UTF-8.
func (c *Call) Retarget(name string) {
	if c.Method != MethodToolsCall || c.found[paramName].to == 0 {
		return
	}
	var room [128]byte
	if c.replace(paramName, appendQuoted(room[:0], name)) {
		c.Target = name
	}
}

// DropBaggage empties params._meta.baggage (W3C Baggage), where a client's own services keep what they know of a user:
// it is not for others. It is an empty string then, and every other byte stays, as Retarget does it.
func (c *Call) DropBaggage() {
	if raw := c.raw(metaBaggage); raw != nil && string(raw) != `""` {
		c.replace(metaBaggage, []byte(`""`))
	}
}

// replace puts a value in the place of another one; it is false after Release.
func (c *Call) replace(f field, value []byte) bool {
	if c.buf == nil {
		return false
	}
	at := c.found[f]
	head, tail := c.Body[:at.from], c.Body[at.to:]
	b := newBuffer(len(head) + len(value) + len(tail))
	b.data = append(append(append(b.data, head...), value...), tail...)
	longer := at.from + uint32(len(value)) - at.to // may wrap around, and back
	for i := range c.found {
		x := &c.found[i]
		if x.from >= at.to {
			x.from += longer
		}
		if x.to >= at.to {
			x.to += longer
		}
	}
	c.buf.drop()
	c.buf, c.Body = b, b.data
	c.Params = c.raw(msgParams)
	c.Hash = hexHash(c.Body)
	return true
}

// hexHash is the hex SHA-256 of body.
func hexHash(body []byte) string {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// appendQuoted appends s as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

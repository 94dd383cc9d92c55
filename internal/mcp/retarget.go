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
	if c.Method != MethodToolsCall || c.buf == nil || c.nameAt.to == 0 {
		return
	}
	var room [128]byte
	quoted := appendQuoted(room[:0], name)
	head, tail := c.Body[:c.nameAt.from], c.Body[c.nameAt.to:]
	b := newBuffer(len(head) + len(quoted) + len(tail))
	b.data = append(append(append(b.data, head...), quoted...), tail...)
	end := c.nameAt.from + uint32(len(quoted))
	c.paramsAt.to += end - c.nameAt.to // may wrap around, and back
	c.nameAt.to = end
	c.buf.drop()
	c.buf, c.Body, c.Target = b, b.data, name
	c.Params = b.data[c.paramsAt.from:c.paramsAt.to:c.paramsAt.to]
	c.Hash = hexHash(c.Body)
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

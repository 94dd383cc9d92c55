package mcp

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
)

// Headers that repeat the body are for those on the way who do not read it (2026-07-28, "Request Metadata"). Here the
// body decides, and a header that says something else is refused: whoever acted on it acted on another message.

// maxSession bounds a session id, in bytes. The remote's own come back longer, by what binds them to their owner.
const maxSession = 2048

// knownVersion is the version as a string; a supported one costs no memory.
func knownVersion(v []byte) string {
	for _, s := range supported {
		if string(v) == s {
			return s
		}
	}
	return string(v)
}

// single gives the one value of a header, "" without any. It is false when the header is repeated, or has
// characters that a header may not have (RFC 9110, section 5.5, without obs-text).
func single(h http.Header, name string) (string, bool) {
	values := h[name]
	if len(values) == 0 {
		return "", true
	}
	if len(values) > 1 {
		return "", false
	}
	for i := range len(values[0]) {
		if c := values[0][i]; (c < ' ' && c != '\t') || c > '~' {
			return "", false
		}
	}
	return values[0], true
}

// mismatch is a refusal of a header. What was sent is a hint, cut short.
func mismatch(header, what, value string) *fault.Error {
	return malformed(CodeHeaderMismatch, "header mismatch: "+header+" "+what).Hint("sent: %.80q", value)
}

// readVersion reads the MCP-Protocol-Version header: Version and Era. Without it the request is of the legacy era.
func (c *Call) readVersion(h http.Header) *fault.Error {
	v, ok := single(h, HeaderVersion)
	if !ok {
		return mismatch("MCP-Protocol-Version", "is repeated or malformed", strings.Join(h[HeaderVersion], ", "))
	}
	if v == "" {
		return nil
	}
	for _, s := range supported {
		if v == s {
			c.Version = s
			if s == Version20260728 {
				c.Era = Modern
			}
			return nil
		}
	}
	if len(v) > 64 {
		v = v[:64]
	}
	return malformed(CodeUnsupportedVersion, "unsupported protocol version").
		WithData(UnsupportedVersion{Supported: SupportedVersions(), Requested: v})
}

// agree reads the headers that repeat the body, and refuses what disagrees. claimed is the version of params._meta.
func (c *Call) agree(h http.Header, s *scanner, claimed string) *fault.Error {
	if claimed != "" {
		if v, ok := single(h, HeaderVersion); ok && v != claimed {
			return mismatch("MCP-Protocol-Version", "is not the protocol version in _meta", v)
		}
	}
	if e := c.readVersion(h); e != nil {
		return e
	}
	if c.Era == Modern {
		if c.Kind == Response {
			return malformed(CodeInvalidRequest, "a client sends no responses in "+Version20260728)
		}
		if c.Kind == Request && claimed == "" {
			return malformed(CodeInvalidParams, "_meta: "+metaVersion+" is missing")
		}
	}
	if e := c.agreeMethod(h); e != nil {
		return e
	}
	return c.agreeName(h, s)
}

// agreeMethod compares Mcp-Method. The specification defines no headers for notifications, so on those, as in the
// legacy era, it may be missing.
func (c *Call) agreeMethod(h http.Header) *fault.Error {
	v, ok := single(h, HeaderMethod)
	switch {
	case !ok:
		return mismatch("Mcp-Method", "is repeated or malformed", strings.Join(h[HeaderMethod], ", "))
	case h[HeaderMethod] == nil && (c.Era == Legacy || c.Kind != Request):
		return nil
	case v == "":
		return mismatch("Mcp-Method", "is missing", "")
	case v != c.Method:
		return mismatch("Mcp-Method", "is not the method of the body", v)
	}
	return nil
}

// agreeName compares Mcp-Name with the member of params that it repeats. On a method that has none the header says
// nothing that the gateway knows of, and is not compared.
func (c *Call) agreeName(h http.Header, s *scanner) *fault.Error {
	m := methods[c.Method]
	v, ok := single(h, HeaderName)
	switch {
	case !ok:
		return mismatch("Mcp-Name", "is repeated or malformed", strings.Join(h[HeaderName], ", "))
	case m.mirror == noField:
		return nil
	case h[HeaderName] == nil && (c.Era == Legacy || c.Kind != Request || !m.needHeader):
		return nil
	case v == "":
		return mismatch("Mcp-Name", "is missing", "")
	}
	want := c.Target
	if !m.target {
		b, _ := text(s.raw(m.mirror))
		want = string(b)
	}
	name, ok := decodeHeader(v)
	if !ok {
		return mismatch("Mcp-Name", "is not well encoded", v)
	}
	if name != want {
		return mismatch("Mcp-Name", "is not the name or URI of the body", v)
	}
	return nil
}

const encodedPrefix, encodedSuffix = "=?base64?", "?="

// decodeHeader gives the text of a header that may be sent as =?base64?...?= (2026-07-28, "Value Encoding").
func decodeHeader(v string) (string, bool) {
	if !strings.HasPrefix(v, encodedPrefix) || !strings.HasSuffix(v, encodedSuffix) {
		return v, true
	}
	if len(v) < len(encodedPrefix)+len(encodedSuffix) {
		return "", false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(v[len(encodedPrefix) : len(v)-len(encodedSuffix)])
	return string(b), err == nil
}

// readSession reads Mcp-Session-Id: one value of visible ASCII (2025-11-25, "Session Management"). The modern era
// has no sessions, and ignores it.
func (c *Call) readSession(h http.Header) *fault.Error {
	values := h[HeaderSession]
	if c.Era == Modern || len(values) == 0 {
		return nil
	}
	good := len(values) == 1 && len(values[0]) > 0 && len(values[0]) <= maxSession
	for i := 0; good && i < len(values[0]); i++ {
		good = '!' <= values[0][i] && values[0][i] <= '~'
	}
	if !good {
		return malformed(CodeInvalidRequest, "Mcp-Session-Id is malformed")
	}
	c.Session = values[0]
	return nil
}

package sigv4

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The functions of this file bring a request into the form in which it leaves, which is the form that is signed. Where
// two verifiers could read the wire differently (AWS's own SDKs differ on dot segments and on '+'), the wire is
// rewritten so that they can't.

// wireURL gives u as it is written, and its canonical query. u itself is given back where nothing had to change.
func wireURL(u *url.URL) (wire *url.URL, canonical string, err error) {
	if u == nil || u.Opaque != "" {
		return nil, "", errors.New("an opaque URL can't be signed")
	}
	path := u.EscapedPath()
	if path != "" && path[0] != '/' {
		return nil, "", errors.New("the path of the URL does not begin with a slash")
	}
	clean := cleanPath(path)
	query, canonical := wireQuery(u.RawQuery)
	if clean == path && query == u.RawQuery {
		return u, canonical, nil
	}
	c := *u
	c.RawQuery = query
	if clean != path {
		c.RawPath = clean
		if c.Path, err = url.PathUnescape(clean); err != nil {
			return nil, "", fmt.Errorf("unescape path: %w", err)
		}
	}
	return &c, canonical, nil
}

// cleanPath removes dot segments (RFC 3986, section 5.2.4) and empty segments from an escaped path, as SigV4 does
// before it signs. Escaped dots are no dots. An empty path is "/". The price: a backend that tells /a//b from /a/b can't
// be asked for the former.
func cleanPath(p string) string {
	if p == "" {
		return "/"
	}
	if !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	out := make([]byte, 0, len(p))
	open := false // the last segment named no resource, so the path ends in a slash
	for seg := range strings.SplitSeq(p[1:], "/") {
		open = true
		switch seg {
		case "", ".":
		case "..":
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
		default:
			out = append(append(out, '/'), seg...)
			open = false
		}
	}
	if open {
		out = append(out, '/')
	}
	return string(out)
}

type param struct {
	name, value string // encoded
	bare        bool   // written without '='
}

// wireQuery gives a raw query in AWS's encoding twice: as it is written, in its own order, and as it is signed, sorted
// by name and then value, every name with its '='. '+' is a space, as in a form; ';' and a '%' that begins no escape
// are themselves; empty parameters are left out.
func wireQuery(raw string) (wire, canonical string) {
	if raw == "" {
		return "", ""
	}
	var params []param
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		params = append(params, param{reencode(name), reencode(value), !found})
	}
	b := make([]byte, 0, 2*len(raw))
	for i, p := range params {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		if !p.bare {
			b = append(append(b, '='), p.value...)
		}
	}
	wire = string(b)

	slices.SortFunc(params, func(a, b param) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	b = b[:0]
	for i, p := range params {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.name...), '='), p.value...)
	}
	return wire, string(b)
}

// reencode reads a name or value of a query and writes it in AWS's encoding.
func reencode(s string) string {
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b = appendEncodedByte(b, c)
	}
	return string(b)
}

// appendEncoded writes s in AWS's encoding: all but A-Z a-z 0-9 - . _ ~ and keep becomes %XX, in upper case.
func appendEncoded(b []byte, s string, keep byte) []byte {
	for i := range len(s) {
		if s[i] == keep {
			b = append(b, keep)
			continue
		}
		b = appendEncodedByte(b, s[i])
	}
	return b
}

func appendEncodedByte(b []byte, c byte) []byte {
	if isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~' {
		return append(b, c)
	}
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// wireHost gives the Host header: that of the request, or else of its URL, in lower case, without an IPv6 zone and
// without the default port of the scheme. A name that net/http would rewrite, such as an internationalised one, is
// refused: give it in its ASCII form.
func wireHost(req *http.Request) (string, error) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	if open := strings.IndexByte(host, '%'); open >= 0 && host[0] == '[' {
		if end := strings.IndexByte(host[open:], ']'); end >= 0 {
			host = host[:open] + host[open+end:]
		}
	}
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		port := host[i+1:]
		if port == "" || port == "80" && req.URL.Scheme == "http" || port == "443" && req.URL.Scheme == "https" {
			host = host[:i]
		}
	}
	for i := range len(host) {
		if c := host[i]; !isAlphanumeric(c) && !strings.ContainsRune("-._:[]", rune(c)) {
			return "", errors.New("the host has a character that can't be signed")
		}
	}
	if host == "" {
		return "", errors.New("no host")
	}
	return host, nil
}

// wireHeader copies what may leave of a header, under canonical names. The values are shared with in, and never written.
func wireHeader(in http.Header) (http.Header, error) {
	listed := connectionNames(in)
	out := make(http.Header, len(in)+4)
	for name, values := range in {
		name = http.CanonicalHeaderKey(name)
		if stays(name) || slices.Contains(listed, name) {
			continue
		}
		if had, ok := out[name]; ok {
			out[name] = append(had, values...)
		} else {
			out[name] = slices.Clip(values)
		}
	}
	return out, wireContentType(out)
}

// wireContentType puts into h the content type as it is signed.
func wireContentType(h http.Header) error {
	const name = "Content-Type"
	values := h[name]
	if len(values) > 1 {
		return fmt.Errorf("%d Content-Type headers", len(values))
	}
	if len(values) == 0 {
		delete(h, name)
		return nil
	}
	switch trimmed := trim(values[0]); trimmed {
	case "":
		delete(h, name)
	case values[0]:
	default:
		h[name] = []string{trimmed}
	}
	return nil
}

// trim takes space from both ends of a header's value and makes one space of each run inside.
func trim(v string) string {
	if !strings.ContainsAny(v, "\t\r\n") && !strings.Contains(v, "  ") && strings.Trim(v, " ") == v {
		return v
	}
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }), " ")
}

// connectionNames lists the headers that Connection declares to be of this hop only (RFC 9110, section 7.6.1).
func connectionNames(h http.Header) []string {
	var names []string
	for name, values := range h {
		if !strings.EqualFold(name, "Connection") {
			continue
		}
		for _, v := range values {
			for n := range strings.SplitSeq(v, ",") {
				names = append(names, http.CanonicalHeaderKey(strings.Trim(n, " \t")))
			}
		}
	}
	return names
}

// stays tells whether a header, by its canonical name, stays behind: those of a hop (RFC 9110, section 7.6.1), those
// that carry the client's credentials, and those that belong to the signature or to the fields of http.Request.
func stays(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Expect", "Host", "Content-Length",
		"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "Proxy-")
}

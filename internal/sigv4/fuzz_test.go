package sigv4_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Whatever the path, the query and the body: what net/http writes is what AWS's signer would have signed.
func FuzzSeal(f *testing.F) {
	for _, target := range targets {
		path, query, _ := strings.Cut(target, "?")
		f.Add(path, false, query, "application/json", []byte("{}"))
		f.Add(path, true, query, "", []byte(nil))
	}
	f.Add("/\x00\xff ", true, "\x7f#\r\n \xff", "a\t b", []byte("x"))
	f.Add("/../../..", false, "+;%", "x", []byte("x"))
	f.Fuzz(func(t *testing.T, path string, raw bool, query, contentType string, body []byte) {
		u := &url.URL{Scheme: "https", Host: "aws-mcp.us-east-1.api.aws", Path: path, RawQuery: query}
		if raw {
			p, err := url.PathUnescape(path)
			if err != nil {
				return
			}
			u.Path, u.RawPath = p, path
		}
		if path != "" && u.EscapedPath()[0] != '/' {
			if _, err := writeAndJudge(post(u, http.Header{}, body)); err == nil {
				t.Fatalf("path %q was signed", path)
			}
			return
		}
		h := http.Header{"Content-Type": {printable(contentType)}}
		before := *u
		if _, err := writeAndJudge(post(u, h, body)); err != nil {
			t.Fatalf("path %q (raw %v) query %q type %q: %v", path, raw, query, contentType, err)
		}
		if *u != before {
			t.Fatalf("the URL was changed: %+v to %+v", before, *u)
		}
	})
}

// printable leaves what net/http lets stand in a header.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

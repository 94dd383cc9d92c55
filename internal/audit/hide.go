package audit

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// text copies a JSON string, or the beginning of one, without what is secret in the URLs that it holds.
func (c *copier) text(raw []byte, whole bool) {
	if mayLink(raw) {
		held, _ := jsontext.AppendUnquote(nil, raw) // the error is about the end that is missing, or about bytes that it has replaced
		if clean := c.hide.links(string(held), whole); clean != string(held) {
			c.out = quoted(c.out, clean)
			if !whole {
				c.out = c.out[:len(c.out)-1]
			}
			return
		}
	}
	c.out = append(c.out, raw...)
}

// mayLink tells whether there can be "://" in a JSON string, escaped or not.
func mayLink(raw []byte) bool {
	return bytes.Contains(raw, []byte("://")) || bytes.IndexByte(raw, '\\') >= 0 && (bytes.Contains(raw, []byte(`\/`)) || bytes.Contains(raw, []byte(`\u`)))
}

// What ends a URL in a text, and what ends the part of it that names the host.
const (
	linkEnds = " \t\r\n\"'`<>"
	hostEnds = linkEnds + "/?#"
)

// links replaces what a URL gives away: what stands before its host (RFC 3986, userinfo), and the values of the parameters
// in its query or fragment whose names are covered or say that they are a signature, as those of a URL that was signed
// beforehand. Of a text that is not whole the last host may be the beginning of a password.
func (all *redactions) links(text string, whole bool) string {
	if !strings.Contains(text, "://") {
		return text
	}
	var out strings.Builder
	rest := text
	for {
		before, after, found := strings.Cut(rest, "://")
		out.WriteString(before)
		if !found {
			break
		}
		out.WriteString("://")
		host := after[:until(after, hostEnds)]
		rest = after[len(host):]
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = hiddenText + host[at:]
		} else if rest == "" && !whole {
			host = hiddenText
		}
		out.WriteString(host)
	}
	return all.parameters(out.String())
}

// parameters does that for those of every URL in a text.
func (all *redactions) parameters(text string) string {
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "://")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString("://")
		link := after[:until(after, linkEnds)]
		rest = after[len(link):]
		for i := until(link, "?#"); ; i = until(link, "?#&;") {
			out.WriteString(link[:i])
			if i == len(link) {
				break
			}
			out.WriteByte(link[i])
			link = link[i+1:]
			end := until(link, "?#&;")
			if name, _, set := strings.Cut(link[:end], "="); set && all.signs(name) {
				out.WriteString(name + "=" + hiddenText)
				link = link[end:]
			}
		}
	}
}

// signs tells whether a parameter's value, as its name has it, lets in who knows it.
func (all *redactions) signs(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	w := words(name)
	return all.covers(w) || slices.Contains(w, "signature") || slices.Contains(w, "sig")
}

// until is how far it is to one of some characters, or to the end.
func until(s, chars string) int {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return i
	}
	return len(s)
}

// pair is an object such as {"name": "password", "value": "..."}: one member says what another one is.
type pair struct {
	values [][2]int // where the values stand in the copy
	named  bool     // there is a member that names them
	covers bool     // with a name that is covered
	ended  bool     // all of the object was read
}

// unsafe tells whether the values are to be redacted: those also whose name might have come later.
func (p *pair) unsafe() bool { return p.covers || !p.ended && !p.named }

// mask replaces the values.
func (c *copier) mask(p *pair) {
	if len(p.values) == 0 || !p.unsafe() {
		return
	}
	begin := p.values[0][0]
	copied := slices.Clone(c.out[begin:])
	c.out = c.out[:begin]
	at := 0
	for _, v := range p.values {
		c.out = append(append(c.out, copied[at:v[0]-begin]...), redacted...)
		at = v[1] - begin
	}
	c.out = append(c.out, copied[at:]...)
}

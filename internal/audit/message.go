package audit

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/mcp"
)

// argumentsOf gives the arguments of a tool or a prompt, redacted, and whether they had to be cut; nil where the call has
// none.
func (o *RecordOptions) argumentsOf(c *mcp.Call) (text []byte, cut bool) {
	if c.Method != "tools/call" && c.Method != "prompts/get" {
		return nil, false
	}
	args := c.Arguments()
	if len(args) == 0 || args[0] != '{' {
		return nil, false
	}
	return o.redact.apply(args, o.most)
}

// Keeps is how many bytes of an answer's result, or error, are to be kept for Answered: 0 where it is not recorded. It is
// more than a record holds, since space is left out, and what is redacted.
func (o *RecordOptions) Keeps(e *Event) int {
	if o == nil || !o.responses || !o.Wants(e.Type()) {
		return 0
	}
	return 2 * o.most
}

// Answered notes the answer's result, or error, as mcp.Watcher has it, redacted.
func (o *RecordOptions) Answered(e *Event, raw []byte) {
	if o == nil || !o.responses || len(raw) == 0 {
		return
	}
	if !utf8.Valid(raw) { // nobody has checked that, and a record is text
		raw = bytes.ToValidUTF8(raw, []byte("\ufffd"))
	}
	e.Response, e.ResponseCut = o.redact.apply(raw, o.most)
}

// redactions are the names whose values are not recorded, each as its words in lower case, joined.
type redactions struct {
	keys    map[string]bool
	longest int // bytes
}

// usual are the names that are always redacted.
var usual = [...]string{
	"password", "passwords", "passwd", "pwd", "passphrase", "passcode", "pin", "otp", "mfa code", "secret", "secrets",
	"token", "authorization", "auth header", "bearer", "jwt", "cookie", "cookies", "session id", "api key", "api keys",
	"access key", "private key", "secret key", "client secret", "credential", "credentials",
	"access token", "refresh token", "id token", "session token", "auth token",
}

// endings are those of one word that is such a name, since not every name shows where its words begin: PGPASSWORD.
var endings = [...]string{
	"password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "secretkey",
}

func newRedactions(more []string) redactions {
	all := redactions{keys: map[string]bool{}}
	for _, list := range [][]string{usual[:], more} {
		for _, name := range list {
			if key := strings.Join(words(name), ""); key != "" {
				all.keys[key] = true
				all.longest = max(all.longest, len(key))
			}
		}
	}
	return all
}

// covers tells whether a name, as its words, has those of one of the keys in a row, or one word that ends like a key.
func (all *redactions) covers(w []string) bool {
	for i := range w {
		if slices.ContainsFunc(endings[:], func(end string) bool { return strings.HasSuffix(w[i], end) }) {
			return true
		}
		run := ""
		for _, next := range w[i:] {
			if run += next; len(run) > all.longest {
				break
			}
			if all.keys[run] {
				return true
			}
		}
	}
	return false
}

// words splits a name into its words in lower case: api_key, apiKey, API-Key and "api key" are the same two. Digits are
// words of their own: password1 is two.
func words(name string) []string {
	var all []string
	begin, previous := -1, rune(0)
	end := func(i int) {
		if begin >= 0 {
			all = append(all, strings.ToLower(strings.ReplaceAll(name[begin:i], "ſ", "s"))) // as those do who ignore case
		}
		begin = -1
	}
	for i, c := range name {
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			end(i)
			previous = c
			continue
		}
		upper := unicode.IsUpper(c)
		next, _ := utf8.DecodeRuneInString(name[i+utf8.RuneLen(c):])
		// A word begins at an upper-case letter after another kind, and at the last of several before a lower-case one.
		if upper && (!unicode.IsUpper(previous) || unicode.IsLower(next)) || unicode.IsDigit(c) != unicode.IsDigit(previous) {
			end(i)
		}
		if begin < 0 {
			begin = i
		}
		previous = c
	}
	end(len(name))
	return all
}

const (
	hiddenText = "[redacted]"
	redacted   = `"` + hiddenText + `"`
)

// apply copies a JSON value without insignificant whitespace and without what is redacted; what stands behind the value
// is left out. Where the copy would be longer than most bytes, or the value is only the beginning of one, it is the
// beginning of a copy. It is nil for what is not JSON.
func (all *redactions) apply(value []byte, most int) (text []byte, cut bool) {
	c := copier{in: value, hide: all, most: most}
	c.dec = jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if !c.value() {
		return nil, false
	}
	if len(c.out) > most || c.full || c.short {
		return bytes.ToValidUTF8(c.out[:min(len(c.out), most)], nil), true
	}
	return c.out, false
}

type copier struct {
	in    []byte
	dec   *jsontext.Decoder
	hide  *redactions
	most  int  // from here on nothing more needs to be copied
	full  bool // it was reached, and not all was copied
	short bool // in has come to its end, within the value
	out   []byte
}

// ended says whether an error is that the value has no end.
func (c *copier) ended(err error) bool {
	c.short = c.short || errors.Is(err, io.ErrUnexpectedEOF)
	return c.short
}

// value copies one value, or its beginning. It is false for what is not JSON.
func (c *copier) value() bool {
	switch c.dec.PeekKind() {
	case '{':
		return c.elements('}', true)
	case '[':
		return c.elements(']', false)
	default:
		v, err := c.dec.ReadValue()
		if err != nil && c.ended(err) { // of a text that goes on the beginning is there
			v = bytes.TrimLeft(c.in[c.dec.InputOffset():], ":, \t\r\n")
		}
		if v.Kind() == '"' {
			c.text(v, err == nil)
		} else {
			c.out = append(c.out, v...)
		}
		return err == nil || c.short
	}
}

// elements copies an object or an array.
func (c *copier) elements(end jsontext.Kind, named bool) bool {
	tok, err := c.dec.ReadToken()
	if err != nil {
		return false
	}
	c.out = append(c.out, byte(tok.Kind()))
	var p pair
	defer c.mask(&p)
	for first := true; c.dec.PeekKind() != end; first = false {
		c.full = c.full || len(c.out) > c.most
		switch {
		case c.full || c.short:
			return true
		case c.dec.PeekKind() == 0: // not even a comma is sure: there may be more of a number
			_, err := c.dec.ReadToken()
			return c.ended(err)
		}
		if !first {
			c.out = append(c.out, ',')
		}
		if !named && !c.value() {
			return false
		}
		if named {
			if done, ok := c.member(&p); done {
				return ok
			}
		}
	}
	_, err = c.dec.ReadToken()
	c.out = append(c.out, byte(end))
	p.ended = err == nil
	return p.ended
}

// member copies one of an object. It is done, and says whether this is JSON, where nothing can follow.
func (c *copier) member(p *pair) (done, ok bool) {
	key, err := c.dec.ReadValue()
	if err != nil {
		return true, c.ended(err)
	}
	c.out = append(append(c.out, key...), ':')
	name := words(unquoted(key))
	if c.hide.covers(name) {
		if err := c.dec.SkipValue(); err != nil && !c.ended(err) {
			return true, false
		}
		c.out = append(c.out, redacted...)
		return false, true
	}
	begin := len(c.out)
	names := c.dec.PeekKind() == '"'
	if !c.value() {
		return true, false
	}
	switch last := name[max(0, len(name)-1):]; {
	case len(last) == 0:
	case last[0] == "value", last[0] == "values":
		p.values = append(p.values, [2]int{begin, len(c.out)})
	case names && !c.short && (last[0] == "name" || last[0] == "key" || last[0] == "header"):
		p.named = true
		p.covers = p.covers || c.hide.covers(words(unquoted(c.out[begin:])))
	}
	return false, true
}

func unquoted(raw []byte) string {
	held, _ := jsontext.AppendUnquote(nil, raw) // the error is about bytes that are not UTF-8, which it has replaced
	return string(held)
}

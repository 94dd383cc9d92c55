package audit

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/mcp"
)

// metaClient is where a request of the modern era says which client sends it (MCP 2026-07-28, basic/index, _meta).
const metaClient = "io.modelcontextprotocol/clientInfo"

// client finds what the client calls itself: in the initialize of the legacy era, in every request of the modern one.
func client(c *mcp.Call) (name, version string) {
	var path []string
	switch {
	case c.Era == mcp.Modern && bytes.Contains(c.Params, []byte(metaClient)):
		path = []string{"_meta", metaClient}
	case c.Method == "initialize":
		path = []string{"clientInfo"}
	default:
		return "", ""
	}
	info := c.Params
	for _, key := range path {
		info = member(info, key)
	}
	return word(member(info, "name")), word(member(info, "version"))
}

// member is the raw value of an object's member; nil where there is none.
func member(object []byte, name string) []byte {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return nil
		}
		found := key.String() == name
		value, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		if found {
			return value
		}
	}
	return nil
}

// word is the text of a JSON string; "" for anything else.
func word(value []byte) string {
	if len(value) == 0 || value[0] != '"' {
		return ""
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return string(text)
}

// argumentsOf gives the arguments of a tool or a prompt, redacted, and whether they had to be cut; nil where the call has
// none.
func (o *RecordOptions) argumentsOf(c *mcp.Call) (text []byte, cut bool) {
	if c.Method != "tools/call" && c.Method != "prompts/get" {
		return nil, false
	}
	args := member(c.Params, "arguments")
	if len(args) == 0 || args[0] != '{' {
		return nil, false
	}
	return o.redact.apply(args, o.most)
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

// covers tells whether a name has the words of one of the keys in a row.
func (all *redactions) covers(name string) bool {
	w := words(name)
	for i := range w {
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

// words splits a name into its words in lower case: api_key, apiKey, API-Key and "api key" are the same two.
func words(name string) []string {
	var all []string
	begin, previous := -1, rune(0)
	end := func(i int) {
		if begin >= 0 {
			all = append(all, strings.ToLower(name[begin:i]))
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
		if upper && (!unicode.IsUpper(previous) || unicode.IsLower(next)) {
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

const redacted = `"[redacted]"`

// apply copies a JSON value without insignificant whitespace and without what is redacted. Where the copy would be longer
// than most bytes, it is the beginning of one. It is nil for what is not JSON.
func (all *redactions) apply(value []byte, most int) (text []byte, cut bool) {
	c := copier{dec: jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true)), hide: all, most: most}
	if !c.value() {
		return nil, false
	}
	if len(c.out) > most {
		return bytes.ToValidUTF8(c.out[:most], nil), true
	}
	return c.out, false
}

type copier struct {
	dec  *jsontext.Decoder
	hide *redactions
	most int // from here on nothing more needs to be copied
	out  []byte
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
		c.out = append(c.out, v...)
		return err == nil
	}
}

// elements copies an object or an array.
func (c *copier) elements(end jsontext.Kind, named bool) bool {
	tok, err := c.dec.ReadToken()
	if err != nil {
		return false
	}
	c.out = append(c.out, byte(tok.Kind()))
	for first := true; c.dec.PeekKind() != end; first = false {
		if len(c.out) > c.most {
			return true
		}
		if !first {
			c.out = append(c.out, ',')
		}
		if named {
			key, err := c.dec.ReadValue()
			if err != nil {
				return false
			}
			c.out = append(append(c.out, key...), ':')
			if c.hide.covers(word(key)) {
				if c.dec.SkipValue() != nil {
					return false
				}
				c.out = append(c.out, redacted...)
				continue
			}
		}
		if !c.value() {
			return false
		}
	}
	_, err = c.dec.ReadToken()
	c.out = append(c.out, byte(end))
	return err == nil
}

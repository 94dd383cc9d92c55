package mcp

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
)

// The headers that mirror arguments of a tools/call (2026-07-28, "Custom Headers from Tool Parameters") are for those on
// the way to the tool. Which of them mirrors which argument stands in the tool's schema, which the remote compares them
// by. Without it this much is certain: each says what some argument says, and where it has the name of one that policies
// know by that name, they must not have decided on another value than the one that it says.

const (
	maxMirrors = 64      // in one request
	maxWhole   = 1 << 53 // below it every whole number has a float64 of its own
)

// mirror is a header that mirrors an argument.
type mirror struct {
	header string // as http.Header has it
	name   string // plainName of what follows the prefix
	value  string // what it says
	number float64
	whole  bool // value is number
	named  bool // an argument has its name
	agrees bool // and its value
	said   bool // some argument has its value, also one within another
}

type mirrors []mirror

// Mirrored gives the headers that mirror arguments of the call and may go on with it. One that says what no argument
// says is left out, and so are all of a call of the legacy era, which has none, or of another method. One that has the
// name of an argument, but for case, - and _, and not its value, is an error: a *fault.Error of kind Malformed with
// CodeHeaderMismatch. So is one that is repeated or malformed.
func (c *Call) Mirrored(h http.Header) (http.Header, error) {
	if c.Era != Modern || c.Method != MethodToolsCall {
		return nil, nil
	}
	m, e := readMirrors(h)
	if e != nil {
		return nil, e
	}
	if m == nil {
		return nil, nil
	}
	if raw := c.Arguments(); raw != nil {
		if err := m.compare(raw); err != nil {
			return nil, malformed(CodeInvalidParams, "params.arguments must be an object").Because(err)
		}
	}
	out := http.Header{}
	for i := range m {
		x := &m[i]
		switch {
		case x.named && !x.agrees:
			return nil, unlike(x.header, "is not the argument of the body")
		case x.said:
			out[x.header] = h[x.header]
		}
	}
	return out, nil
}

// readMirrors reads the headers; nil for none.
func readMirrors(h http.Header) (mirrors, *fault.Error) {
	var m mirrors
	for name := range h {
		if !strings.HasPrefix(name, ParamPrefix) {
			continue
		}
		sent, ok := single(h, name)
		if !ok {
			return nil, unlike(name, "is repeated or malformed")
		}
		x := mirror{header: name, name: plainName(name[len(ParamPrefix):])}
		if x.value, ok = decodeHeader(sent); !ok {
			return nil, unlike(name, "is not well encoded")
		}
		x.number, x.whole = whole(x.value)
		if m = append(m, x); len(m) > maxMirrors {
			return nil, malformed(CodeHeaderMismatch, "too many headers that mirror arguments").Hint("limit: %d", maxMirrors)
		}
	}
	return m, nil
}

// unlike is a refusal of a header. What it says is an argument, which is nothing for the log.
func unlike(header, what string) *fault.Error {
	return malformed(CodeHeaderMismatch, fmt.Sprintf("header mismatch: %.80s %s", header, what))
}

// compare walks the members of an object, and of those within it. In lists there is nothing that a header mirrors.
func (m mirrors) compare(object []byte) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return cmp.Or(err, errors.New("not an object"))
	}
	return m.members(dec, true)
}

// members goes on behind the brace that opens an object, to behind the one that ends it. top says whether policies know
// the members by their names.
func (m mirrors) members(dec *json.Decoder, top bool) error {
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		value, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if name = plainName(name); !top {
			name = ""
		}
		switch v := value.(type) {
		case json.Delim: // its name may be that of a header which mirrors something within it
			if v == '{' {
				err = m.members(dec, false)
			} else {
				err = skipList(dec)
			}
			if err != nil {
				return err
			}
		case json.Number:
			n, ok := whole(v.String())
			m.found(name, func(x *mirror) bool { return x.value == v.String() || ok && x.whole && x.number == n })
		case string:
			m.found(name, func(x *mirror) bool { return x.value == v })
		case bool:
			m.found(name, func(x *mirror) bool { return x.value == strconv.FormatBool(v) })
		default: // null, which no header mirrors
			m.found(name, func(*mirror) bool { return false })
		}
	}
	_, err := dec.Token()
	return err
}

// found notes an argument: its plain name, "" for one within another, and who has its value.
func (m mirrors) found(name string, has func(*mirror) bool) {
	for i := range m {
		x := &m[i]
		same, namesake := has(x), name != "" && x.name == name
		x.said = x.said || same
		x.named = x.named || namesake
		x.agrees = x.agrees || namesake && same
	}
}

// skipList goes on to behind the bracket that ends a list.
func skipList(dec *json.Decoder) error {
	for open := 1; open > 0; {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('['), json.Delim('{'):
			open++
		case json.Delim(']'), json.Delim('}'):
			open--
		}
	}
	return nil
}

// plainName is what two names have in common that differ by case, - and _ alone.
func plainName(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// whole is the number that a text writes, where 42 and 42.0 may be the same one.
func whole(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && json.Valid([]byte(text)) && math.Abs(n) < maxWhole && n == math.Trunc(n)
}

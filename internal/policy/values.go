package policy

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/token"
)

// Values of JSON become values of Cedar. A number is read from its text and never rounded: an integer of 64 bits is a
// Long; another number is a Decimal where that holds it exactly, with at most four digits after the point; what neither
// holds becomes a String, spelled as it was. null is absent. Objects become Records and arrays Sets.

// maxLevels bounds Records and Sets within each other. What is deeper is dropped; a Record keeps "<name>_present": true
// in its place.
const maxLevels = 10

// presentSuffix follows the name of an object or array that was given.
const presentSuffix = "_present"

// number is the value of a JSON number's text.
func number(text string) types.Value {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return types.Long(n)
		}
		return types.String(text)
	}
	if d, ok := decimal(text); ok {
		return d
	}
	return types.String(text)
}

// decimal reads a number with at most four digits after the point, however it is written. It is false where Cedar's
// decimal can't hold it exactly.
func decimal(text string) (types.Decimal, bool) {
	var none types.Decimal
	mantissa, sign := text, ""
	exponent := 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(text[i+1:]); err != nil {
			exponent = 1 << 30 // far beyond any decimal, unless every digit is 0
			if text[i+1] == '-' {
				exponent = -exponent
			}
		}
		mantissa = text[:i]
	}
	if strings.HasPrefix(mantissa, "-") {
		mantissa, sign = mantissa[1:], "-"
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	kept := strings.TrimRight(digits, "0")
	if kept == "" {
		return none, true
	}
	// The number is kept * 10^power.
	power := exponent - len(fraction) + len(digits) - len(kept)
	if power < -4 || len(kept)+power+4 > 19 {
		return none, false
	}
	n, err := strconv.ParseInt(sign+kept+strings.Repeat("0", power+4), 10, 64)
	if err != nil {
		return none, false
	}
	d, err := types.NewDecimal(n, -4)
	return d, err == nil
}

// claim is the value of a claim as the token's reader gives it. It is false for null and for what is too deep.
func claim(v any, level int) (types.Value, bool) {
	switch v := v.(type) {
	case string:
		return types.String(v), true
	case bool:
		return types.Boolean(v), true
	case int64:
		return types.Long(v), true
	case token.Number:
		return number(string(v)), true
	case []any:
		if level == maxLevels {
			return nil, false
		}
		members := make([]types.Value, 0, len(v))
		for _, member := range v {
			if x, ok := claim(member, level+1); ok {
				members = append(members, x)
			}
		}
		return types.NewSet(members...), true
	case map[string]any:
		if level == maxLevels {
			return nil, false
		}
		members := make(types.RecordMap, len(v))
		var deep []types.String
		for name, member := range v {
			if x, ok := claim(member, level+1); ok {
				members[types.String(name)] = x
			} else if member != nil {
				deep = append(deep, types.String(name))
			}
		}
		return marked(members, deep), true
	}
	return nil, false
}

// marked is a Record of members, and of what stands for those that are too deep.
func marked(members types.RecordMap, deep []types.String) types.Record {
	for _, name := range deep {
		members[name+presentSuffix] = types.True
	}
	return types.NewRecord(members)
}

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// errNotObject says that arguments are something else.
var errNotObject = errors.New("the arguments are not a JSON object")

// arguments calls yield with each member of a JSON object that is wanted, and its value; an object or array also gives
// "<name>_present": true, and that wins over a member of that name. The order is that of the object, presence last.
func arguments(raw []byte, wanted func(key string) (arg, bool), yield func(a arg, v types.Value)) error {
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewBuffer(raw))
	if dec.PeekKind() != '{' {
		return errNotObject
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	var present []arg
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := tok.String()
		kind := dec.PeekKind()
		if kind == '{' || kind == '[' {
			if marker, ok := wanted(name + presentSuffix); ok {
				present = append(present, marker)
			}
		}
		a, ok := wanted(name)
		if !ok {
			if _, err := dec.ReadValue(); err != nil {
				return err
			}
			continue
		}
		v, ok, err := argument(dec, 0)
		if err != nil {
			return err
		}
		if ok {
			yield(a, v)
		}
	}
	for _, marker := range present {
		yield(marker, types.True)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errNotObject
	}
	return nil
}

// argument reads the next value. It is false for null and for what is too deep.
func argument(dec *jsontext.Decoder, level int) (types.Value, bool, error) {
	kind := dec.PeekKind()
	if level == maxLevels && (kind == '{' || kind == '[') {
		_, err := dec.ReadValue()
		return nil, false, err
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, false, err
	}
	switch kind {
	case 'n':
		return nil, false, nil
	case 't', 'f':
		return types.Boolean(tok.Bool()), true, nil
	case '"':
		return types.String(tok.String()), true, nil
	case '0':
		return number(tok.String()), true, nil
	case '[':
		return list(dec, level)
	default:
		return record(dec, level)
	}
}

// list reads the rest of an array.
func list(dec *jsontext.Decoder, level int) (types.Value, bool, error) {
	var members []types.Value
	for dec.PeekKind() != ']' {
		v, ok, err := argument(dec, level+1)
		if err != nil {
			return nil, false, err
		}
		if ok {
			members = append(members, v)
		}
	}
	_, err := dec.ReadToken()
	return types.NewSet(members...), true, err
}

// record reads the rest of an object.
func record(dec *jsontext.Decoder, level int) (types.Value, bool, error) {
	members := types.RecordMap{}
	var deep []types.String
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, false, err
		}
		name := types.String(tok.String())
		kind := dec.PeekKind()
		v, ok, err := argument(dec, level+1)
		switch {
		case err != nil:
			return nil, false, err
		case ok:
			members[name] = v
		case kind != 'n':
			deep = append(deep, name)
		}
	}
	_, err := dec.ReadToken()
	return marked(members, deep), true, err
}

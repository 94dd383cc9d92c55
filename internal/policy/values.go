package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/token"
)

// Values of JSON become values of Cedar. A number is read from its text and never rounded, and how it is spelled makes no
// difference, as it makes none to those who read it as a float: 22, 22.0 and 2.2e1 are one value. A whole number of 64
// bits is a Long; one with at most four digits after the point is a Decimal where that holds it; any other becomes a
// String in one spelling. null is absent. Objects become Records and arrays Sets.

// maxLevels bounds Records and Sets within each other. What is deeper is dropped; a Record keeps "<name>_present": true
// in its place.
const maxLevels = 10

// maxMembers bounds what is converted for one decision: members of arrays and objects at all levels, the arguments that
// policies read included. Cedar's Sets find a member by a hash that anybody can compute, so a caller can make them all
// collide, and each is then compared with all before it: 5 ms for so many, and four times that for twice as many.
const maxMembers = 1000

// presentSuffix follows the name of an object or array that was given.
const presentSuffix = "_present"

// number is the value of a JSON number's text.
func number(text string) types.Value {
	d, ok := digitsOf(text)
	if !ok {
		return types.String(text)
	}
	if d.power >= 0 {
		if n, ok := d.times(d.power); ok {
			return types.Long(n)
		}
	} else if d.power >= -decimalPlaces {
		if n, ok := d.times(d.power + decimalPlaces); ok {
			if v, err := types.NewDecimal(n, -decimalPlaces); err == nil {
				return v
			}
		}
	}
	return types.String(d.String())
}

// roundsToWhole says whether a number has a fraction that whoever reads it as a 64-bit float never sees, so that they take
// 22.00000000000000000001 for 22. No such float is written so.
func roundsToWhole(text string) bool {
	if !strings.ContainsAny(text, ".eE") {
		return false
	}
	if d, ok := digitsOf(text); ok && d.power >= 0 {
		return false
	}
	f, _ := strconv.ParseFloat(text, 64)
	return f == math.Trunc(f)
}

// decimalPlaces is how many digits after the point a Decimal holds.
const decimalPlaces = 4

// digits are a number: kept * 10^power, in which kept neither begins nor ends with 0. Zero has none, and power 0.
type digits struct {
	sign  string // "-" or ""
	kept  string
	power int
}

// digitsOf reads a JSON number. It is false where the exponent is beyond a machine's integers.
func digitsOf(text string) (digits, bool) {
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		if strings.Trim(mantissa, "-0.") == "" {
			return digits{}, true
		}
		n, err := strconv.ParseInt(text[i+1:], 10, 32)
		if err != nil {
			return digits{}, false
		}
		exponent = int(n)
	}
	var d digits
	if strings.HasPrefix(mantissa, "-") {
		mantissa, d.sign = mantissa[1:], "-"
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := strings.TrimLeft(whole+fraction, "0")
	if d.kept = strings.TrimRight(all, "0"); d.kept == "" {
		return digits{}, true
	}
	d.power = exponent - len(fraction) + len(all) - len(d.kept)
	return d, true
}

// times is kept * 10^zeros, with the sign; false where 64 bits don't hold it.
func (d digits) times(zeros int) (int64, bool) {
	if d.kept == "" {
		return 0, true
	}
	if len(d.kept)+zeros > 19 {
		return 0, false
	}
	n, err := strconv.ParseInt(d.sign+d.kept+strings.Repeat("0", zeros), 10, 64)
	return n, err == nil
}

// String spells the number as people do: with up to 40 digits before the point, or 5 zeros behind it, and beyond that
// as 1.5e300.
func (d digits) String() string {
	switch point := len(d.kept) + d.power; {
	case d.power >= 0 && point <= 40:
		return d.sign + d.kept + strings.Repeat("0", d.power)
	case d.power < 0 && point > 0:
		return d.sign + d.kept[:point] + "." + d.kept[point:]
	case d.power < 0 && point > -6:
		return d.sign + "0." + strings.Repeat("0", -point) + d.kept
	default:
		mantissa := d.kept[:1]
		if len(d.kept) > 1 {
			mantissa += "." + d.kept[1:]
		}
		return d.sign + mantissa + "e" + strconv.Itoa(point-1)
	}
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

// What can be wrong with arguments, beside their JSON.
var (
	errNotObject = errors.New("the arguments are not a JSON object")
	errRounds    = errors.New("a number with a fraction that is lost in a 64-bit float")
	errTooMany   = fmt.Errorf("the arguments that policies read have more than %d members, counting those of lists and objects in them", maxMembers)
)

// reader reads values, as many as it may.
type reader struct {
	*jsontext.Decoder
	left int
}

// count counts one more member.
func (r *reader) count() error {
	if r.left--; r.left < 0 {
		return errTooMany
	}
	return nil
}

// arguments calls yield with each member of a JSON object that is wanted, and its value; an object or array also gives
// "<name>_present": true, and that wins over a member of that name. The order is that of the object, presence last. The
// error is errTooMany where there are more than maxMembers.
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
	r := &reader{dec, maxMembers}
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
		if err := r.count(); err != nil {
			return err
		}
		v, ok, err := r.value(0)
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

// value reads the next value. It is false for null and for what is too deep.
func (r *reader) value(level int) (types.Value, bool, error) {
	kind := r.PeekKind()
	if level == maxLevels && (kind == '{' || kind == '[') {
		_, err := r.ReadValue()
		return nil, false, err
	}
	tok, err := r.ReadToken()
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
		text := tok.String()
		if roundsToWhole(text) {
			return nil, false, errRounds
		}
		return number(text), true, nil
	case '[':
		return r.list(level)
	default:
		return r.record(level)
	}
}

// list reads the rest of an array.
func (r *reader) list(level int) (types.Value, bool, error) {
	var members []types.Value
	for r.PeekKind() != ']' {
		if err := r.count(); err != nil {
			return nil, false, err
		}
		v, ok, err := r.value(level + 1)
		if err != nil {
			return nil, false, err
		}
		if ok {
			members = append(members, v)
		}
	}
	_, err := r.ReadToken()
	return types.NewSet(members...), true, err
}

// record reads the rest of an object.
func (r *reader) record(level int) (types.Value, bool, error) {
	members := types.RecordMap{}
	var deep []types.String
	for r.PeekKind() != '}' {
		if err := r.count(); err != nil {
			return nil, false, err
		}
		tok, err := r.ReadToken()
		if err != nil {
			return nil, false, err
		}
		name := types.String(tok.String())
		kind := r.PeekKind()
		v, ok, err := r.value(level + 1)
		switch {
		case err != nil:
			return nil, false, err
		case ok:
			members[name] = v
		case kind != 'n':
			deep = append(deep, name)
		}
	}
	_, err := r.ReadToken()
	return marked(members, deep), true, err
}

package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader turns a YAML document into a Go value and says where the two don't agree: unknown keys and wrong types. It
// reads as kubectl does, case-sensitive and without guessing types, and remembers the line of every field.
type reader struct {
	file     string
	kind     string          // of the document
	lines    map[string]int  // by field
	told     map[string]bool // fields with a mistake
	sound    bool            // no alias or merge key in the document
	problems Problems
}

func newReader(file string) *reader {
	return &reader{file: file, lines: map[string]int{}, told: map[string]bool{}, sound: true}
}

// mistake notes a mistake at a node. What else is wrong with the field follows from it, and isn't told again.
func (r *reader) mistake(n *yaml.Node, path, what, mend string) {
	path = strings.TrimPrefix(path, "spec.")
	r.told[path] = true
	r.problems = append(r.problems, Problem{File: r.file, Line: n.Line, Kind: r.kind, Field: path, What: what, Mend: mend})
}

// value reads n into v, which is settable.
func (r *reader) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode { // told before
		return
	}
	if o, ok := v.Addr().Interface().(*Opaque); ok {
		r.opaque(n, o, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem() == reflect.TypeFor[Opaque]() && n.ShortTag() == "!!null" {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, v.Elem(), path)
	case reflect.Struct:
		if r.want(n, yaml.MappingNode, "a mapping", path) {
			r.object(n, v, path)
		}
	case reflect.Slice:
		if r.want(n, yaml.SequenceNode, "a list", path) {
			r.list(n, v, path)
		}
	case reflect.Map:
		if r.want(n, yaml.MappingNode, "a mapping", path) {
			r.dictionary(n, v, path)
		}
	default:
		if r.want(n, yaml.ScalarNode, wanted[v.Kind()], path) {
			r.scalar(n, v, path)
		}
	}
}

// wanted names the kinds of scalar that specs are made of.
var wanted = map[reflect.Kind]string{
	reflect.String: "a string", reflect.Bool: "true or false", reflect.Int32: "a whole number", reflect.Int64: "a whole number",
}

func (r *reader) want(n *yaml.Node, kind yaml.Kind, name, path string) bool {
	if n.ShortTag() == "!!null" {
		r.mistake(n, path, "has no value", name+", or no such key")
		return false
	}
	if n.Kind != kind {
		r.mistake(n, path, "is "+describe(n), name)
		return false
	}
	return true
}

func (r *reader) object(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !isText(key) { // told before
			continue
		}
		at := join(path, pathName(key.Value))
		k := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if k < 0 {
			r.unknown(key, fields, path)
			continue
		}
		r.lines[strings.TrimPrefix(at, "spec.")] = key.Line
		r.value(value, v.FieldByIndex(fields[k].index), at)
	}
}

func (r *reader) list(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.lines[strings.TrimPrefix(at, "spec.")] = item.Line
		r.value(item, v.Index(i), at)
	}
}

func (r *reader) dictionary(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isText(n.Content[i]) { // told before
			continue
		}
		item, at := reflect.New(v.Type().Elem()).Elem(), join(path, pathName(n.Content[i].Value))
		r.lines[strings.TrimPrefix(at, "spec.")] = n.Content[i].Line
		r.value(n.Content[i+1], item, at)
		v.SetMapIndex(reflect.ValueOf(n.Content[i].Value), item)
	}
}

// yaml11 matches the words that YAML 1.1, and so kubectl, reads as true or false.
var yaml11 = regexp.MustCompile(`^(?i:yes|no|on|off)$`)

func (r *reader) scalar(n *yaml.Node, v reflect.Value, path string) {
	tag := n.ShortTag()
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[FormatVersion]() && (tag == "!!int" || tag == "!!float") {
			v.SetString(n.Value)
			return
		}
		if tag != "!!str" || n.Style == 0 && yaml11.MatchString(n.Value) {
			right := "a string: put it in quotes"
			if v.Type() == reflect.TypeFor[Duration]() {
				right = `a length of time, such as "30s", "5m" or "1h30m"`
			}
			r.mistake(n, path, "is "+describe(n), right)
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		var b bool
		if tag != "!!bool" || n.Decode(&b) != nil {
			r.mistake(n, path, "is "+describe(n), wanted[v.Kind()])
			return
		}
		v.SetBool(b)
	default:
		var i int64
		if tag != "!!int" || n.Decode(&i) != nil || v.OverflowInt(i) {
			r.mistake(n, path, "is "+describe(n), wanted[v.Kind()])
			return
		}
		v.SetInt(i)
	}
}

// isText tells whether a node is a string, as every key must be.
func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

func (r *reader) opaque(n *yaml.Node, o *Opaque, path string) {
	if !r.sound {
		return
	}
	var v any
	err := n.Decode(&v)
	if err == nil {
		o.raw, err = json.Marshal(v)
	}
	if err != nil {
		r.mistake(n, path, "can't be read as JSON", "values that JSON has")
	}
}

func (r *reader) unknown(key *yaml.Node, fields []field, path string) {
	mend := "see docs/reference/config.md for the keys"
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	if name := nearest(key.Value, names); name != "" {
		mend = "did you mean " + name + "?"
		r.told[strings.TrimPrefix(join(path, name), "spec.")] = true
	} else if len(names) <= 12 {
		slices.Sort(names)
		mend = "one of " + strings.Join(names, ", ")
	}
	r.mistake(key, join(path, pathName(key.Value)), "is not a known key", mend)
}

// describe says what a node is, for "is ...".
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!str" && n.Style == 0 && yaml11.MatchString(n.Value):
		return "the word " + n.Value + ", which kubectl reads as true or false"
	case n.ShortTag() == "!!str":
		return "the string " + quote(n.Value)
	case n.ShortTag() == "!!int", n.ShortTag() == "!!float":
		return "the number " + bare(n.Value)
	default:
		return bare(n.Value)
	}
}

var simpleKey = regexp.MustCompile(`^[A-Za-z0-9_/-]{1,80}$`)

// pathName is a key as paths have it: quoted where it could be mistaken for more than a name.
func pathName(key string) string {
	if simpleKey.MatchString(key) {
		return key
	}
	return quote(key)
}

// nearest is the name that was most likely meant: the same but for case, or a slip or two away.
func nearest(got string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if strings.EqualFold(got, name) {
			return name
		}
		if d := Distance(got, name); d < least && d*3 <= len(name) {
			best, least = name, d
		}
	}
	return best
}

// Distance counts the insertions, deletions and replacements between two words (Levenshtein): what was written, and one
// that may have been meant. Of what has more than 64 bytes it gives the length.
func Distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

package config

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// inspect walks a spec and says what holds for every field, whatever it means: settings that this version refuses or
// leaves alone (the tags refused and inert), placeholders of an example that nobody filled in, and whitespace around
// values. A field with inspect:"-" is free text.
func (c *checker) inspect(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.inspect(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.inspect(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		for _, key := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) }) {
			at := join(path, pathName(key.String()))
			c.inspectText(key.String(), at)
			c.inspect(v.MapIndex(key), at)
		}
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			c.inspectField(f, v.FieldByIndex(f.index), join(path, f.name))
		}
	case reflect.String:
		c.inspectText(v.String(), path)
	}
}

func (c *checker) inspectField(f field, v reflect.Value, path string) {
	if why := f.tag.Get("refused"); why != "" && !v.IsZero() {
		c.mistake(path, "refused: "+why, "remove it only if you can do without it")
		return
	}
	if why := f.tag.Get("inert"); why != "" && !v.IsZero() {
		c.warn(path, "has no effect: "+why, "remove it, or leave it to others who read the document")
		return
	}
	if f.tag.Get("inspect") != "-" {
		c.inspect(v, path)
	}
}

var placeholder = regexp.MustCompile(`<[A-Z][A-Z0-9_]*>`)

func (c *checker) inspectText(s, path string) {
	if found := placeholder.FindString(s); found != "" {
		c.mistake(path, "still has the placeholder "+found, "your own value in its place")
	}
	if strings.TrimSpace(s) != s {
		c.mistake(path, quote(s)+" begins or ends with whitespace", "the value alone (in YAML a folded text begins with >-)")
	}
}

// field is a field of a spec as documents name it. Embedded structs are part of the one that embeds them.
type field struct {
	name  string
	index []int
	tag   reflect.StructTag
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for _, sf := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.IsExported() && name != "" && name != "-" {
			out = append(out, field{name, sf.Index, sf.Tag})
		}
	}
	return out
}

// join is the path of a field within the value at path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const placeEntities = "entitiesJson"

// statics are the entities of the configuration: groups within groups, and attributes of tools or of callers.
type statics = types.EntityMap

// entityJSON is one entity as it is written. Beside Cedar's own JSON an entity may be named by a string, such as
// "Tool::weather", and attrs and parents may be missing.
type entityJSON struct {
	UID     jsontext.Value   `json:"uid"`
	Attrs   jsontext.Value   `json:"attrs"`
	Parents []jsontext.Value `json:"parents"`
	Tags    jsontext.Value   `json:"tags"`
}

// parseEntities reads a JSON array of entities; "" is none.
func parseEntities(text string) (statics, []Mistake) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	dec := jsontext.NewDecoder(strings.NewReader(text))
	var raw []jsontext.Value
	var starts []int64
	if err := eachElement(dec, func(v jsontext.Value) error {
		starts = append(starts, dec.InputOffset()-int64(len(v)))
		raw = append(raw, v.Clone())
		return nil
	}); err != nil {
		at := place(text, dec.InputOffset())
		var syntax *jsontext.SyntacticError
		if errors.As(err, &syntax) {
			at, err = place(text, syntax.ByteOffset), syntax.Err
		}
		return nil, []Mistake{{Place: placeEntities, What: at + "not a list of entities: " + err.Error(), Mend: `write a JSON array, such as [{"uid": {"type": "Tool", "id": "weather"}, "attrs": {}, "parents": []}]`}}
	}
	all := make(statics, len(raw))
	var mistakes []Mistake
	for i, v := range raw {
		e, bad := readEntity(v)
		if bad == nil {
			if _, twice := all[e.UID]; twice {
				bad = &unfit{what: e.UID.String() + " is there twice", mend: "put its attrs and parents into one entity"}
			}
		}
		if bad != nil {
			mistakes = append(mistakes, Mistake{Place: placeEntities, What: fmt.Sprintf("%sentity %d: %s", place(text, starts[i]+bad.offset), i, bad.what), Mend: bad.mend})
			continue
		}
		all[e.UID] = e
	}
	return all, mistakes
}

// eachElement calls yield for each element of the one array that dec holds. The value is good until it returns.
func eachElement(dec *jsontext.Decoder, yield func(jsontext.Value) error) error {
	if k := dec.PeekKind(); k != '[' && k != 0 {
		return errors.New("it begins with " + k.String())
	}
	if _, err := dec.ReadToken(); err != nil {
		return unexpected(err)
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return unexpected(err)
		}
		if err := yield(v); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return unexpected(err)
	}
	if _, err := dec.ReadToken(); err == nil {
		return errors.New("data after the list")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// unexpected is err, or what an end means within a value.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// place is an offset in a text as line and column.
func place(text string, offset int64) string {
	before := text[:min(max(offset, 0), int64(len(text)))]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	return lexeme{line: line, column: column}.at()
}

// unfit is what is wrong with an entity, and how far behind its beginning.
type unfit struct {
	offset     int64
	what, mend string
}

// readEntity reads one entity.
func readEntity(v jsontext.Value) (types.Entity, *unfit) {
	var e types.Entity
	var j entityJSON
	if err := json.Unmarshal(v, &j, json.RejectUnknownMembers(true)); err != nil {
		return e, &unfit{what: reason(err), mend: "an entity has uid, attrs, parents and tags"}
	}
	uid, err := readUID(j.UID)
	if err != nil {
		return e, &unfit{what: "uid: " + err.Error(), mend: mendUID}
	}
	e.UID = uid
	parents := make([]types.EntityUID, len(j.Parents))
	for i, p := range j.Parents {
		if parents[i], err = readUID(p); err != nil {
			return e, &unfit{what: fmt.Sprintf("parents[%d]: %s", i, err), mend: mendUID}
		}
	}
	e.Parents = types.NewEntityUIDSet(parents...)
	for _, parent := range parents {
		if uid.Type == typeAction && parent.Type != typeAction {
			return e, &unfit{what: fmt.Sprintf("the action %s is in %s, which is no action", uid, parent), mend: "an action can only be in actions"}
		}
	}
	var bad *unfit
	if e.Attributes, bad = readRecord(v, "attrs", j.Attrs); bad == nil {
		e.Tags, bad = readRecord(v, "tags", j.Tags)
	}
	return e, bad
}

// readRecord reads the values of a member of an entity; none where it is not given.
func readRecord(entity jsontext.Value, member string, v jsontext.Value) (types.Record, *unfit) {
	var record types.Record
	if !given(v) {
		return record, nil
	}
	offset := int64(0)
	eachPart(entity, func(step string, at int64, _ jsontext.Value) {
		if step == "."+member {
			offset = at
		}
	})
	if v.Kind() != '{' {
		return record, &unfit{offset, member + ": not of the right shape: " + v.Kind().String(), "write an object of Cedar values"}
	}
	err := record.UnmarshalJSON(v)
	if err == nil {
		return record, nil
	}
	var bad *unfit
	eachPart(v, func(step string, at int64, part jsontext.Value) {
		if bad == nil {
			bad = unfitValue(part, offset+at, member+step)
		}
	})
	if bad == nil {
		bad = &unfit{offset, member + ": " + reason(err), "write an object of Cedar values"}
	}
	return record, bad
}

// unfitValue finds the value that Cedar does not have, within one whose path and place are given; nil where it has all.
func unfitValue(v jsontext.Value, offset int64, path string) *unfit {
	var value types.Value
	err := types.UnmarshalJSON(v, &value)
	if err == nil {
		return nil
	}
	var bad *unfit
	if v.Kind() == '{' || v.Kind() == '[' {
		eachPart(v, func(step string, at int64, part jsontext.Value) {
			if bad == nil {
				bad = unfitValue(part, offset+at, path+step)
			}
		})
	}
	switch {
	case bad != nil:
		return bad
	case v.Kind() == '0':
		return &unfit{offset, fmt.Sprintf("%s: %s is no whole number of 64 bits", path, v), fmt.Sprintf(`write {"__extn": {"fn": "decimal", "arg": %q}}, or a string`, v)}
	case v.Kind() == 'n':
		return &unfit{offset, path + ": null is no value of Cedar", "leave it out"}
	}
	return &unfit{offset, path + ": " + reason(err), `extensions are written {"__extn": {"fn": "decimal", "arg": "1.5"}}, entities {"__entity": {"type": "Tool", "id": "weather"}}`}
}

// eachPart calls yield for each member of an object and each element of an array, with the step of a path that leads
// there, .name or [0], and how far behind the beginning it begins. What is no JSON was told before: it ends there.
func eachPart(v jsontext.Value, yield func(step string, at int64, part jsontext.Value)) {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for i := 0; dec.PeekKind() != '}' && dec.PeekKind() != ']'; i++ {
		step := fmt.Sprintf("[%d]", i)
		if v.Kind() == '{' {
			name, err := dec.ReadToken()
			if err != nil {
				return
			}
			if step = "." + name.String(); !plainStep.MatchString(step) {
				step = "[" + quote(name.String()) + "]"
			}
		}
		part, err := dec.ReadValue()
		if err != nil {
			return
		}
		yield(step, dec.InputOffset()-int64(len(part)), part.Clone())
	}
}

var plainStep = regexp.MustCompile(`^\.[A-Za-z0-9_-]+$`)

// given says whether a member is there and not null.
func given(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != 'n' }

const mendUID = `write {"type": "Tool", "id": "weather"} or "Tool::weather"`

// readUID reads {"type": ..., "id": ...}, the same within "__entity", or a string such as Tool::weather or
// Tool::"weather".
func readUID(v jsontext.Value) (types.EntityUID, error) {
	var uid types.EntityUID
	if !given(v) {
		return uid, errors.New("missing")
	}
	if v.Kind() != '"' {
		if err := uid.UnmarshalJSON(v); err != nil {
			return uid, errors.New(reason(err))
		}
		return uid, nil
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return uid, errors.New(reason(err))
	}
	if strings.HasSuffix(s, `"`) {
		if err := uid.UnmarshalCedar([]byte(s)); err != nil {
			return uid, fmt.Errorf("%s is no entity", quote(s))
		}
		return uid, nil
	}
	kind, id, ok := strings.Cut(s, "::")
	if !ok || strings.Contains(id, "::") || strings.Contains(id, `"`) {
		return uid, fmt.Errorf("%s is no entity that can be told from others", quote(s))
	}
	t, err := types.NewEntityType(kind)
	if err != nil {
		return uid, fmt.Errorf("%s is no entity type", quote(kind))
	}
	return types.NewEntityUID(t, types.String(id)), nil
}

// reason is an error of a JSON package without the names of Go.
func reason(err error) string {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		switch {
		case errors.Is(err, json.ErrUnknownName):
			name := semantic.JSONPointer.LastToken()
			return "unknown member " + quote(name)
		case semantic.Err != nil:
			return semantic.Err.Error()
		default:
			return "not of the right shape: " + semantic.JSONKind.String()
		}
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && syntax.Err != nil {
		return syntax.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// merge gives the attributes and parents of a static entity to one of ours; ours win. Attributes that no policy looks
// at are left out.
func (p *Policies) merge(uid types.EntityUID, ours types.RecordMap, parents types.EntityUIDSet) types.Entity {
	e := types.Entity{UID: uid, Parents: parents}
	if static, ok := p.static[uid]; ok {
		for name, v := range static.Attributes.All() {
			if _, taken := ours[name]; !taken && p.reads.entity[name] && !isMark(name) {
				ours[name] = v
			}
		}
		if static.Parents.Len() > 0 {
			e.Parents = types.NewEntityUIDSet(append(parents.Slice(), static.Parents.Slice()...)...)
		}
		e.Tags = static.Tags
	}
	if len(ours) > 0 {
		e.Attributes = types.NewRecord(ours)
	}
	return e
}

// view is what Cedar sees of the entities in one decision: the static ones, and over them caller and resource.
type view struct {
	static    statics
	principal *types.Entity
	resource  *types.Entity
}

// Get finds an entity.
func (v *view) Get(uid types.EntityUID) (types.Entity, bool) {
	switch {
	case uid == v.principal.UID:
		return *v.principal, true
	case v.resource != nil && uid == v.resource.UID:
		return *v.resource, true
	}
	e, ok := v.static[uid]
	return e, ok
}

// above is everything that an entity is in, itself included.
func (v *view) above(uid types.EntityUID) map[types.EntityUID]bool {
	found := map[types.EntityUID]bool{uid: true}
	for todo := []types.EntityUID{uid}; len(todo) > 0; {
		e, _ := v.Get(todo[len(todo)-1])
		todo = todo[:len(todo)-1]
		for parent := range e.Parents.All() {
			if !found[parent] {
				found[parent] = true
				todo = append(todo, parent)
			}
		}
	}
	return found
}

package cedar_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/internal/token"
)

// The rules of docs/policy.md once more: what Cedar's own engine gets is made here, as Cedar's JSON, from the claims and
// the message of a question.

// levels bounds lists and objects within each other.
const levels = 10

// members are attributes, their values in Cedar's JSON.
type members map[string]string

// object writes attributes.
func object(m members) string {
	all := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, jsonText(name)+": "+m[name])
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// value is that of a claim or an argument; false for what is absent.
func value(v any, level int) (string, bool) {
	switch v := v.(type) {
	case string:
		return jsonText(v), true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case token.Number:
		return value(json.Number(v), level)
	case json.Number:
		return number(v.String()), true
	case []any:
		if level >= levels {
			return "", false
		}
		list := []string{}
		for _, member := range v {
			if x, ok := value(member, level+1); ok {
				list = append(list, x)
			}
		}
		return "[" + strings.Join(list, ", ") + "]", true
	case map[string]any:
		if level >= levels {
			return "", false
		}
		m := members{}
		for name, member := range v {
			if x, ok := value(member, level+1); ok {
				m[name] = x
			} else if member != nil {
				m[name+"_present"] = "true"
			}
		}
		return object(m), true
	}
	return "", false
}

// literal is a value of Cedar's JSON as policies write it.
func literal(value string) string {
	d := json.NewDecoder(strings.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err) // value wrote it
	}
	return spell(v)
}

func spell(v any) string {
	switch v := v.(type) {
	case string:
		return quoted(v)
	case []any:
		list := make([]string, len(v))
		for i, member := range v {
			list[i] = spell(member)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case map[string]any:
		if call, ok := v["__extn"].(map[string]any); ok {
			return call["fn"].(string) + "(" + spell(call["arg"]) + ")"
		}
		list := []string{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			list = append(list, quoted(name)+": "+spell(v[name]))
		}
		return "{" + strings.Join(list, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// number is a Long where that holds it, else a decimal where that does, else a string in one spelling, however the
// number is written.
func number(text string) string {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("not a number: " + text)
	}
	if r.IsInt() && r.Num().IsInt64() {
		return r.Num().String()
	}
	if n := new(big.Rat).Mul(r, big.NewRat(10_000, 1)); !r.IsInt() && n.IsInt() && n.Num().IsInt64() {
		return `{"__extn": {"fn": "decimal", "arg": "` + r.FloatString(4) + `"}}`
	}
	return jsonText(spelled(r))
}

// spelled is a number with up to 40 digits before the point, or up to five zeros behind it, and another one as 1.5e300.
func spelled(r *big.Rat) string {
	size := new(big.Rat).Abs(r)
	power := 0
	for ten := big.NewRat(10, 1); size.Cmp(ten) >= 0; power++ {
		size.Quo(size, ten)
	}
	for one, ten := big.NewRat(1, 1), big.NewRat(10, 1); size.Cmp(one) < 0; power-- {
		size.Mul(size, ten)
	}
	exact := func(r *big.Rat) string {
		return strings.TrimSuffix(strings.TrimRight(r.FloatString(500), "0"), ".")
	}
	if power < -6 || power >= 40 && r.IsInt() {
		sign := strings.Repeat("-", (1-r.Sign())/2)
		return sign + exact(size) + "e" + strconv.Itoa(power)
	}
	return exact(r)
}

// find is a claim by its name, or by a path into nested ones.
func find(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	for i := range path {
		if nested, ok := claims[path[:i]].(map[string]any); ok && path[i] == '.' {
			return find(nested, path[i+1:])
		}
	}
	return nil
}

// names are the strings of a claim that is a list of them, or a string and its words.
func names(v any) (all []string) {
	if one, ok := v.(string); ok {
		return append(strings.FieldsFunc(one, func(r rune) bool { return r == ' ' }), one)
	}
	list, _ := v.([]any)
	for _, member := range list {
		if s, ok := member.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// of gives the claims as attributes.
func (w world) of(claims map[string]any) members {
	m := members{}
	for name, v := range claims {
		if x, ok := value(v, 0); ok {
			m["claim_"+name] = x
		}
	}
	for _, name := range w.authz.MultiValuedClaims {
		var words []string
		switch v := claims[name].(type) {
		case string:
			words = strings.Fields(v)
		case []any:
			words = names(v)
		default:
			continue
		}
		set := make([]string, len(words))
		for i, word := range words {
			set[i] = jsonText(word)
		}
		m["claim_"+name] = jsonText(strings.Join(words, " "))
		m["claimset_"+name] = "[" + strings.Join(set, ", ") + "]"
	}
	return m
}

// groups are those of the caller.
func (w world) groups(claims map[string]any) (all []string) {
	for _, name := range []string{w.authz.GroupClaim, "groups", "roles", "cognito:groups"} {
		if v := find(claims, name); v != nil {
			all = names(v)
			break
		}
	}
	return append(all, names(find(claims, w.authz.RoleClaim))...)
}

// entity is one as the engine reads it.
func (w world) entity(kind, id string, attrs members, parents [][2]string) string {
	all, tags := members{}, members{}
	for _, e := range w.static {
		if e.kind == kind && e.id == id {
			maps.Copy(all, e.attrs)
			tags = e.tags
			parents = append(parents, e.parents...)
		}
	}
	maps.Copy(all, attrs)
	list := make([]string, len(parents))
	for i, p := range parents {
		list[i] = typeAndID(p[0], p[1])
	}
	return fmt.Sprintf(`{"uid": %s, "attrs": %s, "parents": [%s], "tags": %s}`, typeAndID(kind, id), object(all), strings.Join(list, ", "), object(tags))
}

func typeAndID(kind, id string) string {
	return fmt.Sprintf(`{"type": %s, "id": %s}`, jsonText(kind), jsonText(id))
}

// underscored is the id of a Resource.
func underscored(uri string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:/\?&=#. `, r) {
			return '_'
		}
		return r
	}, uri)
}

// resource is what is asked for: the action, the type and the id, and what is known of it.
func (q question) resource(args members) (action, kind, id string, attrs members) {
	attrs = maps.Clone(args)
	switch q.method {
	case "tools/call":
		action, kind, id = "call_tool", "Tool", q.target
		attrs["operation"], attrs["feature"] = `"call"`, `"tool"`
		for name, hint := range map[string]*bool{"readOnlyHint": q.hints.ReadOnly, "destructiveHint": q.hints.Destructive, "idempotentHint": q.hints.Idempotent, "openWorldHint": q.hints.OpenWorld} {
			if hint != nil {
				attrs[name] = strconv.FormatBool(*hint)
			}
		}
	case "prompts/get":
		action, kind, id = "get_prompt", "Prompt", q.target
		attrs["operation"], attrs["feature"] = `"get"`, `"prompt"`
	case "resources/read", "resources/subscribe":
		action, kind, id = "read_resource", "Resource", underscored(q.target)
		attrs["operation"], attrs["feature"], attrs["uri"] = `"read"`, `"resource"`, jsonText(q.target)
	default:
		return q.method, "MCP", proxy, nil
	}
	attrs["name"] = jsonText(id)
	return action, kind, id, attrs
}

// arguments gives the arguments as attributes. Only tools and prompts have them.
func (q question) attributes() members {
	m := members{}
	if q.args == "" || q.method != "tools/call" && q.method != "prompts/get" {
		return m
	}
	d := json.NewDecoder(strings.NewReader(q.args))
	d.UseNumber()
	var args map[string]any
	if err := d.Decode(&args); err != nil {
		panic(err) // source.arguments wrote it
	}
	for name, v := range args {
		if x, ok := value(v, 0); ok {
			m["arg_"+name] = x
		}
	}
	for name, v := range args {
		switch v.(type) {
		case []any, map[string]any:
			m["arg_"+name+"_present"] = "true"
		}
	}
	return m
}

// forEngine is the question as the engine reads it.
func (w world) forEngine(q question) string {
	claims, args := w.of(q.claims), q.attributes()
	var parents [][2]string
	for _, group := range w.groups(q.claims) {
		parents = append(parents, [2]string{w.authz.GroupEntityType, group})
	}
	sub := q.claims["sub"].(string)
	action, kind, id, attrs := q.resource(args)
	entities := []string{w.entity("Client", sub, claims, parents)}
	if kind != "MCP" {
		entities = append(entities, w.entity(kind, id, attrs, [][2]string{{"MCP", proxy}}))
	}
	for _, e := range w.static {
		if e.kind == "Client" && e.id == sub || e.kind == kind && e.id == id && kind != "MCP" {
			continue
		}
		entities = append(entities, w.entity(e.kind, e.id, nil, nil))
	}
	context := maps.Clone(claims)
	maps.Copy(context, args)
	return fmt.Sprintf(`{"principal": %s, "action": %s, "resource": %s, "context": %s, "entities": [%s], "preparsedPolicySetId": "policies"}`,
		typeAndID("Client", sub), typeAndID("Action", action), typeAndID(kind, id), object(context), strings.Join(entities, ", "))
}

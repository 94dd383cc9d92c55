package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A literal can be legal Cedar and yet spoil its policy for every call: decimal("5.55555") fails, and nothing is
// Resource::"s3://bucket/key". A forbid with the one refuses everything that it is about, and with the other nothing.

// constructors make values of strings: what they take, and whether they take it.
var constructors = map[types.Path]struct {
	what, mend string
	reads      func(string) error
}{
	"decimal":  {"a decimal", `write one to four digits after the point, as in decimal("5.5")`, readAs(types.ParseDecimal)},
	"ip":       {"an address", `write an address or a range, as in ip("10.0.0.0/8")`, readAs(types.ParseIPAddr)},
	"datetime": {"a datetime", `write it as datetime("2024-10-15") or datetime("2024-10-15T11:35:00Z")`, readAs(types.ParseDatetime)},
	"duration": {"a duration", `write it as duration("1d2h30m")`, readAs(types.ParseDuration)},
}

func readAs[T any](parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		_, err := parse(s)
		return err
	}
}

// literals tells the literals of a policy that always fail, which is a mistake, and the ids that nothing has.
func (v *vocabulary) literals(x *policy) []Mistake {
	mistakes := x.constructions()
	told := map[types.EntityUID]bool{}
	for _, uid := range entities(x.ast) {
		if told[uid] || v.parents[uid] {
			continue
		}
		told[uid] = true
		if m := v.nothing(uid); m != nil {
			m.Place, m.What = x.found.Place, x.source.id(string(uid.ID)).at()+m.What
			mistakes = append(mistakes, *m)
		}
	}
	return mistakes
}

// nothing says that an entity, which no static entity is in, is never what a policy is asked about, or around it; nil
// where it can be. That is a mistake if strict. Without, a Resource is a warning, and another proxy's MCP is none: who
// has one policy for several proxies means it. Then that is a warning if strict, where the policies are this proxy's own.
func (v *vocabulary) nothing(uid types.EntityUID) *Mistake {
	id := string(uid.ID)
	clean := sanitizer.Replace(id)
	switch {
	case uid.Type == typeResource && clean != id:
		return &Mistake{
			What:    fmt.Sprintf(`no resource has the id %s: each of : / \ ? & = # . and space in a URI is _ in its id`, quote(id)),
			Mend:    fmt.Sprintf("write Resource::%s, or resource.uri == %s", quote(clean), quote(id)),
			Warning: !v.strict,
		}
	case uid.Type == typeProxy && uid != v.proxy && v.strict && v.proxy.ID != "":
		return &Mistake{What: fmt.Sprintf("nothing is in %s here: the proxy is %s", uid, v.proxy), Mend: "write " + v.proxy.String(), Warning: true}
	}
	return nil
}

// constructions tells the constructors of a policy that always fail.
func (x *policy) constructions() []Mistake {
	var mistakes []Mistake
	seen := map[types.Path]int{}
	for _, c := range x.ast.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			call, ok := n.(ast.NodeTypeExtensionCall)
			if !ok || constructors[call.Name].reads == nil {
				return true
			}
			at := x.source.call(string(call.Name), seen[call.Name])
			seen[call.Name]++
			if what := alwaysFails(call); what != "" {
				mistakes = append(mistakes, wrong{at.at() + what, constructors[call.Name].mend}.in(x.found.Place))
			}
			return true
		})
	}
	return mistakes
}

// alwaysFails says why a constructor fails whatever the call is; "" where it may not.
func alwaysFails(call ast.NodeTypeExtensionCall) string {
	if len(call.Args) != 1 {
		return fmt.Sprintf("%s takes one string, not %d values", call.Name, len(call.Args))
	}
	lit, ok := call.Args[0].(ast.NodeValue)
	if !ok {
		return ""
	}
	text, ok := lit.Value.(types.String)
	if !ok {
		return fmt.Sprintf("%s(%s) always fails: it takes a string", call.Name, lit.Value.MarshalCedar())
	}
	if constructors[call.Name].reads(string(text)) != nil {
		return fmt.Sprintf("%s(%s) always fails: that is not %s", call.Name, quote(string(text)), constructors[call.Name].what)
	}
	return ""
}

// call is the name of the nth call of a function; else the first token of all.
func (s statement) call(name string, n int) lexeme {
	for i, t := range s.tokens[:len(s.tokens)-1] {
		if t.text == name && s.tokens[i+1].text == "(" && (i == 0 || s.tokens[i-1].text != "." && s.tokens[i-1].text != "@") {
			if n--; n < 0 {
				return t
			}
		}
	}
	return s.tokens[0]
}

// id is the first token that is the ID of an entity; else the first of all.
func (s statement) id(id string) lexeme {
	for i := 1; i < len(s.tokens); i++ {
		if s.tokens[i-1].text == "::" && s.tokens[i].spells(id) {
			return s.tokens[i]
		}
	}
	return s.tokens[0]
}

// entities are the entities that a policy names, in order.
func entities(p *ast.Policy) []types.EntityUID {
	var all []types.EntityUID
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			all = append(all, s.Entity)
		case ast.ScopeTypeIn:
			all = append(all, s.Entity)
		case ast.ScopeTypeInSet:
			all = slices.Concat(all, s.Entities)
		case ast.ScopeTypeIsIn:
			all = append(all, s.Entity)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if lit, ok := n.(ast.NodeValue); ok {
				if uid, ok := lit.Value.(types.EntityUID); ok {
					all = append(all, uid)
				}
			}
			return true
		})
	}
	return all
}

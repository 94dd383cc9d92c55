package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// compared is test for the operators on values of one type, and for a value by itself.
func compared(n ast.IsNode) test {
	switch n := n.(type) {
	case ast.NodeTypeLessThan:
		return ordered(n.BinaryNode, func(a, b types.Long) bool { return a < b })
	case ast.NodeTypeLessThanOrEqual:
		return ordered(n.BinaryNode, func(a, b types.Long) bool { return a <= b })
	case ast.NodeTypeGreaterThan:
		return ordered(n.BinaryNode, func(a, b types.Long) bool { return a > b })
	case ast.NodeTypeGreaterThanOrEqual:
		return ordered(n.BinaryNode, func(a, b types.Long) bool { return a >= b })
	case ast.NodeTypeLike:
		arg := value(n.Arg)
		return func(f *facts) verdict {
			s, ok := arg(f).(types.String)
			if !ok {
				return unknown
			}
			return verdictOf(n.Value.Match(s))
		}
	case ast.NodeTypeContains:
		return contains(n.BinaryNode)
	case ast.NodeTypeContainsAny:
		return sets(n.BinaryNode, func(s types.Set, v types.Value) bool { return s.Contains(v) }, true)
	case ast.NodeTypeContainsAll:
		return sets(n.BinaryNode, func(s types.Set, v types.Value) bool { return !s.Contains(v) }, false)
	case ast.NodeTypeIsEmpty:
		arg := value(n.Arg)
		return func(f *facts) verdict {
			s, ok := arg(f).(types.Set)
			if !ok {
				return unknown
			}
			return verdictOf(s.Len() == 0)
		}
	case ast.NodeTypeExtensionCall:
		return called(n)
	}
	v := value(n)
	return func(f *facts) verdict {
		b, ok := v(f).(types.Boolean)
		if !ok {
			return unknown
		}
		return verdictOf(bool(b))
	}
}

// ordered compares integers.
func ordered(n ast.BinaryNode, holds func(a, b types.Long) bool) test {
	left, right := value(n.Left), value(n.Right)
	return func(f *facts) verdict {
		a, one := left(f).(types.Long)
		b, two := right(f).(types.Long)
		if !one || !two {
			return unknown
		}
		return verdictOf(holds(a, b))
	}
}

// contains is whether a value is in a set.
func contains(n ast.BinaryNode) test {
	if uids, ok := resourceAmong(n); ok {
		return func(f *facts) verdict { return verdictOf(slices.Contains(uids, f.resource)) }
	}
	set, member := value(n.Left), value(n.Right)
	return func(f *facts) verdict {
		s, ok := set(f).(types.Set)
		v := member(f)
		if !ok || v == nil {
			return unknown
		}
		return verdictOf(s.Contains(v))
	}
}

// sets is found where a member of the right set makes it so, with the left one, and else the contrary.
func sets(n ast.BinaryNode, makes func(left types.Set, member types.Value) bool, found bool) test {
	left, right := value(n.Left), value(n.Right)
	if fixed, ok := constant(n.Right).(types.Set); ok { // a slice is walked through several times as fast
		members := fixed.Slice()
		return func(f *facts) verdict {
			s, ok := left(f).(types.Set)
			if !ok {
				return unknown
			}
			return verdictOf(slices.ContainsFunc(members, func(v types.Value) bool { return makes(s, v) }) == found)
		}
	}
	return func(f *facts) verdict {
		a, one := left(f).(types.Set)
		b, two := right(f).(types.Set)
		if !one || !two {
			return unknown
		}
		for member := range b.All() {
			if makes(a, member) {
				return verdictOf(found)
			}
		}
		return verdictOf(!found)
	}
}

// called is a method that compares decimals, or says whether an address is in a range.
func called(n ast.NodeTypeExtensionCall) test {
	if len(n.Args) != 2 {
		return cedars
	}
	left, right := value(n.Args[0]), value(n.Args[1])
	compare := func(holds func(order int) bool) test {
		return func(f *facts) verdict {
			a, one := left(f).(types.Decimal)
			b, two := right(f).(types.Decimal)
			if !one || !two {
				return unknown
			}
			return verdictOf(holds(a.Compare(b)))
		}
	}
	switch n.Name {
	case "lessThan":
		return compare(func(order int) bool { return order < 0 })
	case "lessThanOrEqual":
		return compare(func(order int) bool { return order <= 0 })
	case "greaterThan":
		return compare(func(order int) bool { return order > 0 })
	case "greaterThanOrEqual":
		return compare(func(order int) bool { return order >= 0 })
	case "isInRange":
		return func(f *facts) verdict {
			a, one := left(f).(types.IPAddr)
			b, two := right(f).(types.IPAddr)
			if !one || !two {
				return unknown
			}
			return verdictOf(b.Contains(a))
		}
	}
	return cedars
}

// is is whether an entity has a type.
func is(n ast.NodeTypeIs) test {
	arg := value(n.Left)
	return func(f *facts) verdict {
		uid, ok := arg(f).(types.EntityUID)
		if !ok {
			return unknown
		}
		return verdictOf(uid.Type == n.EntityType)
	}
}

// has is whether context, principal, resource or a record has an attribute.
func has(n ast.NodeTypeHas) test {
	if isVariable(n.Arg, "context") || isVariable(n.Arg, "principal") || isVariable(n.Arg, "resource") {
		found := value(ast.NodeTypeAccess(n))
		return func(f *facts) verdict { return verdictOf(found(f) != nil) }
	}
	arg := value(n.Arg)
	return func(f *facts) verdict {
		r, ok := arg(f).(types.Record)
		if !ok {
			return unknown
		}
		_, there := r.Get(n.Value)
		return verdictOf(there)
	}
}

// value makes the operand of an expression: what is written out, principal, action or resource, an attribute of one of
// them or of context, or of a record among those, or the address or decimal that such a string spells.
func value(n ast.IsNode) operand {
	if v := constant(n); v != nil {
		return func(*facts) types.Value { return v }
	}
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		return variable(n.Name)
	case ast.NodeTypeExtensionCall:
		return parsed(n)
	case ast.NodeTypeAccess:
		switch {
		case isVariable(n.Arg, "context"):
			return ofContext(n.Value)
		case isVariable(n.Arg, "principal"):
			return func(f *facts) types.Value { return attribute(f.who.entity.Attributes, n.Value) }
		case isVariable(n.Arg, "resource"):
			return ofResource(n.Value)
		}
		arg := value(n.Arg)
		return func(f *facts) types.Value {
			r, _ := arg(f).(types.Record)
			return attribute(r, n.Value)
		}
	}
	return func(*facts) types.Value { return nil }
}

// constant is the value of an expression that looks at nothing; nil for any other, and for one that can't be evaluated.
func constant(n ast.IsNode) types.Value {
	looks := false
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		switch n.(type) {
		case ast.NodeTypeVariable, ast.NodeTypeAccess, ast.NodeTypeHas, ast.NodeTypeIn, ast.NodeTypeIsIn, ast.NodeTypeHasTag, ast.NodeTypeGetTag:
			looks = true
		}
		return !looks
	})
	if looks {
		return nil
	}
	v, err := eval.Eval(n, eval.Env{})
	if err != nil {
		return nil
	}
	return v
}

// variable is principal, action or resource as an entity.
func variable(name types.String) operand {
	switch name {
	case "principal":
		return func(f *facts) types.Value { return f.who.entity.UID }
	case "action":
		return func(f *facts) types.Value { return f.action }
	case "resource":
		return func(f *facts) types.Value {
			if f.uid == nil {
				f.uid = f.resource
			}
			return f.uid
		}
	}
	return func(*facts) types.Value { return nil }
}

// parsed is ip(...) or decimal(...) of a string.
func parsed(n ast.NodeTypeExtensionCall) operand {
	none := func(*facts) types.Value { return nil }
	if len(n.Args) != 1 {
		return none
	}
	arg := value(n.Args[0])
	switch n.Name {
	case "ip":
		return func(f *facts) types.Value {
			s, ok := arg(f).(types.String)
			if !ok {
				return nil
			}
			if f.address == nil || f.spelled != s { // most policies ask for the same one
				v, err := types.ParseIPAddr(string(s))
				if err != nil {
					return nil
				}
				f.address, f.spelled = v, s
			}
			return f.address
		}
	case "decimal":
		return func(f *facts) types.Value {
			s, ok := arg(f).(types.String)
			if v, err := types.ParseDecimal(string(s)); ok && err == nil {
				return v
			}
			return nil
		}
	}
	return none
}

func attribute(r types.Record, name types.String) types.Value {
	v, _ := r.Get(name)
	return v
}

func ofContext(name types.String) operand {
	if strings.HasPrefix(string(name), prefixArg) {
		return func(f *facts) types.Value { return f.argument(name) }
	}
	return func(f *facts) types.Value { return f.who.claims[name] }
}

// ofResource is an attribute of the resource, or else of the static entity for it.
func ofResource(name types.String) operand {
	own := ownAttribute(name)
	if isMark(name) {
		return own
	}
	return func(f *facts) types.Value {
		if v := own(f); v != nil {
			return v
		}
		return attribute(f.static.Attributes, name)
	}
}

// ownAttribute is an attribute of the resource that follows from the query.
func ownAttribute(name types.String) operand {
	switch {
	case strings.HasPrefix(string(name), prefixArg):
		return func(f *facts) types.Value { return f.argument(name) }
	case name == attrName:
		return func(f *facts) types.Value {
			if f.name == nil {
				f.name = f.resource.ID
			}
			return f.name
		}
	}
	return func(f *facts) types.Value { return f.kind.attribute(name, f.q) }
}

package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Most of what policies ask is answered here without Cedar, which wants every attribute in a map first: comparisons with
// what is written out, has, like, contains, principal in, and what is made of them by &&, || and !. Anything else, and
// everything that could be an error, is left to Cedar: a policy with such a part is asked there as a whole.

// verdict is what a test says.
type verdict uint8

const (
	unknown verdict = iota // Cedar must be asked
	no
	yes
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// test is an expression that should be a boolean; operand is one of any type, nil where the value is not known.
type (
	test    func(*facts) verdict
	operand func(*facts) types.Value
)

// facts are one query: what tests look at, and what becomes of the policies.
type facts struct {
	p        *Policies
	who      *Principal
	q        Query
	kind     *kind // nil for a method that is of no kind
	number   int   // of kind, among kinds
	action   types.EntityUID
	resource types.EntityUID
	ours     bool // no static entity adds to the resource
	args     []argued
	name     types.Value // of the resource; nil before it is asked for

	ask, permits, forbids []int
}

// argued is an argument that some policy looks at.
type argued struct {
	arg   arg
	value types.Value
}

var spare = sync.Pool{New: func() any { return new(facts) }}

// borrow makes the facts of a query, to be given back.
func borrow(p *Policies, who *Principal, q Query) *facts {
	f := spare.Get().(*facts)
	f.p, f.who, f.q = p, who, q
	return f
}

func (f *facts) giveBack() {
	clear(f.args)
	*f = facts{args: f.args[:0], ask: f.ask[:0], permits: f.permits[:0], forbids: f.forbids[:0]}
	spare.Put(f)
}

// put keeps an argument; the last of a name counts.
func (f *facts) put(a arg, v types.Value) {
	for i := range f.args {
		if f.args[i].arg.attribute == a.attribute {
			f.args[i].value = v
			return
		}
	}
	f.args = append(f.args, argued{a, v})
}

func (f *facts) argument(name types.String) types.Value {
	for i := range f.args {
		if f.args[i].arg.attribute == name {
			return f.args[i].value
		}
	}
	return nil
}

// satisfied keeps a policy.
func (f *facts) satisfied(i int) {
	if f.p.list[i].forbid {
		f.forbids = append(f.forbids, i)
	} else {
		f.permits = append(f.permits, i)
	}
}

// tests makes the tests of a policy: of the resource in its scope, and of each part of its conditions. Action, type of
// the resource and principal have been selected by.
func (p *Policies) tests(x *ast.Policy) (about test, parts []test) {
	switch s := x.Resource.(type) {
	case ast.ScopeTypeAll, ast.ScopeTypeEq, ast.ScopeTypeIs:
		about = func(*facts) verdict { return yes }
	case ast.ScopeTypeIn:
		about = p.resourceIn(s.Entity)
	case ast.ScopeTypeIsIn:
		about = p.resourceIn(s.Entity)
	default:
		about = cedars
	}
	for _, part := range conjuncts(x) {
		parts = append(parts, p.test(part))
	}
	return about, parts
}

// cedars is the test of what only Cedar knows.
func cedars(*facts) verdict { return unknown }

// resourceIn is resource in uid. What else the resource or the proxy is in, static entities say.
func (p *Policies) resourceIn(uid types.EntityUID) test {
	_, more := p.static[p.self]
	return func(f *facts) verdict {
		switch {
		case uid == p.self || uid == f.resource:
			return yes
		case f.ours && !more:
			return no
		}
		return unknown
	}
}

// test makes the test of an expression.
func (p *Policies) test(n ast.IsNode) test {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return p.both(n.BinaryNode, yes)
	case ast.NodeTypeOr:
		return p.both(n.BinaryNode, no)
	case ast.NodeTypeNot:
		arg := p.test(n.Arg)
		return func(f *facts) verdict {
			switch arg(f) {
			case yes:
				return no
			case no:
				return yes
			}
			return unknown
		}
	case ast.NodeTypeHas:
		return has(n)
	case ast.NodeTypeIn:
		return p.in(n)
	case ast.NodeTypeIs:
		if isVariable(n.Left, "resource") {
			return func(f *facts) verdict { return verdictOf(f.resource.Type == n.EntityType) }
		}
	case ast.NodeTypeEquals:
		return p.equal(n.BinaryNode, yes, no)
	case ast.NodeTypeNotEquals:
		return p.equal(n.BinaryNode, no, yes)
	}
	return compared(n)
}

// both is && or ||: the right side is asked where the left one says goOn.
func (p *Policies) both(n ast.BinaryNode, goOn verdict) test {
	left, right := p.test(n.Left), p.test(n.Right)
	return func(f *facts) verdict {
		if v := left(f); v != goOn {
			return v
		}
		return right(f)
	}
}

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

// equal is a comparison, with what to say of equal values and of others.
func (p *Policies) equal(n ast.BinaryNode, same, other verdict) test {
	pick := func(equal bool) verdict {
		if equal {
			return same
		}
		return other
	}
	if lit, _ := n.Right.(ast.NodeValue); isVariable(n.Left, "resource") {
		if uid, ok := lit.Value.(types.EntityUID); ok {
			return func(f *facts) verdict { return pick(f.resource == uid) }
		}
	}
	left, right := value(n.Left), value(n.Right)
	return func(f *facts) verdict {
		a, b := left(f), right(f)
		if a == nil || b == nil {
			return unknown
		}
		return pick(a.Equal(b))
	}
}

// in is principal in, or resource in, an entity that is written out, or one of several.
func (p *Policies) in(n ast.NodeTypeIn) test {
	uids, ok := written(n.Right)
	switch {
	case ok && isVariable(n.Left, "principal"):
		numbers := make([]int, len(uids))
		for i, uid := range uids {
			numbers[i] = p.marks.note(uid)
		}
		return func(f *facts) verdict { return verdictOf(slices.ContainsFunc(numbers, f.who.in)) }
	case ok && len(uids) == 1 && isVariable(n.Left, "resource"):
		return p.resourceIn(uids[0])
	}
	return cedars
}

// written are the entities of an expression that writes out one, or a set of them; false for any other.
func written(n ast.IsNode) ([]types.EntityUID, bool) {
	if set, ok := n.(ast.NodeTypeSet); ok {
		var all []types.EntityUID
		for _, e := range set.Elements {
			one, ok := written(e)
			if !ok || len(one) != 1 {
				return nil, false
			}
			all = append(all, one...)
		}
		return all, true
	}
	lit, _ := n.(ast.NodeValue)
	uid, ok := lit.Value.(types.EntityUID)
	return []types.EntityUID{uid}, ok
}

// has is whether context, principal, resource or a record has an attribute.
func has(n ast.NodeTypeHas) test {
	if isVariable(n.Arg, "resource") {
		found := ofResource(n.Value)
		return func(f *facts) verdict {
			there := found(f) != nil
			if !there && !f.ours {
				return unknown
			}
			return verdictOf(there)
		}
	}
	if isVariable(n.Arg, "context") || isVariable(n.Arg, "principal") {
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

// value makes the operand of an expression: what is written out, an attribute of context, principal or resource, or of
// a record among those.
func value(n ast.IsNode) operand {
	switch n := n.(type) {
	case ast.NodeValue:
		return func(*facts) types.Value { return n.Value }
	case ast.NodeTypeSet:
		var members []types.Value
		for _, e := range n.Elements {
			lit, ok := e.(ast.NodeValue)
			if !ok {
				return func(*facts) types.Value { return nil }
			}
			members = append(members, lit.Value)
		}
		set := types.NewSet(members...)
		return func(*facts) types.Value { return set }
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

// ofResource is an attribute of the resource, unless a static entity has it.
func ofResource(name types.String) operand {
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

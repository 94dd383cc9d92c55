package policy

import (
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Most of what policies ask is answered here without Cedar, which wants every attribute in a map first: comparisons, has,
// like, is, in, contains and its kin, isInRange, and what is made of them by &&, ||, ! and if. Anything else, and
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
	static   types.Entity // what the configuration adds to the resource
	args     []argued
	name     types.Value // of the resource; nil before it is asked for
	uid      types.Value // the resource; nil before it is asked for
	address  types.Value // the last one that was read; nil for none
	spelled  types.String

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
		about = p.resourceIn([]types.EntityUID{s.Entity})
	case ast.ScopeTypeIsIn:
		about = p.resourceIn([]types.EntityUID{s.Entity})
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

// resourceIn is resource in one of several entities. What else the resource or the proxy is in, static entities say.
func (p *Policies) resourceIn(uids []types.EntityUID) test {
	if slices.Contains(uids, p.self) {
		return func(*facts) verdict { return yes }
	}
	alone := !slices.ContainsFunc(uids, p.holds)
	more := p.static[p.self].Parents.Len() > 0
	return func(f *facts) verdict {
		switch {
		case slices.Contains(uids, f.resource):
			return yes
		case alone || !more && f.static.Parents.Len() == 0:
			return no
		}
		return unknown
	}
}

// holds says whether anything but an entity itself can be in it: what is in the proxy, a group's members, or what static
// entities put there.
func (p *Policies) holds(uid types.EntityUID) bool {
	return uid == p.self || string(uid.Type) == p.groupType || p.parents[uid]
}

// test makes the test of an expression.
func (p *Policies) test(n ast.IsNode) test {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return both(p.test(n.Left), p.test(n.Right), yes)
	case ast.NodeTypeOr:
		return both(p.test(n.Left), p.test(n.Right), no)
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
	case ast.NodeTypeIfThenElse:
		return p.either(n)
	case ast.NodeTypeHas:
		return has(n)
	case ast.NodeTypeIn:
		return p.in(n.BinaryNode)
	case ast.NodeTypeIs:
		return is(n)
	case ast.NodeTypeIsIn:
		return both(is(n.NodeTypeIs), p.in(ast.BinaryNode{Left: n.Left, Right: n.Entity}), yes)
	case ast.NodeTypeEquals:
		return p.equal(n.BinaryNode, yes, no)
	case ast.NodeTypeNotEquals:
		return p.equal(n.BinaryNode, no, yes)
	}
	return compared(n)
}

// both is && or ||: the right side is asked where the left one says goOn.
func both(left, right test, goOn verdict) test {
	return func(f *facts) verdict {
		if v := left(f); v != goOn {
			return v
		}
		return right(f)
	}
}

// either is if: one side is asked, as its condition says.
func (p *Policies) either(n ast.NodeTypeIfThenElse) test {
	condition, then, otherwise := p.test(n.If), p.test(n.Then), p.test(n.Else)
	return func(f *facts) verdict {
		switch condition(f) {
		case yes:
			return then(f)
		case no:
			return otherwise(f)
		}
		return unknown
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
	if uid, ok := resourceIs(n); ok {
		return func(f *facts) verdict { return pick(f.resource == uid) }
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

// resourceIs gives the entity of a comparison of resource with one that is written out; false for any other.
func resourceIs(n ast.BinaryNode) (types.EntityUID, bool) {
	other := n.Right
	if isVariable(n.Right, "resource") {
		other = n.Left
	} else if !isVariable(n.Left, "resource") {
		return types.EntityUID{}, false
	}
	lit, _ := other.(ast.NodeValue)
	uid, ok := lit.Value.(types.EntityUID)
	return uid, ok
}

// resourceAmong gives the entities of [X, Y].contains(resource); false for any other set and member.
func resourceAmong(n ast.BinaryNode) ([]types.EntityUID, bool) {
	if _, set := n.Left.(ast.NodeTypeSet); !set || !isVariable(n.Right, "resource") {
		return nil, false
	}
	return written(n.Left)
}

// in is principal, action or resource in an entity that is written out, or one of several.
func (p *Policies) in(n ast.BinaryNode) test {
	uids, ok := written(n.Right)
	switch {
	case ok && isVariable(n.Left, "principal"):
		numbers := make([]int, len(uids))
		for i, uid := range uids {
			numbers[i] = p.marks.note(uid)
		}
		return func(f *facts) verdict { return verdictOf(slices.ContainsFunc(numbers, f.who.in)) }
	case ok && isVariable(n.Left, "action"):
		holds := make([]bool, len(kinds))
		for i := range kinds {
			above := p.aboveAction(&kinds[i])
			holds[i] = slices.ContainsFunc(uids, func(uid types.EntityUID) bool { return above[uid] })
		}
		return func(f *facts) verdict { return verdictOf(holds[f.number]) }
	case ok && isVariable(n.Left, "resource"):
		return p.resourceIn(uids)
	}
	return cedars
}

// written are the entities of an expression that writes out one, or a set of them; false for any other, such as a set
// within a set, which "in" can't be asked of.
func written(n ast.IsNode) ([]types.EntityUID, bool) {
	elements := []ast.IsNode{n}
	if set, ok := n.(ast.NodeTypeSet); ok {
		elements = set.Elements
	}
	var all []types.EntityUID
	for _, e := range elements {
		lit, _ := e.(ast.NodeValue)
		uid, ok := lit.Value.(types.EntityUID)
		if !ok {
			return nil, false
		}
		all = append(all, uid)
	}
	return all, true
}

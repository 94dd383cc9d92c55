package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Which policies need to be evaluated is narrowed in three steps, each of which leaves out only what is certain to be
// false, without error: by the action and the type of the resource, when the configuration is loaded; by the caller, once
// for each; by the one resource, in each decision. What is left is tested without Cedar as far as that goes (quick.go).
// Cedar evaluates a policy from left to right - principal, action,
// resource, each condition - and stops at the first part that is false, so a part may be looked at early only when no
// part before it can fail.

// selection is what one kind of call needs to look at.
type selection struct {
	kind  *kind
	rest  []int                     // policies about no resource or several, in order
	named map[types.EntityUID][]int // policies about these resources alone, in order
	first map[int][]ast.IsNode      // the leading parts of a policy's conditions that depend on the caller alone
}

// selectFor selects for a kind.
func (p *Policies) selectFor(k *kind) *selection {
	s := &selection{kind: k, named: map[types.EntityUID][]int{}, first: map[int][]ast.IsNode{}}
	actions := p.aboveAction(k)
	for i := range p.list {
		x := p.list[i].ast
		if !scopeHolds(x.Action, k.action, actions) || !typeFits(x.Resource, k.resource) {
			continue
		}
		parts := conjuncts(x)
		if about, ok := p.aboutOnly(x, parts); ok {
			for uid := range about {
				s.named[uid] = append(s.named[uid], i)
			}
		} else {
			s.rest = append(s.rest, i)
		}
		for n, part := range parts {
			if !resolved(part) {
				parts = parts[:n]
				break
			}
		}
		if len(parts) > 0 {
			s.first[i] = parts
		}
	}
	return s
}

// aboveAction is everything that the action of a kind is in, which only actions can be.
func (p *Policies) aboveAction(k *kind) map[types.EntityUID]bool {
	return (&view{static: p.static, principal: &types.Entity{}}).above(k.action)
}

// parentsOf is everything that static entities are directly in.
func parentsOf(static statics) map[types.EntityUID]bool {
	all := map[types.EntityUID]bool{}
	for _, e := range static {
		for parent := range e.Parents.All() {
			all[parent] = true
		}
	}
	return all
}

// scopeHolds says whether the part of a scope about an entity is true of it, given everything that it is in.
func scopeHolds(scope ast.IsScopeNode, uid types.EntityUID, above map[types.EntityUID]bool) bool {
	switch s := scope.(type) {
	case ast.ScopeTypeAll:
		return true
	case ast.ScopeTypeEq:
		return s.Entity == uid
	case ast.ScopeTypeIn:
		return above[s.Entity]
	case ast.ScopeTypeInSet:
		for _, e := range s.Entities {
			if above[e] {
				return true
			}
		}
		return false
	case ast.ScopeTypeIs:
		return s.Type == uid.Type
	case ast.ScopeTypeIsIn:
		return s.Type == uid.Type && above[s.Entity]
	}
	return true
}

// typeFits says whether the part of a scope about the resource can be true of a type.
func typeFits(scope ast.IsScopeNode, t types.EntityType) bool {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return s.Entity.Type == t
	case ast.ScopeTypeIs:
		return s.Type == t
	case ast.ScopeTypeIsIn:
		return s.Type == t
	}
	return true
}

// conjuncts are the parts of a policy's conditions that must all be true, in the order of evaluation.
func conjuncts(p *ast.Policy) []ast.IsNode {
	var parts []ast.IsNode
	var flatten func(n ast.IsNode)
	flatten = func(n ast.IsNode) {
		if and, ok := n.(ast.NodeTypeAnd); ok {
			flatten(and.Left)
			flatten(and.Right)
			return
		}
		parts = append(parts, n)
	}
	for _, c := range p.Conditions {
		if c.Condition == ast.ConditionUnless {
			parts = append(parts, ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: c.Body}})
			continue
		}
		flatten(c.Body)
	}
	return parts
}

// aboutOnly gives the resources that a policy can be true of, where its scope or the first part of its conditions
// names them.
func (p *Policies) aboutOnly(x *ast.Policy, parts []ast.IsNode) (map[types.EntityUID]bool, bool) {
	about := map[types.EntityUID]bool{}
	switch s := x.Resource.(type) {
	case ast.ScopeTypeEq:
		about[s.Entity] = true
		return about, true
	case ast.ScopeTypeIn:
		if p.names([]types.EntityUID{s.Entity}, about) {
			return about, true
		}
	case ast.ScopeTypeIsIn:
		if p.names([]types.EntityUID{s.Entity}, about) {
			return about, true
		}
	}
	return about, len(parts) > 0 && p.namesOnly(parts[0], about)
}

// names collects entities for resource in, where nothing but themselves can be in them.
func (p *Policies) names(uids []types.EntityUID, about map[types.EntityUID]bool) bool {
	if slices.ContainsFunc(uids, p.holds) {
		return false
	}
	for _, uid := range uids {
		about[uid] = true
	}
	return true
}

// namesOnly says whether an expression is resource == X, resource in X, resource in [X, Y] or [X, Y].contains(resource),
// or several of them with ||, and collects each of these.
func (p *Policies) namesOnly(n ast.IsNode, about map[types.EntityUID]bool) bool {
	switch n := n.(type) {
	case ast.NodeTypeOr:
		return p.namesOnly(n.Left, about) && p.namesOnly(n.Right, about)
	case ast.NodeTypeEquals:
		uid, ok := resourceIs(n.BinaryNode)
		if ok {
			about[uid] = true
		}
		return ok
	case ast.NodeTypeIn:
		uids, ok := written(n.Right)
		return ok && isVariable(n.Left, "resource") && p.names(uids, about)
	case ast.NodeTypeContains:
		uids, ok := resourceAmong(n.BinaryNode)
		for _, uid := range uids {
			about[uid] = true
		}
		return ok
	}
	return false
}

// alive are the policies that are not certain to be false for every call of a kind, for one caller.
type alive struct {
	all   bool    // every policy, as it was written: nothing is known about the caller
	known []uint8 // by index: how many leading parts of its conditions are true for every such call, or dead
	rest  []int   // those of selection.rest, in order
}

// dead is in alive.known of a policy that can't be true.
const dead = 255

func (a *alive) has(i int) bool { return a.all || a.known[i] != dead }

// alive selects by the caller.
func (s *selection) alive(p *Policies, who *Principal) *alive {
	for uid := range who.above {
		// In a tool: what the tool is in, and so the caller, depends on which tool is called.
		if uid.Type == typeTool || uid.Type == typePrompt || uid.Type == typeResource {
			return &alive{all: true, rest: s.rest}
		}
	}
	a := &alive{known: make([]uint8, len(p.list))}
	env := eval.Env{
		Entities: &view{static: p.static, principal: &who.entity}, Context: who.context,
		Principal: who.entity.UID, Action: s.kind.action, Resource: types.EntityUID{},
	}
	for i := range p.list {
		a.known[i] = dead
		if scopeHolds(p.list[i].ast.Principal, who.entity.UID, who.above) {
			a.known[i] = leading(s.first[i], env, who.above)
		}
	}
	for _, i := range s.rest {
		if a.has(i) {
			a.rest = append(a.rest, i)
		}
	}
	return a
}

// leading counts the parts that are true, up to the first that fails. It is dead where that one is false.
func leading(parts []ast.IsNode, env eval.Env, above map[types.EntityUID]bool) uint8 {
	n := uint8(0)
	for _, part := range parts {
		if n == dead-1 {
			break
		}
		if in, ok := part.(ast.NodeTypeIn); ok { // most of all, and slow in Cedar with many groups
			if lit, ok := in.Right.(ast.NodeValue); ok {
				if uid, ok := lit.Value.(types.EntityUID); ok {
					if !above[uid] {
						return dead
					}
					n++
					continue
				}
			}
		}
		v, err := eval.Eval(part, env)
		if err != nil {
			return n
		}
		b, ok := v.(types.Boolean)
		if !ok {
			return n
		}
		if !b {
			return dead
		}
		n++
	}
	return n
}

// quick says whether policy i is satisfied, where that is certain.
func (a *alive) quick(i int, f *facts) verdict {
	if a.all {
		return unknown
	}
	x := &f.p.list[i]
	if v := x.about(f); v != yes {
		return v
	}
	for _, part := range x.parts[a.known[i]:] {
		if v := part(f); v != yes {
			return v
		}
	}
	return yes
}

// about gives the policies that may be true of a resource, in order.
func (a *alive) about(named []int, yield func(i int) bool) {
	rest := a.rest
	for len(named) > 0 || len(rest) > 0 {
		var i int
		if len(rest) == 0 || len(named) > 0 && named[0] < rest[0] {
			i, named = named[0], named[1:]
		} else {
			i, rest = rest[0], rest[1:]
		}
		if a.has(i) && !yield(i) {
			return
		}
	}
}

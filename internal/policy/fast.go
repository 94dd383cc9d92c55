package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go"
	cedarast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Cedar answers principal in Group::"x" by walking through all groups of the caller, for each policy anew. What a caller
// is in is known before, so policies are evaluated in a form that asks for a mark on the caller instead:
// principal has "\x00in Group::\"x\"". Neither form can fail. A scope that selection has found to be true is left out.

// markPrefix begins the names of marks. Attributes of such a name are never taken from tokens or static entities.
const markPrefix = "\x00in "

// marks numbers the entities that some policy asks about with principal in.
type marks map[types.EntityUID]int

// note numbers an entity.
func (m marks) note(uid types.EntityUID) int {
	if n, ok := m[uid]; ok {
		return n
	}
	m[uid] = len(m)
	return m[uid]
}

func mark(uid types.EntityUID) types.String { return types.String(markPrefix + uid.String()) }

// isMark says whether an attribute's name is that of a mark.
func isMark(name types.String) bool { return strings.HasPrefix(string(name), markPrefix) }

// faster makes the form of a policy that is evaluated after selection, and notes in marks what it asks for.
func faster(p *ast.Policy, proxy types.EntityUID, marks marks) *cedar.Policy {
	fast := *p
	fast.Principal, fast.Action = ast.ScopeTypeAll{}, ast.ScopeTypeAll{}
	switch s := p.Resource.(type) {
	case ast.ScopeTypeEq, ast.ScopeTypeIs:
		fast.Resource = ast.ScopeTypeAll{}
	case ast.ScopeTypeIn:
		if s.Entity == proxy {
			fast.Resource = ast.ScopeTypeAll{}
		}
	}
	m := marker{marks}
	fast.Conditions = make([]ast.ConditionType, len(p.Conditions))
	for i, c := range p.Conditions {
		fast.Conditions[i] = ast.ConditionType{Condition: c.Condition, Body: m.rewrite(c.Body)}
	}
	return cedar.NewPolicyFromAST((*cedarast.Policy)(&fast))
}

// marker rewrites expressions.
type marker struct{ marks marks }

// rewrite goes through what conditions are mostly made of: and, or, not, if. Anything else stays as it is.
func (m marker) rewrite(n ast.IsNode) ast.IsNode {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return ast.NodeTypeAnd{BinaryNode: m.both(n.BinaryNode)}
	case ast.NodeTypeOr:
		return ast.NodeTypeOr{BinaryNode: m.both(n.BinaryNode)}
	case ast.NodeTypeNot:
		return ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: m.rewrite(n.Arg)}}
	case ast.NodeTypeIfThenElse:
		return ast.NodeTypeIfThenElse{If: m.rewrite(n.If), Then: m.rewrite(n.Then), Else: m.rewrite(n.Else)}
	case ast.NodeTypeIn:
		if isVariable(n.Left, "principal") {
			if has := m.marked(n.Right); has != nil {
				return has
			}
		}
	}
	return n
}

func (m marker) both(n ast.BinaryNode) ast.BinaryNode {
	return ast.BinaryNode{Left: m.rewrite(n.Left), Right: m.rewrite(n.Right)}
}

// marked asks for the mark of an entity, or of one of several; nil where they are not written out.
func (m marker) marked(right ast.IsNode) ast.IsNode {
	switch right := right.(type) {
	case ast.NodeValue:
		uid, ok := right.Value.(types.EntityUID)
		if !ok {
			return nil
		}
		m.marks.note(uid)
		return ast.NodeTypeHas{StrOpNode: ast.StrOpNode{Arg: ast.NodeTypeVariable{Name: "principal"}, Value: mark(uid)}}
	case ast.NodeTypeSet:
		var any ast.IsNode
		for _, e := range right.Elements {
			if v, ok := e.(ast.NodeValue); !ok {
				return nil
			} else if _, ok := v.Value.(types.EntityUID); !ok {
				return nil
			}
		}
		for _, e := range right.Elements {
			has := m.marked(e)
			if any != nil {
				has = ast.NodeTypeOr{BinaryNode: ast.BinaryNode{Left: any, Right: has}}
			}
			any = has
		}
		return any
	}
	return nil
}

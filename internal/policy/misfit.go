package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A policy whose parts don't fit each other is never true: one about call_tool that wants a Prompt, or the uri of a
// Tool. With schema: strict that is a mistake, as a misspelled word is.

// misfits tells the parts of a policy that can't be true together with its scope, whatever the call is.
func (p *Policies) misfits(x *ast.Policy, t tell) {
	switch s := x.Principal.(type) {
	case ast.ScopeTypeEq:
		callerIs(s.Entity, t)
	case ast.ScopeTypeIs:
		callerOf(s.Type, t)
	case ast.ScopeTypeIsIn:
		callerOf(s.Type, t)
	}
	about, others := p.about(x.Action)
	if wanted, ok := resourceType(x.Resource); ok {
		if !slices.Contains(about, wanted) && !(others && wanted == typeProxy) && slices.Contains(resourceTypes, wanted) {
			t(string(wanted), fmt.Sprintf("the action is never about a %s", wanted), fmt.Sprintf("it is about %s", eitherOf(about, others)))
			return
		}
		about = []types.EntityType{wanted}
	}
	for _, c := range x.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				lacks(n.StrOpNode, about, t)
			case ast.NodeTypeHas:
				lacks(n.StrOpNode, about, t)
			case ast.NodeTypeEquals:
				lit, _ := n.Right.(ast.NodeValue)
				if uid, ok := lit.Value.(types.EntityUID); ok && isVariable(n.Left, "principal") {
					callerIs(uid, t)
				}
			}
			return true
		})
	}
}

var resourceTypes = []types.EntityType{typeTool, typePrompt, typeResource, typeProxy}

// about gives the types of what a scope's actions are about; others says whether it has actions beside the kinds', which
// are about the proxy.
func (p *Policies) about(scope ast.IsActionScopeNode) (about []types.EntityType, others bool) {
	for i := range kinds {
		above := (&view{static: p.static, principal: &types.Entity{}}).above(kinds[i].action)
		if scopeHolds(scope, kinds[i].action, above) {
			about = append(about, kinds[i].resource)
		}
	}
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		others = !namesKind(s.Entity)
	case ast.ScopeTypeIn:
		others = !namesKind(s.Entity)
	case ast.ScopeTypeInSet:
		others = !slices.ContainsFunc(s.Entities, namesKind) || slices.ContainsFunc(s.Entities, func(e types.EntityUID) bool { return !namesKind(e) })
	default:
		others = true
	}
	return about, others
}

// resourceType is the type that a scope wants of the resource; false where it wants none.
func resourceType(scope ast.IsResourceScopeNode) (types.EntityType, bool) {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return s.Entity.Type, true
	case ast.ScopeTypeIs:
		return s.Type, true
	case ast.ScopeTypeIsIn:
		return s.Type, true
	}
	return "", false
}

// lacks tells of an attribute that none of the types has.
func lacks(n ast.StrOpNode, about []types.EntityType, t tell) {
	if !isVariable(n.Arg, "resource") || len(about) == 0 {
		return
	}
	var owner types.EntityType
	switch {
	case n.Value == attrURI:
		owner = typeResource
	case isHint(n.Value):
		owner = typeTool
	default:
		return
	}
	if !slices.Contains(about, owner) {
		t(string(n.Value), fmt.Sprintf("a %s has no attribute %s", eitherOf(about, false), quote(string(n.Value))), fmt.Sprintf("only a %s has it", owner))
	}
}

func callerIs(uid types.EntityUID, t tell) {
	if uid.Type != typeClient {
		t(string(uid.Type), fmt.Sprintf("the caller is never a %s", uid.Type), fmt.Sprintf("write principal in %s", uid))
	}
}

func callerOf(of types.EntityType, t tell) {
	if of != typeClient {
		t(string(of), fmt.Sprintf("the caller is never a %s", of), "the caller is a Client; write principal in for what it is in")
	}
}

// eitherOf names types for a sentence.
func eitherOf(about []types.EntityType, others bool) string {
	if others {
		about = append(slices.Clone(about), typeProxy)
	}
	text := ""
	for i, t := range about {
		switch {
		case i > 0 && i == len(about)-1:
			text += " or "
		case i > 0:
			text += ", "
		}
		text += string(t)
	}
	return text
}

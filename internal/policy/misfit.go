package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	m := &misfit{t, about, lists(x)}
	for _, c := range x.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			m.node(n)
			return true
		})
	}
}

// misfit looks at conditions.
type misfit struct {
	tell  tell
	about []types.EntityType // what the policy is about
	lists bool               // it is about lists, too
}

func (m *misfit) node(n ast.IsNode) {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		m.lacks(n.StrOpNode)
	case ast.NodeTypeHas:
		m.lacks(n.StrOpNode)
	case ast.NodeTypeEquals:
		lit, _ := n.Right.(ast.NodeValue)
		if uid, ok := lit.Value.(types.EntityUID); ok && isVariable(n.Left, "principal") {
			callerIs(uid, m.tell)
		}
		m.compared(n.Left, n.Right)
		m.compared(n.Right, n.Left)
	case ast.NodeTypeNotEquals:
		m.compared(n.Left, n.Right)
		m.compared(n.Right, n.Left)
	case ast.NodeTypeContains:
		if set, ok := n.Left.(ast.NodeTypeSet); ok {
			for _, element := range set.Elements {
				m.compared(n.Right, element)
			}
		}
	}
}

// compared tells of a literal that a variable, or an attribute that always has the same type, never equals.
func (m *misfit) compared(of, with ast.IsNode) {
	lit, ok := with.(ast.NodeValue)
	if !ok {
		return
	}
	spelled, shown := string(lit.Value.MarshalCedar()), lit.Value.String()
	if text, ok := lit.Value.(types.String); ok {
		shown = quote(string(text))
	}
	kind := typeOf(lit.Value)
	switch of := of.(type) {
	case ast.NodeTypeVariable:
		if _, ok := lit.Value.(types.EntityUID); !ok && of.Name != "context" {
			m.tell(spelled, fmt.Sprintf("%s never equals %s: it is an entity, and that is %s", of.Name, shown, kind), `write an entity, such as `+examples[of.Name])
		}
	case ast.NodeTypeAccess:
		if !isVariable(of.Arg, "resource") || !closed[of.Value] {
			return
		}
		text, isText := lit.Value.(types.String)
		_, isBool := lit.Value.(types.Boolean)
		switch {
		case isHint(of.Value) && !isBool:
			m.tell(spelled, fmt.Sprintf("resource.%s never equals %s: it is true or false, and that is %s", of.Value, shown, kind), "write true or false, without quotes")
		case isHint(of.Value):
		case !isText:
			m.tell(spelled, fmt.Sprintf("resource.%s never equals %s: it is a string, and that is %s", of.Value, shown, kind), "compare it with a string")
		case of.Value == attrOperation || of.Value == attrFeature:
			m.oneOf(of.Value, text, spelled)
		}
	}
}

// typeOf names the type of a literal in sentences.
func typeOf(v types.Value) string {
	switch v.(type) {
	case types.String:
		return "a string"
	case types.Boolean:
		return "true or false"
	case types.Long:
		return "a number"
	}
	return "an entity"
}

// examples are what the variables can be.
var examples = map[types.String]string{"principal": `Client::"ann"`, "action": `Action::"call_tool"`, "resource": `Tool::"weather"`}

// oneOf tells of a value that an attribute with few of them never has.
func (m *misfit) oneOf(attribute, text types.String, spelled string) {
	var values []string
	for i := range kinds {
		if slices.Contains(m.about, kinds[i].resource) {
			value := kinds[i].operation
			if attribute == attrFeature {
				value = kinds[i].feature
			}
			values = append(values, strconv.Quote(string(value)))
		}
	}
	if m.lists || len(values) == 0 || slices.Contains(values, strconv.Quote(string(text))) {
		return
	}
	m.tell(spelled, fmt.Sprintf("resource.%s is never %s here", attribute, quote(string(text))), "it is "+listed(values))
}

// lists says whether a policy is written for lists, which always pass: what it says of them is never asked.
func lists(x *ast.Policy) bool {
	if of, ok := resourceType(x.Resource); ok && of == typeFeature {
		return true
	}
	return slices.ContainsFunc(listActions, func(id string) bool { return namesAction(x.Action, actionUID(id)) })
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
func (m *misfit) lacks(n ast.StrOpNode) {
	about := m.about
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
		m.tell(string(n.Value), fmt.Sprintf("a %s has no attribute %s", eitherOf(about, false), quote(string(n.Value))), fmt.Sprintf("only a %s has it", owner))
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
	words := make([]string, len(about))
	for i, t := range about {
		words[i] = string(t)
	}
	return listed(words)
}

// listed are alternatives in a sentence: a, b or c.
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// What policies look at is found once, in their syntax trees, and only that is ever made. It is exact: Cedar names an
// attribute in the text of a policy or not at all, an entity can't be used as a whole, and a policy that uses context as
// a whole (context == {...}) gets all of it.

// names is a set of attributes.
type names map[types.String]bool

// reads is what a set of policies looks at.
type reads struct {
	context names // attributes of context
	whole   bool  // context as a value
	entity  names // attributes of whatever is not context: principal, resource, another entity, a record
	args    map[string]arg
}

// arg is where an argument is looked at.
type arg struct {
	attribute         types.String
	context, resource bool
}

// readsOf walks through the conditions of policies.
func readsOf(list []policy) reads {
	r := reads{context: names{}, entity: names{}, args: map[string]arg{}}
	for i := range list {
		for _, c := range list[i].ast.Conditions {
			r.note(c.Body)
		}
	}
	for _, set := range []names{r.context, r.entity} {
		for name := range set {
			if key, ok := strings.CutPrefix(string(name), prefixArg); ok {
				r.args[key] = arg{name, r.inContext(name), r.entity[name]}
			}
		}
	}
	return r
}

func (r *reads) note(n ast.IsNode) {
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		var on ast.IsNode
		var name types.String
		switch n := n.(type) {
		case ast.NodeTypeAccess:
			on, name = n.Arg, n.Value
		case ast.NodeTypeHas:
			on, name = n.Arg, n.Value
		case ast.NodeTypeVariable:
			r.whole = r.whole || n.Name == "context"
			return false
		default:
			return true
		}
		if isVariable(on, "context") {
			r.context[name] = true
			return false
		}
		r.entity[name] = true
		return true
	})
}

// isVariable says whether a node is the variable of a name.
func isVariable(n ast.IsNode, name types.String) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == name
}

// arguments says whether any argument is looked at.
func (r *reads) arguments() bool { return r.whole || len(r.args) > 0 }

// argument says where an argument is looked at; false for nowhere.
func (r *reads) argument(key string) (arg, bool) {
	a, ok := r.args[key]
	if !ok && r.whole {
		return arg{types.String(prefixArg + key), true, false}, true
	}
	return a, ok
}

// inContext says whether an attribute of context is looked at.
func (r *reads) inContext(name types.String) bool { return r.whole || r.context[name] }

// readsHints says whether a policy looks at a hint.
func readsHints(p *ast.Policy) bool {
	var r reads
	r.context, r.entity = names{}, names{}
	for _, c := range p.Conditions {
		r.note(c.Body)
	}
	for name := range r.entity {
		if isHint(name) {
			return true
		}
	}
	return false
}

// resolved is whether an expression depends on caller and action alone, so that it has one value, or one error, for
// every call of a method. Other entities than the caller are not looked into: one of them could be the resource.
func resolved(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeValue:
		return true
	case ast.NodeTypeVariable:
		return n.Name == "principal" || n.Name == "action"
	case ast.NodeTypeAccess:
		return isVariable(n.Arg, "principal") || isVariable(n.Arg, "context") && isClaim(n.Value)
	case ast.NodeTypeHas:
		return isVariable(n.Arg, "principal") || isVariable(n.Arg, "context") && isClaim(n.Value)
	case ast.NodeTypeHasTag:
		return isVariable(n.Left, "principal") && resolved(n.Right)
	case ast.NodeTypeGetTag:
		return isVariable(n.Left, "principal") && resolved(n.Right)
	case ast.NodeTypeIn:
		return isVariable(n.Left, "principal") && resolved(n.Right)
	case ast.NodeTypeIsIn:
		return isVariable(n.Left, "principal") && resolved(n.Entity)
	case ast.NodeTypeIs:
		return resolved(n.Left)
	case ast.NodeTypeLike:
		return resolved(n.Arg)
	}
	return composed(n)
}

// isClaim says whether an attribute's name is that of a claim. In context, arguments have others.
func isClaim(name types.String) bool {
	return strings.HasPrefix(string(name), prefixClaim) || strings.HasPrefix(string(name), prefixClaims)
}

// composed is resolved for what is made of operands only.
func composed(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeOr:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeEquals:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeNotEquals:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeContains:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeContainsAll:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeContainsAny:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeLessThan:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeLessThanOrEqual:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeGreaterThan:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeGreaterThanOrEqual:
		return resolved(n.Left) && resolved(n.Right)
	case ast.NodeTypeNot:
		return resolved(n.Arg)
	case ast.NodeTypeIsEmpty:
		return resolved(n.Arg)
	case ast.NodeTypeSet:
		for _, e := range n.Elements {
			if !resolved(e) {
				return false
			}
		}
		return true
	}
	return false
}

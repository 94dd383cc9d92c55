package policy

import (
	"iter"
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/rolegate/rolegate/internal/fault"
)

// Decide judges one query. Who must come from Principal; nil is nobody in particular.
//
// A satisfied forbid denies, and so does one that can't be evaluated. Otherwise a satisfied permit allows, if the
// caller has the scopes of its @scopes. Otherwise the answer is no. Policies that can't be evaluated are told, and hide
// no others.
//
// A method that is none of tools/call, prompts/get and resources/read is decided as Action::"<method>" on the proxy,
// MCP::"<name>". There only a permit counts whose scope names that action, so that permit(principal, action, resource)
// opens nothing that it was not written for; every forbid counts.
func (p *Policies) Decide(who *Principal, q Query) Decision {
	who = p.own(who)
	v := &view{static: p.static, principal: &who.entity}
	req := cedar.Request{Principal: who.entity.UID, Context: who.context}
	c := candidates{p: p}
	i, known := kindOf(q.Method)
	if known {
		k := &kinds[i]
		req.Action, req.Resource = k.action, k.uid(q.Target)
		c.selection, c.alive = p.selections[k.method], who.alive[i]()
	} else if req.Action, req.Resource = actionUID(q.Method), p.self; namesKind(req.Action) {
		return Decision{} // no method is called so, and what a policy says of the action is not meant for it
	}
	c.action, c.resource = req.Action, req.Resource

	var attributes types.RecordMap
	if known {
		attributes = types.RecordMap{}
		kinds[i].describe(p, q, attributes)
	}
	if len(q.Args) > 0 && p.reads.arguments() {
		if err := p.readArguments(who, q.Args, &req, attributes); err != nil {
			return Decision{Errors: []Found{{Message: "read arguments: " + err.Error()}}}
		}
	}
	if known {
		e := p.merge(req.Resource, attributes, p.inSelf)
		v.resource = &e
	}
	decision, said := cedar.Authorize(c, v, req)
	return p.conclude(who, bool(decision), said)
}

// own gives the principal as these policies see it: one that others made is made again.
func (p *Policies) own(who *Principal) *Principal {
	switch {
	case who == nil:
		return p.nobody
	case who.of != p:
		return p.Principal(who.caller)
	}
	return who
}

// describe sets the attributes of a resource that follow from the query, without its arguments.
func (k *kind) describe(p *Policies, q Query, attributes types.RecordMap) {
	set := func(name types.String, v types.Value) {
		if p.reads.entity[name] {
			attributes[name] = v
		}
	}
	set(attrOperation, k.operation)
	set(attrFeature, k.feature)
	if k.resource == typeResource {
		set(attrURI, types.String(q.Target))
		set(attrName, types.String(sanitizer.Replace(q.Target)))
		return
	}
	set(attrName, types.String(q.Target))
	if k.resource != typeTool {
		return
	}
	for _, hint := range [...]struct {
		name  types.String
		value *bool
	}{
		{attrReadOnly, q.Hints.ReadOnly},
		{attrDestructive, q.Hints.Destructive},
		{attrIdempotent, q.Hints.Idempotent},
		{attrOpenWorld, q.Hints.OpenWorld},
	} {
		if hint.value != nil {
			set(hint.name, types.Boolean(*hint.value))
		}
	}
}

// readArguments adds the arguments that some policy looks at to the context, and to the resource where it has
// attributes.
func (p *Policies) readArguments(who *Principal, raw []byte, req *cedar.Request, attributes types.RecordMap) error {
	var context types.RecordMap
	err := arguments(raw, p.reads.argument, func(a arg, v types.Value) {
		if attributes != nil && a.resource {
			attributes[a.attribute] = v
		}
		if a.context {
			if context == nil {
				context = make(types.RecordMap, len(who.claims)+4)
				for name, v := range who.claims {
					context[name] = v
				}
			}
			context[a.attribute] = v
		}
	})
	if context != nil {
		req.Context = types.NewRecord(context)
	}
	return err
}

// candidates are the policies of one decision.
type candidates struct {
	p                *Policies
	selection        *selection // nil for a method that is of no kind
	alive            *alive
	action, resource types.EntityUID
}

// All gives each with its index as the ID.
func (c candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		if c.selection == nil {
			c.others(yield)
			return
		}
		c.alive.about(c.selection.named[c.resource], func(i int) bool {
			x := &c.p.list[i]
			if c.alive.all {
				return yield(x.key, x.cedar)
			}
			return yield(x.key, x.fast)
		})
	}
}

// others gives the forbids, and the permits whose scope names the action.
func (c candidates) others(yield func(cedar.PolicyID, *cedar.Policy) bool) {
	for i := range c.p.list {
		x := &c.p.list[i]
		if !x.forbid && !namesAction(x.ast.Action, c.action) {
			continue
		}
		if !yield(x.key, x.cedar) {
			return
		}
	}
}

// namesAction says whether a scope names an action itself.
func namesAction(scope ast.IsActionScopeNode, action types.EntityUID) bool {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == action
	case ast.ScopeTypeIn:
		return s.Entity == action
	case ast.ScopeTypeInSet:
		return slices.Contains(s.Entities, action)
	}
	return false
}

// conclude makes the decision of what Cedar said.
func (p *Policies) conclude(who *Principal, allowed bool, said cedar.Diagnostic) Decision {
	var d Decision
	var forbids, permits []int
	for _, e := range said.Errors {
		i := p.index(e.PolicyID)
		found := p.list[i].found
		found.Message = e.Message
		d.Errors = append(d.Errors, found)
		if p.list[i].forbid {
			forbids = append(forbids, i)
		}
	}
	for _, r := range said.Reasons {
		if i := p.index(r.PolicyID); p.list[i].forbid {
			forbids = append(forbids, i)
		} else {
			permits = append(permits, i)
		}
	}
	if len(forbids) > 0 {
		slices.Sort(forbids)
		d.Policies = p.named(forbids)
		return d
	}
	if !allowed {
		return d
	}
	granted := slices.DeleteFunc(slices.Clone(permits), func(i int) bool { return !who.has(p.list[i].scopes) })
	if len(granted) > 0 {
		d.Allowed, d.Policies = true, p.named(granted)
		return d
	}
	d.Policies = p.named(permits[:1])
	d.Scopes = slices.Clone(p.list[permits[0]].scopes)
	return d
}

// has says whether the caller's token has all of these scopes.
func (who *Principal) has(scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(who.scopes, s) })
}

func (p *Policies) index(id cedar.PolicyID) int {
	i, err := strconv.Atoi(string(id))
	if err != nil || i < 0 || i >= len(p.list) {
		panic("policy: Cedar names a policy that it was not given: " + string(id))
	}
	return i
}

func (p *Policies) named(list []int) []Found {
	all := make([]Found, len(list))
	for n, i := range list {
		all[n] = p.list[i].found
	}
	return all
}

// Authorize is Decide, with an error where the answer is no: a *fault.Error of kind Denied, whose public words name the
// tool, prompt, resource or method, and which asks for scopes (RFC 6750, section 3.1, insufficient_scope) where those
// would do.
func (p *Policies) Authorize(who *Principal, q Query) (Decision, error) {
	d := p.Decide(who, q)
	if d.Allowed {
		return d, nil
	}
	what, name := "method", q.Method
	if i, ok := kindOf(q.Method); ok {
		what, name = kinds[i].word, q.Target
	}
	words := "policy refuses " + what + " " + quote(name)
	if len(d.Scopes) > 0 {
		return d, fault.New(fault.Denied, words+" without more scopes").Challenged("insufficient_scope", d.Scopes...).Hint("%s", d.hint())
	}
	return d, fault.New(fault.Denied, words).Hint("%s", d.hint())
}

// hint says why in one line, for logs.
func (d Decision) hint() string {
	text := "no policy permits it"
	for i, f := range d.Policies {
		if i == 0 {
			text = f.Effect + " by"
		}
		text += " " + f.ID
	}
	for i, f := range d.Errors {
		if i == 0 {
			text += "; not evaluated:"
		}
		if f.ID == "" {
			text += " " + f.Message
			continue
		}
		text += " " + f.ID
	}
	return text
}

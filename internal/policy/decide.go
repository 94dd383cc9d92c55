package policy

import (
	"cmp"
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
	f := borrow(p, p.own(who), q)
	defer f.giveBack()
	if d, decided := f.gather(); decided {
		return d
	}
	return f.decide()
}

// unreadable stands for the id of a policy where it is the arguments that can't be read: it refuses as a forbid does.
const unreadable = "(arguments)"

// gather finds what the query is about, and its arguments; it gives the decision where that is all there is to it.
func (f *facts) gather() (d Decision, decided bool) {
	p, q := f.p, f.q
	i, known := kindOf(q.Method)
	switch {
	case known:
		f.number, f.kind, f.action, f.resource = i, &kinds[i], kinds[i].action, kinds[i].uid(q.Target)
		f.static = p.static[f.resource]
	case namesKind(actionUID(q.Method)):
		return Decision{}, true // no method is called so, and what a policy says of the action is not meant for it
	default:
		f.action, f.resource = actionUID(q.Method), p.self
	}
	if len(q.Args) > 0 && p.reads.arguments() {
		if err := arguments(q.Args, p.reads.argument, f.put); err != nil {
			return Decision{Errors: []Found{{ID: unreadable, Effect: "forbid", Message: "read arguments: " + err.Error()}}}, true
		}
	}
	return Decision{}, false
}

// decide judges what was gathered.
func (f *facts) decide() Decision {
	if f.kind == nil {
		return f.p.conclude(f.who, f.judgeOther())
	}
	return f.p.conclude(f.who, f.judge(f.p.selections[f.number], f.who.alive[f.number]()))
}

// result is what policies say of a query, by their indexes in order.
type result struct {
	permits, forbids []int // satisfied, or a forbid that can't be evaluated
	errors           []Found
}

// judge looks at the policies that may be true of the resource: quickly where that is certain, and with Cedar otherwise.
func (f *facts) judge(s *selection, a *alive) result {
	a.about(s.named[f.resource], func(i int) bool {
		switch a.quick(i, f) {
		case yes:
			f.satisfied(i)
		case unknown:
			f.ask = append(f.ask, i)
		}
		return true
	})
	return f.answer(!a.all)
}

// judgeOther is judge for a method that is of no kind: the forbids, and the permits whose scope names the action.
func (f *facts) judgeOther() result {
	for i := range f.p.list {
		if x := &f.p.list[i]; x.forbid || namesAction(x.ast.Action, f.action) {
			f.ask = append(f.ask, i)
		}
	}
	return f.answer(false)
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

// attribute is an attribute of a resource that follows from the query, without its arguments; nil for none.
func (k *kind) attribute(name types.String, q Query) types.Value {
	switch name {
	case attrName:
		return k.uid(q.Target).ID
	case attrOperation:
		return k.operation
	case attrFeature:
		return k.feature
	case attrURI:
		if k.resource == typeResource {
			return types.String(q.Target)
		}
	}
	if k.resource != typeTool {
		return nil
	}
	switch name {
	case attrReadOnly:
		return hint(q.Hints.ReadOnly)
	case attrDestructive:
		return hint(q.Hints.Destructive)
	case attrIdempotent:
		return hint(q.Hints.Idempotent)
	case attrOpenWorld:
		return hint(q.Hints.OpenWorld)
	}
	return nil
}

func hint(declared *bool) types.Value {
	if declared == nil {
		return nil
	}
	return types.Boolean(*declared)
}

// answer asks Cedar about the policies that are left, in the form after selection or as they were written.
func (f *facts) answer(selected bool) result {
	var errors []Found
	if len(f.ask) > 0 {
		req := cedar.Request{Principal: f.who.entity.UID, Action: f.action, Resource: f.resource, Context: f.context()}
		v := &view{static: f.p.static, principal: &f.who.entity, resource: f.entity()}
		_, diagnostic := cedar.Authorize(candidates{f.p, f.ask, selected}, v, req)
		for _, r := range diagnostic.Reasons {
			f.satisfied(f.p.index(r.PolicyID))
		}
		for _, e := range diagnostic.Errors {
			i := f.p.index(e.PolicyID)
			found := f.p.list[i].found
			found.Message = e.Message
			errors = append(errors, found)
			if f.p.list[i].forbid {
				f.satisfied(i)
			}
		}
		slices.Sort(f.permits)
		slices.Sort(f.forbids)
	}
	return result{f.permits, f.forbids, errors}
}

// context is what Cedar sees as context.
func (f *facts) context() types.Record {
	var all types.RecordMap
	for _, a := range f.args {
		if !a.arg.context {
			continue
		}
		if all == nil {
			all = make(types.RecordMap, len(f.who.claims)+len(f.args))
			for name, v := range f.who.claims {
				all[name] = v
			}
		}
		all[a.arg.attribute] = a.value
	}
	if all == nil {
		return f.who.context
	}
	return types.NewRecord(all)
}

// entity is what Cedar sees as the resource; nil where that is the proxy.
func (f *facts) entity() *types.Entity {
	if f.kind == nil {
		return nil
	}
	attributes := types.RecordMap{}
	for name := range closed {
		if v := f.kind.attribute(name, f.q); v != nil && f.p.reads.entity[name] {
			attributes[name] = v
		}
	}
	for _, a := range f.args {
		if a.arg.resource {
			attributes[a.arg.attribute] = a.value
		}
	}
	e := f.p.merge(f.resource, attributes, f.p.inSelf)
	return &e
}

// candidates are the policies that Cedar is asked about.
type candidates struct {
	p        *Policies
	list     []int
	selected bool // in the form after selection
}

// All gives each with its index as the ID.
func (c candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, i := range c.list {
			x := &c.p.list[i]
			form := x.cedar
			if c.selected {
				form = x.fast
			}
			if !yield(x.key, form) {
				return
			}
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

// conclude makes the decision of what the policies say.
func (p *Policies) conclude(who *Principal, s result) Decision {
	d := Decision{Errors: s.errors}
	if len(s.forbids) > 0 {
		d.Policies = p.named(s.forbids)
		return d
	}
	if len(s.permits) == 0 {
		return d
	}
	lacking := func(i int) bool { return !who.has(p.list[i].scopes) }
	first := s.permits[0]
	if granted := slices.DeleteFunc(s.permits, lacking); len(granted) > 0 {
		d.Allowed, d.Policies = true, p.named(granted)
		return d
	}
	d.Policies = p.named([]int{first})
	d.Scopes = slices.Clone(p.list[first].scopes)
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
		what, name = kinds[i].word, cmp.Or(q.Called, q.Target)
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
		if f.ID == unreadable {
			text += " " + f.Message
			continue
		}
		text += " " + f.ID
	}
	return text
}

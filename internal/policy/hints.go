package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
)

// DependsOnHints says whether Decide would say something else than with all hints absent, if the remote had set them
// otherwise: allow or not, or ask for other scopes. It tries every combination of those that policies look at, 81 at
// most. The hints of q are not looked at. An allow for which it is true must not stand while the hints are unknown.
func (p *Policies) DependsOnHints(who *Principal, q Query) bool {
	if !p.readsHints {
		return false
	}
	f := borrow(p, p.own(who), q)
	defer f.giveBack()
	if _, decided := f.gather(); decided || f.kind == nil || f.kind.resource != typeTool {
		return false
	}
	f.q.Hints = Hints{}
	without := f.decide()
	h := &f.q.Hints
	var read []**bool
	for _, hint := range [...]struct {
		name  types.String
		value **bool
	}{{attrReadOnly, &h.ReadOnly}, {attrDestructive, &h.Destructive}, {attrIdempotent, &h.Idempotent}, {attrOpenWorld, &h.OpenWorld}} {
		if p.reads.entity[hint.name] {
			read = append(read, hint.value)
		}
	}
	return f.otherwise(read, without)
}

// otherwise says whether some values of these hints give another answer.
func (f *facts) otherwise(hints []**bool, than Decision) bool {
	if len(hints) == 0 {
		f.ask, f.permits, f.forbids = f.ask[:0], f.permits[:0], f.forbids[:0]
		d := f.decide()
		return d.Allowed != than.Allowed || !slices.Equal(d.Scopes, than.Scopes)
	}
	set, unset := true, false
	for _, value := range [...]*bool{nil, &set, &unset} {
		*hints[0] = value
		if f.otherwise(hints[1:], than) {
			return true
		}
	}
	return false
}

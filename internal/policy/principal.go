package policy

import (
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/rolegate/rolegate/internal/token"
)

// Principal is what policies see of one caller. It is immutable, for concurrent use, and worth keeping for as long as
// the token is good: making one reads every claim that some policy looks at, and selects the policies that can concern
// this caller.
type Principal struct {
	of      *Policies
	caller  *token.Caller
	entity  types.Entity
	above   map[types.EntityUID]bool // everything that the caller is in, itself included
	marked  []bool                   // by the number of the mark
	claims  types.RecordMap          // of context
	context types.Record             // the same, for decisions in which no argument counts
	scopes  []string
	alive   []func() *alive // of each kind: the policies that can concern the caller; made when first needed
}

// Principal makes what these policies see of a caller: Client::"<sub>" with its claims, in its groups. A nil caller is
// nobody in particular: Client::"" without claims.
func (p *Policies) Principal(c *token.Caller) *Principal {
	who := &Principal{of: p, caller: c, claims: types.RecordMap{}}
	var claims map[string]any
	uid := types.NewEntityUID(typeClient, "")
	if c != nil {
		claims = c.Subject.Claims
		uid.ID = types.String(c.Subject.ID)
		who.scopes = c.Scopes
	}
	attributes := types.RecordMap{}
	p.eachClaim(claims, func(name types.String, v types.Value) {
		if p.reads.entity[name] {
			attributes[name] = v
		}
		if p.reads.inContext(name) {
			who.claims[name] = v
		}
	})
	var parents []types.EntityUID
	for _, group := range p.groups(claims) {
		parents = append(parents, types.NewEntityUID(types.EntityType(p.groupType), types.String(group)))
	}
	who.entity = p.merge(uid, attributes, types.NewEntityUIDSet(parents...))
	who.above = (&view{static: p.static, principal: &who.entity}).above(uid)
	who.mark(p.marks)
	who.context = types.NewRecord(who.claims)
	for _, s := range p.selections {
		who.alive = append(who.alive, sync.OnceValue(func() *alive { return s.alive(p, who) }))
	}
	return who
}

// mark puts a mark on the caller for everything that it is in and some policy asks about.
func (who *Principal) mark(marks marks) {
	attributes := who.entity.Attributes.Map()
	who.marked = make([]bool, len(marks))
	for uid := range who.above {
		if n, asked := marks[uid]; asked {
			who.marked[n] = true
			if attributes == nil {
				attributes = types.RecordMap{}
			}
			attributes[mark(uid)] = types.True
		}
	}
	who.entity.Attributes = types.NewRecord(attributes)
}

// in says whether the caller is in the entity of a mark.
func (who *Principal) in(mark int) bool { return who.marked[mark] }

// eachClaim calls yield with the attributes that claims become, where some policy looks at them.
func (p *Policies) eachClaim(claims map[string]any, yield func(name types.String, v types.Value)) {
	read := func(name types.String) bool { return p.reads.entity[name] || p.reads.inContext(name) }
	for name, raw := range claims {
		if attribute := types.String(prefixClaim + name); read(attribute) && !slices.Contains(p.multi, name) {
			if v, ok := claim(raw, 0); ok {
				yield(attribute, v)
			}
		}
	}
	for _, name := range p.multi {
		raw, _ := token.Claim(claims, name)
		one, set := types.String(prefixClaim+name), types.String(prefixClaims+name)
		words, ok := several(raw)
		if !ok {
			if v, there := claim(raw, 0); there && read(one) {
				yield(one, v)
			}
			continue
		}
		if read(one) {
			yield(one, types.String(strings.Join(words, " ")))
		}
		if read(set) {
			members := make([]types.Value, len(words))
			for i, word := range words {
				members[i] = types.String(word)
			}
			yield(set, types.NewSet(members...))
		}
	}
}

// several reads a claim of several values: the words of a string, or the strings of a list. It is false for any other.
func several(raw any) ([]string, bool) {
	switch v := raw.(type) {
	case string:
		return strings.Fields(v), true
	case []any:
		return stringsIn(v), true
	}
	return nil, false
}

// groups are the caller's: of the configured claim, or else of the first usual one that the token has; and of the role
// claim.
func (p *Policies) groups(claims map[string]any) []string {
	var found any
	if p.groupClaim != "" {
		found, _ = token.Claim(claims, p.groupClaim)
	}
	for _, name := range groupClaims {
		if found == nil {
			found = claims[name]
		}
	}
	all := namesIn(found)
	if p.roleClaim != "" {
		v, _ := token.Claim(claims, p.roleClaim)
		all = append(all, namesIn(v)...)
	}
	return all
}

// namesIn reads a list of names, or a string: that is a name itself, and so is each of its words, as where a role is
// chosen by it. What is not a string, or empty, names nothing.
func namesIn(v any) []string {
	switch v := v.(type) {
	case string:
		all := stringsIn([]any{v})
		if strings.Contains(v, " ") {
			all = slices.DeleteFunc(append(all, strings.Split(v, " ")...), func(s string) bool { return s == "" })
		}
		return all
	case []any:
		return stringsIn(v)
	}
	return nil
}

func stringsIn(list []any) []string {
	all := make([]string, 0, len(list))
	for _, member := range list {
		if s, ok := member.(string); ok && s != "" {
			all = append(all, s)
		}
	}
	return all
}

package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/token"
)

// What would change the answer is found by trial: claims one step away from those at hand, made of the names that
// mappings, matchers, policies and entities hold, are each asked about as the question was, and those that give another
// answer are told. A name that is no good is tried in vain; nothing is concluded from the texts themselves.

// What is tried is bounded, whoever has claims and a call of whatever size: by a number, and by the bytes of claims and
// messages that are read for it.
const (
	maxTrials     = 1000
	maxTrialBytes = 4 << 20
)

// Change is one step, and where it leads.
type Change struct {
	What    string `json:"change"`             // such as `add "s3-readers" to claim groups`
	Outcome string `json:"outcome"`            // one of the Outcome words
	RoleARN string `json:"role_arn,omitempty"` // the role then
	Why     string `json:"why"`
}

// trial is one claim that is another. Its value is made when it is tried.
type trial struct {
	what  string
	claim string // where token.Claim finds it
	value func() any
}

// changes tries what is one step away, and gives what leads to another outcome, or lets the request in as it is with
// another role; and how many steps were left out.
func (r *Rehearsal) changes(ctx context.Context, p *played, q Question) (changes []Change, untried int, err error) {
	changes = []Change{}
	c := p.event.Caller
	if c == nil || p.outcome() == OutcomeFailed {
		return changes, 0, nil
	}
	var roles []Change
	was := p.outcome()
	role := p.gate.know(c).role.RoleARN
	tried, asked, size := map[string]bool{}, map[[sha256.Size]byte]bool{}, 0
	for _, t := range r.trials(p) {
		switch {
		case tried[t.what]:
			continue
		case len(tried) >= maxTrials || size >= maxTrialBytes:
			untried++
			continue
		case ctx.Err() != nil:
			return nil, 0, ctx.Err()
		}
		tried[t.what] = true
		claims := with(c.Subject.Claims, t.claim, t.value())
		text, err := json.Marshal(claims)
		sum := sha256.Sum256(text)
		if err != nil || asked[sum] {
			continue
		}
		asked[sum] = true
		size += len(text) + len(q.Message)
		then, err := r.askAs(ctx, claims, q)
		if err != nil {
			return nil, 0, err
		}
		change := Change{What: t.what, Outcome: then.outcome(), Why: then.why()}
		if k := then.known(); k != nil {
			change.RoleARN = k.role.RoleARN
		}
		switch {
		case change.Outcome == OutcomeToken || change.Outcome == OutcomeFailed:
		case change.Outcome != was:
			changes = append(changes, change)
		case change.Outcome == OutcomeAllowed && change.RoleARN != role:
			roles = append(roles, change)
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return rank(a.Outcome) - rank(b.Outcome) })
	return append(changes, roles...), untried, nil
}

// rank puts what lets the request in before the rest.
func rank(outcome string) int {
	return slices.Index([]string{OutcomeAllowed, OutcomeStepUp, OutcomeDenied}, outcome)
}

// trials are the claims to try: types put right, names added, names taken away, scopes added.
func (r *Rehearsal) trials(p *played) []trial {
	claims := p.event.Caller.Subject.Claims
	var all []trial
	lists := r.listClaims(claims)
	for _, path := range lists {
		all = append(all, retyped(claims, path)...)
	}
	if f := fault.Of(p.event.Err); f != nil && len(f.Scopes) > 0 {
		all = append(all, scoped(claims, p.event.Caller.Scopes, f.Scopes))
	}
	for _, path := range lists {
		for _, name := range r.names(path, p.event.Call) {
			all = append(all, added(claims, path, name)...)
		}
	}
	all = append(all, r.literal(claims)...)
	for _, path := range lists {
		all = append(all, without(claims, path)...)
	}
	return all
}

// listClaims are the claims that hold groups or roles: for mappings, and for policies.
func (r *Rehearsal) listClaims(claims map[string]any) []string {
	var paths []string
	if a := r.cfg.AWSSTS; a != nil {
		paths = append(paths, cmp.Or(a.RoleClaim, "groups"))
	}
	if a := r.cfg.Authz; a != nil {
		group := a.GroupClaim
		for _, usual := range []string{"groups", "roles", "cognito:groups"} {
			if _, present := claims[usual]; present && group == "" {
				group = usual
			}
		}
		paths = append(paths, cmp.Or(group, "groups"))
		if a.RoleClaim != "" {
			paths = append(paths, a.RoleClaim)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// names are what mappings and policies look for among groups and roles; first those of policies that name what the call
// is about.
func (r *Rehearsal) names(path string, call *mcp.Call) []string {
	var names []string
	if a := r.cfg.AWSSTS; a != nil && path == cmp.Or(a.RoleClaim, "groups") {
		for _, m := range a.RoleMappings {
			if m.Claim != "" {
				names = append(names, m.Claim)
			}
		}
	}
	a := r.cfg.Authz
	if a == nil {
		return names
	}
	kind := cmp.Or(a.GroupEntityType, "THVGroup")
	literal := regexp.MustCompile(regexp.QuoteMeta(kind) + `::("(?:[^"\\]|\\.)*")`)
	texts := slices.Clone(a.Policies)
	if call != nil {
		target := strconv.Quote(call.Target)
		slices.SortStableFunc(texts, func(a, b string) int {
			return cmp.Compare(strings.Index(b, target), strings.Index(a, target)) // -1 where it is not named
		})
	}
	for _, text := range texts {
		for _, m := range literal.FindAllStringSubmatch(text, -1) {
			if name, err := strconv.Unquote(m[1]); err == nil {
				names = append(names, name)
			}
		}
	}
	var entities any
	if json.Unmarshal([]byte(a.EntitiesJSON), &entities) == nil {
		names = append(names, entityNames(entities, kind)...)
	}
	return names
}

// entityNames are the ids of all entities of a type in a Cedar entities document.
func entityNames(v any, kind string) []string {
	var names []string
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			names = append(names, entityNames(e, kind)...)
		}
	case map[string]any:
		if id, ok := v["id"].(string); ok && v["type"] == kind {
			return []string{id}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			names = append(names, entityNames(v[key], kind)...)
		}
	case string:
		if id, ok := strings.CutPrefix(v, kind+"::"); ok {
			names = append(names, strings.Trim(id, `"`))
		}
	}
	return names
}

// added has a name more in a list.
func added(claims map[string]any, path, name string) []trial {
	value, _ := token.Claim(claims, path)
	list, ok := members(value)
	if !ok || slices.Contains(list, any(name)) {
		return nil
	}
	return []trial{{fmt.Sprintf("add %q to claim %s", name, path), path, func() any { return append(slices.Clone(list), name) }}}
}

// without has a name less, wherever it stands, for each that is there.
func without(claims map[string]any, path string) []trial {
	value, _ := token.Claim(claims, path)
	list, _ := members(value)
	var all []trial
	seen := map[string]bool{}
	for _, name := range list {
		name, ok := name.(string)
		if !ok || seen[name] {
			continue
		}
		seen[name] = true
		all = append(all, trial{fmt.Sprintf("take %q from claim %s", name, path), path, func() any {
			return slices.DeleteFunc(slices.Clone(list), func(e any) bool { return e == any(name) })
		}})
	}
	return all
}

// fixed is a value that is there already.
func fixed(value any) func() any { return func() any { return value } }

// members is a claim as a list, a string as its words; false for what is none, and can't be one.
func members(value any) (list []any, ok bool) {
	switch v := value.(type) {
	case nil:
		return nil, true
	case string:
		for _, word := range strings.Fields(v) {
			list = append(list, word)
		}
		return list, true
	case []any:
		return v, true
	}
	return nil, false
}

// retyped has a claim that is not a list of strings as the list that it seems to mean.
func retyped(claims map[string]any, path string) []trial {
	value, _ := token.Claim(claims, path)
	var list []any
	was := ""
	switch v := value.(type) {
	case string:
		if !strings.ContainsAny(v, ",;[ ") {
			return nil
		}
		was = fmt.Sprintf("the string %q", v)
		if json.Unmarshal([]byte(v), &list) != nil {
			for _, part := range strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ';' || c == ' ' }) {
				list = append(list, part)
			}
		}
	case map[string]any:
		was = "an object"
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, key)
		}
	case []any:
		was = "a list with other things than strings in it"
		for _, e := range v {
			list = append(list, nameOf(e))
		}
		if slices.EqualFunc(list, v, func(a, b any) bool { s, ok := b.(string); return ok && a == s }) {
			return nil
		}
	default:
		return nil
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil
	}
	return []trial{{fmt.Sprintf("make claim %s the list %s; it is %s", path, text, was), path, fixed(list)}}
}

// nameOf is what an element of a list seems to be called.
func nameOf(element any) any {
	if o, ok := element.(map[string]any); ok {
		for _, key := range []string{"name", "display", "displayName", "value", "id"} {
			if s, ok := o[key].(string); ok {
				return s
			}
		}
	}
	return fmt.Sprint(element)
}

// scoped has the scopes that are asked for.
func scoped(claims map[string]any, have, ask []string) trial {
	all := slices.Clone(have)
	var missing []string
	for _, s := range ask {
		if !slices.Contains(all, s) {
			all, missing = append(all, s), append(missing, s)
		}
	}
	claim := "scope"
	if _, present := claims["scp"]; present && claims["scope"] == nil {
		claim = "scp"
	}
	return trial{"get the scope " + strings.Join(missing, " "), claim, fixed(strings.Join(all, " "))}
}

// with is the claims with another value where token.Claim finds path; where it finds none, under path as a name.
func with(claims map[string]any, path string, value any) map[string]any {
	changed := maps.Clone(claims)
	if _, literal := claims[path]; !literal {
		for i := strings.LastIndexByte(path, '.'); i > 0; i = strings.LastIndexByte(path[:i], '.') {
			nested, ok := claims[path[:i]].(map[string]any)
			if !ok {
				continue
			}
			if _, found := token.Claim(nested, path[i+1:]); found {
				changed[path[:i]] = with(nested, path[i+1:], value)
				return changed
			}
		}
	}
	changed[path] = value
	return changed
}

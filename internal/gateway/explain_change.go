package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

// What would change the answer is found by trial: claims one step away from those at hand, made of the names that
// mappings, matchers, policies and entities hold, are each asked about as the question was, and those that give another
// answer are told. A name that is no good is tried in vain; nothing is concluded from the texts themselves.

// maxTrials bounds the claims that are tried.
const maxTrials = 200

// Change is one step, and where it leads.
type Change struct {
	What    string `json:"change"`             // such as `add "s3-readers" to claim groups`
	Outcome string `json:"outcome"`            // one of the Outcome words
	RoleARN string `json:"role_arn,omitempty"` // the role then
	Why     string `json:"why"`
}

// trial is claims one step away.
type trial struct {
	what   string
	claims map[string]any
}

// changes tries what is one step away, and gives what leads to another outcome, or lets the request in as it is with
// another role.
func (r *Rehearsal) changes(ctx context.Context, p *played, q Question) ([]Change, error) {
	changes := []Change{}
	c := p.event.Caller
	if c == nil || p.outcome() == OutcomeFailed {
		return changes, nil
	}
	var roles []Change
	tried := map[string]bool{}
	for _, t := range r.trials(p) {
		text, err := json.Marshal(t.claims)
		if err != nil || tried[string(text)] || len(tried) >= maxTrials {
			continue
		}
		tried[string(text)] = true
		then, err := r.askAs(ctx, t.claims, q)
		if err != nil {
			return nil, err
		}
		change := Change{What: t.what, Outcome: then.outcome(), Why: then.why()}
		if k := then.known(); k != nil {
			change.RoleARN = k.role.RoleARN
		}
		switch {
		case change.Outcome == OutcomeToken || change.Outcome == OutcomeFailed:
		case change.Outcome != p.outcome():
			changes = append(changes, change)
		case change.Outcome == OutcomeAllowed && change.RoleARN != p.gate.know(c).role.RoleARN:
			roles = append(roles, change)
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return rank(a.Outcome) - rank(b.Outcome) })
	return append(changes, roles...), nil
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
		for _, name := range r.names(path) {
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

// names are what mappings and policies look for among groups and roles.
func (r *Rehearsal) names(path string) []string {
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
	for _, text := range a.Policies {
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
	return []trial{{fmt.Sprintf("add %q to claim %s", name, path), with(claims, path, append(slices.Clone(list), name))}}
}

// without has a name less, for each that is there.
func without(claims map[string]any, path string) []trial {
	value, _ := token.Claim(claims, path)
	list, _ := members(value)
	var all []trial
	for i, name := range list {
		if name, ok := name.(string); ok {
			all = append(all, trial{fmt.Sprintf("take %q from claim %s", name, path), with(claims, path, slices.Delete(slices.Clone(list), i, i+1))})
		}
	}
	return all
}

// members is a claim as a list; false for what is none, and can't be one.
func members(value any) ([]any, bool) {
	switch v := value.(type) {
	case nil:
		return nil, true
	case string:
		return []any{v}, true
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
	return []trial{{fmt.Sprintf("make claim %s the list %s; it is %s", path, text, was), with(claims, path, list)}}
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
	return trial{"get the scope " + strings.Join(missing, " "), with(claims, claim, strings.Join(all, " "))}
}

// What policies and matchers compare a claim with: claim_org == "x", claim_teams.contains("x"); claims.org == "x",
// claims["org"] == "x", "x" in claims["teams"].
var (
	scalarText   = `("(?:[^"\\]|\\.)*"|true|false|-?[0-9]+)`
	policyEquals = regexp.MustCompile(`claim_([^\s"\].=<>!)]+)"?\]?\s*==\s*` + scalarText)
	policyHolds  = regexp.MustCompile(`claim(?:set)?_([^\s"\].=<>!)]+)"?\]?\s*\.\s*contains\s*\(\s*` + scalarText)
	matchEquals  = regexp.MustCompile(`claims(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])\s*==\s*` + scalarText)
	policyReads  = regexp.MustCompile(`\bclaim_(\w+)`)
	matchReads   = regexp.MustCompile(`\bclaims(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])`)
	matchHolds   = regexp.MustCompile(scalarText + `\s+in\s+claims(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])`)
)

// literal has one claim as a policy or a matcher compares it, or of another type.
func (r *Rehearsal) literal(claims map[string]any) []trial {
	var all []trial
	set := func(claim, text string) {
		if value, ok := scalar(text); ok && claims[claim] != value {
			all = append(all, trial{fmt.Sprintf("set claim %s to %s", claim, text), with(claims, claim, value)})
		}
	}
	hold := func(claim, text string) {
		if name, err := strconv.Unquote(text); err == nil {
			all = append(all, added(claims, claim, name)...)
		}
	}
	if a := r.cfg.Authz; a != nil {
		for _, text := range a.Policies {
			for _, m := range policyEquals.FindAllStringSubmatch(text, -1) {
				set(m[1], m[2])
			}
			for _, m := range policyHolds.FindAllStringSubmatch(text, -1) {
				hold(m[1], m[2])
			}
			for _, m := range policyReads.FindAllStringSubmatch(text, -1) {
				all = append(all, converted(claims, m[1])...)
			}
		}
	}
	if a := r.cfg.AWSSTS; a != nil {
		for _, mapping := range a.RoleMappings {
			for _, m := range matchEquals.FindAllStringSubmatch(mapping.Matcher, -1) {
				set(cmp.Or(m[1], m[2]), m[3])
			}
			for _, m := range matchHolds.FindAllStringSubmatch(mapping.Matcher, -1) {
				hold(cmp.Or(m[2], m[3]), m[1])
			}
			for _, m := range matchReads.FindAllStringSubmatch(mapping.Matcher, -1) {
				all = append(all, converted(claims, cmp.Or(m[1], m[2]))...)
			}
		}
	}
	return all
}

// converted has one claim as the other types that its value could be of.
func converted(claims map[string]any, claim string) []trial {
	var values []any
	was := "it is missing"
	switch v := claims[claim].(type) {
	case nil:
		values = []any{true}
	case bool:
		values, was = []any{!v, strconv.FormatBool(v)}, fmt.Sprintf("it is %t", v)
	case int64:
		values, was = []any{strconv.FormatInt(v, 10)}, "it is a number"
	case token.Number:
		values, was = []any{string(v)}, "it is a number"
	case string:
		values, was = []any{[]any{v}}, "it is a string"
		if value, ok := scalar(v); ok && value != v {
			values = append(values, value)
		}
	case []any:
		if len(v) != 1 {
			return nil
		}
		values, was = []any{v[0]}, "it is a list"
	}
	var all []trial
	for _, value := range values {
		if text, err := json.Marshal(value); err == nil {
			all = append(all, trial{fmt.Sprintf("make claim %s %s; %s", claim, text, was), with(claims, claim, value)})
		}
	}
	return all
}

// scalar is a literal as a claim's value.
func scalar(text string) (any, bool) {
	switch text {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	s, err := strconv.Unquote(text)
	return s, err == nil
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

package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"github.com/rolegate/rolegate/internal/token"
)

// What policies and matchers compare a claim with: claim_org == "x", claim_teams.contains("x"); claims.org == "x",
// claims["org"] == "x", "x" in claims["teams"]; claim_teams.containsAny(["x"]), ["x"].contains(principal.claim_org).
var (
	scalarText   = `("(?:[^"\\]|\\.)*"|true|false|-?[0-9]+)`
	policyEquals = regexp.MustCompile(`claim_([^\s"\].=<>!)]+)"?\]?\s*==\s*` + scalarText)
	policyHolds  = regexp.MustCompile(`claim(?:set)?_([^\s"\].=<>!)]+)"?\]?\s*\.\s*contains\s*\(\s*` + scalarText)
	matchEquals  = regexp.MustCompile(`claims(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])\s*==\s*` + scalarText)
	policyAnyOf  = regexp.MustCompile(`claim(?:set)?_([^\s"\].=<>!)]+)"?\]?\s*\.\s*contains(?:Any|All)\s*\(\s*\[([^\]]*)\]`)
	policyOneOf  = regexp.MustCompile(`\[([^\]]*)\]\s*\.\s*contains\s*\(\s*\w+(?:\.|\[")claim_([^\s"\].=<>!)]+)`)
	literals     = regexp.MustCompile(scalarText)
	policyReads  = regexp.MustCompile(`\bclaim_(\w+)`)
	matchReads   = regexp.MustCompile(`\bclaims(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])`)
	matchHolds   = regexp.MustCompile(scalarText + `\s+in\s+claims(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])`)
)

// literal has one claim as a policy or a matcher compares it, or of another type.
func (r *Rehearsal) literal(claims map[string]any) []trial {
	var all []trial
	set := func(claim, text string) {
		if value, ok := scalar(text); ok && claims[claim] != value {
			all = append(all, trial{fmt.Sprintf("set claim %s to %s", claim, text), claim, fixed(value)})
		}
	}
	hold := func(claim, text string) {
		if name, err := strconv.Unquote(text); err == nil {
			all = append(all, added(claims, claim, name)...)
		}
	}
	read := map[string]bool{}
	convert := func(claim string) {
		if !read[claim] {
			read[claim] = true
			all = append(all, converted(claims, claim)...)
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
			for _, m := range policyAnyOf.FindAllStringSubmatch(text, -1) {
				for _, name := range literals.FindAllString(m[2], -1) {
					hold(m[1], name)
				}
			}
			for _, m := range policyOneOf.FindAllStringSubmatch(text, -1) {
				for _, value := range literals.FindAllString(m[1], -1) {
					set(m[2], value)
				}
			}
			for _, m := range policyReads.FindAllStringSubmatch(text, -1) {
				convert(m[1])
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
				convert(cmp.Or(m[1], m[2]))
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
		values = []any{true, false}
	case bool:
		values, was = []any{!v, strconv.FormatBool(v)}, fmt.Sprintf("it is %t", v)
	case int64:
		values, was = []any{strconv.FormatInt(v, 10), v != 0}, "it is a number"
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
			all = append(all, trial{fmt.Sprintf("make claim %s %s; %s", claim, text, was), claim, fixed(value)})
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

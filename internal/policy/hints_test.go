package policy_test

import (
	"testing"

	"github.com/rolegate/rolegate/internal/policy"
)

// TestDependsOnHints: an answer that is the same whatever the remote says of its tool does not wait for it.
func TestDependsOnHints(t *testing.T) {
	const (
		all      = `permit(principal, action, resource);`
		noDamage = `forbid(principal, action, resource) when { resource has destructiveHint && resource.destructiveHint };`
		unless   = `permit(principal, action, resource) unless { resource has destructiveHint && resource.destructiveHint };`
		readers  = `permit(principal, action, resource) when { resource has readOnlyHint && resource.readOnlyHint };`
		named    = `forbid(principal, action, resource == Tool::"rm") when { resource.destructiveHint };`
		closed   = `forbid(principal, action, resource);`
		stepUp   = `@scopes("w") permit(principal, action, resource) unless { resource has openWorldHint };`
		both     = `forbid(principal, action, resource) when { resource has readOnlyHint && !resource.readOnlyHint && resource has idempotentHint && !resource.idempotentHint };`
		static   = `[{"uid": "Tool::ls", "attrs": {"readOnlyHint": true}, "parents": []}]`
	)
	for _, test := range []struct {
		name     string
		policies []string
		entities string
		q        policy.Query
		want     bool
	}{
		{"no policy reads them", []string{all}, "", call("rm", `{}`), false},
		{"a forbid", []string{all, noDamage}, "", call("rm", `{}`), true},
		{"a forbid of what nothing permits", []string{noDamage}, "", call("rm", `{}`), false},
		{"a forbid of what another forbids", []string{all, noDamage, closed}, "", call("rm", `{}`), false},
		{"a forbid about another tool", []string{all, named}, "", call("ls", `{}`), false},
		{"a forbid that fails without them", []string{all, named}, "", call("rm", `{}`), true},
		{"two hints at once", []string{all, both}, "", call("rm", `{}`), true},
		{"the permit that allows", []string{unless}, "", call("rm", `{}`), true},
		{"one permit of two", []string{unless, all}, "", call("rm", `{}`), false},
		{"a permit that would allow", []string{readers}, "", call("rm", `{}`), true},
		{"a permit that needs scopes", []string{stepUp}, "", call("rm", `{}`), true},
		{"scopes that are needed in any case", []string{`@scopes("w") permit(principal, action, resource);`, noDamage + closed}, "", call("rm", `{}`), false},
		{"an entity has them, and the remote may say otherwise", []string{readers}, static, call("ls", `{}`), true},
		{"a resource", []string{all, noDamage}, "", read("s3://b/k"), false},
		{"a prompt", []string{unless}, "", get("p"), false},
		{"another method", []string{unless}, "", policy.Query{Method: "tasks/get"}, false},
		{"arguments that can't be read", []string{all, noDamage, `permit(principal, action, resource) when { context has arg_x };`}, "", call("rm", `{`), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := texts(test.policies...)
			a.EntitiesJSON = test.entities
			p := compile(t, a)
			if got := p.DependsOnHints(p.Principal(caller(t, `{}`)), test.q); got != test.want {
				t.Errorf("%v", got)
			}
			yes := true
			test.q.Hints = policy.Hints{ReadOnly: &yes, Destructive: &yes, Idempotent: &yes, OpenWorld: &yes}
			if got := p.DependsOnHints(p.Principal(caller(t, `{}`)), test.q); got != test.want {
				t.Errorf("with hints in the query: %v", got)
			}
		})
	}
}

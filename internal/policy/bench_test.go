package policy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/token"
)

// The mixes of policies that are measured. %[1]d is the policy's number.
var mixes = map[string][]string{
	// What organizations write: rules of teams, of tools, of annotations, of claims, of arguments.
	"mixed": {
		`permit(principal in THVGroup::"group-%[1]d", action == Action::"call_tool", resource == Tool::"tool-%[1]d");`,
		`permit(principal, action == Action::"call_tool", resource == Tool::"tool-%[1]d") when { principal in THVGroup::"group-%[1]d" && context.arg_n < 5 };`,
		`permit(principal in THVGroup::"group-%[1]d", action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`,
		`permit(principal, action == Action::"call_tool", resource) when { principal.claim_department == "department-%[1]d" && context.arg_n < 5 };`,
		`permit(principal, action == Action::"call_tool", resource) when { principal.claim_groups.contains("group-%[1]d") } unless { resource has destructiveHint && resource.destructiveHint };`,
		`permit(principal, action == Action::"get_prompt", resource == Prompt::"prompt-%[1]d");`,
		`permit(principal, action == Action::"read_resource", resource) when { resource.uri like "s3://bucket-%[1]d/*" };`,
		`forbid(principal, action == Action::"call_tool", resource == Tool::"tool-%[1]d") unless { principal in THVGroup::"group-%[1]d" };`,
		`permit(principal == Client::"user-%[1]d", action, resource);`,
		`forbid(principal, action == Action::"call_tool", resource) when { context has arg_path && context.arg_path like "/secret-%[1]d/*" };`,
	},
	// Rules that no selection helps with: each looks at the arguments first.
	"arguments": {`permit(principal, action, resource) when { context.arg_n == %[1]d };`},
	// Rules that ask for a group after something else, so that each goes through the caller's groups.
	"groups last": {`permit(principal, action, resource) when { resource.name == "tool-8" && principal in THVGroup::"missing-%[1]d" };`},
	// Rules of several tools each, written in the ways that there are.
	"lists of tools": {
		`permit(principal, action == Action::"call_tool", resource) when { resource in [Tool::"tool-%[1]d", Tool::"other"] };`,
		`permit(principal, action == Action::"call_tool", resource) when { [Tool::"tool-%[1]d", Tool::"other"].contains(resource) };`,
		`permit(principal, action == Action::"call_tool", resource in Tool::"tool-%[1]d");`,
	},
	// The same after something else, so that nothing selects by the tool.
	"lists of tools last": {
		`permit(principal, action, resource) when { context.arg_n == 3 && resource in [Tool::"kit-%[1]d", Tool::"other"] };`,
		`permit(principal, action, resource) when { context.arg_n == 3 && [Tool::"kit-%[1]d", Tool::"other"].contains(resource) };`,
	},
	// Rules of arguments that are lists, fractions and addresses, or that may be missing.
	"sets":      {`permit(principal, action, resource) when { context.arg_tags.containsAny(["tag-%[1]d", "other"]) };`},
	"decimals":  {`permit(principal, action, resource) when { context has arg_amount && context.arg_amount.greaterThan(decimal("%[1]d.5")) };`},
	"if":        {`permit(principal, action, resource) when { if context has arg_q then context.arg_q == "%[1]d" else false };`},
	"addresses": {`permit(principal, action, resource) when { ip(context.arg_ip).isInRange(ip("2001:db8:%[1]d::/48")) };`},
	// Rules of what the configuration says of the tool.
	"entities": {`permit(principal, action, resource) when { resource.owner == "team-%[1]d" };`},
}

// withGroups is a caller in 50 groups.
func withGroups(t testing.TB) *token.Caller {
	var groups []string
	for i := range 50 {
		groups = append(groups, fmt.Sprintf("group-%d", i*3))
	}
	claims, err := json.Marshal(map[string]any{"groups": groups, "department": "department-3", "email": "alice@example.com", "level": 4})
	if err != nil {
		t.Fatal(err)
	}
	return caller(t, string(claims))
}

func mixed(t testing.TB, mix string, n int) *policy.Policies {
	var list []string
	for i := range n {
		kinds := mixes[mix]
		list = append(list, fmt.Sprintf(kinds[i%len(kinds)], i))
	}
	a := texts(list...)
	a.EntitiesJSON = `[{"uid": "Tool::tool-8", "attrs": {"owner": "nobody"}}]`
	return compile(t, a)
}

// usual is a call with arguments of every kind.
func usual() policy.Query {
	q := call("tool-8", `{"path": "/data/report.csv", "n": 3, "options": {"deep": [1, 2, 3]}, "tags": ["a", "b"], "amount": 0.5, "q": "b", "ip": "192.0.2.1"}`)
	q.Hints.ReadOnly, q.Hints.Destructive = new(true), new(false)
	return q
}

// BenchmarkDecide is the cost of one decision for a caller in 50 groups, whose Principal is there.
func BenchmarkDecide(b *testing.B) {
	for _, mix := range slices.Sorted(maps.Keys(mixes)) {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", mix, n), func(b *testing.B) {
				p := mixed(b, mix, n)
				who := p.Principal(withGroups(b))
				q := usual()
				b.ReportAllocs()
				for b.Loop() {
					p.Decide(who, q)
				}
			})
		}
	}
}

// BenchmarkDecideList is the cost of one decision about an item of a list, which has no arguments.
func BenchmarkDecideList(b *testing.B) {
	p := mixed(b, "mixed", 1000)
	who := p.Principal(withGroups(b))
	q := call("tool-8", "")
	q.Hints.ReadOnly = new(true)
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(who, q)
	}
}

// BenchmarkQueries is the cost of finding what of a call is to be decided.
func BenchmarkQueries(b *testing.B) {
	p := mixed(b, "mixed", 10)
	for name, size := range map[string]int{"1KiB": 1 << 10, "100KiB": 100 << 10} {
		b.Run(name, func(b *testing.B) {
			c := message(b, request("tools/call", `{"name": "tool-8", "arguments": {"code": "`+strings.Repeat("x", size)+`", "n": 3}}`))
			b.ReportAllocs()
			for b.Loop() {
				if queries, err := p.Queries(c); err != nil || queries[0].Args == nil {
					b.Fatal(queries, err)
				}
			}
		})
	}
}

// BenchmarkPrincipal is what a caller costs once: the Principal, and the selection at the first decision.
func BenchmarkPrincipal(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := mixed(b, "mixed", n)
			c := withGroups(b)
			q := call("tool-8", "")
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(p.Principal(c), q)
			}
		})
	}
}

// TestUsualPoliciesNeedNoCedar tells by its allocations that a decision was made without Cedar's maps, which cost
// several times as many.
func TestUsualPoliciesNeedNoCedar(t *testing.T) {
	for mix := range mixes {
		t.Run(mix, func(t *testing.T) {
			p := mixed(t, mix, 100)
			who := p.Principal(withGroups(t))
			q := usual()
			p.Decide(who, q)
			if n := testing.AllocsPerRun(100, func() { p.Decide(who, q) }); n > 40 { // Cedar takes some for each policy; the race detector empties pools
				t.Errorf("%v allocations, want at most 40", n)
			}
		})
	}
}

package policy_test

import (
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/policy"
)

// question is one call of a profile and the answer that its sentence promises.
type question struct {
	claims  string
	query   policy.Query
	allowed bool
}

// TestProfiles has the kinds of policy sets that gateways of this kind are used with: each decides as its sentence
// says.
func TestProfiles(t *testing.T) {
	readOnly := policy.Hints{ReadOnly: new(true)}
	writing := policy.Hints{ReadOnly: new(false)}
	destructive := policy.Hints{ReadOnly: new(false), Destructive: new(true)}
	harmless := policy.Hints{Destructive: new(false)}
	for _, profile := range []struct {
		sentence  string
		authz     config.Authz
		questions []question
	}{
		{
			"observe: prompts and resources may be read, no tool may be called",
			config.Authz{Policies: []string{
				`permit(principal, action == Action::"list_tools", resource == FeatureType::"tool");`,
				`permit(principal, action == Action::"list_prompts", resource == FeatureType::"prompt");`,
				`permit(principal, action == Action::"list_resources", resource == FeatureType::"resource");`,
				`permit(principal, action in [Action::"get_prompt", Action::"read_resource"], resource);`,
			}},
			[]question{
				{`{}`, get("summarize"), true},
				{`{}`, read("s3://b/k"), true},
				{`{}`, hinted("list_buckets", readOnly), false},
				{`{}`, policy.Query{Method: "tasks/get"}, false},
			},
		},
		{
			"safe tools: a tool that says it only reads may be called; one that says nothing may not",
			config.Authz{Policies: []string{
				`permit(principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint == true };`,
				`permit(principal, action == Action::"call_tool", resource) when { resource has destructiveHint && resource.destructiveHint == false };`,
			}},
			[]question{
				{`{}`, hinted("list_buckets", readOnly), true},
				{`{}`, hinted("put_object", harmless), true},
				{`{}`, hinted("delete_bucket", destructive), false},
				{`{}`, hinted("put_object", writing), false},
				{`{}`, call("unknown", ""), false},
				{`{}`, get("summarize"), false},
			},
		},
		{
			"allowlist: two tools, nothing else",
			config.Authz{Policies: []string{
				`permit(principal, action == Action::"call_tool", resource == Tool::"weather");`,
				`permit(principal, action == Action::"call_tool", resource) when { [Tool::"forecast", Tool::"radar"].contains(resource) };`,
			}},
			[]question{
				{`{}`, call("weather", ""), true},
				{`{}`, call("radar", ""), true},
				{`{}`, call("Weather", ""), false},
				{`{}`, call("weather ", ""), false},
				{`{}`, get("weather"), false},
				{`{}`, read("weather"), false},
			},
		},
		{
			"roles with guardrails: readers read, writers do more, and what destroys is for admins only, whatever else permits it",
			config.Authz{Policies: []string{
				`permit(principal, action == Action::"call_tool", resource) when { principal.claim_roles.contains("reader") && resource has readOnlyHint && resource.readOnlyHint };`,
				`permit(principal, action, resource) when { principal.claim_roles.containsAny(["writer", "admin"]) };`,
				`forbid(principal, action == Action::"call_tool", resource) when { resource has destructiveHint && resource.destructiveHint } unless { principal has claim_roles && principal.claim_roles.contains("admin") };`,
			}},
			[]question{
				{`{"roles": ["reader"]}`, hinted("list", readOnly), true},
				{`{"roles": ["reader"]}`, hinted("put", writing), false},
				{`{"roles": ["writer"]}`, hinted("put", writing), true},
				{`{"roles": ["writer"]}`, hinted("delete", destructive), false},
				{`{"roles": ["reader", "writer"]}`, hinted("delete", policy.Hints{ReadOnly: new(true), Destructive: new(true)}), false},
				{`{"roles": ["admin"]}`, hinted("delete", destructive), true},
				{`{}`, hinted("list", readOnly), false},
				{`{}`, hinted("delete", destructive), false},
			},
		},
		{
			"one server: what is permitted on one proxy is not permitted on another",
			config.Authz{Policies: []string{
				`permit(principal, action == Action::"call_tool", resource in MCP::"s3");`,
				`permit(principal, action, resource in MCP::"billing");`,
			}},
			[]question{
				{`{}`, call("anything", ""), true},
				{`{}`, get("anything"), false},
				{`{}`, read("s3://b/k"), false},
			},
		},
		{
			"groups: members of a group may call; members of a suspended one may not",
			config.Authz{Policies: []string{
				`permit(principal in THVGroup::"engineering", action == Action::"call_tool", resource);`,
				`forbid(principal in THVGroup::"suspended", action, resource);`,
			}},
			[]question{
				{`{"groups": ["engineering"]}`, call("x", ""), true},
				{`{"groups": ["engineering", "suspended"]}`, call("x", ""), false},
				{`{"groups": ["Engineering"]}`, call("x", ""), false},
				{`{"roles": "engineering"}`, call("x", ""), true},
				{`{"cognito:groups": ["engineering"]}`, call("x", ""), true},
				{`{}`, call("x", ""), false},
			},
		},
		{
			"hierarchy: groups of the provider are in roles of the platform, roles in wider roles",
			config.Authz{
				Policies: []string{
					`permit(principal in PlatformRole::"operator", action == Action::"call_tool", resource in ToolClass::"operations");`,
					`permit(principal in PlatformRole::"viewer", action == Action::"read_resource", resource);`,
				},
				EntitiesJSON: `[
					{"uid": {"type": "THVGroup", "id": "sre-oncall"}, "attrs": {}, "parents": [{"type": "PlatformRole", "id": "operator"}]},
					{"uid": {"type": "THVGroup", "id": "staff"}, "attrs": {}, "parents": [{"type": "PlatformRole", "id": "viewer"}]},
					{"uid": {"type": "PlatformRole", "id": "operator"}, "attrs": {}, "parents": [{"type": "PlatformRole", "id": "viewer"}]},
					{"uid": {"type": "Tool", "id": "restart"}, "attrs": {}, "parents": [{"type": "ToolClass", "id": "operations"}]}
				]`,
			},
			[]question{
				{`{"groups": ["sre-oncall"]}`, call("restart", ""), true},
				{`{"groups": ["sre-oncall"]}`, call("query", ""), false},
				{`{"groups": ["sre-oncall"]}`, read("s3://b/k"), true},
				{`{"groups": ["staff"]}`, call("restart", ""), false},
				{`{"groups": ["staff"]}`, read("s3://b/k"), true},
				{`{"groups": ["operator"]}`, call("restart", ""), false},
			},
		},
		{
			"arguments: small orders in Oslo, by staff of the company",
			config.Authz{Policies: []string{
				`permit(principal, action == Action::"call_tool", resource == Tool::"order") when { context.arg_n < 5 && context.arg_city == "Oslo" && principal.claim_email like "*@example.com" };`,
			}},
			[]question{
				{`{"email": "a@example.com"}`, call("order", `{"n": 4, "city": "Oslo"}`), true},
				{`{"email": "a@example.com"}`, call("order", `{"n": 5, "city": "Oslo"}`), false},
				{`{"email": "a@example.com"}`, call("order", `{"n": 4}`), false},
				{`{"email": "a@example.com"}`, call("order", `{"n": "4", "city": "Oslo"}`), false},
				{`{"email": "a@example.org"}`, call("order", `{"n": 4, "city": "Oslo"}`), false},
				{`{"email": "a@example.com"}`, call("order", ""), false},
			},
		},
	} {
		t.Run(profile.sentence, func(t *testing.T) {
			for _, schema := range []string{"", "strict"} {
				profile.authz.Schema = schema
				p := compile(t, &profile.authz)
				for _, q := range profile.questions {
					if d := p.Decide(p.Principal(caller(t, q.claims)), q.query); d.Allowed != q.allowed {
						t.Errorf("%s %+v %s: allowed %v (errors %v)", q.claims, q.query, q.query.Args, d.Allowed, d.Errors)
					}
				}
			}
		})
	}
}

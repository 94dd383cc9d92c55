package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/policy"
)

// judged are the mistakes and warnings of one policy, with their mends.
func judged(t *testing.T, a *config.Authz, proxy, text string) (loaded bool, told string) {
	t.Helper()
	a.Policies = []string{text}
	p, mistakes := policy.New(a, proxy)
	var all []string
	for _, m := range mistakes {
		line := m.What + "; " + m.Mend
		if m.Warning {
			line = "warning: " + line
		}
		all = append(all, line)
	}
	return p != nil, strings.Join(all, "\n")
}

// TestLiterals: a constructor that fails for every call is a mistake, with schema strict and without; so is what other
// languages have and Cedar has not.
func TestLiterals(t *testing.T) {
	for text, want := range map[string]string{
		`forbid(principal, action, resource) when { decimal("1.0").lessThan(context.arg_n) && decimal("5.55555").lessThan(context.arg_n) };`: `line 1, column 86: decimal("5.55555") always fails: that is not a decimal; write one to four digits after the point, as in decimal("5.5")`,
		`permit(principal, action, resource) when { ip("x").isIpv4() };`:                                                                     `line 1, column 44: ip("x") always fails: that is not an address; write an address or a range, as in ip("10.0.0.0/8")`,
		`permit(principal, action, resource) when { context.arg_t < datetime("2024") };`:                                                     `line 1, column 60: datetime("2024") always fails: that is not a datetime; write it as datetime("2024-10-15") or datetime("2024-10-15T11:35:00Z")`,
		`permit(principal, action, resource) when { context.arg_t < duration("1y") };`:                                                       `line 1, column 60: duration("1y") always fails: that is not a duration; write it as duration("1d2h30m")`,
		`permit(principal, action, resource) when { ip(5) == ip() };`: `line 1, column 44: ip(5) always fails: it takes a string; write an address or a range, as in ip("10.0.0.0/8")
line 1, column 53: ip takes one string, not 0 values; write an address or a range, as in ip("10.0.0.0/8")`,
		`permit(principal, action, resource) when { ip(context.arg_ip).isInRange(ip("10.0.0.0/8")) && decimal("5.5").lessThan(context.arg_n) };`: "",
		`permit(principal == ?principal, action, resource);`:                             "line 1, column 21: templates are not supported; write the entity instead of ?principal",
		`permit(principal, action, resource in ?resource);`:                              "line 1, column 39: templates are not supported; write the entity instead of ?resource",
		`permit(principal, action, resource) when { context.arg_n < 5.5 };`:              `line 1, column 60: a number with a fraction; write decimal("5.5"), and compare with .lessThan(...), .greaterThan(...) and the like: < is for whole numbers`,
		`@score("3") permit(principal, action, resource);`:                               "",
		`@ID("x") permit(principal, action, resource);`:                                  "warning: line 1, column 2: unknown annotation @ID; did you mean @id?",
		`@note("id") @id("") permit(principal, action, resource);`:                       `warning: line 1, column 14: @id is empty; name the policy: @id("name")`,
		`@scoped("x") permit(principal, action, resource);`:                              "line 1, column 2: unknown annotation @scoped; did you mean @scopes?",
		`permit(principal, action, resource) when { resource == Resource::"s3___b_k" };`: "",
	} {
		for _, schema := range []string{"", "strict"} {
			loaded, told := judged(t, &config.Authz{Schema: schema}, "s3", text)
			if told != want || loaded != (want == "" || strings.HasPrefix(want, "warning: ")) {
				t.Errorf("%s with schema %q: loaded %v\ngot  %s\nwant %s", text, schema, loaded, told, want)
			}
		}
	}
}

// TestIDsOfResources: what a URI can't be as an id is a warning, since the policy is never about anything, and with
// schema strict a mistake; unless something is in it.
func TestIDsOfResources(t *testing.T) {
	const secret = `no resource has the id "s3://secret/k": each of : / \ ? & = # . and space in a URI is _ in its id; write Resource::"s3___secret_k", or resource.uri == "s3://secret/k"`
	for text, want := range map[string]string{
		`forbid(principal, action == Action::"read_resource", resource == Resource::"s3://secret/k");`:             "line 1, column 76: " + secret,
		`forbid(principal, action, resource) when { resource in [Resource::"a", Resource::"s3://secret/k"] };`:     "line 1, column 82: " + secret,
		`forbid(principal, action, resource) when { resource.uri == "a.b" || resource == Resource::"a.b" };`:       `line 1, column 91: no resource has the id "a.b": each of : / \ ? & = # . and space in a URI is _ in its id; write Resource::"a_b", or resource.uri == "a.b"`,
		`permit(principal, action, resource in Resource::"a/b");`:                                                  "",
		`permit(principal, action, resource) when { resource.uri == "s3://secret/k" || resource == Tool::"a.b" };`: "",
		`forbid(principal, action, resource) when { resource == Resource::"a\u{20}b" };`:                           `line 1, column 66: no resource has the id "a b": each of : / \ ? & = # . and space in a URI is _ in its id; write Resource::"a_b", or resource.uri == "a b"`,
	} {
		a := &config.Authz{EntitiesJSON: `[{"uid": "Resource::x", "parents": ["Resource::a/b"]}]`}
		warning := want
		if want != "" {
			warning = "warning: " + want
		}
		if loaded, told := judged(t, a, "s3", text); !loaded || told != warning {
			t.Errorf("%s: loaded %v\ngot  %s\nwant %s", text, loaded, told, warning)
		}
		a.Schema = "strict"
		if loaded, told := judged(t, a, "s3", text); loaded != (want == "") || told != want {
			t.Errorf("%s with schema strict: loaded %v\ngot  %s\nwant %s", text, loaded, told, want)
		}
	}
}

// TestNeverTrue: with schema strict it is a mistake to compare with what is never there, and it is told where that stands.
func TestNeverTrue(t *testing.T) {
	for text, want := range map[string]string{
		`permit(principal, action, resource in MCP::"q");`:                                                                                          `warning: line 1, column 44: nothing is in MCP::"q" here: the proxy is MCP::"s3"; write MCP::"s3"`,
		`permit(principal, action, resource) when { resource in MCP::"s3" || resource in MCP::"all" };`:                                             "",
		`permit(principal, action == Action::"call_tool", resource) when { resource.operation == "cal" };`:                                          `line 1, column 89: resource.operation is never "cal" here; it is "call"`,
		`permit(principal, action == Action::"call_tool", resource) when { principal.claim_x == "read" && ["read"].contains(resource.operation) };`: `line 1, column 99: resource.operation is never "read" here; it is "call"`,
		`permit(principal, action in [Action::"call_tool", Action::"get_prompt"], resource) when { resource.feature != "resource" };`:               `line 1, column 111: resource.feature is never "resource" here; it is "tool" or "prompt"`,
		`permit(principal, action, resource is Prompt) when { "tool" == resource.feature };`:                                                        `line 1, column 54: resource.feature is never "tool" here; it is "prompt"`,
		`permit(principal, action, resource) when { resource.feature == "prompt" && resource.operation == "get" };`:                                 "",
		`permit(principal, action == Action::"list_tools", resource) when { resource.type == "x" && resource.operation == "list" };`:                "",
		`permit(principal, action, resource == FeatureType::"tool") when { resource.operation == "list" };`:                                         "",
		`permit(principal, action == Action::"tasks/get", resource) when { resource.operation == "list" };`:                                         "",
		`permit(principal, action, resource) when { resource.type == "tool" };`:                                                                     `line 1, column 53: resource has no attribute "type"; write one of: destructiveHint, feature, idempotentHint, name, openWorldHint, operation, readOnlyHint, uri, arg_<name>`,
		`forbid(principal, action, resource) when { principal.claim_x == "true" || resource.readOnlyHint == "true" };`:                              `line 1, column 100: resource.readOnlyHint never equals "true": it is true or false, and that is a string; write true or false, without quotes`,
		`permit(principal, action, resource) when { resource.name == 5 };`:                                                                          `line 1, column 61: resource.name never equals 5: it is a string, and that is a number; compare it with a string`,
		`permit(principal, action, resource) when { resource.readOnlyHint != true };`:                                                               "",
		`permit(principal, action, resource) when { resource == "weather" };`:                                                                       `line 1, column 56: resource never equals "weather": it is an entity, and that is a string; write an entity, such as Tool::"weather"`,
		`permit(principal, action, resource) when { principal.claim_ == 1 };`:                                                                       `line 1, column 54: principal has no attribute "claim_"; write claim_<name>`,
		`permit(principal, action, resource) when { principal.claim_x == "readOnlyHnt" && resource.readOnlyHnt };`:                                  `line 1, column 91: resource has no attribute "readOnlyHnt"; did you mean readOnlyHint?`,
	} {
		a := &config.Authz{Schema: "strict", EntitiesJSON: `[{"uid": "Tool::x", "parents": ["MCP::all"]}]`}
		if loaded, told := judged(t, a, "s3", text); loaded != (want == "" || strings.HasPrefix(want, "warning: ")) || told != want {
			t.Errorf("%s: loaded %v\ngot  %s\nwant %s", text, loaded, told, want)
		}
		a.Schema = ""
		if loaded, told := judged(t, a, "s3", text); !loaded || told != "" {
			t.Errorf("%s without schema: loaded %v\n%s", text, loaded, told)
		}
	}
	// A proxy that is not known yet may be any.
	a := &config.Authz{Schema: "strict"}
	if loaded, told := judged(t, a, "", `permit(principal, action, resource in MCP::"q");`); !loaded || told != "" {
		t.Errorf("loaded %v: %s", loaded, told)
	}
}

// TestPlaceOfTypes: an expression that always fails is shown, where it stands, alone.
func TestPlaceOfTypes(t *testing.T) {
	for condition, want := range map[string]string{
		`when { principal.claim_a == 1 && (principal in "x" || true) }`: `1:71: principal in "x" always fails: it wants a set of entities or an entity, and there is a string; write an entity, such as THVGroup::"admins"`,
		"when { true }\nunless { if resource.name then true else !(resource.uri\n > 3) }": "2:13: resource.name always fails: it wants true or false, and there is a string; compare it with something\n" +
			"2:44: resource.uri > 3 always fails: it wants a datetime, a duration or a whole number, and there is a string; compare values of one type",
		`when { {a: {b: [resource.name + 1]}}.a.b.contains(1) }`:                       `1:53: resource.name + 1 always fails: it wants a whole number, and there is a string; compare values of one type`,
		`when { context.arg_x.y && -resource.name < 1 }`:                               `1:63: -resource.name always fails: it wants a whole number, and there is a string; compare values of one type`,
		`when { context["arg_a && b"].lessThan(5) }`:                                   `1:44: context["arg_a && b"].lessThan(5) always fails: it wants a decimal, and there is a whole number; write one to four digits after the point, as in decimal("5.5")`,
		`when { context.arg_a.isInRange("10.0.0.0/8") }`:                               `1:44: context.arg_a.isInRange("10.0.0.0/8") always fails: it wants an address, and there is a string; write an address or a range, as in ip("10.0.0.0/8")`,
		`when { ip(context.arg_ip).isInRange() }`:                                      "1:44: ip(context.arg_ip).isInRange() always fails: it needs 2 values in all, and there are 1; see Cedar's functions: https://docs.cedarpolicy.com/policies/syntax-operators.html",
		`when { context.arg_x.contains(resource.name like "a") && resource.name.b.c }`: `1:94: resource.name.b always fails: it wants an entity or a record, and there is a string; compare values of one type`,
	} {
		_, told := judged(t, &config.Authz{Schema: "strict"}, "s3", "permit(principal, action, resource) "+condition+";")
		told = strings.NewReplacer("line ", "", ", column ", ":").Replace(told)
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", condition, diff)
		}
	}
	deep := "resource.name < 5"
	for range 45 {
		deep = "!(" + deep + " || [true].contains(false))"
	}
	if _, told := judged(t, &config.Authz{Schema: "strict"}, "s3", "permit(principal, action, resource) when { "+deep+" };"); !strings.Contains(told, "column 134: resource.name < 5 always fails") {
		t.Errorf("deep: %s", told)
	}
}

// TestTellApart: policies of one ID are legal Cedar, and decisions tell which is which.
func TestTellApart(t *testing.T) {
	p, mistakes := policy.New(texts(
		`@id("x#2") permit(principal, action, resource); @id("x") permit(principal, action, resource); @note("id") @id("x") permit(principal, action, resource);`,
		`@id("x") forbid(principal, action == Action::"call_tool", resource);`,
		`@id("policies[3]") permit(principal, action, resource);`,
		`permit(principal, action, resource);`,
	), "s3")
	want := []string{
		`policies[0]: line 1, column 108: the ID "x" is that of the policy in policies[0], line 1, too`,
		`policies[1]: line 1, column 2: the ID "x" is that of the policy in policies[0], line 1, too`,
		`policies[3]: line 1, column 1: the ID "policies[3]" is that of the policy in policies[2], line 1, too`,
	}
	if diff := cmp.Diff(want, lines(t, mistakes)); diff != "" {
		t.Fatalf("warnings (-want +got):\n%s", diff)
	}
	var ids []string
	for _, f := range p.All() {
		ids = append(ids, f.ID)
	}
	if diff := cmp.Diff([]string{"x#2", "x", "x#3", "x#4", "policies[3]", "policies[3]#2"}, ids); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	if d := p.Decide(nil, policy.Query{Method: "tools/call", Target: "t"}); d.Allowed || len(d.Policies) != 1 || d.Policies[0].ID != "x#4" {
		t.Errorf("decision %+v", d)
	}
}

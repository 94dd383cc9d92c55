package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/policy"
)

// TestForbidAndPermit: default deny; a forbid wins; one that can't be evaluated denies; a permit that can't be
// evaluated does not permit; none hides another.
func TestForbidAndPermit(t *testing.T) {
	const (
		permit     = `@id("permit") permit(principal, action, resource);`
		never      = `@id("never") permit(principal, action, resource) when { false };`
		forbid     = `@id("forbid") forbid(principal, action, resource) when { context.arg_n == 1 };`
		idle       = `@id("idle") forbid(principal, action, resource) when { context.arg_n == 2 };`
		badForbid  = `@id("bad forbid") forbid(principal, action, resource) when { context.arg_missing == 1 };`
		badForbid2 = `@id("bad forbid 2") forbid(principal, action, resource) when { context.arg_n < "x" };`
		badPermit  = `@id("bad permit") permit(principal, action, resource) when { resource.readOnlyHint };`
	)
	for _, test := range []struct {
		name     string
		list     []string
		allowed  bool
		policies string
		errors   string
	}{
		{"no policy that permits", []string{never, idle}, false, "", ""},
		{"a permit", []string{never, permit, idle}, true, "permit", ""},
		{"two permits", []string{permit, strings.ReplaceAll(permit, `"permit"`, `"other"`)}, true, "permit,other", ""},
		{"a forbid", []string{permit, forbid}, false, "forbid", ""},
		{"a forbid that fails", []string{permit, badForbid}, false, "bad forbid", "bad forbid"},
		{"a forbid that fails, and one that holds", []string{badForbid, permit, forbid}, false, "bad forbid,forbid", "bad forbid"},
		{"two forbids that fail", []string{badForbid, badForbid2, permit}, false, "bad forbid,bad forbid 2", "bad forbid,bad forbid 2"},
		{"a permit that fails", []string{badPermit}, false, "", "bad permit"},
		{"a permit that fails beside one that holds", []string{badPermit, permit}, true, "permit", "bad permit"},
		{"a permit and a forbid that fail", []string{badPermit, permit, badForbid}, false, "bad forbid", "bad permit,bad forbid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := compile(t, texts(test.list...))
			d := p.Decide(nil, call("x", `{"n": 1}`))
			if d.Allowed != test.allowed || strings.Join(ids(d.Policies), ",") != test.policies || strings.Join(ids(d.Errors), ",") != test.errors {
				t.Errorf("got %v by %v, errors %v", d.Allowed, ids(d.Policies), ids(d.Errors))
			}
			for _, e := range d.Errors {
				if e.Message == "" {
					t.Errorf("%s does not say why", e.ID)
				}
			}
		})
	}
}

// TestNumbers: a policy may compare numbers of arguments and claims with numbers, however they are spelled; what would be
// rounded is a string, in one spelling.
func TestNumbers(t *testing.T) {
	for args, want := range map[string]string{
		`{"n": 4}`:                       "small,four",
		`{"n": 5}`:                       "",
		`{"n": -3}`:                      "small",
		`{"n": -0}`:                      "small,zero",
		`{"n": 9223372036854775807}`:     "max",
		`{"n": 9223372036854775808}`:     "error,text",
		`{"n": -9223372036854775809}`:    "error",
		`{"n": 9223372036854775808.0}`:   "error,text",
		`{"n": 9.223372036854775808e18}`: "error,text",
		`{"n": 9223372036854775807.0}`:   "max",
		`{"n": 92233720368547758070e-1}`: "max",
		`{"n": 4.0}`:                     "small,four",
		`{"n": 4.00000}`:                 "small,four",
		`{"n": 40e-1}`:                   "small,four",
		`{"n": 0.4E1}`:                   "small,four",
		`{"n": 4.00001}`:                 "error",
		`{"n": 4.5}`:                     "error,half",
		`{"n": 0.0045e+3}`:               "error,half",
		`{"n": 1e400}`:                   "error,far",
		`{"n": 100.00E398}`:              "error,far",
		`{"n": 1.50e-7}`:                 "error,tiny",
		`{"n": 0.00000015}`:              "error,tiny",
		`{"n": -0.012345000}`:            "error,fine",
		`{"n": -12345E-6}`:               "error,fine",
		`{"n": 0.0}`:                     "small,zero",
		`{"n": 0e5}`:                     "small,zero",
		`{"n": -0.00e-5}`:                "small,zero",
		`{"n": 0e99999999999999}`:        "small,zero",
		`{"n": -922337203685477.5808}`:   "error,least",
		`{"n": -922337203685477.5809}`:   "error",
		`{"n": 92233720368547758070e-5}`: "error,most",
	} {
		p := compile(t, texts(
			`@id("small") permit(principal, action, resource) when { context.arg_n < 5 };`,
			`@id("zero") permit(principal, action, resource) when { context.arg_n == 0 };`,
			`@id("max") permit(principal, action, resource) when { context.arg_n == 9223372036854775807 };`,
			`@id("text") permit(principal, action, resource) when { context.arg_n == "9223372036854775808" };`,
			`@id("four") permit(principal, action, resource) when { context.arg_n == 4 };`,
			`@id("half") permit(principal, action, resource) when { context.arg_n == decimal("4.5") };`,
			`@id("tiny") permit(principal, action, resource) when { context.arg_n == "1.5e-7" };`,
			`@id("fine") permit(principal, action, resource) when { context.arg_n == "-0.012345" };`,
			`@id("far") permit(principal, action, resource) when { context.arg_n == "1e400" };`,
			`@id("least") permit(principal, action, resource) when { context.arg_n == decimal("-922337203685477.5808") };`,
			`@id("most") permit(principal, action, resource) when { context.arg_n == decimal("922337203685477.5807") };`,
		))
		d := p.Decide(nil, call("x", args))
		var got []string
		if len(d.Errors) > 0 {
			got = append(got, "error")
		}
		if got = append(got, ids(d.Policies)...); strings.Join(got, ",") != want {
			t.Errorf("%s: %v, want %s", args, got, want)
		}
	}
}

// TestNumbersAreNotSpelledAround: a forbid of a number holds for everything that a reader of floats takes for it.
func TestNumbersAreNotSpelledAround(t *testing.T) {
	p := compile(t, texts(
		`permit(principal, action, resource);`,
		`forbid(principal, action, resource) when { context has arg_port && context.arg_port == 22 };`,
		`forbid(principal, action, resource) when { context has arg_ports && context.arg_ports.contains(22) };`,
	))
	for _, n := range []string{"22", "22.0", "2.2e1", "2.2E+1", "2200e-2", "0.0022e4", "22.00000000000000000001", "21.9999999999999999999", "220000000000000000000000001e-25"} {
		for _, args := range []string{`{"port": ` + n + `}`, `{"ports": [80, ` + n + `]}`} {
			if d := p.Decide(nil, call("x", args)); d.Allowed {
				t.Errorf("%s is allowed", args)
			}
		}
	}
	for _, n := range []string{"23", "22.5", "22.0000000001", "-22", `"22"`, "1e-300", "0.30000000000000004", "1e300"} {
		if d := p.Decide(nil, call("x", `{"port": `+n+`}`)); !d.Allowed {
			t.Errorf("%s is refused: %+v", n, d)
		}
	}
}

// TestArgumentsAreBounded: what policies read of a call's arguments is bounded, so that values that collide in Cedar's
// sets cost little. Beyond the bound the call is refused, and told why.
func TestArgumentsAreBounded(t *testing.T) {
	p := compile(t, texts(
		`permit(principal, action, resource);`,
		`permit(principal == Client::"another", action, resource == Tool::"other") when { context.arg_tags.contains("x") || context.arg_more == 1 };`,
	))
	list := func(n int, one func(i int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = one(i)
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	one := func(int) string { return "1" }
	for _, test := range []struct {
		name, args string
		refused    bool
	}{
		{"as many as may be", `{"tags": ` + list(999, one) + `}`, false},
		{"one more", `{"tags": ` + list(1000, one) + `}`, true},
		{"in two arguments", `{"more": ` + list(499, one) + `, "tags": ` + list(499, one) + `}`, false},
		{"one more in two", `{"more": ` + list(500, one) + `, "tags": ` + list(499, one) + `}`, true},
		{"nobody reads it", `{"unread": ` + list(100_000, one) + `}`, false},
		{"sets that collide", `{"tags": ` + list(20_000, func(i int) string { return fmt.Sprintf("[%d,%d]", i, 1_000_000-i) }) + `}`, true},
		{"sets within a record", `{"tags": {"a": {"b": ` + list(20_000, func(i int) string { return fmt.Sprintf("[%d,%d]", i, 1_000_000-i) }) + `}}}`, true},
		{"numbers that collide", `{"tags": ` + list(60_000, func(i int) string { return fmt.Sprintf("%d,0.%04d", i, i%9999+1) }) + `}`, true},
		{"a record", `{"tags": {` + strings.Trim(list(1000, func(i int) string { return fmt.Sprintf(`"k%d": %d`, i, i) }), "[]") + `}}`, true},
		{"empty lists", `{"tags": ` + list(1000, func(int) string { return "[]" }) + `}`, true},
		{"null", `{"tags": ` + list(1000, func(int) string { return "null" }) + `}`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			d, err := p.Authorize(nil, call("x", test.args))
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			if d.Allowed == test.refused {
				t.Fatalf("decided %+v", d)
			}
			if test.refused && (len(d.Errors) != 1 || !strings.Contains(fault.Of(err).Hinted(), "more than 1000 members")) {
				t.Errorf("told %+v, hint %q", d.Errors, fault.Of(err).Hinted())
			}
		})
	}
}

// TestAllArgumentsAreBounded: where a policy reads all of them, their number is bounded, too.
func TestAllArgumentsAreBounded(t *testing.T) {
	p := compile(t, texts(`permit(principal, action, resource) unless { context == {} };`))
	for n, refused := range map[int]bool{1000: false, 1001: true} {
		members := make([]string, n)
		for i := range members {
			members[i] = fmt.Sprintf(`"k%d": 1`, i)
		}
		if d := p.Decide(nil, call("x", "{"+strings.Join(members, ",")+"}")); d.Allowed == refused {
			t.Errorf("%d: %+v", n, d)
		}
	}
}

func TestScopes(t *testing.T) {
	p := compile(t, texts(
		`@id("plain") permit(principal, action, resource == Tool::"open");`,
		`@id("write") @scopes("aws:write aws:read") permit(principal, action == Action::"call_tool", resource in MCP::"s3");`,
		`@id("admin") @scopes("aws:admin") permit(principal, action == Action::"call_tool", resource);`,
		`@id("stop") forbid(principal, action, resource == Tool::"closed");`,
	))
	for _, test := range []struct {
		tool, scopes string
		allowed      bool
		policies     string
		needs        string
	}{
		{"put", "", false, "write", "aws:read aws:write"},
		{"put", "aws:read", false, "write", "aws:read aws:write"},
		{"put", "aws:write aws:read", true, "write", ""},
		{"put", "other aws:write aws:read aws:admin", true, "write,admin", ""},
		{"put", "aws:admin", true, "admin", ""},
		{"put", "AWS:ADMIN", false, "write", "aws:read aws:write"},
		{"open", "", true, "plain", ""},
		{"closed", "", false, "stop", ""},
		{"closed", "aws:admin", false, "stop", ""},
	} {
		d, err := p.Authorize(p.Principal(caller(t, `{}`, strings.Fields(test.scopes)...)), call(test.tool, ""))
		if d.Allowed != test.allowed || strings.Join(ids(d.Policies), ",") != test.policies || strings.Join(d.Scopes, " ") != test.needs {
			t.Errorf("%s with %q: %v by %v, needs %v", test.tool, test.scopes, d.Allowed, ids(d.Policies), d.Scopes)
		}
		if d.Allowed != (err == nil) {
			t.Errorf("%s with %q: %v", test.tool, test.scopes, err)
		}
		if e, ok := errors.AsType[*fault.Error](err); ok {
			challenge := map[bool]string{true: "insufficient_scope"}[test.needs != ""]
			if e.Kind != fault.Denied || e.Challenge != challenge || strings.Join(e.Scopes, " ") != test.needs {
				t.Errorf("%s with %q: %+v", test.tool, test.scopes, e)
			}
		}
	}
	if d := p.Decide(p.Principal(nil), get("x")); d.Allowed || d.Scopes != nil || d.Policies != nil {
		t.Errorf("scopes are offered that would not help: %+v", d)
	}
}

// TestRefusals: the words name what was refused, in one line, and nothing of a policy, a claim or an argument.
func TestRefusals(t *testing.T) {
	p := compile(t, texts(`@id("secret rule") permit(principal, action, resource) when { principal.claim_team == "hidden" && context.arg_x == 1 };`))
	who := p.Principal(caller(t, `{"sub": "mallory", "team": "visible"}`))
	for words, q := range map[string]policy.Query{
		`policy refuses tool "rm"`:                                 call("rm", `{"x": "private"}`),
		`policy refuses prompt "p"`:                                get("p"),
		`policy refuses resource "s3://b/k"`:                       read("s3://b/k"),
		`policy refuses method "tasks/get"`:                        {Method: "tasks/get"},
		`policy refuses tool "a\n\"b\""`:                           call("a\n\"b\"", ""),
		`policy refuses tool "` + strings.Repeat("x", 77) + `..."`: call(strings.Repeat("x", 5000), ""),
	} {
		_, err := p.Authorize(who, q)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Denied || e.Public != words || e.Challenge != "" {
			t.Errorf("%+v: %v, want %s", q, err, words)
		}
	}
}

func TestOtherMethods(t *testing.T) {
	for _, test := range []struct {
		policy  string
		method  string
		allowed bool
	}{
		{`permit(principal, action, resource);`, "tasks/get", false},
		{`permit(principal, action, resource in MCP::"s3");`, "sampling/createMessage", false},
		{`permit(principal, action == Action::"tasks/get", resource);`, "tasks/get", true},
		{`permit(principal, action in [Action::"tasks/get", Action::"call_tool"], resource);`, "tasks/get", true},
		{`permit(principal, action in Action::"tasks/get", resource);`, "tasks/get", true},
		{`permit(principal, action == Action::"tasks/get", resource == MCP::"s3");`, "tasks/get", true},
		{`permit(principal, action == Action::"tasks/get", resource is MCP);`, "tasks/get", true},
		{`permit(principal, action == Action::"tasks/get", resource == MCP::"other");`, "tasks/get", false},
		{`permit(principal, action == Action::"tasks/get", resource);`, "tasks/cancel", false},
		{`permit(principal, action == Action::"tasks/get", resource);`, "Tasks/get", false},
		{`permit(principal, action in [Action::"tasks/get"], resource); forbid(principal, action, resource);`, "tasks/get", false},
		{`permit(principal, action in [Action::"tasks/get"], resource); forbid(principal, action, resource) when { resource.name == "x" };`, "tasks/get", false},
		{`permit(principal, action in [Action::"tasks/get"], resource) when { context.claim_team == "blue" && principal.claim_team == "blue" };`, "tasks/get", true},
		{`permit(principal, action, resource) when { action == Action::"tasks/get" };`, "tasks/get", false},
	} {
		p := compile(t, texts(test.policy))
		d := p.Decide(p.Principal(caller(t, `{"team": "blue"}`)), policy.Query{Method: test.method})
		if d.Allowed != test.allowed {
			t.Errorf("%s\n%s: %v", test.policy, test.method, d.Allowed)
		}
	}
}

func TestWhatPoliciesRead(t *testing.T) {
	for _, test := range []struct {
		policy string
		hints  bool
	}{
		{`permit(principal, action, resource) when { resource.name == "readOnlyHint" };`, false},
		{`permit(principal, action, resource) when { resource has readOnlyHint };`, true},
		{`permit(principal, action, resource) unless { resource["openWorldHint"] };`, true},
		{`permit(principal, action, resource) when { Tool::"x".idempotentHint };`, true},
		{`forbid(principal, action, resource) when { true && (if resource has destructiveHint then resource.destructiveHint else true) };`, true},
		{`permit(principal, action, resource) when { resource.destructiveHint }; forbid(principal, action, resource) when { resource.name == "x" };`, true},
		{`forbid(principal, action, resource) when { context has readOnlyHint };`, false},
	} {
		p := compile(t, texts(test.policy))
		if p.ReadsHints() != test.hints {
			t.Errorf("%s: %v", test.policy, p.ReadsHints())
		}
	}
}

func TestAll(t *testing.T) {
	p := compile(t, texts(
		"// Readers.\n@id(\"readers\")\npermit(principal in THVGroup::\"r\", action, resource)\nwhen { true };  permit(principal, action, resource) when { \"a;b\" == \"}\" /* ; */ };\n\n  forbid(principal, action, resource) when { false }; // the end",
		`permit(principal, action, resource);`,
	))
	want := []policy.Found{
		{ID: "readers", Place: "policies[0]", Line: 2, Column: 1, Effect: "permit", Text: "@id(\"readers\")\npermit(principal in THVGroup::\"r\", action, resource)\nwhen { true };"},
		{ID: "policies[0]#1", Place: "policies[0]", Line: 4, Column: 17, Effect: "permit", Text: `permit(principal, action, resource) when { "a;b" == "}" /* ; */ };`},
		{ID: "policies[0]#2", Place: "policies[0]", Line: 6, Column: 3, Effect: "forbid", Text: `forbid(principal, action, resource) when { false };`},
		{ID: "policies[1]", Place: "policies[1]", Line: 1, Column: 1, Effect: "permit", Text: `permit(principal, action, resource);`},
	}
	if diff := cmp.Diff(want, p.All()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUnreadableArguments: what can't be read is not decided about.
func TestUnreadableArguments(t *testing.T) {
	p := compile(t, texts(`permit(principal, action, resource); forbid(principal, action, resource) when { context has arg_x && context.arg_x == 1 };`))
	for _, args := range []string{`{"x": 2, "x": 1}`, `{"x": 2`, `[]`, `"x"`, `{"x": 2} {}`, "{\"x\": \"\xff\"}", `{"y": {"a": 1, "a": 2}}`} {
		if d := p.Decide(nil, call("x", args)); d.Allowed || len(d.Errors) != 1 || d.Errors[0].Message == "" {
			t.Errorf("%s: %+v", args, d)
		}
	}
}

// TestForeignPrincipal: a principal that other policies made is not taken for one's own.
func TestForeignPrincipal(t *testing.T) {
	old := compile(t, texts(`permit(principal, action, resource);`))
	now := compile(t, texts(`permit(principal in THVGroup::"ops", action, resource) when { principal.claim_level == 3 };`))
	who := old.Principal(caller(t, `{"groups": ["ops"], "level": 3}`))
	if d := now.Decide(who, call("x", "")); !d.Allowed {
		t.Errorf("%+v", d)
	}
}

// TestStatics: attributes and parents of the configuration join those of caller and resource, whose own win.
func TestStatics(t *testing.T) {
	a := &config.Authz{EntitiesJSON: `[
		{"uid": {"type": "Tool", "id": "deploy"}, "attrs": {"owner": "platform", "name": "lie"}, "parents": [{"type": "Shelf", "id": "risky"}]},
		{"uid": "Tool::weather", "attrs": {"owner": "climate"}},
		{"uid": "Tool::\"two words\"", "attrs": {"owner": "x"}, "parents": ["Shelf::risky"]},
		{"uid": {"__entity": {"type": "THVGroup", "id": "sre"}}, "parents": ["PlatformRole::\"operator\""]},
		{"uid": "PlatformRole::operator", "parents": ["PlatformRole::viewer"]},
		{"uid": "Client::bob", "attrs": {"desk": 4, "claim_team": "static"}, "tags": {"a": "b"}}
	]`}
	for when, query := range map[string]policy.Query{
		`resource.owner == "platform" && resource.name == "deploy"`:                                                  call("deploy", ""),
		`resource in Shelf::"risky" && resource in MCP::"s3"`:                                                        call("deploy", ""),
		`resource.owner == "climate"`:                                                                                call("weather", ""),
		`resource in Shelf::"risky" && resource.owner == "x"`:                                                        call("two words", ""),
		`!(resource has owner)`:                                                                                      call("other", ""),
		`principal in PlatformRole::"viewer" && principal in THVGroup::"sre"`:                                        call("x", ""),
		`principal.desk == 4 && principal.claim_team == "token"`:                                                     call("x", ""),
		`principal.getTag("a") == "b"`:                                                                               call("x", ""),
		`THVGroup::"sre" in PlatformRole::"viewer" && principal in [PlatformRole::"none", PlatformRole::"operator"]`: call("x", ""),
	} {
		a.Policies = []string{`permit(principal, action, resource) when { ` + when + ` };`}
		a.Schema = "strict"
		p := compile(t, a)
		if d := p.Decide(p.Principal(caller(t, `{"sub": "bob", "groups": ["sre"], "team": "token"}`)), query); !d.Allowed {
			t.Errorf("%s: %+v", when, d.Errors)
		}
	}
}

// TestAMethodNamedAfterAnActionIsRefused: what a policy says of calling tools is not meant for a method of that name.
func TestAMethodNamedAfterAnActionIsRefused(t *testing.T) {
	p := compile(t, &config.Authz{Policies: []string{`permit(principal, action in [Action::"call_tool", Action::"get_prompt", Action::"read_resource"], resource);`}})
	for _, method := range []string{"call_tool", "get_prompt", "read_resource"} {
		if d := p.Decide(p.Principal(caller(t, `{}`)), policy.Query{Method: method}); d.Allowed {
			t.Errorf("%s is let through", method)
		}
	}
}

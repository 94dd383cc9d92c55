package policy_test

import (
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/policy"
)

// TestVocabulary has a case for each word of the vocabulary: an expression that must be true, and so permit.
func TestVocabulary(t *testing.T) {
	claims := `{"sub": "u-1", "email": "a@example.com", "admin": true, "level": 3, "score": 2.5, "third": 0.33333, "big": 1e300, "huge": 18446744073709551617, "fine": 1.00000000000000000001, "fixed": 12345678901234.5678, "ids": [9223372036854775808], "groups": ["dev", "ops"],
		"team": {"name": "blue", "size": 4, "tags": ["x"], "none": null}, "mixed": [1, "one", true, null], "nothing": null, "scope": "read write",
		"https://example.com/roles": ["r1"], "roles": "single"}`
	args := `{"city": "Oslo", "n": 3, "f": 1.5, "one": 1.0, "big": 9223372036854775808, "fine": 0.12345, "flag": true, "no": null, "list": [1, "a"], "deep": {"a": {"b": 2}}, "empty": {}}`
	for when, query := range map[string]policy.Query{
		// the caller
		`principal == Client::"u-1"`:                                      call("x", args),
		`principal is Client`:                                             call("x", args),
		`principal.claim_sub == "u-1"`:                                    call("x", args),
		`principal.claim_email like "*@example.com"`:                      call("x", args),
		`principal.claim_admin`:                                           call("x", args),
		`principal.claim_level == 3`:                                      call("x", args),
		`principal.claim_score == decimal("2.5")`:                         call("x", args),
		`principal.claim_third == "0.33333"`:                              call("x", args),
		`principal.claim_big == "1e300"`:                                  call("x", args),
		`principal.claim_huge == "18446744073709551617"`:                  call("x", args),
		`context.claim_fine == "1.00000000000000000001"`:                  call("x", args),
		`principal.claim_fixed == decimal("12345678901234.5678")`:         call("x", args),
		`principal.claim_ids.contains("9223372036854775808")`:             call("x", args),
		`principal.claim_groups.contains("dev")`:                          call("x", args),
		`principal.claim_team.name == "blue"`:                             call("x", args),
		`principal.claim_team.size < 5`:                                   call("x", args),
		`principal.claim_team.tags.contains("x")`:                         call("x", args),
		`principal.claim_mixed == [true, "one", 1]`:                       call("x", args),
		`!(principal has claim_nothing)`:                                  call("x", args),
		`!(principal.claim_team has none)`:                                call("x", args),
		`!(principal has claim_unknown)`:                                  call("x", args),
		`principal["claim_https://example.com/roles"].contains("r1")`:     call("x", args),
		`principal has "claim_https://example.com/roles"`:                 call("x", args),
		`principal in THVGroup::"dev" && principal in THVGroup::"ops"`:    call("x", args),
		`!(principal in THVGroup::"single")`:                              call("x", args),
		`principal.claim_scope == "read write"`:                           call("x", args),
		`principal.claim_roles == "single"`:                               call("x", args),
		`context.claim_email == "a@example.com"`:                          call("x", args),
		`context.claim_groups.containsAll(["ops", "dev"])`:                call("x", args),
		`context.claim_team == {name: "blue", size: 4, tags: ["x"]}`:      call("x", args),
		`action == Action::"call_tool"`:                                   call("x", args),
		`action == Action::"get_prompt"`:                                  get("x"),
		`action == Action::"read_resource"`:                               read("x"),
		`resource == Tool::"x" && resource is Tool`:                       call("x", args),
		`resource == Prompt::"x" && resource is Prompt`:                   get("x"),
		`resource == Resource::"x" && resource is Resource`:               read("x"),
		`resource in MCP::"s3"`:                                           call("x", args),
		`resource in MCP::"s3" && resource.feature == "prompt"`:           get("x"),
		`resource in MCP::"s3" && resource.operation == "read"`:           read("x"),
		`!(resource in MCP::"other")`:                                     call("x", args),
		`resource.name == "x" && resource.operation == "call"`:            call("x", args),
		`resource.feature == "tool"`:                                      call("x", args),
		`resource.name == "x" && resource.operation == "get"`:             get("x"),
		`resource.feature == "resource" && resource.uri == "s3://b/k"`:    read("s3://b/k"),
		`!(resource has uri) && !(resource has readOnlyHint)`:             call("x", args),
		`resource.arg_city == "Oslo" && context.arg_city == "Oslo"`:       call("x", args),
		`resource.arg_n == 3 && context.arg_n == 3`:                       call("x", args),
		`context.arg_f == decimal("1.5")`:                                 call("x", args),
		`context.arg_one == 1`:                                            call("x", args),
		`context.arg_big == "9223372036854775808"`:                        call("x", args),
		`context.arg_fine == "0.12345"`:                                   call("x", args),
		`context.arg_flag && resource.arg_flag`:                           call("x", args),
		`!(context has arg_no) && !(resource has arg_no)`:                 call("x", args),
		`!(context has arg_unknown)`:                                      call("x", args),
		`context.arg_list_present && resource.arg_list_present`:           call("x", args),
		`context.arg_deep_present && context.arg_empty_present`:           call("x", args),
		`context.arg_list.contains("a")`:                                  call("x", args),
		`context.arg_deep.a.b == 2 && resource.arg_deep.a.b == 2`:         call("x", args),
		`context has arg_deep.a.b`:                                        call("x", args),
		`!(context has arg_city_present)`:                                 call("x", args),
		`context.arg_empty == {}`:                                         call("x", args),
		`resource.readOnlyHint`:                                           hinted("x", policy.Hints{ReadOnly: new(true)}),
		`resource.destructiveHint == false`:                               hinted("x", policy.Hints{Destructive: new(false)}),
		`resource.idempotentHint`:                                         hinted("x", policy.Hints{Idempotent: new(true)}),
		`resource.openWorldHint && !(resource has readOnlyHint)`:          hinted("x", policy.Hints{OpenWorld: new(true)}),
		`resource == Resource::"file____a_b_c_d_e_f_g__h_txt"`:            read("file:///a b?c&d=e#f\\g:.h.txt"),
		`resource.name == "s3___b_k" && resource == Resource::"s3___b_k"`: read("s3://b/k"),
	} {
		t.Run(when, func(t *testing.T) {
			p := compile(t, texts("permit(principal, action, resource) when { "+when+" };"))
			d := p.Decide(p.Principal(caller(t, claims)), query)
			if !d.Allowed {
				t.Errorf("not true: %+v", d.Errors)
			}
			p = compile(t, &config.Authz{Schema: "strict", Policies: []string{"permit(principal, action, resource) unless { " + when + " };"}})
			if d := p.Decide(p.Principal(caller(t, claims)), query); d.Allowed {
				t.Error("its contrary is true too")
			}
		})
	}
}

func TestGroups(t *testing.T) {
	for _, test := range []struct {
		name   string
		authz  config.Authz
		claims string
		in     string // the entity that the caller must be in
		not    string // one that it must not be in
	}{
		{"groups first", config.Authz{}, `{"groups": ["a"], "roles": ["b"], "cognito:groups": ["c"]}`, `THVGroup::"a"`, `THVGroup::"b"`},
		{"then roles", config.Authz{}, `{"groups": null, "roles": ["b"], "cognito:groups": ["c"]}`, `THVGroup::"b"`, `THVGroup::"c"`},
		{"then Cognito's", config.Authz{}, `{"cognito:groups": ["c"]}`, `THVGroup::"c"`, `THVGroup::"a"`},
		{"an empty claim is present", config.Authz{}, `{"groups": [], "roles": ["b"]}`, `Client::"alice"`, `THVGroup::"b"`},
		{"a string is a group", config.Authz{}, `{"groups": "a b"}`, `THVGroup::"a b"`, `THVGroup::"c"`},
		{"and so is each of its words", config.Authz{}, `{"groups": "a b"}`, `THVGroup::"b"`, `THVGroup::""`},
		{"however many spaces", config.Authz{}, `{"groups": " a  b"}`, `THVGroup::"a"`, `THVGroup::""`},
		{"words end at spaces alone", config.Authz{}, `{"groups": "a\tb"}`, `THVGroup::"a\tb"`, `THVGroup::"a"`},
		{"a member of a list is one group", config.Authz{}, `{"groups": ["a b"]}`, `THVGroup::"a b"`, `THVGroup::"a"`},
		{"words of the role claim", config.Authz{RoleClaim: "role"}, `{"role": "a b"}`, `THVGroup::"b"`, `THVGroup::"c"`},
		{"members of another type are none", config.Authz{}, `{"groups": ["a", 7, ["b"]]}`, `THVGroup::"a"`, `THVGroup::"7"`},
		{"a claim of another type is none", config.Authz{}, `{"groups": {"a": true}}`, `Client::"alice"`, `THVGroup::"a"`},
		{"a configured claim", config.Authz{GroupClaim: "team"}, `{"team": ["a"], "groups": ["b"]}`, `THVGroup::"a"`, `THVGroup::"b"`},
		{"a configured claim that is missing", config.Authz{GroupClaim: "team"}, `{"groups": ["b"]}`, `THVGroup::"b"`, `THVGroup::"a"`},
		{"a configured claim that is empty", config.Authz{GroupClaim: "team"}, `{"team": [], "groups": ["b"]}`, `Client::"alice"`, `THVGroup::"b"`},
		{"a path", config.Authz{GroupClaim: "realm_access.roles"}, `{"realm_access": {"roles": ["a"]}}`, `THVGroup::"a"`, `THVGroup::"b"`},
		{"a literal name with dots", config.Authz{GroupClaim: "x.y"}, `{"x.y": ["a"], "x": {"y": ["b"]}}`, `THVGroup::"a"`, `THVGroup::"b"`},
		{"a URL", config.Authz{GroupClaim: "https://example.com/g"}, `{"https://example.com/g": ["a"]}`, `THVGroup::"a"`, `THVGroup::"b"`},
		{"roles beside groups", config.Authz{RoleClaim: "role"}, `{"groups": ["a"], "role": "b"}`, `THVGroup::"b"`, `THVGroup::"c"`},
		{"and the groups stay", config.Authz{RoleClaim: "role"}, `{"groups": ["a"], "role": "b"}`, `THVGroup::"a"`, `THVGroup::"c"`},
		{"another type", config.Authz{GroupEntityType: "Team", RoleClaim: "role"}, `{"groups": ["a"], "role": "b"}`, `Team::"b"`, `THVGroup::"a"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := test.authz
			a.Policies = []string{
				`@id("scope") permit(principal in ` + test.in + `, action, resource);`,
				`@id("condition") permit(principal, action, resource) when { resource.name == "x" && principal in ` + test.in + ` };`,
				`@id("not") permit(principal in ` + test.not + `, action, resource);`,
				`@id("nor") permit(principal, action, resource) when { principal in [` + test.not + `] };`,
			}
			p := compile(t, &a)
			d := p.Decide(p.Principal(caller(t, test.claims)), call("x", ""))
			if got := strings.Join(ids(d.Policies), " "); got != "scope condition" {
				t.Errorf("true: %q", got)
			}
		})
	}
}

func TestMultiValuedClaims(t *testing.T) {
	for _, test := range []struct{ claims, when string }{
		{`{"scope": "read write"}`, `principal.claimset_scope == ["read", "write"] && context.claimset_scope.contains("read")`},
		{`{"scope": "read write"}`, `principal.claim_scope == "read write" && context.claim_scope == "read write"`},
		{`{"scope": ["read", "write"]}`, `principal.claimset_scope == ["read", "write"]`},
		{`{"scope": ["read", "write"]}`, `principal.claim_scope == "read write"`},
		{`{"scope": []}`, `principal.claimset_scope.isEmpty() && principal.claim_scope == ""`},
		{`{"scope": 7}`, `principal.claim_scope == 7 && !(principal has claimset_scope)`},
		{`{}`, `!(principal has claimset_scope) && !(principal has claim_scope) && !(context has claimset_scope)`},
		{`{"scope": "read", "other": ["a"]}`, `principal.claim_other.contains("a") && !(principal has claimset_other)`},
	} {
		t.Run(test.claims+" "+test.when, func(t *testing.T) {
			a := texts("permit(principal, action, resource) when { " + test.when + " };")
			a.MultiValuedClaims = []string{"scope"}
			p := compile(t, a)
			if d := p.Decide(p.Principal(caller(t, test.claims)), call("x", "")); !d.Allowed {
				t.Errorf("not true: %+v", d.Errors)
			}
		})
	}
}

// TestNesting: ten levels of an argument and of a claim are seen, the eleventh is dropped and leaves a mark.
func TestNesting(t *testing.T) {
	nested := func(levels int) string {
		return strings.Repeat(`{"a": `, levels-1) + `{"leaf": true}` + strings.Repeat("}", levels-1)
	}
	path := func(levels int) string { return strings.Repeat(".a", levels-1) }
	p := compile(t, texts(
		`@id("arg 10") permit(principal, action, resource) when { context.arg_x`+path(10)+`.leaf };`,
		`@id("claim 10") permit(principal, action, resource) when { principal.claim_x`+path(10)+`.leaf };`,
		`@id("arg 11") permit(principal, action, resource) when { context.arg_x`+path(10)+` has a };`,
		`@id("claim 11") permit(principal, action, resource) when { principal.claim_x`+path(10)+` has a };`,
		`@id("arg mark") permit(principal, action, resource) when { context.arg_x`+path(10)+`.a_present };`,
		`@id("claim mark") permit(principal, action, resource) when { principal.claim_x`+path(10)+`.a_present };`,
		`@id("present") permit(principal, action, resource) when { context.arg_x_present };`,
	))
	for levels, want := range map[int]string{
		10: "arg 10,claim 10,present",
		11: "arg mark,claim mark,present",
		30: "arg mark,claim mark,present",
	} {
		x := `{"x": ` + nested(levels) + `}`
		d := p.Decide(p.Principal(caller(t, x)), call("x", x))
		if got := strings.Join(ids(d.Policies), ","); got != want {
			t.Errorf("%d levels: %s, want %s", levels, got, want)
		}
	}
}

// TestPresenceIsNotForged: an argument with the name of a mark does not hide it.
func TestPresenceIsNotForged(t *testing.T) {
	p := compile(t, texts(`forbid(principal, action, resource) when { context has arg_q_present && context.arg_q_present };`, `permit(principal, action, resource);`))
	for _, args := range []string{`{"q": [1], "q_present": false}`, `{"q_present": false, "q": {}}`} {
		if d := p.Decide(nil, call("x", args)); d.Allowed {
			t.Errorf("%s is allowed", args)
		}
	}
}

func TestNobody(t *testing.T) {
	p := compile(t, texts(`permit(principal == Client::"", action, resource) unless { principal has claim_sub || context has claim_sub };`))
	if d := p.Decide(p.Principal(nil), call("x", "")); !d.Allowed {
		t.Errorf("%+v", d)
	}
	if d := p.Decide(nil, call("x", "")); !d.Allowed {
		t.Errorf("without a principal: %+v", d)
	}
	if d := p.Decide(p.Principal(caller(t, `{"sub": "bob"}`)), call("x", "")); d.Allowed {
		t.Errorf("%+v", d)
	}
}

package role_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/token"
)

func TestMistakes(t *testing.T) {
	_, got := role.New(&config.AWSSTS{RoleMappings: []config.RoleMapping{
		{Matcher: `claims.admin`, RoleArn: "a", Priority: new(int32(9))},
		{Claim: "fine", RoleArn: "a"},
		{Matcher: `size(claims.groups)`, RoleArn: "a", OnError: "explode"},
		{Matcher: "claims.a == 1 &&\n  claim.b == nope", RoleArn: "a"},
		{Matcher: `"admins" in `, RoleArn: "a"},
		{Claim: "x", Matcher: "true", RoleArn: "a"},
		{RoleArn: "a", Priority: new(int32(1))},
		{Matcher: strings.Repeat("true && ", 600) + "true", RoleArn: "a"},
		{Matcher: `claims.a.matches("(")`, RoleArn: "a"},
		{Matcher: `claims.a.split(1) == []`, RoleArn: "a"},
	}})
	want := []role.Mistake{
		{"roleMappings[0].matcher", "the expression is of type dyn, it must be bool", "compare it: claims.admin == true"},
		{"roleMappings[2].onError", `"explode" is not a way to handle errors`, `write "skip" or "deny"`},
		{"roleMappings[2].matcher", "the expression is of type int, it must be bool", "compare it with something, so that it is true or false"},
		{"roleMappings[3].matcher", "line 2, column 3: undeclared reference to 'claim' (did you mean 'claims'?)", "the one variable is claims, and a text stands in quotes"},
		{"roleMappings[3].matcher", "line 2, column 14: undeclared reference to 'nope'", "the one variable is claims, and a text stands in quotes"},
		{"roleMappings[4].matcher", "column 13: not a CEL expression: mismatched input '<EOF>'", `write an expression such as "admins" in claims["groups"]`},
		{"roleMappings[5]", "a mapping needs exactly one of claim and matcher", "keep one of the two"},
		{"roleMappings[6]", "a mapping needs exactly one of claim and matcher", "keep one of the two"},
		{"roleMappings[7].matcher", "the expression has 4804 bytes, more than 4096", "split it into several mappings"},
		{"roleMappings[8].matcher", "the expression can't be made ready: error parsing regexp: missing closing ): `(`", "mend the constant that it names"},
		{"roleMappings[9].matcher", "column 15: found no matching overload for 'split' applied to 'dyn.(int)'", "compare values of one type, with functions that CEL has"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func TestMatchers(t *testing.T) {
	claims := `{"sub": "u1", "level": 3, "score": 3.5, "big": 9007199254740993, "huge": 18446744073709551616, "scores": [2.5, 7], "deep": {"score": 0.5}, "admin": true, "groups": ["a", "admins"], "mail": "x@example.com",
		"nothing": null, "realm": {"roles": ["r"]}, "https://example.com/team": "blue"}`
	for matcher, want := range map[string]string{
		`claims.level >= 3`:                                          role.Matched,
		`claims.score >= 3`:                                          role.Matched,
		`claims.level >= 2.5`:                                        role.Matched,
		`claims.level == 3.0`:                                        role.Matched,
		`claims.score > claims.level`:                                role.Matched,
		`claims.big == 9007199254740993`:                             role.Matched,
		`claims.huge > 9223372036854775807`:                          role.Matched,
		`type(claims.huge) == double`:                                role.Matched,
		`claims.scores.exists(s, s == 2.5)`:                          role.Matched,
		`claims.scores == [2.5, 7]`:                                  role.Matched,
		`2.5 in claims.scores`:                                       role.Matched,
		`claims.deep == {"score": 0.5}`:                              role.Matched,
		`claims.deep.score < 1`:                                      role.Matched,
		`claims.deep.all(k, claims.deep[k] < 1.0)`:                   role.Matched,
		`string(claims.score) == "3.5"`:                              role.Matched,
		`claims.big == 9007199254740992`:                             role.NoMatch,
		`claims.level > 3`:                                           role.NoMatch,
		`claims.admin == true`:                                       role.Matched,
		`claims.nothing == null`:                                     role.Matched,
		`has(claims.nope)`:                                           role.NoMatch,
		`"nope" in claims`:                                           role.NoMatch,
		`claims.mail.endsWith("@example.com")`:                       role.Matched,
		`claims["https://example.com/team"] == "blue"`:               role.Matched,
		`"r" in claims.realm.roles`:                                  role.Matched,
		`claims.groups.exists(g, g.startsWith("adm"))`:               role.Matched,
		`sets.contains(claims.groups, ["a", "admins"])`:              role.Matched,
		`claims.mail.split("@")[1] == "example.com"`:                 role.Matched,
		`claims.groups.slice(0, 1) == ["a"]`:                         role.Matched,
		`claims.nope == 1`:                                           role.FailureNoKey,
		`claims.realm.nope == 1`:                                     role.FailureNoKey,
		`claims.nope == 1 || claims.admin == true`:                   role.Matched,
		`claims.groups > 3`:                                          role.FailureType,
		`claims.mail && true`:                                        role.FailureType,
		`"x" in claims.sub`:                                          role.FailureType,
		`int(claims.sub) == 1`:                                       role.FailureType,
		`claims.groups[7] == "x"`:                                    role.FailureRange,
		`claims.sub.charAt(9) == "x"`:                                role.FailureRange,
		`claims.level / 0 == 1`:                                      role.FailureMath,
		`{"a": 1}[claims.mail] == 1`:                                 role.FailureNoKey,
		`"x".matches(claims.mail + "(")`:                             role.FailureOther,
		`timestamp(claims.mail) > timestamp("2020-01-01T00:00:00Z")`: role.FailureOther,
	} {
		t.Run(matcher, func(t *testing.T) {
			c := chooser(t, &config.AWSSTS{FallbackRoleArn: "f", RoleMappings: []config.RoleMapping{{Matcher: matcher, RoleArn: "a"}}})
			step := c.Explain(claimsOf(t, claims))[0]
			got := step.Verdict
			if got == role.Failed {
				got = step.Error
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			choice, err := c.Select(claimsOf(t, claims))
			if text := fmt.Sprint(choice.Reason, choice.Errors, err); strings.Contains(text, "x@example.com") {
				t.Errorf("a claim's value shows: %s", text)
			}
		})
	}
}

// TestCostLimit: a token made to be expensive does not hold a matcher up.
func TestCostLimit(t *testing.T) {
	groups := make([]any, 400)
	for i := range groups {
		groups[i] = fmt.Sprint("group-", i)
	}
	claims := map[string]any{"groups": groups}
	c := chooser(t, &config.AWSSTS{FallbackRoleArn: "f", RoleMappings: []config.RoleMapping{
		{Matcher: `claims.groups.all(a, claims.groups.all(b, claims.groups.all(c, a + b + c != "x")))`, RoleArn: "a"},
		{Matcher: `claims.groups.exists(g, g.startsWith("group-399"))`, RoleArn: "b"},
	}})
	got, err := c.Select(claims)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]role.MatchError{{Mapping: 0, What: role.FailureCost}}, got.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if got.RoleARN != "b" {
		t.Errorf("an ordinary matcher over 400 groups did not match: %+v", got)
	}
}

// FuzzMatcher: whatever stands in the settings, it compiles or is a mistake with a sentence, and what compiles can be
// evaluated over any claims.
func FuzzMatcher(f *testing.F) {
	for _, seed := range []string{
		`"admins" in claims["groups"] && claims["org"] == "engineering"`, `claims.level >= 3`, `claims`, ``, `claims.groups.all(x, x == "a")`,
		`"%s".format([claims.a]) == "x"`, `claims.a.matches("^a+$")`, `sets.intersects(claims.groups, ["a"])`, "\x00\xff", `[[[[`, `claims.a ? true : false`,
		`timestamp(claims.exp) > timestamp("2020-01-01T00:00:00Z")`, `has(claims.a.b)`, `claims.?a.orValue(true)`, `dyn(1) == 1u`,
	} {
		f.Add(seed)
	}
	all := []map[string]any{
		nil,
		{},
		{"groups": []any{"a", int64(1)}, "org": "x", "level": token.Number("2.5"), "a": map[string]any{"b": nil}, "exp": int64(1)},
		{"groups": "a b", "level": int64(9), "a": "aaa", "exp": "x"},
	}
	f.Fuzz(func(t *testing.T, matcher string) {
		c, mistakes := role.New(&config.AWSSTS{FallbackRoleArn: "f", RoleMappings: []config.RoleMapping{{Matcher: matcher, RoleArn: "a"}}})
		if c == nil {
			for _, m := range mistakes {
				if m.Field == "" || m.What == "" || m.Mend == "" || strings.ContainsAny(m.What+m.Mend, "\r\n") {
					t.Errorf("mistake %+v", m)
				}
			}
			return
		}
		for _, claims := range all {
			if _, err := c.Select(claims); err != nil {
				t.Errorf("with a fallback: %v", err)
			}
		}
	})
}

func BenchmarkSelect(b *testing.B) {
	claims := map[string]any{
		"iss": "https://idp.example.com", "sub": "u1", "aud": "mcp", "org": "engineering", "level": int64(3),
		"groups": []any{"developers", "everyone", "s3-readers", "admins"}, "realm_access": map[string]any{"roles": []any{"x", "s3-readers"}}, "scope": "openid email s3-readers",
	}
	for name, a := range map[string]*config.AWSSTS{
		"claim list":  {RoleMappings: []config.RoleMapping{{Claim: "s3-readers", RoleArn: "a"}}},
		"claim words": {RoleClaim: "scope", RoleMappings: []config.RoleMapping{{Claim: "s3-readers", RoleArn: "a"}}},
		"claim path":  {RoleClaim: "realm_access.roles", RoleMappings: []config.RoleMapping{{Claim: "s3-readers", RoleArn: "a"}}},
		"matcher":     {RoleMappings: []config.RoleMapping{{Matcher: `"admins" in claims["groups"] && claims["org"] == "engineering"`, RoleArn: "a"}}},
		"level":       {RoleMappings: []config.RoleMapping{{Matcher: `claims.level >= 3`, RoleArn: "a"}}},
	} {
		c := chooser(b, a)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Select(claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	a := tutorial()
	b.ReportAllocs()
	for b.Loop() {
		chooser(b, a)
	}
}

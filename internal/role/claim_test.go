package role_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/token"
)

// TestNoClaimSilentlyMeansFallback: a role claim that is a plain string, space-separated or nested is understood; one
// that is missing or of another type, and a matcher that fails, are told; and a matcher that is not boolean never loads.
func TestNoClaimSilentlyMeansFallback(t *testing.T) {
	for _, test := range []struct {
		name, roleClaim, claims string
		mapping                 int
		state                   role.ClaimState
		reason                  string
	}{
		{"a list", "", `{"groups": ["a", "s3-readers"]}`, 0, role.Present, ""},
		{"an equal string", "", `{"groups": "s3-readers"}`, 0, role.Present, ""},
		{"a word of a string", "", `{"groups": "openid s3-readers email"}`, 0, role.Present, ""},
		{"the last word", "", `{"groups": "openid s3-readers"}`, 0, role.Present, ""},
		{"a nested claim", "realm_access.roles", `{"realm_access": {"roles": ["s3-readers"]}}`, 0, role.Present, ""},
		{"deeply nested", "a.b.c", `{"a": {"b": {"c": "s3-readers"}}}`, 0, role.Present, ""},
		{"a literal name with dots", "realm_access.roles", `{"realm_access.roles": "s3-readers"}`, 0, role.Present, ""},
		{
			"a literal name wins over the path", "realm_access.roles",
			`{"realm_access.roles": "other", "realm_access": {"roles": ["s3-readers"]}}`, role.Fallback, role.Present, "fallback: no mapping matched",
		},
		{"a URL as a name", "https://example.com/roles", `{"https://example.com/roles": ["s3-readers"]}`, 0, role.Present, ""},
		{"a member of a claim named by a URL", "https://example.com/app.roles", `{"https://example.com/app": {"roles": ["s3-readers"]}}`, 0, role.Present, ""},
		{"missing", "", `{}`, role.Fallback, role.Missing, "fallback: no mapping matched, claim groups is missing"},
		{"null", "", `{"groups": null}`, role.Fallback, role.Missing, "fallback: no mapping matched, claim groups is missing"},
		{"half of the path", "a.b", `{"a": {}}`, role.Fallback, role.Missing, "fallback: no mapping matched, claim a.b is missing"},
		{"a path through a string", "a.b", `{"a": "b"}`, role.Fallback, role.Missing, "fallback: no mapping matched, claim a.b is missing"},
		{"a number", "", `{"groups": 7}`, role.Fallback, role.Mistyped, "fallback: no mapping matched, claim groups is not a string or a list of strings"},
		{"an object", "", `{"groups": {"s3-readers": true}}`, role.Fallback, role.Mistyped, "fallback: no mapping matched, claim groups is not a string or a list of strings"},
		{"a list of objects", "", `{"groups": [{"name": "s3-readers"}]}`, role.Fallback, role.Mistyped, "fallback: no mapping matched, claim groups is not a string or a list of strings"},
		{"a mixed list that matches", "", `{"groups": [1, "s3-readers"]}`, 0, role.Mistyped, ""},
		{"another case", "", `{"groups": ["S3-Readers"]}`, role.Fallback, role.Present, "fallback: no mapping matched"},
		{"a part of a member", "", `{"groups": ["not-s3-readers", "s3-readers2"]}`, role.Fallback, role.Present, "fallback: no mapping matched"},
		{"a word inside a list's member", "", `{"groups": ["x s3-readers"]}`, role.Fallback, role.Present, "fallback: no mapping matched"},
		{"an empty list", "", `{"groups": []}`, role.Fallback, role.Present, "fallback: no mapping matched"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := chooser(t, &config.AWSSTS{RoleClaim: test.roleClaim, FallbackRoleArn: fallbackARN, RoleMappings: []config.RoleMapping{{Claim: "s3-readers", RoleArn: readerARN}}})
			got, err := c.Select(claimsOf(t, test.claims))
			if err != nil {
				t.Fatal(err)
			}
			if got.Mapping != test.mapping || got.Claim != test.state {
				t.Errorf("mapping %d, claim %q; want %d, %q", got.Mapping, got.Claim, test.mapping, test.state)
			}
			if test.reason != "" && got.Reason != test.reason {
				t.Errorf("reason %q, want %q", got.Reason, test.reason)
			}
		})
	}

	t.Run("a matcher that fails is told", func(t *testing.T) {
		c := chooser(t, &config.AWSSTS{FallbackRoleArn: fallbackARN, RoleMappings: []config.RoleMapping{{Matcher: `claims.org == "x"`, RoleArn: adminARN}}})
		got, err := c.Select(map[string]any{})
		if err != nil || len(got.Errors) != 1 || got.Errors[0] != (role.MatchError{Mapping: 0, What: role.FailureNoKey}) {
			t.Errorf("choice %+v, err %v", got, err)
		}
		if want := "fallback: no mapping matched, matchers that failed: 1"; got.Reason != want {
			t.Errorf("reason %q, want %q", got.Reason, want)
		}
	})
	t.Run("a matcher that is not boolean does not load", func(t *testing.T) {
		if _, mistakes := role.New(&config.AWSSTS{RoleMappings: []config.RoleMapping{{Matcher: `claims.admin`, RoleArn: adminARN}}}); len(mistakes) != 1 {
			t.Errorf("mistakes: %+v", mistakes)
		}
	})
}

// TestReasonsAreOneLine: what comes from the settings is quoted, whatever it is.
func TestReasonsAreOneLine(t *testing.T) {
	c := chooser(t, &config.AWSSTS{RoleClaim: "my\ngroups", FallbackRoleArn: fallbackARN, RoleMappings: []config.RoleMapping{{Claim: "a\nb", RoleArn: readerARN}}})
	for _, claims := range []map[string]any{{"my\ngroups": "a\nb"}, {}} {
		got, err := c.Select(claims)
		if err != nil || strings.ContainsAny(got.Reason, "\r\n") {
			t.Errorf("reason %q, err %v", got.Reason, err)
		}
	}
}

// TestClaimIsItsMatcher compares a claim mapping with the CEL expression that it stands for, over random claims.
func TestClaimIsItsMatcher(t *testing.T) {
	wants := []string{"a", "b c", "ü", `q"\`, "s3-readers", "a.b", " "}
	r := rand.New(rand.NewPCG(1, 2))
	var value func(depth int) any
	value = func(depth int) any {
		switch n := r.IntN(9); {
		case n < 3:
			words := make([]string, r.IntN(4))
			for i := range words {
				words[i] = wants[r.IntN(len(wants))]
			}
			return strings.Join(words, " ")
		case n < 6 && depth > 0:
			list := make([]any, r.IntN(4))
			for i := range list {
				list[i] = value(depth - 1)
			}
			return list
		case n == 6:
			return map[string]any{"a": "a"}
		case n == 7:
			return []any{int64(1), token.Number("1.5"), true, nil}[r.IntN(4)]
		}
		return wants[r.IntN(len(wants))]
	}
	for _, want := range wants {
		quoted := strconv.Quote(want)
		sugar := chooser(t, &config.AWSSTS{RoleMappings: []config.RoleMapping{{Claim: want, RoleArn: "x"}}})
		matcher := chooser(t, &config.AWSSTS{RoleMappings: []config.RoleMapping{{RoleArn: "x", Matcher: fmt.Sprintf(
			`type(claims.groups) == list ? %[1]s in claims.groups : type(claims.groups) == string && (claims.groups == %[1]s || %[1]s in claims.groups.split(" "))`, quoted)}}})
		matched := 0
		for range 2000 {
			claims := map[string]any{"groups": value(2)}
			_, err1 := sugar.Select(claims)
			_, err2 := matcher.Select(claims)
			if (err1 == nil) != (err2 == nil) {
				t.Fatalf("claim %q, claims %#v: claim says %v, matcher says %v", want, claims, err1, err2)
			}
			if err1 == nil {
				matched++
			}
		}
		if want != " " && matched == 0 {
			t.Errorf("claim %q never matched: the comparison proves nothing", want)
		}
	}
}

// FuzzSelect: whatever a token claims, a choice is made or refused, Explain agrees with it, and no claim's value shows.
func FuzzSelect(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"groups": ["s3-readers"], "org": "engineering"}`, `{"groups": "a b"}`, `{"groups": {"a": 1}}`,
		`{"a": {"b": {"c": [1, null, "x", {"y": 2.5}]}}, "level": 9007199254740993}`, `{"level": 1e300, "groups": [[[]]]}`, `{"a.b": {"c": "s3-readers"}}`,
	} {
		f.Add(seed, "groups")
		f.Add(seed, "a.b.c")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		claims, err := token.ClaimsOf([]byte(text))
		if err != nil {
			t.Skip()
		}
		c, mistakes := role.New(&config.AWSSTS{RoleClaim: path, RoleMappings: []config.RoleMapping{
			{Matcher: `"admins" in claims["groups"] && claims["org"] == "engineering"`, RoleArn: adminARN},
			{Matcher: `claims.level >= 3`, RoleArn: otherARN, OnError: "deny", Priority: new(int32(5))},
			{Claim: "s3-readers", RoleArn: readerARN, Priority: new(int32(1))},
		}})
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		choice, err := c.Select(claims)
		if (err == nil) == (choice.RoleARN == "") {
			t.Errorf("role %q with error %v", choice.RoleARN, err)
		}
		if err != nil && fault.Of(err).Kind != fault.Denied {
			t.Errorf("err = %v, want a fault.Denied", err)
		}
		var matched, failed int
		for _, s := range c.Explain(claims) {
			switch s.Verdict {
			case role.Matched:
				matched++
			case role.Failed:
				failed++
			}
		}
		if (matched == 1) != (err == nil) || matched > 1 || failed != len(choice.Errors) {
			t.Errorf("Explain tells %d matches and %d failures of choice %+v (%v)", matched, failed, choice, err)
		}
	})
}

package role_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/token"
)

const (
	fallbackARN = "arn:aws:iam::123456789012:role/DefaultMCPRole"
	readerARN   = "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole"
	adminARN    = "arn:aws:iam::123456789012:role/AdminMCPRole"
	otherARN    = "arn:aws:iam::123456789012:role/Other"
)

// tutorial is what the tutorial configures: one claim mapping, and one matcher before it.
func tutorial() *config.AWSSTS {
	return &config.AWSSTS{
		Region:          "us-east-1",
		FallbackRoleArn: fallbackARN,
		RoleMappings: []config.RoleMapping{
			{Claim: "s3-readers", RoleArn: readerARN, Priority: new(int32(10))},
			{Matcher: `"admins" in claims["groups"] && claims["org"] == "engineering"`, RoleArn: adminARN, Priority: new(int32(1))},
		},
	}
}

func chooser(t testing.TB, a *config.AWSSTS) *role.Chooser {
	t.Helper()
	c, mistakes := role.New(a)
	if len(mistakes) > 0 {
		t.Fatalf("mistakes: %+v", mistakes)
	}
	return c
}

func TestTutorial(t *testing.T) {
	c := chooser(t, tutorial())
	for name, test := range map[string]struct {
		claims map[string]any
		want   role.Choice
	}{
		"in s3-readers": {
			map[string]any{"groups": []any{"developers", "s3-readers"}},
			role.Choice{RoleARN: readerARN, Mapping: 0, Reason: `mapping 0: claim "s3-readers" in groups`, Value: "s3-readers", Claim: role.Present},
		},
		"an admin of engineering, though a reader too": {
			map[string]any{"groups": []any{"s3-readers", "admins"}, "org": "engineering"},
			role.Choice{
				RoleARN: adminARN, Mapping: 1, Reason: `mapping 1: matcher "admins" in claims["groups"] && claims["org"] == "engineering"`, Claim: role.Present,
				Value: `"admins" in claims["groups"] && claims["org"] == "engineering"`,
			},
		},
		"an admin of sales": {
			map[string]any{"groups": []any{"admins"}, "org": "sales"},
			role.Choice{RoleARN: fallbackARN, Mapping: role.Fallback, Reason: "fallback: no mapping matched", Claim: role.Present},
		},
		"in nothing": {
			map[string]any{"groups": []any{}},
			role.Choice{RoleARN: fallbackARN, Mapping: role.Fallback, Reason: "fallback: no mapping matched", Claim: role.Present},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Select(test.claims)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("choice (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNobodyFallsThrough(t *testing.T) {
	a := tutorial()
	a.FallbackRoleArn = ""
	choice, err := chooser(t, a).Select(map[string]any{"groups": []any{"x"}, "org": "x"})
	f := fault.Of(err)
	if f == nil || f.Kind != fault.Denied {
		t.Fatalf("err = %v, want a fault.Denied", err)
	}
	if f.Public != "no role for this caller" || !strings.Contains(f.Hinted(), "mappings tried: 2") {
		t.Errorf("public %q, hint %q", f.Public, f.Hinted())
	}
	if choice.RoleARN != "" || choice.Mapping != role.Fallback {
		t.Errorf("a refused caller got %+v", choice)
	}
}

func TestPriority(t *testing.T) {
	mapping := func(arn string, priority ...int32) config.RoleMapping {
		m := config.RoleMapping{Claim: "x", RoleArn: arn}
		if len(priority) > 0 {
			m.Priority = &priority[0]
		}
		return m
	}
	for name, test := range map[string]struct {
		mappings []config.RoleMapping
		want     []int
	}{
		"lower first":                      {[]config.RoleMapping{mapping("a", 10), mapping("b", 1)}, []int{1, 0}},
		"negative and zero":                {[]config.RoleMapping{mapping("a", 0), mapping("b", -1)}, []int{1, 0}},
		"unset last":                       {[]config.RoleMapping{mapping("a"), mapping("b", 2147483647)}, []int{1, 0}},
		"ties keep the document's order":   {[]config.RoleMapping{mapping("a", 5), mapping("b", 5), mapping("c", 5)}, []int{0, 1, 2}},
		"unset keep the document's order":  {[]config.RoleMapping{mapping("a"), mapping("b"), mapping("c", 1)}, []int{2, 0, 1}},
		"a tie among others does not move": {[]config.RoleMapping{mapping("a", 5), mapping("b", 1), mapping("c", 5), mapping("d", 1)}, []int{1, 3, 0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := chooser(t, &config.AWSSTS{RoleMappings: test.mappings})
			var got []int
			for _, s := range c.Explain(nil) {
				got = append(got, s.Mapping)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
			choice, err := c.Select(map[string]any{"groups": "x"})
			if err != nil || choice.Mapping != test.want[0] {
				t.Errorf("chose mapping %d (%v), want %d", choice.Mapping, err, test.want[0])
			}
		})
	}
}

func TestOnError(t *testing.T) {
	skip := &config.AWSSTS{FallbackRoleArn: fallbackARN, RoleMappings: []config.RoleMapping{
		{Matcher: `claims.org == "secret-value"`, RoleArn: adminARN},
		{Matcher: `claims.level > 3`, RoleArn: otherARN, OnError: "skip"},
		{Claim: "s3-readers", RoleArn: readerARN},
	}}
	got, err := chooser(t, skip).Select(map[string]any{"groups": "s3-readers", "level": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	want := role.Choice{
		RoleARN: readerARN, Mapping: 2, Reason: `mapping 2: claim "s3-readers" in groups`, Value: "s3-readers", Claim: role.Present,
		Errors: []role.MatchError{{Mapping: 0, What: role.FailureNoKey}, {Mapping: 1, What: role.FailureType}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("skip (-want +got):\n%s", diff)
	}

	deny := *skip
	deny.RoleMappings = append([]config.RoleMapping(nil), skip.RoleMappings...)
	deny.RoleMappings[1].OnError = "deny"
	got, err = chooser(t, &deny).Select(map[string]any{"groups": "s3-readers", "level": "x"})
	if f := fault.Of(err); f == nil || f.Kind != fault.Denied || !strings.Contains(f.Hinted(), "mapping 1: matcher failed (type mismatch)") {
		t.Fatalf("err = %v, want a fault.Denied that names mapping 1", err)
	}
	if got.RoleARN != "" || len(got.Errors) != 2 || !got.Failed {
		t.Errorf("a refused caller got %+v", got)
	}
}

func TestExplain(t *testing.T) {
	a := tutorial()
	a.RoleMappings = append(a.RoleMappings, config.RoleMapping{Claim: "late", RoleArn: otherARN})
	c := chooser(t, a)
	test := `matcher "admins" in claims["groups"] && claims["org"] == "engineering"`
	for name, want := range map[string][]role.Step{
		`{"groups": ["admins", "s3-readers"]}`: {
			{Mapping: 1, RoleARN: adminARN, Test: test, Verdict: role.Failed, Error: role.FailureNoKey},
			{Mapping: 0, RoleARN: readerARN, Test: `claim "s3-readers" in groups`, Verdict: role.Matched},
			{Mapping: 2, RoleARN: otherARN, Test: `claim "late" in groups`, Verdict: role.NotReached},
		},
		`{"groups": "late", "org": "x"}`: {
			{Mapping: 1, RoleARN: adminARN, Test: test, Verdict: role.NoMatch},
			{Mapping: 0, RoleARN: readerARN, Test: `claim "s3-readers" in groups`, Verdict: role.NoMatch},
			{Mapping: 2, RoleARN: otherARN, Test: `claim "late" in groups`, Verdict: role.Matched},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, c.Explain(claimsOf(t, name))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// claimsOf reads claims as those of a token are read.
func claimsOf(t testing.TB, text string) map[string]any {
	t.Helper()
	claims, err := token.ClaimsOf([]byte(text))
	if err != nil {
		t.Fatalf("read %s: %v", text, err)
	}
	return claims
}

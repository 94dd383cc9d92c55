package gateway_test

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
)

// TestOneStepAway: what is told to give another answer gives it, and what matters is told.
func TestOneStepAway(t *testing.T) {
	w := newWorld(t, fake.Options{})
	noFallback := replace("    fallbackRoleArn: >-\n      "+fake.DefaultRole+"\n", "")
	unmapped := replace("claim: s3-readers", "claim: nobody-has-this")
	call := callTool("x", `{"n":1}`)
	for name, c := range map[string]struct {
		edits   []edit
		claims  string
		message string
		outcome string
		want    []string // "change: outcome"
	}{
		"a group is missing for a role": {
			[]edit{noFallback},
			`{"sub":"ann","groups":["developers"]}`, "", gateway.OutcomeDenied,
			[]string{`add "s3-readers" to claim groups: allowed`},
		},
		"the role claim is a string with commas": {
			[]edit{noFallback},
			`{"sub":"ann","groups":"developers,s3-readers"}`, "", gateway.OutcomeDenied,
			[]string{
				`make claim groups the list ["developers","s3-readers"]; it is the string "developers,s3-readers": allowed`,
				`add "s3-readers" to claim groups: allowed`,
			},
		},
		"the role claim is an object": {
			[]edit{noFallback},
			`{"sub":"ann","groups":{"s3-readers":true}}`, "", gateway.OutcomeDenied,
			[]string{`make claim groups the list ["s3-readers"]; it is an object: allowed`},
		},
		"the role claim is a list of objects": {
			[]edit{noFallback},
			`{"sub":"ann","groups":[{"name":"s3-readers"}]}`, "", gateway.OutcomeDenied,
			[]string{
				`make claim groups the list ["s3-readers"]; it is a list with other things than strings in it: allowed`,
				`add "s3-readers" to claim groups: allowed`,
			},
		},
		"a matcher lacks a claim": {
			[]edit{noFallback, unmapped},
			`{"sub":"bob","groups":["admins"]}`, "", gateway.OutcomeDenied,
			[]string{`add "nobody-has-this" to claim groups: allowed`, `set claim org to "engineering": allowed`},
		},
		"the fallback is not the role that was meant": {
			nil, `{"sub":"ann","groups":"developers,s3-readers"}`, "", gateway.OutcomeAllowed,
			[]string{
				`make claim groups the list ["developers","s3-readers"]; it is the string "developers,s3-readers": allowed`,
				`add "s3-readers" to claim groups: allowed`,
			},
		},
		"a group is missing for a permit": {
			[]edit{policies(`permit(principal in THVGroup::"users", action, resource);`)},
			`{"sub":"eve"}`, call, gateway.OutcomeDenied,
			[]string{`add "users" to claim groups: allowed`},
		},
		"a group that another is a member of": {
			[]edit{entities(`[{"uid":{"type":"THVGroup","id":"ops"},"parents":[{"type":"PlatformRole","id":"staff"}]},{"uid":"THVGroup::crew","parents":["PlatformRole::staff"]}]`,
				`permit(principal in PlatformRole::"staff", action, resource);`)},
			`{"sub":"eve"}`, call, gateway.OutcomeDenied,
			[]string{`add "ops" to claim groups: allowed`, `add "crew" to claim groups: allowed`},
		},
		"a claim is missing for a permit": {
			[]edit{policies(`permit(principal, action, resource) when { principal has claim_org && principal.claim_org == "engineering" && context.claim_mfa == true };`)},
			`{"sub":"eve","mfa":true}`, call, gateway.OutcomeDenied,
			[]string{`set claim org to "engineering": allowed`},
		},
		"a claim is a string that should be a number": {
			[]edit{policies(`permit(principal, action, resource) when { context.claim_level >= 3 };`)},
			`{"sub":"eve","level":"4"}`, call, gateway.OutcomeDenied,
			[]string{`make claim level 4; it is a string: allowed`},
		},
		"a claim is a string that should be a list": {
			[]edit{policies(`permit(principal, action, resource) when { context.claim_teams.contains("blue") };`)},
			`{"sub":"eve","teams":"blue"}`, call, gateway.OutcomeDenied,
			[]string{`make claim teams ["blue"]; it is a string: allowed`},
		},
		"one of several": {
			[]edit{policies(`permit(principal, action, resource) when { principal.claim_teams.containsAny(["eng", "ops"]) };`)},
			`{"sub":"eve","teams":["hr"]}`, call, gateway.OutcomeDenied,
			[]string{`add "eng" to claim teams: allowed`, `add "ops" to claim teams: allowed`},
		},
		"a claim is none of several": {
			[]edit{policies(`permit(principal, action, resource) when { ["eng", "ops"].contains(principal.claim_dept) };`)},
			`{"sub":"eve","dept":"hr"}`, call, gateway.OutcomeDenied,
			[]string{`set claim dept to "eng": allowed`, `set claim dept to "ops": allowed`},
		},
		"a claim that a forbid reads is not there": {
			[]edit{policies(`permit(principal, action, resource);`, `forbid(principal, action, resource) when { principal.claim_suspended };`)},
			`{"sub":"eve"}`, call, gateway.OutcomeDenied,
			[]string{`make claim suspended false; it is missing: allowed`},
		},
		"a claim is a number that should be true": {
			[]edit{policies(`permit(principal, action, resource) when { principal has claim_mfa && principal.claim_mfa };`)},
			`{"sub":"eve","mfa":1}`, call, gateway.OutcomeDenied,
			[]string{`make claim mfa true; it is a number: allowed`},
		},
		"a group less in words": {
			[]edit{policies(`permit(principal, action, resource);`, `forbid(principal in THVGroup::"contractors", action, resource);`)},
			`{"sub":"eve","groups":"readers contractors"}`, call, gateway.OutcomeDenied,
			[]string{`make claim groups ["readers contractors"]; it is a string: allowed`, `take "contractors" from claim groups: allowed`},
		},
		"a claim is a word that should be true": {
			[]edit{policies(`permit(principal, action, resource) when { principal.claim_office };`)},
			`{"sub":"eve","office":"true"}`, call, gateway.OutcomeDenied,
			[]string{`make claim office true; it is a string: allowed`},
		},
		"a claim is not there": {
			[]edit{policies(`permit(principal, action, resource) when { principal.claim_office };`)},
			`{"sub":"eve"}`, call, gateway.OutcomeDenied,
			[]string{`make claim office true; it is missing: allowed`},
		},
		"a claim is in the way": {
			[]edit{policies(`permit(principal, action, resource);`, `forbid(principal, action, resource) when { context has claim_guest && context.claim_guest == true };`)},
			`{"sub":"eve"}`, call, gateway.OutcomeAllowed,
			[]string{`set claim guest to true: denied`, `add "s3-readers" to claim groups: allowed`},
		},
		"a group less": {
			[]edit{policies(`permit(principal in THVGroup::"users", action, resource);`)},
			`{"sub":"eve","groups":["users","other"]}`, call, gateway.OutcomeAllowed,
			[]string{`take "users" from claim groups: denied`, `add "s3-readers" to claim groups: allowed`},
		},
		"a scope more": {
			[]edit{policies(`@scopes("aws:write aws:all") permit(principal, action, resource);`)},
			`{"sub":"eve","scope":"openid aws:all"}`, call, gateway.OutcomeStepUp,
			[]string{`get the scope aws:write: allowed`},
		},
		"a claim of another name": {
			[]edit{replace("    roleMappings:", "    roleClaim: realm_access.roles\n    roleMappings:"), noFallback},
			`{"sub":"eve","realm_access":{"roles":["x"]}}`, "", gateway.OutcomeDenied,
			[]string{`add "s3-readers" to claim realm_access.roles: allowed`},
		},
		"two steps away": {
			[]edit{policies(`permit(principal, action, resource) when { context.claim_a == "x" && context.claim_b == "y" };`)}, `{"sub":"eve"}`, call, gateway.OutcomeDenied, nil,
		},
		"a token that is no good":   {nil, `{"sub":""}`, call, gateway.OutcomeToken, nil},
		"a message that is no good": {nil, `{"sub":"eve"}`, `{"jsonrpc":"1.0"}`, gateway.OutcomeFailed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			q := gateway.Question{Claims: []byte(c.claims)}
			if c.message != "" {
				q.Message = []byte(c.message)
			}
			e := explain(t, rehearse(t, w, c.edits...), q)
			if e.Outcome != c.outcome {
				t.Errorf("%s: %s", e.Outcome, e.Why)
			}
			var got []string
			for _, change := range e.Changes {
				got = append(got, change.What+": "+change.Outcome)
				if change.Outcome == e.Outcome && change.RoleARN == e.Role.RoleARN {
					t.Errorf("%+v changes nothing", change)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// entities gives the proxy policies and entities.
func entities(entities string, texts ...string) edit {
	return func(w *fake.World, d string) string {
		return replace("      policies:\n", "      entitiesJson: "+quoted(entities)+"\n      policies:\n")(w, policies(texts...)(w, d))
	}
}

// TestTrialsAreBounded: policies that name a thousand groups don't make explaining slow.
func TestTrialsAreBounded(t *testing.T) {
	text := `permit(principal, action, resource) when { principal in [THVGroup::"g0"`
	for i := range 1000 {
		text += `,THVGroup::"group-` + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + `"`
	}
	r := rehearse(t, newWorld(t, fake.Options{}), policies(text+`] };`))
	e := explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(callTool("x", "{}"))})
	if n := len(e.Changes); n < 900 || n > 1000 || e.Untried == 0 || n+e.Untried < 1001 {
		t.Errorf("%d changes, %d left out", n, e.Untried)
	}
}

// TestTheGroupsOfTheCallComeFirst: among more than are tried.
func TestTheGroupsOfTheCallComeFirst(t *testing.T) {
	var texts []string
	for i := range 1500 {
		n := strconv.Itoa(i)
		texts = append(texts, `permit(principal in THVGroup::"g`+n+`", action == Action::"call_tool", resource == Tool::"t`+n+`");`)
	}
	r := rehearse(t, newWorld(t, fake.Options{}), policies(texts...))
	e := explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(callTool("t1400", "{}"))})
	if len(e.Changes) != 1 || e.Changes[0].What != `add "g1400" to claim groups` || e.Untried < 400 {
		t.Errorf("%+v, %d left out", e.Changes, e.Untried)
	}
}

// TestManyNamesAreTriedOnce: what a question costs does not grow with the square of the names in its claims, of which
// there are here as many as a token has room for.
func TestManyNamesAreTriedOnce(t *testing.T) {
	r := rehearse(t, newWorld(t, fake.Options{}))
	for what, c := range map[string]struct {
		name func(int) string
		most uint64 // MiB that are allocated, in all; a few times what it takes
	}{
		"one name again and again": {func(int) string { return "a" }, 30},
		"a few names":              {func(i int) string { return string(rune('a' + i%26)) }, 60},
		"all of them different":    {func(i int) string { return strconv.FormatInt(int64(i), 36) }, 300},
	} {
		t.Run(what, func(t *testing.T) {
			groups := make([]string, 2400)
			for i := range groups {
				groups[i] = c.name(i)
			}
			claims, err := json.Marshal(map[string]any{"sub": "ann", "groups": groups})
			if err != nil {
				t.Fatal(err)
			}
			q := gateway.Question{Claims: claims}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			e := explain(t, r, q)
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > c.most || e.Outcome != gateway.OutcomeAllowed {
				t.Errorf("%s with %d bytes of claims: %d MiB, want at most %d", e.Outcome, len(claims), got, c.most)
			}
		})
	}
	// A name that stands there twice is taken away twice.
	r = rehearse(t, newWorld(t, fake.Options{}), policies(`permit(principal in THVGroup::"users", action, resource);`))
	e := explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann","groups":["users","s3-readers","users"]}`), Message: []byte(callTool("x", "{}"))})
	if len(e.Changes) == 0 || e.Changes[0].What != `take "users" from claim groups` || e.Changes[0].Outcome != gateway.OutcomeDenied {
		t.Errorf("%+v", e.Changes)
	}
}

// TestTrialsOfALargeMessageAreBounded: each trial reads the message, so that fewer are made of a large one.
func TestTrialsOfALargeMessageAreBounded(t *testing.T) {
	var groups []string
	for i := range 190 {
		groups = append(groups, `THVGroup::"group-`+strconv.Itoa(i)+`"`)
	}
	r := rehearse(t, newWorld(t, fake.Options{}), policies(`permit(principal, action, resource) when { principal in [`+strings.Join(groups, ",")+`] };`))
	for size, want := range map[int][2]int{10: {190, 190}, 900_000: {3, 20}} {
		call := callTool("x", `{"a":"`+strings.Repeat("x", size)+`"}`)
		e := explain(t, r, gateway.Question{Claims: []byte(`{"sub":"ann"}`), Message: []byte(call)})
		if n := len(e.Changes); n < want[0] || n > want[1] {
			t.Errorf("%d bytes: %d changes, want %v", size, n, want)
		}
	}
}

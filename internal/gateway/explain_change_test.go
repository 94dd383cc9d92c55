package gateway_test

import (
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
	if n := len(e.Changes); n < 100 || n > 200 {
		t.Errorf("%d changes", n)
	}
}

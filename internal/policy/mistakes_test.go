package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/policy"
)

// lines are mistakes without their mends, which must be there.
func lines(t *testing.T, mistakes []policy.Mistake) []string {
	t.Helper()
	var all []string
	for _, m := range mistakes {
		if m.Mend == "" || strings.Contains(m.What+m.Mend, "\n") {
			t.Errorf("mistake %+v", m)
		}
		all = append(all, m.Place+": "+m.What)
	}
	return all
}

// TestMistakes: all mistakes of all texts at once, each where it stands.
func TestMistakes(t *testing.T) {
	_, mistakes := policy.New(texts(
		`permit(principal, action, resource);`,
		``,
		"  // nothing but a comment",
		"permit(principal, action resource);",
		"permit(principal, action, resource)\nwhen { resource.name = \"x\" };",
		"allow(principal, action, resource);\npermit(principal, action, resource) when { name == \"x\" };\n\npermit(principal, action, resource)\n\twhen { context.arg_n < 99999999999999999999 };",
		"permit(principal, action, resource)",
		"forbid(principal, action, resource) when { \"a\\qb\" == \"c\" };",
		"permit(principal, action, resource) when { resource.name.startsWith(\"a\") };",
		"permit(principal, action, resource) when { \"open == 1 };\npermit(principal, action, resource);",
		"@id(\"one\") permit(principal, action, resource); @id(\"one\") forbid(principal, action, resource);",
		"@id(\"one\")\npermit(principal, action, resource);",
		"@id permit(principal, action, resource);",
		"@scopes(\"a\") forbid(principal, action, resource);",
		"@scopes(\"a  b\") permit(principal, action, resource);",
		"@scopes(\"\") permit(principal, action, resource);",
		"@scopes(\"a\\\"b\") permit(principal, action, resource);",
		"permit(principal, action, resource) when { "+strings.Repeat("(", 5000)+"true"+strings.Repeat(")", 5000)+" };",
		"permit(principal, action, resource) when { "+strings.Repeat("!", 60000)+"true };",
		strings.Repeat("/", 1<<20+1),
		"permit(principal, action, resource) when { true ];",
		"permit(principal, action, resource) when { [1, 2; };",
		"permit(principal, action, resource) when { {a: 1, a: 2} == {} };",
		"permit(principal, action, resource) when { \"ü\" == \x00 };",
		"@a(\"1\") @a(\"2\") permit(principal, action, resource);",
		"permit(principal in THVGroup, action, resource);",
		"permit(principal, action, resource) when { context has a"+strings.Repeat(".a", 25_000)+" };",
		"@scope(\"aws:write\") permit(principal, action, resource);",
		"@Scopes(\"aws:write\")\n@ID(\"x\") permit(principal, action, resource);",
		"@description(\"fine\") @reason(\"fine\") permit(principal, action, resource);",
	), "s3")
	want := []string{
		"policies[1]: is empty",
		"policies[2]: holds no policy",
		`policies[3]: line 1, column 26: found "resource"`,
		`policies[4]: line 2, column 22: found "="`,
		`policies[5]: line 1, column 1: not a policy: it begins with "allow"`,
		"policies[5]: line 2, column 44: not a value",
		"policies[5]: line 5, column 25: a number beyond 64 bits",
		"policies[6]: line 1, column 35: the policy ends early",
		"policies[7]: line 1, column 44: invalid char escape",
		"policies[8]: line 1, column 58: startsWith is not a method",
		"policies[9]: line 1, column 44: literal not terminated",
		`policies[10]: line 1, column 50: the ID "one" is that of the policy in policies[10], line 1, too`,
		`policies[11]: line 1, column 2: the ID "one" is that of the policy in policies[10], line 1, too`,
		"policies[12]: line 1, column 2: @id is empty",
		"policies[13]: line 1, column 2: @scopes on a forbid",
		`policies[14]: line 1, column 2: @scopes is not a list of scopes: "a  b"`,
		`policies[15]: line 1, column 2: @scopes is not a list of scopes: ""`,
		`policies[16]: line 1, column 2: @scopes is not a list of scopes: "a\"b"`,
		"policies[17]: line 1, column 143: brackets are nested more than 100 deep",
		"policies[18]: line 1, column 50034: a policy of more than 50000 words",
		"policies[19]: a text of 1048577 bytes, more than 1048576",
		`policies[20]: line 1, column 49: found "]"`,
		`policies[21]: line 1, column 49: found ";"`,
		"policies[22]: line 1, column 54: duplicate key: a",
		"policies[23]: line 1, column 48: invalid character NUL",
		"policies[24]: line 1, column 10: duplicate annotation: @a",
		`policies[25]: line 1, column 29: found ","`,
		"policies[26]: line 1, column 157: a path of more than 50 names",
		"policies[27]: line 1, column 2: unknown annotation @scope",
		"policies[28]: line 2, column 2: unknown annotation @ID",
		"policies[28]: line 1, column 2: unknown annotation @Scopes",
	}
	if diff := cmp.Diff(want, lines(t, mistakes)); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func TestEntityMistakes(t *testing.T) {
	const head = "[\n  {\"uid\": \"Tool::a\"},\n  "
	for text, want := range map[string]string{
		`{}`:                                              "line 1, column 1: not a list of entities: it begins with {",
		`[{"uid": "Tool::a"}`:                             "line 1, column 20: not a list of entities: unexpected EOF",
		`[{"uid": "Tool::a"}] []`:                         "line 1, column 23: not a list of entities: data after the list",
		head + `{"uid": "Tool::a"}]`:                      `line 3, column 3: entity 1: Tool::"a" is there twice`,
		head + `{"attrs": {}}]`:                           "line 3, column 3: entity 1: uid: missing",
		head + `{"uid": "Tool"}]`:                         `line 3, column 3: entity 1: uid: "Tool" is no entity that can be told from others`,
		head + `{"uid": "A::B::c"}]`:                      `line 3, column 3: entity 1: uid: "A::B::c" is no entity that can be told from others`,
		head + `{"uid": "a b::c"}]`:                       `line 3, column 3: entity 1: uid: "a b" is no entity type`,
		head + `{"uid": "Tool::\"b"}]`:                    "line 3, column 3: entity 1: uid: \"Tool::\\\"b\" is no entity that",
		head + `{"uid": {"type": "Tool"}}]`:               "line 3, column 3: entity 1: uid: json entity not found",
		head + `{"uid": "Tool::b", "parnets": []}]`:       `line 3, column 3: entity 1: unknown member "parnets"`,
		head + `{"uid": "Tool::b", "parents": ["x"]}]`:    `line 3, column 3: entity 1: parents[0]: "x" is no entity that can be told from others`,
		head + `{"uid": "Tool::b", "attrs": {"n": 1.5}}]`: "line 3, column 37: entity 1: attrs.n: 1.5 is no whole number of 64 bits",
		head + "{\"uid\": \"Tool::b\",\n   \"tags\": {\"a\": [true, {\"b c\": null}]}}]":        `line 4, column 33: entity 1: tags.a[1]["b c"]: null is no value of Cedar`,
		head + `{"uid": "Tool::b", "attrs": {"n": {"__extn": {"fn": "decimal", "arg": "x"}}}}]`: "line 3, column 37: entity 1: attrs.n: ",
		head + `{"uid": "Tool::b", "attrs": [1]}]`:                                              "line 3, column 31: entity 1: attrs: not of the right shape: [",
		head + `{"uid": "Action::call_tool", "parents": ["THVGroup::x"]}]`:                      `line 3, column 3: entity 1: the action Action::"call_tool" is in THVGroup::"x", which is no action`,
		head + `{"uid": "Tool::b", "uid": "Tool::c"}]`:                                          "line 3, column 2",
		head + `7]`: "line 3, column 3: entity 1: not of the right shape: number",
	} {
		a := texts(`permit(principal, action, resource);`)
		a.EntitiesJSON = text
		p, mistakes := policy.New(a, "s3")
		if got := lines(t, mistakes); p != nil || len(got) != 1 || !strings.HasPrefix(got[0], "entitiesJson: "+want) {
			t.Errorf("%s:\n%q, want\n%q", text, got, want)
		}
	}
	// All of them are told, beside those of the policies.
	a := texts(`permit(`)
	a.EntitiesJSON = `[{}, {"uid": "Tool::a"}, {"uid": 7}]`
	if _, mistakes := policy.New(a, "s3"); len(mistakes) != 3 {
		t.Errorf("mistakes: %+v", mistakes)
	}
}

// TestStrict: with schema strict a word that means nothing is a mistake, and says what may have been meant.
func TestStrict(t *testing.T) {
	a := &config.Authz{
		Schema: "strict", GroupEntityType: "Team", MultiValuedClaims: []string{"scope"},
		EntitiesJSON: `[{"uid": "Client::bob", "attrs": {"desk": 1}}, {"uid": "Tool::x", "attrs": {"owner": {"__entity": {"type": "Owner", "id": "o"}}}, "parents": ["Shelf::s"]}, {"uid": "Action::call_tool", "parents": ["Action::use"]}]`,
	}
	for text, want := range map[string]string{
		`permit(principal, action == Action::"call_tols", resource);`:                                                                                   `line 1, column 37: unknown action "call_tols"; did you mean call_tool?`,
		`permit(principal, action in [Action::"call_tool", Action::"read_resuorce"], resource);`:                                                        `line 1, column 59: unknown action "read_resuorce"; did you mean read_resource?`,
		`forbid(principal, action == Action::"tools/call", resource);`:                                                                                  `line 1, column 37: the action "tools/call" never occurs; write Action::"call_tool": that is what it is decided as`,
		`permit(principal, action, resource == Tol::"x");`:                                                                                              `line 1, column 39: unknown entity type "Tol"; did you mean Tool?`,
		`permit(principal is User, action, resource);`:                                                                                                  `line 1, column 21: unknown entity type "User"; write one of: Action, Client, FeatureType, MCP, Owner, Prompt, Resource, Shelf, Team, Tool`,
		`permit(principal in THVGroup::"x", action, resource);`:                                                                                         `line 1, column 21: unknown entity type "THVGroup"; groups are of type Team here`,
		"permit(principal, action, resource)\n  when { resource.readOnlyhint };":                                                                        `line 2, column 19: resource has no attribute "readOnlyhint"; did you mean readOnlyHint?`,
		`permit(principal, action, resource) when { resource has destructive };`:                                                                        `line 1, column 57: resource has no attribute "destructive"; did you mean destructiveHint?`,
		`permit(principal, action, resource) when { principal.claims_team == "x" };`:                                                                    `line 1, column 54: principal has no attribute "claims_team"; did you mean claim_team?`,
		`permit(principal, action, resource) when { principal.team == "x" };`:                                                                           `line 1, column 54: principal has no attribute "team"; write one of: desk, claim_<name>`,
		`permit(principal, action, resource) when { principal.arg_x == "x" };`:                                                                          `line 1, column 54: principal has no attribute "arg_x"; did you mean that of resource?`,
		`permit(principal, action, resource) when { resource.claim_x == "x" };`:                                                                         `line 1, column 53: resource has no attribute "claim_x"; did you mean that of principal?`,
		`permit(principal, action, resource) when { context.name == "x" };`:                                                                             `line 1, column 52: context has no attribute "name"; did you mean that of resource?`,
		`permit(principal, action, resource) when { context["args_x"] == "x" };`:                                                                        `line 1, column 52: context has no attribute "args_x"; did you mean arg_x?`,
		`permit(principal, action, resource) when { principal.claimset_groups.isEmpty() };`:                                                             `line 1, column 54: principal has no attribute "claimset_groups"; add "groups" to the multi-valued claims`,
		`permit(principal, action, resource) when { resource is Tools };`:                                                                               `line 1, column 56: unknown entity type "Tools"; did you mean Tool?`,
		`permit(principal, action, resource) when { principal in [Team::"a", Taem::"b"] };`:                                                             `line 1, column 69: unknown entity type "Taem"; did you mean Team?`,
		`permit(principal, action == Action::"tool/call", resource);`:                                                                                   `line 1, column 37: unknown action "tool/call"; did you mean call_tool?`,
		`permit(principal, action == Action::"prompts/gets", resource);`:                                                                                `line 1, column 37: unknown action "prompts/gets"; did you mean get_prompt?`,
		`permit(principal, action == Action::"Tools/List", resource);`:                                                                                  `line 1, column 37: unknown action "Tools/List"; did you mean tools/list?`,
		`permit(principal, action == Action::"call_tool", resource == Prompt::"x");`:                                                                    `line 1, column 62: the action is never about a Prompt; it is about Tool`,
		`permit(principal, action in Action::"use", resource is MCP);`:                                                                                  "",
		`permit(principal, action == Action::"call_tool", resource) when { resource.uri like "s3://*" };`:                                               `line 1, column 76: a Tool has no attribute "uri"; only a Resource has it`,
		`permit(principal, action, resource is Prompt) when { resource has readOnlyHint };`:                                                             `line 1, column 67: a Prompt has no attribute "readOnlyHint"; only a Tool has it`,
		`permit(principal == Team::"x", action, resource);`:                                                                                             `line 1, column 21: the caller is never a Team; write principal in Team::"x"`,
		`permit(principal is Tool, action, resource);`:                                                                                                  `line 1, column 21: the caller is never a Tool; the caller is a Client; write principal in for what it is in`,
		`permit(principal, action, resource) when { principal == Team::"x" };`:                                                                          `line 1, column 57: the caller is never a Team; write principal in Team::"x"`,
		`permit(principal, action in [Action::"call_tool", Action::"read_resource"], resource) when { resource has uri || resource has readOnlyHint };`: "",
		`permit(principal, action, resource is MCP);`:                                                                                                   "",
		`permit(principal, action == Action::"tasks/get", resource is MCP);`:                                                                            "",
		`permit(principal, action, resource) when { resource.name < 5 };`:                                                                               `line 1, column 44: resource.name < 5 always fails: it wants a datetime, a duration or a whole number, and there is a string; compare values of one type`,
		`permit(principal, action, resource) when { resource.readOnlyHint.contains("x") };`:                                                             `line 1, column 44: resource.readOnlyHint.contains("x") always fails: it wants a set, and there is true or false; compare values of one type`,
		`permit(principal, action, resource) when { resource.name };`:                                                                                   `line 1, column 44: resource.name always fails: it wants true or false, and there is a string; compare it with something`,
		`permit(principal, action, resource) when { context.arg_x < 5 && principal.claim_x.contains(1) && context.arg_y.z && ip(context.arg_ip).isInRange(ip("10.0.0.0/8")) };`: "",

		`permit(principal in Team::"x", action in Action::"use", resource in Shelf::"s") when { resource.owner == Owner::"o" && principal.desk == 1 };`: "",
		`permit(principal, action == Action::"list_tools", resource == FeatureType::"tool");`:                                                           "",
		`permit(principal, action in [Action::"tasks/get", Action::"initialize", Action::"sampling/createMessage"], resource in MCP::"s3");`:            "",
		`permit(principal, action, resource) when { principal["claim_https://x/y"].contains("a") && context.claimset_scope.contains("a") };`:            "",
		`permit(principal, action, resource) when { context.arg_any.thing.at_all == 1 && (if true then principal else resource).anything };`:            "",
	} {
		a.Policies = []string{text}
		_, mistakes := policy.New(a, "s3")
		var got string
		for _, m := range mistakes {
			got += fmt.Sprintf("%s; %s", m.What, m.Mend)
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
		a.Schema = ""
		if _, mistakes := policy.New(a, "s3"); mistakes != nil {
			t.Errorf("%s is a mistake without strict: %+v", text, mistakes)
		}
		a.Schema = "strict"
	}
}

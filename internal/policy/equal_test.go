package policy_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/token"
)

// Entities with hierarchies, with attributes that a token may also have, and with a caller that is in a tool.
const worldEntities = `[
	{"uid": {"type": "THVGroup", "id": "g1"}, "attrs": {"level": 2}, "parents": [{"type": "Role", "id": "r1"}]},
	{"uid": {"type": "Role", "id": "r1"}, "attrs": {}, "parents": [{"type": "Role", "id": "r0"}]},
	{"uid": {"type": "Role", "id": "r0"}, "attrs": {"rank": 7}, "parents": [{"type": "THVGroup", "id": "g1"}]},
	{"uid": {"type": "Client", "id": "bob"}, "attrs": {"claim_a": 9, "owner": {"__entity": {"type": "Tool", "id": "t1"}}}, "parents": [{"type": "Role", "id": "r1"}]},
	{"uid": {"type": "Client", "id": "carol"}, "attrs": {}, "parents": [{"type": "Tool", "id": "t1"}]},
	{"uid": {"type": "Tool", "id": "t1"}, "attrs": {"name": "never", "owner": {"__entity": {"type": "Client", "id": "bob"}}}, "parents": [{"type": "Shelf", "id": "s"}]},
	{"uid": {"type": "Tool", "id": "t2"}, "attrs": {"rank": 3, "arg_x": 5, "tag": true}, "parents": []},
	{"uid": {"type": "Prompt", "id": "t1"}, "attrs": {"rank": 1}, "parents": [{"type": "Tool", "id": "t1"}, {"type": "Client", "id": "bob"}]},
	{"uid": {"type": "Action", "id": "call_tool"}, "attrs": {}, "parents": [{"type": "Action", "id": "use"}]}
]`

// parts of random policies.
var (
	principals = []string{
		"principal", "principal", "principal", `principal == Client::"bob"`, `principal in THVGroup::"g1"`, `principal in THVGroup::"g2"`,
		`principal in Role::"r0"`, `principal is Client`, `principal is Client in Role::"r1"`, `principal is Tool`, `principal in Shelf::"s"`, `principal in MCP::"s3"`,
	}
	actions = []string{
		"action", "action", `action == Action::"call_tool"`, `action == Action::"get_prompt"`, `action in Action::"use"`, `action in [Action::"call_tool", Action::"read_resource"]`,
		`action in []`, `action == Action::"tasks/get"`, `action in [Action::"tasks/get", Action::"get_prompt"]`,
	}
	resources = []string{
		"resource", "resource", `resource == Tool::"t1"`, `resource == Tool::"t2"`, `resource == Prompt::"t1"`, `resource is Tool`, `resource is Prompt`,
		`resource in MCP::"s3"`, `resource in MCP::"other"`, `resource in Shelf::"s"`, `resource is Tool in MCP::"s3"`, `resource is MCP`,
		`resource in Tool::"t1"`, `resource in Tool::"t2"`, `resource is Tool in Tool::"t2"`, `resource in Room::"r"`,
	}
	terms = []string{
		`resource in [[Tool::"t1"]]`, `principal in [[THVGroup::"g1"]]`, `action in [[Action::"call_tool"]]`, `[[Tool::"t1"]].contains(resource)`,
		`!(resource in [[Tool::"t1"]])`,
		"true", "false", `principal in THVGroup::"g1"`, `principal in [THVGroup::"g2", Role::"r0"]`, `principal == Client::"bob"`, `principal is Client`,
		"principal.claim_a == 1", "principal.claim_a < 2", "principal has claim_a", "principal.claim_list.contains(1)", "principal.claim_rec.x == 1", "principal.claim_rec has x",
		"context.claim_a == 1", "context has claim_b", "context.arg_x == 1", "context.arg_x < 3", "resource.arg_x == 1", "resource has arg_x", "context.arg_list_present",
		"context.arg_list.contains(1)", "context has arg_rec.x", `resource.name == "t1"`, `resource == Tool::"t1"`, `resource == Tool::"t1" || resource == Prompt::"t2"`,
		"resource.readOnlyHint", "resource has readOnlyHint && resource.readOnlyHint", "resource has destructiveHint", "principal.owner == resource", "resource.owner == principal",
		`principal.owner.name == "t1"`, `resource.owner.claim_a == 1`, `Tool::"t1".arg_x == 1`, `Client::"bob".claim_a == 1`, `THVGroup::"g1".level == 2`,
		`THVGroup::"g1" in Role::"r0"`, `Tool::"t1" in MCP::"s3"`, "context == {}", "[context].contains({claim_a: 1})", "{a: context}.a.claim_a == 1", "principal == resource",
		`action == Action::"call_tool"`, `action in Action::"use"`, "(if principal has claim_a then principal.claim_a == 1 else resource.arg_x == 1)", "1", "principal.claim_a",
		`(if resource has arg_x then resource else principal) has claim_a`, `principal in principal.owner`, `principal in resource`, `resource in principal.owner`,
		`resource.name like "t*"`, `resource.name != "t1"`, `resource != Tool::"t1"`, `["t1", "x"].contains(resource.name)`, `[1, "abc"].contains(context.arg_x)`, "resource is Tool",
		"principal.claim_list.contains(context.arg_x)", "context.arg_rec.x == 1", "context.arg_rec has x", "context.arg_x != 1", `resource in Shelf::"s"`, `resource in [Shelf::"s", MCP::"s3"]`,
		`context.claim_b like "a*"`, "context.claim_a <= 1", "resource.arg_x >= 2", "resource.arg_x > 1", `resource.operation == "call"`, `resource.feature == "prompt"`, "resource has uri",
		"principal in []", "resource has owner", "principal has owner", "context has nothing", "context.nothing == 1", `resource in MCP::"s3"`, `resource in Tool::"t1"`, "resource == 1", "resource in principal",
		`principal in Shelf::"s"`, `Client::"carol" in MCP::"s3"`, `principal.claim_b like "a*"`, `9223372036854775807 + 1 == 0`, `principal.claim_rec == {x: 1}`,
		`resource in [Tool::"t1", Tool::"x"]`, `resource in [Tool::"t2", Tool::"x"]`, `resource in [Prompt::"t1", Tool::"t2"]`, `resource in []`, `resource in [Room::"r", Tool::"x"]`,
		`[Tool::"t1", Tool::"x"].contains(resource)`, `[Tool::"t2"].contains(resource)`, `[Client::"bob"].contains(principal)`, `[Action::"call_tool", 1].contains(action)`,
		`Tool::"t1" == resource`, `Client::"bob" == principal`, `resource == Tool::"t2" || resource in [Tool::"t1"]`, `[Tool::"t2"].contains(resource) || resource == Tool::"t1"`,
		`resource is Tool in Shelf::"s"`, `resource is Tool in MCP::"s3"`, `resource is Prompt in Tool::"t1"`, `principal is Client in Role::"r1"`, `action is Action`, `context.arg_x is Tool`,
		`action in [Action::"use", Action::"x"]`, `context has arg_x && action in Action::"call_tool"`, `context.arg_rec is Tool in MCP::"s3"`,
		`context.arg_list.containsAny(["x", "y"])`, `context.arg_list.containsAny(["y"])`, `context.arg_list.containsAll(["x", 1])`, `context.arg_list.containsAll(["x", 2])`,
		`["x", 1].containsAll(context.arg_list)`, `principal.claim_list.containsAny(context.arg_list)`, `context.arg_list.containsAny([])`, `context.arg_list.isEmpty()`, `[].isEmpty()`,
		`(if context has arg_x then context.arg_x == 1 else false)`, `(if context has arg_x then context.arg_x == 2 else context has arg_list)`, `(if context.arg_x == 1 then true else resource.arg_x < 2)`,
		`(if resource has arg_list then 1 else true)`, `(if context.arg_x then true else false)`, `(if context has arg_f then context.arg_f.lessThan(decimal("2.0")) else true)`,
		`context.arg_f.lessThan(decimal("2.5"))`, `context.arg_f.lessThanOrEqual(decimal("2.5"))`, `context.arg_f.greaterThan(decimal("2.5"))`, `decimal("2.5").greaterThanOrEqual(context.arg_f)`,
		`resource.arg_f == decimal("2.5")`, `decimal(context.arg_ip).lessThan(decimal("3.0"))`, `context.arg_f.lessThan(decimal(resource.name))`, `context.arg_f.lessThan(2)`, `decimal("1.5").lessThan(decimal("1.50"))`,
		`ip(context.arg_ip).isInRange(ip("10.0.0.0/8"))`, `ip(context.arg_ip).isInRange(ip(resource.name))`, `ip("10.0.0.0/8").isInRange(ip(context.arg_ip))`, `ip(context.arg_ip).isLoopback()`, `ip(context.arg_ip) == ip("10.1.2.3")`,
		`context.arg_x < 1 + 2`, `context.arg_x == -1 * -1`, `-context.arg_x < 0`, `context.arg_x == 9223372036854775807 + 1`, `{x: 1} == context.arg_rec`, `{x: 1 + 1}.x == 2`, `{x: 1} has x && {x: context}.x has arg_x`,
		`resource.rank == 3`, `resource has rank && resource.rank > 2`, `resource.arg_x == 5`, `resource has claim_a`, `resource.name == "never"`, `resource.tag`, `resource.owner in Role::"r1"`,
	}
)

// world is one random set of policies and its requests, in terms of this test.
type world struct{ r *rand.Rand }

func (w world) one(list []string) string { return list[w.r.IntN(len(list))] }

func (w world) expression(depth int) string {
	if depth == 0 || w.r.IntN(3) == 0 {
		return w.one(terms)
	}
	switch w.r.IntN(7) {
	case 0:
		return "!(" + w.expression(depth-1) + ")"
	case 6:
		return "(if " + w.expression(depth-1) + " then " + w.expression(depth-1) + " else " + w.expression(depth-1) + ")"
	case 1:
		return "(" + w.expression(depth-1) + ") || (" + w.expression(depth-1) + ")"
	case 2:
		return "(" + w.expression(depth-1) + ") && (" + w.expression(depth-1) + ")"
	}
	return w.expression(depth-1) + " && " + w.expression(depth-1)
}

func (w world) policy() string {
	var b strings.Builder
	if w.r.IntN(3) == 0 {
		b.WriteString("forbid(")
	} else {
		if w.r.IntN(6) == 0 {
			b.WriteString(`@scopes("` + w.one([]string{"a", "b", "a b"}) + `") `)
		}
		b.WriteString("permit(")
	}
	b.WriteString(w.one(principals) + ", " + w.one(actions) + ", " + w.one(resources) + ")")
	for range w.r.IntN(3) {
		b.WriteString(" " + w.one([]string{"when", "when", "unless"}) + " { " + w.expression(2) + " }")
	}
	return b.String() + ";"
}

func (w world) object(names ...string) string {
	var members []string
	for _, name := range names {
		if w.r.IntN(3) > 0 {
			members = append(members, `"`+name+`": `+w.one([]string{"1", "2", `"abc"`, "true", "null", `[1, "x"]`, `{"x": 1}`, "2.5", `"10.1.2.3"`}))
		}
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// TestSelectionChangesNothing compares decisions with those of plain Cedar over all policies, all claims, all arguments
// and all entities, on random policies and requests.
func TestSelectionChangesNothing(t *testing.T) {
	w := world{rand.New(rand.NewPCG(7, 11))}
	allowed, failed, stepUps := 0, 0, 0
	for n := range 3000 {
		a := &config.Authz{MultiValuedClaims: []string{"multi"}, GroupEntityType: "THVGroup"}
		if n%4 > 0 {
			a.EntitiesJSON = worldEntities
			if n%4 == 1 {
				a.EntitiesJSON = strings.Replace(worldEntities, "[", `[{"uid": {"type": "MCP", "id": "s3"}, "attrs": {}, "parents": [{"type": "Room", "id": "r"}]},`, 1)
			}
			if n%8 == 2 {
				a.GroupEntityType = "Tool" // so that groups are like tools
			}
		}
		for range 1 + w.r.IntN(6) {
			a.Policies = append(a.Policies, w.policy())
		}
		p := compile(t, a)
		claims := w.object("a", "b", "list", "rec")
		groups := w.one([]string{"", "g1", "g2", "g1 g2", "t2"})
		sub := w.one([]string{"alice", "bob", "carol"})
		c := caller(t, claims, strings.Fields(w.one([]string{"", "a", "a b"}))...)
		c.Subject.ID = sub
		c.Subject.Claims["groups"] = asAny(strings.Fields(groups))
		who := p.Principal(c)
		for range 3 {
			q := policy.Query{Method: w.one([]string{"tools/call", "tools/call", "prompts/get", "resources/read", "tasks/get"}), Target: w.one([]string{"t1", "t2"})}
			if q.Method != "tasks/get" && w.r.IntN(3) > 0 {
				q.Args = []byte(w.object("x", "list", "rec", "f", "ip"))
			}
			if w.r.IntN(2) == 0 {
				q.Hints = policy.Hints{ReadOnly: new(w.r.IntN(2) == 0)}
			}
			got, want := p.Decide(who, q), plain(t, a, p.All(), c.Subject.ID, claims, strings.Fields(groups), c.Scopes, q)
			if diff := cmp.Diff(want, brief(got)); diff != "" {
				t.Fatalf("claims %s groups %q sub %s query %+v args %s\n%s\n(-want +got):\n%s", claims, groups, sub, q, q.Args, strings.Join(a.Policies, "\n"), diff)
			}
			switch {
			case got.Allowed:
				allowed++
			case len(got.Scopes) > 0:
				stepUps++
			case len(got.Errors) > 0:
				failed++
			}
		}
	}
	if allowed < 300 || failed < 300 || stepUps < 30 {
		t.Errorf("allowed %d, denied with errors %d, step-ups %d of 9000: the comparison proves little", allowed, failed, stepUps)
	}
}

// TestEveryTermIsCedars compares decisions by each term alone with those of plain Cedar, on arguments that make it true,
// false and wrong.
func TestEveryTermIsCedars(t *testing.T) {
	for _, term := range terms {
		for _, entities := range []string{"", worldEntities} {
			a := &config.Authz{GroupEntityType: "THVGroup", EntitiesJSON: entities}
			a.Policies = []string{"permit(principal, action, resource) when { " + term + " };", "forbid(principal, action, resource) unless { context has nothing || " + term + " };"}
			p := compile(t, a)
			claims := `{"a": 1, "list": [1, "x"], "rec": {"x": 1}}`
			c := caller(t, claims)
			c.Subject.ID = "bob"
			c.Subject.Claims["groups"] = asAny([]string{"g1"})
			who := p.Principal(c)
			for _, target := range []string{"t1", "t2"} {
				for _, args := range []string{
					`{}`, `{"x": 1, "f": 2.5, "ip": "10.1.2.3"}`, `{"x": 2, "f": 1.5, "ip": "192.168.0.1", "list": [1, "x"]}`, `{"f": 2.6, "ip": "127.0.0.1/24", "x": true}`,
					`{"x": "abc", "f": 1, "ip": "2.5", "list": "x", "rec": {"x": 1}}`, `{"f": "2.5", "ip": 7, "list": {"x": 1}, "rec": [1, "x"]}`,
				} {
					q := policy.Query{Method: "tools/call", Target: target, Args: []byte(args)}
					if diff := cmp.Diff(plain(t, a, p.All(), "bob", claims, []string{"g1"}, nil, q), brief(p.Decide(who, q))); diff != "" {
						t.Errorf("%s of %s %s\n(-want +got):\n%s", term, target, args, diff)
					}
				}
			}
		}
	}
}

// TestGroupsThatAreTools: what the caller is in says what a tool is in that is in the caller.
func TestGroupsThatAreTools(t *testing.T) {
	a := texts(`permit(principal, action, resource) when { resource in [Tool::"kit", Tool::"x"] };`, `permit(principal, action, resource in Tool::"kit");`)
	a.GroupEntityType = "Tool"
	a.EntitiesJSON = `[{"uid": "Tool::saw", "parents": ["Client::alice"]}]`
	p := compile(t, a)
	for groups, want := range map[string]int{`["kit"]`: 2, `["other"]`: 0} {
		if d := p.Decide(p.Principal(caller(t, `{"groups": `+groups+`}`)), call("saw", "")); len(d.Policies) != want {
			t.Errorf("in %s: %v, want %d", groups, ids(d.Policies), want)
		}
	}
}

func asAny(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}

// told is a decision in short.
type told struct {
	Allowed  bool
	Scopes   string
	Policies []string
	Errors   []string
}

func brief(d policy.Decision) told {
	x := told{Allowed: d.Allowed, Scopes: strings.Join(d.Scopes, " "), Policies: ids(d.Policies)}
	for _, e := range d.Errors {
		x.Errors = append(x.Errors, e.ID+": "+e.Message)
	}
	return x
}

// plain decides with Cedar alone.
func plain(t *testing.T, a *config.Authz, all []policy.Found, sub, claims string, groups, scopes []string, q policy.Query) told {
	t.Helper()
	entities := types.EntityMap{}
	if a.EntitiesJSON != "" {
		if err := entities.UnmarshalJSON([]byte(a.EntitiesJSON)); err != nil {
			t.Fatal(err)
		}
	}
	caller := types.NewEntityUID("Client", types.String(sub))
	ofClaims := values(t, "claim_", claims, false)
	groupValues := make([]types.Value, len(groups))
	parents := make([]types.EntityUID, len(groups))
	for i, g := range groups {
		groupValues[i], parents[i] = types.String(g), types.NewEntityUID(types.EntityType(a.GroupEntityType), types.String(g))
	}
	ofClaims["claim_groups"] = types.NewSet(groupValues...)
	addEntity(entities, caller, ofClaims, parents)

	context := maps.Clone(ofClaims)
	req := cedar.Request{Principal: caller, Action: types.NewEntityUID("Action", "tasks/get"), Resource: types.NewEntityUID("MCP", "s3")}
	named := q.Method == "tasks/get"
	if !named {
		attributes := types.RecordMap{"name": types.String(q.Target)}
		if len(q.Args) > 0 {
			attributes = values(t, "arg_", string(q.Args), true)
			maps.Copy(context, attributes)
			attributes["name"] = types.String(q.Target)
		}
		switch q.Method {
		case "tools/call":
			req.Action, req.Resource = types.NewEntityUID("Action", "call_tool"), types.NewEntityUID("Tool", types.String(q.Target))
			attributes["operation"], attributes["feature"] = types.String("call"), types.String("tool")
			if q.Hints.ReadOnly != nil {
				attributes["readOnlyHint"] = types.Boolean(*q.Hints.ReadOnly)
			}
		case "prompts/get":
			req.Action, req.Resource = types.NewEntityUID("Action", "get_prompt"), types.NewEntityUID("Prompt", types.String(q.Target))
			attributes["operation"], attributes["feature"] = types.String("get"), types.String("prompt")
		case "resources/read":
			req.Action, req.Resource = types.NewEntityUID("Action", "read_resource"), types.NewEntityUID("Resource", types.String(q.Target))
			attributes["operation"], attributes["feature"], attributes["uri"] = types.String("read"), types.String("resource"), types.String(q.Target)
		}
		addEntity(entities, req.Resource, attributes, []types.EntityUID{types.NewEntityUID("MCP", "s3")})
	}
	req.Context = types.NewRecord(context)

	set := cedar.PolicyMap{}
	for i, text := range a.Policies {
		var x cedar.Policy
		if err := x.UnmarshalCedar([]byte(text)); err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(text, " when {")
		head, _, _ = strings.Cut(head, " unless {")
		if named && x.Effect() == cedar.Permit && !strings.Contains(head, `Action::"tasks/get"`) {
			continue
		}
		set[cedar.PolicyID(strconv.Itoa(i))] = &x
	}
	_, said := cedar.Authorize(set, entities, req)
	return told{}.conclude(set, all, scopes, said)
}

func (x told) conclude(set cedar.PolicyMap, all []policy.Found, scopes []string, said cedar.Diagnostic) told {
	indexes := map[string][]int{}
	message := map[int]string{}
	for _, e := range said.Errors {
		i, _ := strconv.Atoi(string(e.PolicyID))
		message[i] = e.Message
		indexes["error"] = append(indexes["error"], i)
		if all[i].Effect == "forbid" {
			indexes["forbid"] = append(indexes["forbid"], i)
		}
	}
	for _, r := range said.Reasons {
		i, _ := strconv.Atoi(string(r.PolicyID))
		kind := all[i].Effect
		for _, need := range strings.Fields(string(set[r.PolicyID].Annotations()["scopes"])) {
			if !slices.Contains(scopes, need) {
				kind = "step-up"
			}
		}
		indexes[kind] = append(indexes[kind], i)
	}
	for _, list := range indexes {
		slices.Sort(list)
	}
	for _, i := range indexes["error"] {
		x.Errors = append(x.Errors, fmt.Sprintf("%s: %s", all[i].ID, message[i]))
	}
	switch {
	case len(indexes["forbid"]) > 0:
		x.name(all, indexes["forbid"])
	case len(indexes["permit"]) > 0:
		x.Allowed = true
		x.name(all, indexes["permit"])
	case len(indexes["step-up"]) > 0:
		first := indexes["step-up"][0]
		x.name(all, []int{first})
		x.Scopes = string(set[cedar.PolicyID(strconv.Itoa(first))].Annotations()["scopes"])
	}
	return x
}

func (x *told) name(all []policy.Found, list []int) {
	for _, i := range list {
		x.Policies = append(x.Policies, all[i].ID)
	}
}

// values reads a JSON object as Cedar does; null is absent, and an object or array leaves a mark.
func values(t *testing.T, prefix, object string, mark bool) types.RecordMap {
	t.Helper()
	out := types.RecordMap{}
	for name, v := range caller(t, object).Subject.Claims {
		key := types.String(prefix + name)
		switch v := v.(type) {
		case int64:
			out[key] = types.Long(v)
		case token.Number:
			d, err := types.ParseDecimal(string(v))
			if err != nil {
				t.Fatal(err)
			}
			out[key] = d
		case string:
			out[key] = types.String(v)
		case bool:
			out[key] = types.Boolean(v)
		case []any:
			out[key] = types.NewSet(types.Long(1), types.String("x"))
		case map[string]any:
			out[key] = types.NewRecord(types.RecordMap{"x": types.Long(1)})
		}
		if _, plain := v.([]any); mark && plain {
			out[key+"_present"] = types.True
		}
		if _, plain := v.(map[string]any); mark && plain {
			out[key+"_present"] = types.True
		}
	}
	return out
}

// addEntity puts an entity over a static one.
func addEntity(entities types.EntityMap, uid types.EntityUID, attributes types.RecordMap, parents []types.EntityUID) {
	all := maps.Clone(attributes)
	static := entities[uid]
	for name, v := range static.Attributes.All() {
		if _, ours := all[name]; !ours {
			all[name] = v
		}
	}
	for parent := range static.Parents.All() {
		parents = append(parents, parent)
	}
	entities[uid] = types.Entity{UID: uid, Attributes: types.NewRecord(all), Parents: types.NewEntityUIDSet(parents...)}
}

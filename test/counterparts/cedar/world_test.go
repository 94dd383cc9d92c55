package cedar_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/config"
)

// proxy is the name of the proxy in every question.
const proxy = "gate"

// world is one configuration: policies, entities, and how claims become groups.
type world struct {
	authz     config.Authz
	policies  []written
	static    []static
	questions []question
}

// newWorld makes a configuration, and n questions about it.
func (s source) newWorld(n int) world {
	w := world{questions: s.several(n), authz: config.Authz{
		GroupClaim:        s.pick("", "", "roles", "realm_access.roles", "https://example.com/team"),
		RoleClaim:         s.pick("", "", "tags", "team"),
		GroupEntityType:   s.pick("THVGroup", "THVGroup", "Team"),
		MultiValuedClaims: s.some(30, "scope", "tags"),
	}}
	w.static = s.statics(w.authz.GroupEntityType)
	w.authz.EntitiesJSON = s.document(w.static)
	wide := s.chance(40)
	write := writer{s, w.authz.GroupEntityType}
	for range 1 + s.IntN(6) {
		var texts []string
		for i := range 1 + s.IntN(3) {
			id := ""
			if s.chance(50) {
				id = fmt.Sprintf("p%d %s", len(w.policies), s.pick("", "é", `"`))
			}
			var p written
			switch {
			case wide && len(w.policies) == 0:
				p = write.wide(id, "")
			case s.chance(15):
				p = write.wide(id, w.exactly(s, w.questions[s.IntN(n)]))
			default:
				p = write.policy(id)
			}
			if id == "" {
				p.id = fmt.Sprintf("policies[%d]", len(w.authz.Policies))
				if i > 0 {
					p.id += "#" + strconv.Itoa(i)
				}
			}
			w.policies = append(w.policies, p)
			texts = append(texts, p.text)
		}
		w.authz.Policies = append(w.authz.Policies, strings.Join(texts, s.pick("\n", " ", "\n// and\n")))
	}
	return w
}

// exactly is a condition that one question meets: the context, or something in it, is this and nothing else.
func (w world) exactly(s source, q question) string {
	claims, args := w.of(q.claims), q.attributes()
	all := maps.Clone(claims)
	maps.Copy(all, args)
	if s.chance(40) {
		return "context == " + literal(object(all))
	}
	name := s.pick(slices.Sorted(maps.Keys(all))...)
	on := "context"
	if s.chance(40) {
		if on = "principal"; claims[name] == "" {
			on = "resource"
		}
	}
	return attribute{on: on, name: name}.read(on) + " == " + literal(all[name])
}

// static is an entity of the configuration, its values in Cedar's JSON.
type static struct {
	kind, id string
	attrs    members
	tags     members
	parents  [][2]string
}

// statics are entities: groups within groups, and what somebody knows about callers, tools and actions.
func (s source) statics(group string) (all []static) {
	owner := `{"__entity": {"type": "Client", "id": "` + s.pick("ann", "bob") + `"}}`
	for _, e := range []static{
		{kind: group, id: "dev", parents: [][2]string{{"PlatformRole", "eng"}}},
		{kind: "PlatformRole", id: "eng", parents: [][2]string{{"PlatformRole", "admins"}}},
		{kind: group, id: "ops", parents: [][2]string{{"Tool", "weather"}}},
		{kind: "Client", id: "ann", attrs: members{
			"department": `"eng"`, "claim_team": `"static"`, "claim_boss": `{"__entity": {"type": "Tool", "id": "weather"}}`,
			"boss": `{"__entity": {"type": "Client", "id": "bob"}}`,
		}, tags: members{"mcp": `"ann"`}, parents: [][2]string{{group, "ops"}}},
		{kind: "Client", id: "bob", attrs: members{"department": `"ops"`, "boss": owner}},
		{kind: "Tool", id: "weather", attrs: members{
			"owner": owner, "limit": "9223372036854775807", "name": `"static"`, "arg_n": "3", "kept": `"mcp"`, "readOnlyHint": "true",
		}, parents: [][2]string{{"MCP", "other"}}},
		{kind: "Resource", id: "s3___b_k", attrs: members{"owner": owner, "limit": "5", "kept": `"x*y"`}, tags: members{"weather": `["eng", 1]`}},
		{kind: "Action", id: "read_resource", parents: [][2]string{{"Action", "safe"}}},
		{kind: "Action", id: "tasks/get", parents: [][2]string{{"Action", "safe"}}},
		{kind: "MCP", id: "gate", parents: [][2]string{{"MCP", "other"}}, attrs: members{"limit": "42"}},
	} {
		if s.chance(60) {
			all = append(all, e)
		}
	}
	return all
}

// document is what stands in entitiesJson: some of it in the short form.
func (s source) document(all []static) string {
	entities := make([]string, len(all))
	for i, e := range all {
		members := []string{`"uid": ` + s.uidJSON(e.kind, e.id)}
		if len(e.attrs) > 0 || s.chance(50) {
			members = append(members, `"attrs": `+object(e.attrs))
		}
		if len(e.parents) > 0 || s.chance(50) {
			parents := make([]string, len(e.parents))
			for i, p := range e.parents {
				parents[i] = s.uidJSON(p[0], p[1])
			}
			members = append(members, `"parents": [`+strings.Join(parents, ", ")+"]")
		}
		if len(e.tags) > 0 {
			members = append(members, `"tags": `+object(e.tags))
		}
		entities[i] = "{" + strings.Join(members, ", ") + "}"
	}
	return "[" + strings.Join(entities, ",\n") + "]"
}

func (s source) uidJSON(kind, id string) string {
	switch s.IntN(4) {
	case 0:
		return jsonText(kind + "::" + id)
	case 1:
		return jsonText(kind + `::"` + id + `"`)
	case 2:
		return fmt.Sprintf(`{"__entity": {"type": %q, "id": %s}}`, kind, jsonText(id))
	}
	return fmt.Sprintf(`{"type": %q, "id": %s}`, kind, jsonText(id))
}

// jsonText is a string in JSON.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings marshal
	}
	return string(b)
}

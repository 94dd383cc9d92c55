package cedar_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// What follows writes policies at random, in the vocabulary and about a small world, so that much of it applies. It
// writes what parses; what can't be evaluated is part of it.

// source draws what is random.
type source struct{ *rand.Rand }

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 0))} }

// chance is true n times in a hundred.
func (s source) chance(n int) bool { return s.IntN(100) < n }

func (s source) pick(of ...string) string { return of[s.IntN(len(of))] }

// some gives each of a list, n times in a hundred.
func (s source) some(n int, of ...string) (list []string) {
	for _, x := range of {
		if s.chance(n) {
			list = append(list, x)
		}
	}
	return list
}

// kind is a type of Cedar.
type kind int

const (
	boolean kind = iota
	long
	text
	decimal
	set
	record
	entity
	kinds
)

// attribute is one that an expression may read, with the type that it mostly has.
type attribute struct {
	on, name string
	kind     kind
}

// named is an attribute that stands in two places.
type named struct {
	name string
	kind kind
}

// attributes are those of the world that world_test.go makes, and a few that are never there.
var attributes = func() (all []attribute) {
	for _, c := range []named{
		{"sub", text},
		{"team", text},
		{"https://example.com/team", text},
		{"level", long},
		{"big", long},
		{"ratio", decimal},
		{"admin", boolean},
		{"groups", set},
		{"roles", set},
		{"tags", set},
		{"scope", text},
		{"org", record},
		{"realm_access", record},
		{"nobody", text},
	} {
		all = append(all, attribute{"principal", "claim_" + c.name, c.kind}, attribute{"context", "claim_" + c.name, c.kind})
	}
	for _, a := range []named{
		{"n", long},
		{"m", long},
		{"f", decimal},
		{"path", text},
		{"a b", text},
		{"addr", text},
		{"flag", boolean},
		{"list", set},
		{"list_present", boolean},
		{"opts", record},
		{"opts_present", boolean},
		{"deep", record},
		{"nothing", long},
	} {
		all = append(all, attribute{"resource", "arg_" + a.name, a.kind}, attribute{"context", "arg_" + a.name, a.kind})
	}
	for _, name := range []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} {
		all = append(all, attribute{"resource", name, boolean})
	}
	for _, name := range []string{"name", "operation", "feature", "uri", "kept"} {
		all = append(all, attribute{"resource", name, text})
	}
	for _, on := range []string{"principal", "context"} {
		all = append(all, attribute{on, "claimset_scope", set}, attribute{on, "claimset_tags", set})
	}
	return append(all, attribute{"principal", "department", text}, attribute{"principal", "claim_boss", entity},
		attribute{"principal", "boss", entity}, attribute{"resource", "owner", entity}, attribute{"resource", "limit", long})
}()

var words = []string{"ann", "eng", "ops", "weather", "delete", "s3://b/k", "Aé", `a"b`, "", "call", "tool", "9223372036854775808", "1.23456", "mcp", "x*y"}

// quoted is a string literal of Cedar.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "é", `\u{e9}`).Replace(s) + `"`
}

// uid is an entity literal.
func uid(kind, id string) string { return kind + "::" + quoted(id) }

// writer writes the policies of one set.
type writer struct {
	source
	group string // the type of groups
}

// one is an entity of a type, by name, or of any.
func (w writer) one(kind string) string {
	switch kind {
	case "Client":
		return uid(kind, w.pick("ann", "bob", "eve", ""))
	case "Group":
		return uid(w.pick(w.group, w.group, w.group, "THVGroup", "PlatformRole"), w.pick("dev", "ops", "eng", "admins"))
	case "Action":
		return uid(kind, w.pick("call_tool", "call_tool", "get_prompt", "read_resource", "tasks/get", "safe"))
	case "Resource":
		switch w.IntN(8) {
		case 0:
			return uid("Prompt", w.pick("greet", "weather"))
		case 1:
			return uid("Resource", w.pick("s3___b_k", "s3___b_k", "s3___b_k_v_1", "weather"))
		case 2:
			return uid("MCP", w.pick("gate", "gate", "other"))
		}
		return uid("Tool", w.pick("weather", "delete", "s3___b_k", "aws___run"))
	}
	return w.one(w.pick("Client", "Group", "Action", "Resource"))
}

// scope is the head of a policy, and the actions that it names.
func (w writer) scope() (head string, names []string) {
	principal := "principal"
	switch w.IntN(10) {
	case 0:
		principal += " == " + w.one("Client")
	case 1, 2:
		principal += " in " + w.one("Group")
	case 5:
		principal += " in " + w.pick(uid("MCP", "gate"), uid("Tool", "weather"))
	case 3:
		principal += " is Client"
	case 4:
		principal += " is Client in " + w.one("Group")
	}
	action := "action"
	switch w.IntN(6) {
	case 0, 1:
		names = []string{w.one("Action")}
		action += " == " + names[0]
	case 2:
		names = []string{w.one("Action"), w.one("Action")}
		action += " in [" + strings.Join(names, ", ") + "]"
	case 3:
		names = []string{w.one("Action")}
		action += " in " + names[0]
	}
	resource := "resource"
	switch w.IntN(9) {
	case 0, 1:
		resource += " == " + w.one("Resource")
	case 2:
		resource += " in " + w.pick(w.one("Resource"), uid("MCP", "gate"), uid("MCP", "other"))
	case 3:
		resource += " is " + w.pick("Tool", "Prompt", "Resource", "MCP")
	case 4:
		resource += " is Tool in " + uid("MCP", "gate")
	}
	return "(" + principal + ", " + action + ", " + resource + ")", names
}

// written is a policy.
type written struct {
	id     string // by which decisions name it
	text   string
	forbid bool
	scopes []string // of @scopes, sorted
	names  []string // the actions that its scope names
}

// policy writes one policy. id is "" for one without @id.
func (w writer) policy(id string) written {
	head, names := w.scope()
	p := written{id: id, forbid: w.chance(25), names: names}
	for range [...]int{0, 1, 1, 1, 1, 2, 2, 3}[w.IntN(8)] {
		head += fmt.Sprintf("\n%s { %s }", w.pick("when", "when", "when", "unless"), w.condition())
	}
	return w.annotate(p, head)
}

// wide permits all that meets a condition; "" is none.
func (w writer) wide(id, condition string) written {
	head := "(principal, action, resource)"
	if condition != "" {
		head += "\nwhen { " + condition + " }"
	}
	return w.annotate(written{id: id}, head)
}

// annotate puts effect and annotations before the rest of a policy.
func (w writer) annotate(p written, rest string) written {
	if p.id != "" {
		p.text = "@id(" + quoted(p.id) + ")\n"
	}
	switch {
	case p.forbid:
		p.text += "forbid"
	case w.chance(35):
		p.scopes = strings.Fields(w.pick("aws:write", "aws:read aws:write", "mcp"))
		p.text += "@scopes(" + quoted(strings.Join(p.scopes, " ")) + ")\npermit"
	default:
		p.text += "permit"
	}
	p.text += rest + ";"
	return p
}

// condition is what people write: questions about attributes, most of them after has, joined with &&.
func (w writer) condition() string {
	parts := make([]string, 1+w.IntN(3))
	for i := range parts {
		switch {
		case w.chance(15):
			parts[i] = w.boolean(3)
		case w.chance(10):
			parts[i] = w.about()
		case w.chance(10):
			parts[i] = w.pick("principal", "principal", "action", "resource") + " in " + w.pick(w.one("Group"), w.one(""), uid("MCP", "gate"), "["+w.one("Group")+", "+w.one("")+"]", "[]")
		case w.chance(5):
			in := `.isInRange(ip(` + w.pick(`"10.0.0.0/8"`, `"::/0"`, "context.arg_addr") + "))"
			parts[i] = w.pick("", "context has arg_addr && ") + w.pick("ip(context.arg_addr)", "ip(resource.arg_addr)", `ip("10.0.0.1")`) + in
		case w.chance(8):
			on := w.pick("principal.claim_boss", "principal.claim_boss", "principal.boss", "resource.owner", uid("Tool", "weather"), uid("Client", "ann"))
			there := on + " has " + w.pick("arg_m", "destructiveHint", "claim_team")
			parts[i] = w.pick(there, there, w.ask(kind(w.IntN(int(kinds))), on), w.ask(long, on+".arg_n"), on+" in "+uid("MCP", "gate"))
		default:
			parts[i] = w.question(attributes[w.IntN(len(attributes))])
		}
	}
	return strings.Join(parts, " && ")
}

// about names resources outside of the scope.
func (w writer) about() string {
	all := make([]string, 1+w.IntN(3))
	for i := range all {
		one, list := w.one("Resource"), "["+w.one("Resource")+", "+w.one("Resource")+"]"
		all[i] = w.pick("resource == "+one, one+" == resource", "resource in "+one, "resource in "+list, list+".contains(resource)", "resource is Tool in "+one)
	}
	return "(" + strings.Join(all, " || ") + ")"
}

// question asks something of one attribute, and mostly whether it is there at all.
func (w writer) question(a attribute) string {
	ask := w.ask(a.kind, a.read(a.on))
	switch {
	case w.chance(65):
		return "(" + a.has(a.on) + " && " + ask + ")"
	case w.chance(20):
		return "(if " + a.has(a.on) + " then " + ask + " else " + w.pick("true", "false") + ")"
	}
	return ask
}

func plain(name string) bool { return !strings.ContainsAny(name, ":/. ") }

// read is the expression that reads the attribute of what on is.
func (a attribute) read(on string) string {
	if plain(a.name) {
		return on + "." + a.name
	}
	return on + "[" + quoted(a.name) + "]"
}

func (a attribute) has(on string) string {
	if plain(a.name) {
		return on + " has " + a.name
	}
	return on + " has " + quoted(a.name)
}

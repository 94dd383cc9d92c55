package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/mcp"
)

// With schema: strict the words of policies are checked against the vocabulary, so that a misspelled one is a mistake
// and not a permit that never permits or a forbid that never forbids. A Cedar schema can't do it alone: claims and
// arguments have any name and any type, and a schema is closed.
//
// Checked: the type of every entity; every action, where one that is decided under another name, such as
// Action::"tools/call", is a mistake too; every attribute of principal, resource and context, by its name. An attribute
// of a static entity counts for entities of its type. Checked too: whether a policy's parts fit each other, and whether
// what they compare can be equal (misfit.go). Beside that Cedar's validator tells conditions that fail whatever the call
// is (typecheck.go).
//
// Not checked: the names of claims and arguments, what is within them and of what type it is; the ids of entities other
// than actions and the proxy, but for what can be no id (literal.go); attributes of other expressions, such as
// (if x then principal else resource).name; whether a tool exists.

// decidedAs are methods that are decided under an action's own name.
var decidedAs = map[string]string{
	mcp.MethodToolsCall:     "call_tool",
	mcp.MethodPromptsGet:    "get_prompt",
	mcp.MethodResourcesRead: "read_resource",
	mcp.MethodSubscribe:     "read_resource",
	mcp.MethodUnsubscribe:   "read_resource",
}

// listActions stand in policies about lists, which always pass.
var listActions = []string{"list_tools", "list_prompts", "list_resources", "list_resource_templates"}

// vocabulary is what words mean something.
type vocabulary struct {
	types      map[string]bool
	parents    map[types.EntityUID]bool // what static entities are in, or have in an attribute
	actions    map[string]bool
	attributes map[types.String]map[string]bool // by variable
	sets       []string                         // the claims that have a claimset_
	group      string
	proxy      types.EntityUID // the one MCP that something is in; none where policies may be about others
	strict     bool
}

// check tells what in the policies means nothing: with schema strict every word, and else what is wrong whatever words
// there are. alone is whether the policies are those of this proxy alone.
func (p *Policies) check(strict, alone bool) []Mistake {
	v := p.vocabulary()
	v.strict = strict
	if alone {
		v.proxy = p.self
	}
	var mistakes []Mistake
	left := maxWords
	for i := range p.list {
		x := &p.list[i]
		x.left = &left
		mistakes = append(mistakes, v.literals(x)...)
		if !strict {
			continue
		}
		words := x.judge(v.words)
		mistakes = append(mistakes, words...)
		if redefined(p.static) {
			continue
		}
		if len(words) == 0 {
			mistakes = append(mistakes, x.judge(p.misfits)...)
		}
		if len(x.constructions()) == 0 { // else it says the same
			mistakes = append(mistakes, typecheck(x)...)
		}
	}
	return mistakes
}

// judge tells what a check finds, each once, where it stands.
func (x *policy) judge(check func(*ast.Policy, tell)) []Mistake {
	var mistakes []Mistake
	told := map[string]bool{}
	places := sync.OnceValue(func() []finding {
		return x.narrow(func(y *ast.Policy) []string { return allOf(y, check) })
	})
	scope := *x.ast
	scope.Conditions = nil
	ofScope := allOf(&scope, check)
	check(x.ast, func(spelled, what, mend string) {
		if told[what] {
			return
		}
		told[what] = true
		at := x.source.find(spelled)
		// The scope comes first. In a condition the word may stand elsewhere too, where nothing is wrong with it.
		if len(x.source.tokens) <= maxNarrowed && x.source.count(spelled) > 1 && !slices.Contains(ofScope, what) {
			for _, f := range places() {
				if f.what == what {
					at = statement{tokens: f.part.tokens}.find(spelled)
					break
				}
			}
		}
		mistakes = append(mistakes, Mistake{Place: x.found.Place, What: at.at() + what, Mend: mend})
	})
	return mistakes
}

// allOf is everything that a check tells, each once.
func allOf(p *ast.Policy, check func(*ast.Policy, tell)) []string {
	var all []string
	told := map[string]bool{}
	check(p, func(_, what, _ string) {
		if !told[what] {
			told[what] = true
			all = append(all, what)
		}
	})
	return all
}

// vocabulary collects the words of these policies' configuration.
func (p *Policies) vocabulary() *vocabulary {
	v := &vocabulary{types: map[string]bool{p.groupType: true}, actions: map[string]bool{}, parents: map[types.EntityUID]bool{}, sets: p.multi, group: p.groupType}
	for _, t := range []types.EntityType{typeClient, typeAction, typeTool, typePrompt, typeResource, typeProxy, typeFeature} {
		v.types[string(t)] = true
	}
	for _, k := range kinds {
		v.actions[string(k.action.ID)] = true
	}
	for _, id := range listActions {
		v.actions[id] = true
	}
	for method := range free {
		v.actions[method] = true
	}
	ofResource := map[string]bool{}
	for name := range closed {
		ofResource[string(name)] = true
	}
	v.attributes = map[types.String]map[string]bool{"principal": {}, "resource": ofResource, "context": {}}
	for uid, e := range p.static {
		v.entity(uid)
		for parent := range e.Parents.All() {
			v.parent(parent)
		}
		variable := types.String("resource")
		if uid.Type == typeClient {
			variable = "principal"
		}
		for name, value := range e.Attributes.All() {
			v.attributes[variable][string(name)] = true
			v.value(value)
		}
		for value := range e.Tags.Values() {
			v.value(value)
		}
	}
	return v
}

// entity adds an entity of the configuration.
func (v *vocabulary) entity(uid types.EntityUID) {
	v.types[string(uid.Type)] = true
	if uid.Type == typeAction {
		v.actions[string(uid.ID)] = true
	}
}

// parent adds an entity that another one of the configuration names.
func (v *vocabulary) parent(uid types.EntityUID) {
	v.entity(uid)
	v.parents[uid] = true
}

// value adds the entities within a value of the configuration.
func (v *vocabulary) value(x types.Value) {
	switch x := x.(type) {
	case types.EntityUID:
		v.parent(x)
	case types.Set:
		for member := range x.All() {
			v.value(member)
		}
	case types.Record:
		for member := range x.Values() {
			v.value(member)
		}
	}
}

// tell takes a word that means nothing: how it is spelled, what is wrong, what would be right.
type tell func(spelled, what, mend string)

// words looks at every word of a policy.
func (v *vocabulary) words(p *ast.Policy, t tell) {
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			v.checkUID(s.Entity, t)
		case ast.ScopeTypeIn:
			v.checkUID(s.Entity, t)
		case ast.ScopeTypeInSet:
			for _, e := range s.Entities {
				v.checkUID(e, t)
			}
		case ast.ScopeTypeIs:
			v.checkType(s.Type, t)
		case ast.ScopeTypeIsIn:
			v.checkType(s.Type, t)
			v.checkUID(s.Entity, t)
		}
	}
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeValue:
				if uid, ok := n.Value.(types.EntityUID); ok {
					v.checkUID(uid, t)
				}
			case ast.NodeTypeIs:
				v.checkType(n.EntityType, t)
			case ast.NodeTypeIsIn:
				v.checkType(n.EntityType, t)
			case ast.NodeTypeAccess:
				v.checkAttribute(n.StrOpNode, lists(p), t)
			case ast.NodeTypeHas:
				v.checkAttribute(n.StrOpNode, lists(p), t)
			}
			return true
		})
	}
}

func (v *vocabulary) checkUID(uid types.EntityUID, t tell) {
	v.checkType(uid.Type, t)
	id := string(uid.ID)
	if uid.Type != typeAction || v.actions[id] {
		return
	}
	if as, ok := decidedAs[id]; ok {
		t(id, "the action "+quote(id)+" never occurs", fmt.Sprintf("write Action::%q: that is what it is decided as", as))
		return
	}
	// Any method may be named, also one that is not known yet; but not one that looks much like a known one.
	if meant := near(id); meant != "" {
		t(id, "unknown action "+quote(id), "did you mean "+meant+"?")
	} else if !strings.Contains(id, "/") {
		t(id, "unknown action "+quote(id), didYouMean(id, v.actions))
	}
}

// near is the action that is meant by a method's name with a slip in it; "" where it looks like none.
func near(method string) string {
	if !strings.Contains(method, "/") {
		return ""
	}
	for _, known := range slices.Sorted(maps.Keys(decidedAs)) {
		if config.Distance(strings.ToLower(method), known) <= 2 {
			return decidedAs[known]
		}
	}
	for _, known := range slices.Sorted(maps.Keys(free)) {
		if strings.Contains(known, "/") && config.Distance(strings.ToLower(method), strings.ToLower(known)) <= 2 {
			return known
		}
	}
	return ""
}

func (v *vocabulary) checkType(entity types.EntityType, t tell) {
	name := string(entity)
	if v.types[name] {
		return
	}
	mend := didYouMean(name, v.types)
	if name == defaultGroupType {
		mend = "groups are of type " + v.group + " here"
	}
	first, _, _ := strings.Cut(name, "::")
	t(first, "unknown entity type "+quote(name), mend)
}

// checkAttribute looks at an attribute of a variable. One that only lists have may stand in policies about lists.
func (v *vocabulary) checkAttribute(n ast.StrOpNode, lists bool, t tell) {
	name := string(n.Value)
	variable, ok := n.Arg.(ast.NodeTypeVariable)
	if !ok || variable.Name == "action" || v.known(variable.Name, name) || lists && variable.Name == "resource" && name == "type" {
		return
	}
	what := fmt.Sprintf("%s has no attribute %s", variable.Name, quote(name))
	if claim, ok := strings.CutPrefix(name, prefixClaims); ok && claim != "" && variable.Name != "resource" {
		t(name, what, "add "+quote(claim)+" to the multi-valued claims")
		return
	}
	for _, other := range []types.String{"principal", "resource", "context"} {
		if v.known(other, name) {
			t(name, what, fmt.Sprintf("did you mean that of %s?", other))
			return
		}
	}
	prefixes := prefixesOf(variable.Name)
	if slices.Contains(prefixes, name) {
		t(name, what, "write "+name+"<name>")
		return
	}
	t(name, what, didYouMean(name, v.attributes[variable.Name], prefixes...))
}

// known says whether a variable may have an attribute.
func (v *vocabulary) known(variable types.String, name string) bool {
	if claim, ok := strings.CutPrefix(name, prefixClaims); ok && variable != "resource" {
		return slices.Contains(v.sets, claim)
	}
	for _, prefix := range prefixesOf(variable) {
		if strings.HasPrefix(name, prefix) && name != prefix {
			return true
		}
	}
	return v.attributes[variable][name]
}

// prefixesOf are the beginnings of a variable's attributes that have any name.
func prefixesOf(variable types.String) []string {
	switch variable {
	case "principal":
		return []string{prefixClaim}
	case "resource":
		return []string{prefixArg}
	}
	return []string{prefixClaim, prefixArg}
}

// didYouMean proposes the nearest of the words, or all that may be written.
func didYouMean(word string, known map[string]bool, prefixes ...string) string {
	words := slices.Sorted(maps.Keys(known))
	best, least := "", len(word)/3+2
	for _, w := range words {
		if d := config.Distance(strings.ToLower(word), strings.ToLower(w)); d < least {
			best, least = w, d
		}
	}
	for _, prefix := range prefixes {
		for n := len(prefix) - 1; n < min(len(prefix)+2, len(word)); n++ {
			head, rest := word[:n], word[n:]
			d := config.Distance(strings.ToLower(head), prefix)
			if d < min(least, 3) || d == least && strings.HasPrefix(best, prefix) && strings.HasSuffix(head, "_") {
				best, least = prefix+rest, d
			}
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	for _, prefix := range prefixes {
		words = append(words, prefix+"<name>")
	}
	return "write one of: " + strings.Join(words, ", ")
}

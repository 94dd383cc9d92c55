package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Cedar's validator needs a schema that knows every attribute. Here it gets one with the attributes that always have
// the same type, for every kind of resource, and what it says about anything else is not listened to: about claims and
// arguments it knows nothing, and takes context has arg_x for false, so that what && puts behind it is not looked at. What
// is left are expressions that fail whatever the call is, such as resource.name < 5.

const closedSchema = `
entity Client;
entity Tool, Prompt, Resource, MCP {
	name: String, operation: String, feature: String, uri: String,
	readOnlyHint: Bool, destructiveHint: Bool, idempotentHint: Bool, openWorldHint: Bool
};
action "call_tool", "get_prompt", "read_resource" appliesTo {principal: Client, resource: [Tool, Prompt, Resource, MCP], context: {}};
`

// heeded are the beginnings of what is listened to. What is said of literals is told without it (literal.go).
var heeded = []string{"unexpected type: ", "wrong number of arguments "}

var validator = sync.OnceValues(func() (*validate.Validator, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(closedSchema)); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve the schema: %w", err)
	}
	return validate.New(r, validate.WithPermissive()), nil
})

// typecheck tells the expressions of a policy that always fail. Only conditions are looked at.
func typecheck(x *policy) []Mistake {
	if _, err := validator(); err != nil {
		return []Mistake{{Place: x.found.Place, What: x.source.tokens[0].at() + err.Error(), Mend: "report this as a bug of rolegate"}}
	}
	if len(x.source.tokens) > maxNarrowed { // the validator takes the square of their number
		return []Mistake{{
			Place: x.found.Place, What: x.source.tokens[0].at() + "the policy is too long for its types to be checked",
			Mend: "write several, each with a part of it", Warning: true,
		}}
	}
	var mistakes []Mistake
	said := failures(x.ast)
	if len(said) == 0 {
		return nil
	}
	found := x.narrow(failures)
	for _, f := range found {
		plain, mend := plainly(f.what)
		mistakes = append(mistakes, Mistake{Place: x.found.Place, What: f.part.tokens[0].at() + x.source.show(f.part) + " always fails: " + plain, Mend: mend})
	}
	for _, what := range said {
		if !slices.ContainsFunc(found, func(f finding) bool { return f.what == what }) {
			plain, mend := plainly(what)
			mistakes = append(mistakes, Mistake{Place: x.found.Place, What: x.source.tokens[0].at() + "an expression always fails: " + plain, Mend: mend})
		}
	}
	return mistakes
}

// failures are what the validator says of the conditions that is listened to, each once.
func failures(p *ast.Policy) []string {
	v, err := validator()
	if err != nil {
		return nil
	}
	open := *p
	open.Principal, open.Action, open.Resource = ast.ScopeTypeAll{}, ast.ScopeTypeAll{}, ast.ScopeTypeAll{}
	var all []string
	for _, what := range said(v.Policy("", &open)) {
		if !slices.Contains(all, what) && slices.ContainsFunc(heeded, func(beginning string) bool { return strings.HasPrefix(what, beginning) }) {
			all = append(all, what)
		}
	}
	return all
}

var (
	sawAnother = regexp.MustCompile(`^unexpected type: expected (.*) but saw (.*)$`)
	sawSeveral = regexp.MustCompile(`Expected (\d+), got (\d+)$`)
)

// plainly turns the validator's words into ours, and says what would be right.
func plainly(what string) (plain, mend string) {
	if m := sawSeveral.FindStringSubmatch(what); m != nil {
		return fmt.Sprintf("it needs %s values in all, and there are %s", m[1], m[2]), "see Cedar's functions: https://docs.cedarpolicy.com/policies/syntax-operators.html"
	}
	m := sawAnother.FindStringSubmatch(what)
	if m == nil {
		return what, "compare values of one type"
	}
	var wanted []string
	for _, t := range strings.Split(m[1], ", or ") {
		wanted = append(wanted, typeInWords(t))
	}
	saw := typeInWords(m[2])
	switch {
	case slices.Contains(wanted, "an entity") && !slices.Contains(wanted, "a record") && saw == "a string":
		mend = `write an entity, such as THVGroup::"admins"`
	case constructors[types.Path(strings.TrimSuffix(m[1], "addr"))].mend != "":
		mend = constructors[types.Path(strings.TrimSuffix(m[1], "addr"))].mend
	case slices.Contains(wanted, "true or false"):
		mend = "compare it with something"
	default:
		mend = "compare values of one type"
	}
	return fmt.Sprintf("it wants %s, and there is %s", listed(wanted), saw), mend
}

// typeInWords names a type of the validator's.
func typeInWords(name string) string {
	switch name {
	case "Bool", "__cedar::internal::True", "__cedar::internal::False":
		return "true or false"
	case "Long":
		return "a whole number"
	case "String":
		return "a string"
	case "decimal", "datetime", "duration":
		return "a " + name
	case "ipaddr":
		return "an address"
	case "Set<__cedar::internal::AnyEntity>":
		return "a set of entities"
	}
	switch {
	case strings.HasPrefix(name, "Set<"):
		return "a set"
	case strings.HasPrefix(name, "{") || strings.HasPrefix(name, "__cedar::internal::OpenRecord"):
		return "a record"
	}
	return "an entity"
}

// said are the messages of joined errors.
func said(err error) []string {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, said(e)...)
		}
		return all
	}
	return []string{err.Error()}
}

// redefined says whether a static entity has an attribute of the schema: that may be of another type.
func redefined(static statics) bool {
	for _, e := range static {
		for name := range e.Attributes.Keys() {
			if closed[name] {
				return true
			}
		}
	}
	return false
}

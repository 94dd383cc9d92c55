package policy

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Cedar's validator needs a schema that knows every attribute. Here it gets one with the attributes that always have
// the same type, for every kind of resource, and what it says about anything else is not listened to: about claims and
// arguments it knows nothing. What is left are expressions that fail whatever the call is, such as
// resource.name < 5 or ip("x").

const closedSchema = `
entity Client;
entity Tool, Prompt, Resource, MCP {
	name: String, operation: String, feature: String, uri: String,
	readOnlyHint: Bool, destructiveHint: Bool, idempotentHint: Bool, openWorldHint: Bool
};
action "call_tool", "get_prompt", "read_resource" appliesTo {principal: Client, resource: [Tool, Prompt, Resource, MCP], context: {}};
`

// heeded are the beginnings of what is listened to.
var heeded = []string{"unexpected type: ", "wrong number of arguments ", "error during extension function argument validation: "}

// plainer takes out of the validator's words what says nothing to the reader.
var plainer = strings.NewReplacer("`", "", "__cedar::internal::AnyEntity", "an entity", "<__cedar::internal::Any>", "", "error during extension function argument validation: ", "")

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
	v, err := validator()
	if err != nil {
		return []Mistake{{x.found.Place, x.source.tokens[0].at() + err.Error(), "report this as a bug of rolegate"}}
	}
	open := *x.ast
	open.Principal, open.Action, open.Resource = ast.ScopeTypeAll{}, ast.ScopeTypeAll{}, ast.ScopeTypeAll{}
	var mistakes []Mistake
	told := map[string]bool{}
	for _, what := range said(v.Policy("", &open)) {
		for _, beginning := range heeded {
			if strings.HasPrefix(what, beginning) && !told[what] {
				told[what] = true
				mistakes = append(mistakes, Mistake{x.found.Place, x.source.tokens[0].at() + "an expression always fails: " + plainer.Replace(what), "compare values of one type, and write addresses, decimals and times as Cedar does"})
			}
		}
	}
	return mistakes
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

package role

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/rolegate/rolegate/internal/token"
)

// A matcher is a CEL expression over one variable, claims: the payload of the token as a map. The standard library is
// there, and the string, list and set extensions. None of them reads a clock, a file or the network, so a matcher is
// as pure as the rest of this package.

const (
	// maxMatcherBytes bounds the text of a matcher.
	maxMatcherBytes = 4096
	// maxMatcherCost bounds the work of one evaluation, in CEL's units: some milliseconds. `"x" in claims.groups`
	// costs about 2 and one for each group.
	maxMatcherCost = 50_000
	// maxRegexProgram bounds the compiled size of a regular expression in a matcher.
	maxRegexProgram = 1000
	// maxToldErrors bounds how many mistakes of one matcher are reported.
	maxToldErrors = 5
)

// What can go wrong when a matcher is evaluated. These are the only words for it: the text of a CEL error may hold the
// value of a claim.
const (
	FailureNoKey = "no such key"
	FailureType  = "type mismatch"
	FailureRange = "out of range"
	FailureMath  = "arithmetic"
	FailureCost  = "cost limit"
	FailureOther = "evaluation error"
)

type matcher struct {
	source  string
	program cel.Program
}

// wrong is a mistake in a matcher, before it is known which mapping's.
type wrong struct{ what, mend string }

// environment is what matchers are compiled against. It takes a millisecond to make and never changes.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.CustomTypeAdapter(numbers{types.DefaultTypeAdapter}),
		ext.Strings(), ext.Lists(), ext.Sets(),
		cel.CrossTypeNumericComparisons(true), // claims.level >= 3 holds for 3 and for 3.5
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxMatcherBytes),
		cel.RegexProgramSizeLimit(maxRegexProgram),
	)
})

// compile makes a matcher, or tells everything that is wrong with it.
func compile(source string) (*matcher, []wrong) {
	if len(source) > maxMatcherBytes {
		return nil, []wrong{{
			fmt.Sprintf("the expression has %d bytes, more than %d", len(source), maxMatcherBytes),
			"split it into several mappings",
		}}
	}
	env, err := environment()
	if err != nil {
		return nil, []wrong{{"CEL can't be set up: " + err.Error(), "report this as a bug of rolegate"}}
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, tell(issues.Errors())
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, []wrong{notBool(source, t)}
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxMatcherCost))
	if err != nil {
		return nil, []wrong{{"the expression can't be made ready: " + line(err.Error()), "mend the constant that it names"}}
	}
	return &matcher{source: source, program: program}, nil
}

// tell turns CEL's issues into plain sentences. After a syntax error the rest is guesswork, so only that one is told.
func tell(issues []*common.Error) []wrong {
	var all []wrong
	for _, issue := range issues {
		place := fmt.Sprintf("column %d", max(issue.Location.Column(), 0)+1)
		if issue.Location.Line() > 1 {
			place = fmt.Sprintf("line %d, %s", issue.Location.Line(), place)
		}
		message, isSyntax := strings.CutPrefix(line(issue.Message), "Syntax error: ")
		if isSyntax {
			return []wrong{{
				fmt.Sprintf("%s: not a CEL expression: %s", place, brief(message)),
				`write an expression such as "admins" in claims["groups"]`,
			}}
		}
		if len(all) == maxToldErrors {
			break
		}
		mend := "compare values of one type, with functions that CEL has"
		if strings.HasPrefix(message, "undeclared reference") {
			mend = "the one variable is claims, and a text stands in quotes"
		}
		all = append(all, wrong{place + ": " + message, mend})
	}
	return all
}

func notBool(source string, t *cel.Type) wrong {
	what := fmt.Sprintf("the expression is of type %s, it must be bool", t)
	switch {
	case t.IsExactType(cel.DynType) && len(source) <= 60 && !strings.ContainsAny(source, "\r\n"):
		return wrong{what, fmt.Sprintf("compare it: %s == true", strings.TrimSpace(source))}
	case t.IsExactType(cel.DynType):
		return wrong{what, "compare it: ... == true"}
	}
	return wrong{what, "compare it with something, so that it is true or false"}
}

// eval says whether the matcher is true of the claims, or names the failure ("" for none).
func (m *matcher) eval(claims map[string]any) (bool, string) {
	value, _, err := m.program.Eval(vars{claims})
	if err != nil {
		return false, failure(err)
	}
	ok, isBool := value.Value().(bool)
	if !isBool {
		return false, FailureType
	}
	return ok, ""
}

// failure finds the word for an error of CEL.
func failure(err error) string {
	if _, ok := errors.AsType[interpreter.EvalCancelledError](err); ok {
		return FailureCost
	}
	text := err.Error()
	for _, known := range []struct{ start, failure string }{
		{"no such key", FailureNoKey},
		{"no such attribute", FailureNoKey},
		{"no such field", FailureNoKey},
		{"no such overload", FailureType},
		{"unsupported conversion", FailureType},
		{"unsupported index type", FailureType},
		{"unsupported key type", FailureType},
		{"type conversion error", FailureType},
		{"invalid qualifier type", FailureType},
		{"invalid type", FailureType},
		{"index out of", FailureRange},
		{"cannot slice", FailureRange},
		{"range error", FailureRange},
		{"division by zero", FailureMath},
		{"modulus by zero", FailureMath},
		{"integer overflow", FailureMath},
		{"unsigned integer overflow", FailureMath},
		{"duration overflow", FailureMath},
		{"timestamp overflow", FailureMath},
	} {
		if strings.HasPrefix(text, known.start) {
			return known.failure
		}
	}
	return FailureOther
}

// vars binds the variable claims without a map around it.
type vars struct{ claims map[string]any }

// ResolveName gives the value of a variable.
func (v vars) ResolveName(name string) (any, bool) {
	if name == "claims" {
		return v.claims, true
	}
	return nil, false
}

// Parent says that there are no other variables.
func (vars) Parent() cel.Activation { return nil }

// numbers has CEL take a token's numbers that are no integers of 64 bits for doubles.
type numbers struct{ types.Adapter }

// NativeToValue gives the value of CEL for one of Go.
func (n numbers) NativeToValue(value any) ref.Val {
	switch value := value.(type) {
	case token.Number:
		return types.Double(value.Float())
	case []any:
		return types.NewDynamicList(n, value)
	case map[string]any:
		return types.NewStringInterfaceMap(n, value)
	}
	return n.Adapter.NativeToValue(value)
}

// line makes one line of a text.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }

// brief drops the list of everything that the parser would have liked instead.
func brief(message string) string {
	if i := strings.Index(message, " expecting {"); i >= 0 {
		return message[:i]
	}
	return message
}

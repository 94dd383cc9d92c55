// Package role chooses the IAM role of a caller from the claims of its token, and says why.
//
// It promises that the choice is a pure function of the settings and the claims; that mappings are tried by priority
// (lower first, unset last, the document's order breaks ties) and the first that matches wins; that a role claim which
// is missing or of the wrong type, and a matcher that fails, are told and never pass for "no match"; and that every
// mistake in the settings is reported at once, before the first request. What it says (reasons, errors) is made of
// settings and fixed words only, so it may be logged and counted.
//
// It must never do I/O, keep anything between two calls, change the claims, or repeat a claim's value.
package role

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
)

// Fallback is the Mapping of a Choice that no mapping made.
const Fallback = -1

// Choice is a role and the reason for it.
type Choice struct {
	RoleARN string       // "" when nobody may have a role (Select's error says why)
	Mapping int          // index of the mapping in the document; Fallback where none matched
	Reason  string       // one line for a log, such as `mapping 0: claim "s3-readers" in groups`
	Value   string       // what matched, as configured: the claim value or the matcher; "" for the fallback
	Claim   ClaimState   // how the role claim was found
	Errors  []MatchError // the matchers that failed on the way, in the order tried
	Failed  bool         // the last of them ended the choice: its onError is deny
}

// MatchError is a matcher that could not be decided.
type MatchError struct {
	Mapping int    // index in the document
	What    string // one of the Failure words
}

// Verdicts of a Step.
const (
	Matched    = "matched"
	NoMatch    = "no match"
	Failed     = "error"
	NotReached = "not reached"
)

// Step is what became of one mapping.
type Step struct {
	Mapping int    // index in the document
	RoleARN string // the role it maps to
	Test    string // what it asks, such as `claim "s3-readers" in groups` or `matcher claims.level >= 3`
	Verdict string // Matched, NoMatch, Failed or NotReached
	Error   string // with Failed: one of the Failure words
}

// Mistake is a setting that can't be used.
type Mistake struct {
	Field string // path from awsSts, such as "roleMappings[2].matcher"
	What  string // what is wrong
	Mend  string // what would be right
}

// Chooser chooses roles. It is safe for concurrent use.
type Chooser struct {
	claim    string
	fallback string
	rules    []rule // in the order in which they are tried
	reads    bool   // some rule reads the role claim
	told     map[ClaimState]string
}

// rule is a mapping made ready: exactly one of want and matcher is set.
type rule struct {
	mapping int
	roleARN string
	want    string   // the value to find in the role claim
	matcher *matcher // the expression to evaluate
	deny    bool     // onError: deny
	reason  string
	test    string
}

// New makes a Chooser of the settings. Where there are mistakes it returns all of them and no Chooser. The defaults of
// the schema apply to empty fields.
func New(a *config.AWSSTS) (*Chooser, []Mistake) {
	c := &Chooser{claim: cmp.Or(a.RoleClaim, "groups"), fallback: a.FallbackRoleArn}
	var mistakes []Mistake
	rules := make([]rule, len(a.RoleMappings))
	for i, m := range a.RoleMappings {
		var wrong []Mistake
		rules[i], wrong = newRule(i, m, c.claim)
		mistakes = append(mistakes, wrong...)
		c.reads = c.reads || rules[i].matcher == nil
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	for _, i := range order(a.RoleMappings) {
		c.rules = append(c.rules, rules[i])
	}
	c.told = map[ClaimState]string{
		Unread:   "no mapping matched",
		Present:  "no mapping matched",
		Missing:  fmt.Sprintf("no mapping matched, claim %s is missing", name(c.claim)),
		Mistyped: fmt.Sprintf("no mapping matched, claim %s is not a string or a list of strings", name(c.claim)),
	}
	return c, nil
}

// order gives the indexes of the mappings as they are to be tried.
func order(mappings []config.RoleMapping) []int {
	indexes := make([]int, len(mappings))
	for i := range indexes {
		indexes[i] = i
	}
	slices.SortStableFunc(indexes, func(i, j int) int {
		a, b := mappings[i].Priority, mappings[j].Priority
		switch {
		case a == nil && b == nil:
			return 0
		case a == nil:
			return 1
		case b == nil:
			return -1
		}
		return cmp.Compare(*a, *b)
	})
	return indexes
}

func newRule(i int, m config.RoleMapping, claim string) (rule, []Mistake) {
	var mistakes []Mistake
	field := func(name string) string { return fmt.Sprintf("roleMappings[%d]%s", i, name) }
	r := rule{mapping: i, roleARN: m.RoleArn, want: m.Claim, deny: m.OnError == "deny"}
	if m.OnError != "" && m.OnError != "skip" && m.OnError != "deny" {
		mistakes = append(mistakes, Mistake{field(".onError"), fmt.Sprintf("%q is not a way to handle errors", m.OnError), `write "skip" or "deny"`})
	}
	if (m.Claim == "") == (m.Matcher == "") {
		return r, append(mistakes, Mistake{field(""), "a mapping needs exactly one of claim and matcher", "keep one of the two"})
	}
	if m.Claim != "" {
		r.test = fmt.Sprintf("claim %q in %s", m.Claim, name(claim))
		r.reason = fmt.Sprintf("mapping %d: %s", i, r.test)
		return r, mistakes
	}
	compiled, wrong := compile(m.Matcher)
	for _, w := range wrong {
		mistakes = append(mistakes, Mistake{field(".matcher"), w.what, w.mend})
	}
	r.matcher = compiled
	r.test = "matcher " + m.Matcher
	r.reason = fmt.Sprintf("mapping %d: matcher %s", i, oneLine(m.Matcher))
	return r, mistakes
}

// oneLine is an expression fit for a log: on one line, and cut where it is long.
func oneLine(expression string) string {
	const most = 160
	text := strings.Join(strings.Fields(expression), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// Select chooses the role for the claims of a verified token. The error is a fault.Denied: no mapping matched and
// there is no fallback, or a matcher failed whose onError is "deny". The Choice tells the claim's state and the
// matchers' failures in either case.
func (c *Chooser) Select(claims map[string]any) (Choice, error) {
	return c.run(claims, nil)
}

// Explain tells what becomes of every mapping for these claims, in the order in which they are tried.
func (c *Chooser) Explain(claims map[string]any) []Step {
	steps := make([]Step, len(c.rules))
	for i := range c.rules {
		r := &c.rules[i]
		steps[i] = Step{Mapping: r.mapping, RoleARN: r.roleARN, Test: r.test, Verdict: NotReached}
	}
	_, _ = c.run(claims, steps)
	return steps
}

// run is the one way in which mappings are tried. It writes the verdicts into steps, unless that is nil.
func (c *Chooser) run(claims map[string]any, steps []Step) (Choice, error) {
	choice := Choice{Mapping: Fallback}
	var value any
	if c.reads {
		value, choice.Claim = find(claims, c.claim)
	}
	for i := range c.rules {
		r := &c.rules[i]
		verdict, failure := r.try(claims, value)
		if steps != nil {
			steps[i].Verdict, steps[i].Error = verdict, failure
		}
		if verdict == Matched {
			choice.RoleARN, choice.Mapping, choice.Reason, choice.Value = r.roleARN, r.mapping, r.reason, r.value()
			return choice, nil
		}
		if verdict == Failed {
			choice.Errors = append(choice.Errors, MatchError{Mapping: r.mapping, What: failure})
			if r.deny {
				choice.Failed = true
				choice.Reason = fmt.Sprintf("mapping %d: matcher failed (%s) and onError is deny", r.mapping, failure)
				return choice, refuse(choice.Reason)
			}
		}
	}
	return c.otherwise(choice)
}

// otherwise ends a choice that no mapping made.
func (c *Chooser) otherwise(choice Choice) (Choice, error) {
	told := c.told[choice.Claim]
	if n := len(choice.Errors); n > 0 {
		told += fmt.Sprintf(", matchers that failed: %d", n)
	}
	if c.fallback == "" {
		choice.Reason = told
		return choice, refuse(fmt.Sprintf("%s; mappings tried: %d; no fallbackRoleArn", told, len(c.rules)))
	}
	choice.RoleARN, choice.Reason = c.fallback, "fallback: "+told
	return choice, nil
}

func refuse(hint string) error {
	return fault.New(fault.Denied, "no role for this caller").Hint("%s", hint)
}

func (r *rule) try(claims map[string]any, value any) (verdict, failure string) {
	if r.matcher == nil {
		if holds(value, r.want) {
			return Matched, ""
		}
		return NoMatch, ""
	}
	ok, failure := r.matcher.eval(claims)
	switch {
	case failure != "":
		return Failed, failure
	case ok:
		return Matched, ""
	}
	return NoMatch, ""
}

func (r *rule) value() string {
	if r.matcher != nil {
		return r.matcher.source
	}
	return r.want
}

// name writes the name of a claim, quoted where it would not stay one plain word of a line.
func name(claim string) string {
	if quoted := strconv.Quote(claim); quoted != `"`+claim+`"` || strings.ContainsRune(claim, ' ') {
		return quoted
	}
	return claim
}

package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
)

// policy is one policy that was parsed.
type policy struct {
	found  Found
	cedar  *cedar.Policy
	fast   *cedar.Policy  // what is evaluated after selection
	about  test           // the same without Cedar: its scope, as to the resource,
	parts  []test         // and each part of its conditions
	key    cedar.PolicyID // its index
	ast    *ast.Policy
	source statement
	forbid bool
	scopes []string // of @scopes, sorted; nil for none
	hints  bool     // it looks at a hint
	left   *int     // the words that may still be asked about, of all policies
}

// parseAll parses every text.
func parseAll(texts []string) ([]policy, []Mistake) {
	var list []policy
	var mistakes []Mistake
	for i, text := range texts {
		found, wrong := parseText("policies["+strconv.Itoa(i)+"]", text)
		list, mistakes = append(list, found...), append(mistakes, wrong...)
	}
	for i := range list {
		list[i].key = cedar.PolicyID(strconv.Itoa(i))
	}
	mistakes = append(mistakes, tellApart(list)...)
	slices.SortStableFunc(mistakes, byPlace)
	return list, mistakes
}

// tellApart gives policies of one ID, which Cedar allows, IDs of their own: x, x#2, x#3.
func tellApart(list []policy) []Mistake {
	first := map[string]int{} // by ID
	for i := range list {
		if _, twice := first[list[i].found.ID]; !twice {
			first[list[i].found.ID] = i
		}
	}
	var mistakes []Mistake
	last := map[string]int{} // the number that was given last
	for i := range list {
		found := &list[i].found
		id, other := found.ID, list[first[found.ID]].found
		for n := max(last[id], 1) + 1; first[found.ID] != i; n++ {
			found.ID = id + "#" + strconv.Itoa(n)
			if _, taken := first[found.ID]; !taken {
				first[found.ID], last[id] = i, n
			}
		}
		if found.ID != id {
			mistakes = append(mistakes, Mistake{
				Place: found.Place, What: list[i].source.annotation("id").at() + fmt.Sprintf("the ID %s is that of the policy in %s, line %d, too", quote(id), other.Place, other.Line),
				Mend: fmt.Sprintf("choose another @id: decisions name this one %s", quote(found.ID)), Warning: true,
			})
		}
	}
	return mistakes
}

// wrong is a mistake in a text, before it is known which.
type wrong struct{ what, mend string }

// in is the mistake in the text of a place.
func (w wrong) in(place string) Mistake { return Mistake{Place: place, What: w.what, Mend: w.mend} }

// parseText parses the policies of one text.
func parseText(place, text string) (list []policy, mistakes []Mistake) {
	if len(text) > maxText {
		return nil, []Mistake{wrong{fmt.Sprintf("a text of %d bytes, more than %d", len(text), maxText), "spread it over several entries"}.in(place)}
	}
	if strings.TrimSpace(text) == "" { // in config's words, so that it is told once
		return nil, []Mistake{wrong{"is empty", "a Cedar policy"}.in(place)}
	}
	statements := split(text)
	if len(statements) == 0 {
		return nil, []Mistake{wrong{"holds no policy", `write one, such as permit(principal, action == Action::"call_tool", resource);`}.in(place)}
	}
	failed := false
	for i, s := range statements {
		p, err := parseOne(s)
		if err != nil {
			if !failed || s.begins() { // else it is the rest of a policy that was cut in the wrong place
				mistakes = append(mistakes, err.in(place))
			}
			failed = true
			continue
		}
		failed = false
		p.found.Place = place
		if strings.TrimSpace(p.found.ID) == "" {
			if p.found.ID = place; i > 0 {
				p.found.ID += "#" + strconv.Itoa(i)
			}
		}
		mistakes = append(mistakes, p.annotations()...)
		list = append(list, p)
	}
	return list, mistakes
}

// parseOne parses one policy.
func parseOne(s statement) (policy, *wrong) {
	if t, what := s.oversize(); t != nil {
		return policy{}, &wrong{t.at() + what, "write several policies"}
	}
	var list cedar.PolicyList
	if err := list.UnmarshalCedar([]byte(s.text)); err != nil {
		if known := s.unsupported(); known != nil {
			return policy{}, known
		}
		return policy{}, s.blame(err)
	}
	if len(list) != 1 { // not by the grammar as it is
		return policy{}, &wrong{s.tokens[0].at() + "not one policy", "end each with a semicolon"}
	}
	p := policy{cedar: list[0], ast: (*ast.Policy)(list[0].AST()), source: s}
	p.forbid = p.cedar.Effect() == cedar.Forbid
	p.hints = readsHints(p.ast)
	p.found = Found{ID: string(p.cedar.Annotations()["id"]), Line: s.tokens[0].line, Column: s.tokens[0].column, Effect: "permit", Text: s.text}
	if p.forbid {
		p.found.Effect = "forbid"
	}
	return p, nil
}

// annotations reads @scopes, and tells what is wrong with it and with @id. Any other annotation may stand for notes.
func (p *policy) annotations() []Mistake {
	var mistakes []Mistake
	tell := func(name, what, mend string, warning bool) {
		mistakes = append(mistakes, Mistake{p.found.Place, p.source.annotation(name).at() + what, mend, warning})
	}
	all := p.cedar.Annotations()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if meant := misspelt(string(name)); meant != "" {
			tell(string(name), "unknown annotation @"+string(name), "did you mean @"+meant+"?", meant == "id")
		}
	}
	if id, ok := all["id"]; ok && strings.TrimSpace(string(id)) == "" {
		tell("id", "@id is empty", `name the policy: @id("name")`, true)
	}
	scopes, ok := all["scopes"]
	if !ok {
		return mistakes
	}
	if p.forbid {
		tell("scopes", "@scopes on a forbid", "put it on the permits that need the scopes", false)
		return mistakes
	}
	p.scopes = strings.Split(string(scopes), " ")
	for _, scope := range p.scopes {
		if !validScope(scope) {
			tell("scopes", "@scopes is not a list of scopes: "+quote(string(scopes)), `write scopes with one space between them, such as @scopes("aws:read aws:write")`, false)
			return mistakes
		}
	}
	slices.Sort(p.scopes)
	p.scopes = slices.Compact(p.scopes)
	return mistakes
}

// misspelt is the annotation that is meant by one that looks much like it; "" for any other. A permit with @scope would
// ask for no scopes; one with @ID only goes by another name.
func misspelt(name string) string {
	switch folded := strings.ToLower(name); {
	case name == "id" || name == "scopes":
	case folded == "id":
		return "id"
	case config.Distance(folded, "scopes") <= 1:
		return "scopes"
	}
	return ""
}

// validScope says whether s is a scope token (RFC 6749, section 3.3).
func validScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

var (
	parserSays  = regexp.MustCompile(`(?s)^(?:parser error: )?parse error at <input>:(\d+):(\d+) "(?:[^"\\]|\\.)*": (.*)$`)
	scannerSays = regexp.MustCompile(`(?s)^(?:parser error: )?<input>:(\d+):(\d+): (.*)$`)
	gotWant     = regexp.MustCompile(`(?s)^(?:exact )?got (.*) want (.*)$`)
	plainNumber = regexp.MustCompile(`parsing "-?(\d+)"`)
)

// unsupported finds what other languages have and Cedar has not, or has for templates; nil where there is none.
func (s statement) unsupported() *wrong {
	for i, t := range s.tokens {
		if i == 0 || i+1 == len(s.tokens) {
			continue
		}
		before, after := s.tokens[i-1], s.tokens[i+1]
		switch {
		case t.text == "?" && (after.text == "principal" || after.text == "resource"):
			return &wrong{t.at() + "templates are not supported", "write the entity instead of ?" + after.text}
		case t.text == "." && before.number() && after.number():
			literal := fmt.Sprintf("decimal(\"%s.%s\")", before.text, after.text)
			return &wrong{before.at() + "a number with a fraction", "write " + literal + ", and compare with .lessThan(...), .greaterThan(...) and the like: < is for whole numbers"}
		}
	}
	return nil
}

// blame turns the parser's error into a mistake with the place of the token that is wrong.
func (s statement) blame(err error) *wrong {
	text := err.Error()
	if m := scannerSays.FindStringSubmatch(text); m != nil {
		return &wrong{s.place(m[1], m[2]) + m[3], "write strings as \"...\" with Cedar's escapes, and every name in ASCII"}
	}
	m := parserSays.FindStringSubmatch(text)
	if m == nil {
		return s.blameLiteral(err)
	}
	said := m[3]
	if g := gotWant.FindStringSubmatch(said); g != nil {
		got := g[1]
		if got == "" {
			return &wrong{s.end() + "the policy ends early", "write " + g[2]}
		}
		if strings.HasPrefix(said, "exact ") {
			return &wrong{s.before(m[1], m[2], got) + "found " + quote(got), "write " + g[2] + " here"}
		}
		return &wrong{s.place(m[1], m[2]) + "found " + quote(got), "write a comma or the closing bracket here"}
	}
	at := s.before(m[1], m[2], "")
	switch {
	case strings.HasPrefix(said, "unexpected effect: "):
		return &wrong{at + "not a policy: it begins with " + quote(strings.TrimPrefix(said, "unexpected effect: ")), `begin with permit or forbid, after annotations such as @id("name")`}
	case said == "invalid primary":
		return &wrong{at + "not a value", `a text stands in quotes, an entity is written Type::"id", and the variables are principal, action, resource and context`}
	case strings.HasPrefix(said, "duplicate"):
		return &wrong{at + said, "keep one of them"}
	case strings.HasPrefix(said, "`"):
		name, what, _ := strings.Cut(said[1:], "`")
		return &wrong{s.find(name).at() + name + what, "functions are ip, decimal, datetime and duration; methods are contains, containsAll, containsAny, isEmpty, hasTag, getTag and those of decimals, addresses and times"}
	}
	return &wrong{at + said, "see Cedar's grammar: https://docs.cedarpolicy.com/policies/syntax-grammar.html"}
}

// blameLiteral finds a literal that the parser refuses without saying where.
func (s statement) blameLiteral(err error) *wrong {
	what := strings.TrimPrefix(err.Error(), "parser error: ")
	if errors.Is(err, strconv.ErrRange) {
		at := s.tokens[0]
		if m := plainNumber.FindStringSubmatch(what); m != nil {
			at = s.find(m[1])
		}
		return &wrong{at.at() + "a number beyond 64 bits", "compare it as a string: that is what such a number becomes"}
	}
	mend := `escapes are \n \r \t \\ \0 \' \" \x41 \u{20ac}, and \* in a like`
	for _, t := range s.tokens {
		if t.text[0] == '"' && strings.Contains(t.text, `\`) && !validString(t.text) {
			return &wrong{t.at() + what, mend}
		}
	}
	return &wrong{s.tokens[0].at() + what, mend}
}

// validString says whether a string literal can be read.
func validString(literal string) bool {
	var uid types.EntityUID
	return uid.UnmarshalCedar([]byte("T::"+literal)) == nil
}

// place translates a line and a column of the statement into those of the whole text.
func (s statement) place(line, column string) string {
	l, c := s.shift(line, column)
	return lexeme{line: l, column: c}.at()
}

func (s statement) shift(line, column string) (int, int) {
	l, _ := strconv.Atoi(line)
	c, _ := strconv.Atoi(column)
	if l <= 1 {
		c += s.tokens[0].column - 1
	}
	return max(l, 1) + s.tokens[0].line - 1, max(c, 1)
}

// before is the place of the token before the one that stands at a line and column. At the end of the statement that
// is told apart by the token's text, where the parser gave it: it does not go beyond the end.
func (s statement) before(line, column, text string) string {
	l, c := s.shift(line, column)
	for i, t := range s.tokens {
		if t.line == l && t.column == c {
			return s.tokens[max(i-1, 0)].at()
		}
	}
	if last := s.tokens[len(s.tokens)-1]; text == "" || last.text == text {
		return last.at()
	}
	return s.end()
}

// end is the place of the last token.
func (s statement) end() string { return s.tokens[len(s.tokens)-1].at() }

// quote shows something of the user's: escaped, and cut where it is long.
func quote(s string) string { return fault.Quote(s) }

package policy

import (
	"slices"
	"strings"
	"unicode"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Cedar's syntax tree has no places. Where an expression stands is found by taking a policy's conditions apart, word by
// word, and asking of each part alone whether the mistake is still in it.

const (
	// maxNarrowed bounds the words of a policy that is taken apart. What is wrong with a longer one, which nobody wrote
	// by hand, stands where the policy begins.
	maxNarrowed = 5000
	// maxWords bounds the words of all parts that are asked about, of all policies. Beyond, a mistake stands where the
	// last part begins that was found to have it.
	maxWords = 100_000
)

// span is a part of a condition.
type span struct {
	tokens []lexeme
	truth  bool // it must be true or false
}

// finding is what is said of a part, and of none of its own parts.
type finding struct {
	part span
	what string
}

// narrow finds the smallest parts of the conditions of which something is said, in the order of the text. What is asked
// gets the scope of the policy, with a part for its only condition.
func (x *policy) narrow(says func(*ast.Policy) []string) []finding {
	if len(x.source.tokens) > maxNarrowed {
		return nil
	}
	var within func(parts []span) []finding
	within = func(parts []span) []finding {
		var all []finding
		for _, part := range parts {
			if *x.left -= len(part.tokens); *x.left < 0 {
				break
			}
			alone := x.alone(part)
			if alone == nil {
				continue
			}
			said := says(alone)
			if len(said) == 0 {
				continue
			}
			smaller := within(part.parts())
			deeper := map[string]bool{}
			for _, f := range smaller {
				deeper[f.what] = true
			}
			for _, what := range said {
				if !deeper[what] {
					all = append(all, finding{part, what})
				}
			}
			all = append(all, smaller...)
		}
		return all
	}
	return within(x.source.conditions())
}

// alone is the policy with a part of a condition for its only condition; nil where that is no expression.
func (x *policy) alone(part span) *ast.Policy {
	body := x.source.between(part)
	if !part.truth {
		body = "{x: " + body + "} == {}"
	}
	var list cedar.PolicyList
	if err := list.UnmarshalCedar([]byte("permit(principal, action, resource) when { " + body + "\n};")); err != nil || len(list) != 1 {
		return nil
	}
	p := *x.ast
	p.Conditions = (*ast.Policy)(list[0].AST()).Conditions
	return &p
}

// between is the text of a part.
func (s statement) between(part span) string {
	last := part.tokens[len(part.tokens)-1]
	return s.text[part.tokens[0].pos-s.tokens[0].pos : last.pos+len(last.text)-s.tokens[0].pos]
}

// show is the text of a part in one line, cut where it is long.
func (s statement) show(part span) string {
	text := strings.Join(strings.Fields(s.between(part)), " ")
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return quote(text)
	}
	if runes := []rune(text); len(runes) > 80 {
		return string(runes[:77]) + "..."
	}
	return text
}

// conditions are what stands in the brackets of when and unless.
func (s statement) conditions() []span {
	var all []span
	for i := 0; i < len(s.tokens); i++ {
		end := closing(s.tokens, i)
		if s.tokens[i].text == "{" && end > i+1 {
			all = append(all, span{s.tokens[i+1 : end], true})
		}
		i = end
	}
	return all
}

// closing is where the bracket that opens at i is closed; i for any other token, and the end where it is not.
func closing(tokens []lexeme, i int) int {
	depth := 0
	for j := i; j < len(tokens); j++ {
		switch tokens[j].text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if depth <= 0 {
			return j
		}
	}
	return len(tokens) - 1
}

// levels are the operators between expressions, those that bind least first.
var levels = [][]string{
	{"||"}, {"&&"}, {"==", "!=", "<", "<=", ">", ">=", "in", "has", "like", "is"}, {"+", "-"}, {"*"},
}

// parts are the expressions that an expression is made of, the outermost alone.
func (s span) parts() []span {
	t := s.tokens
	if t[0].text == "if" {
		return s.branches()
	}
	for i, operators := range levels {
		if cut := s.cut(operators...); len(cut) > 1 {
			for n := range cut {
				cut[n].truth = i < 2
			}
			return cut
		}
	}
	if t[0].text == "!" || t[0].text == "-" {
		n := slices.IndexFunc(t, func(t lexeme) bool { return t.text != "!" && t.text != "-" })
		if n < 0 {
			return nil
		}
		return []span{{t[n:], t[0].text == "!"}}
	}
	if t[0].text == "(" && closing(t, 0) == len(t)-1 && len(t) > 2 {
		return []span{{t[1 : len(t)-1], s.truth}}
	}
	return s.operands()
}

// branches are the parts of an if.
func (s span) branches() []span {
	depth, then := 0, 0
	for i := 0; i < len(s.tokens); i = closing(s.tokens, i) + 1 {
		switch s.tokens[i].text {
		case "if":
			depth++
		case "then":
			if depth == 1 {
				then = i
			}
		case "else":
			if depth == 1 && 1 < then && then+1 < i && i+1 < len(s.tokens) {
				return []span{{s.tokens[1:then], true}, {s.tokens[then+1 : i], s.truth}, {s.tokens[i+1:], s.truth}}
			}
			depth--
		}
	}
	return nil
}

// operands are the value that an attribute, an element or a method is asked of, and what stands in brackets.
func (s span) operands() []span {
	var all []span
	t, last := s.tokens, 0
	for i := 0; i < len(t); i++ {
		end := closing(t, i)
		switch {
		case t[i].text == "." || t[i].text == "[" && i > 0:
			last, all = i, nil // what came before is in the value
		case t[i].text == "{":
			for _, member := range (span{t[i+1 : end], false}).cut(",") {
				if colon := slices.IndexFunc(member.tokens, func(t lexeme) bool { return t.text == ":" }); colon >= 0 && colon+1 < len(member.tokens) {
					all = append(all, span{member.tokens[colon+1:], false})
				}
			}
		}
		if t[i].text == "(" || t[i].text == "[" {
			all = append(all, span{t[i+1 : max(end, i+1)], false}.cut(",")...)
		}
		i = end
	}
	if last > 0 {
		all = append([]span{{t[:last], false}}, all...)
	}
	return all
}

// cut gives what stands between separators that are in no brackets, without what is empty. An operator at the beginning
// is a sign.
func (s span) cut(separators ...string) []span {
	var all []span
	from := 0
	for i := 0; i < len(s.tokens); i++ {
		if slices.Contains(separators, s.tokens[i].text) && i > from {
			all = append(all, span{s.tokens[from:i], false})
			from = i + 1
		}
		i = closing(s.tokens, i)
	}
	if from < len(s.tokens) {
		all = append(all, span{s.tokens[from:], false})
	}
	return all
}

package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/types"
)

// Cedar's parser stops at the first mistake and names the token after it. A text is therefore cut into its policies
// first, each is parsed alone, and positions are looked up among the tokens here. A semicolon ends a policy and means
// nothing else in Cedar, outside of strings and comments.

const (
	// maxText bounds the text of one entry of policies.
	maxText = 1 << 20
	// maxNesting bounds brackets within brackets; the parser works on its stack.
	maxNesting = 100
	// maxPath bounds a.b.c, whose tests with has grow with its square when they are parsed.
	maxPath = 50
	// maxTokens bounds one policy, since an expression without brackets can be nested too: !!!x.
	maxTokens = 50_000
)

// lexeme is one word of a text.
type lexeme struct {
	text         string
	line, column int // of its first character; columns in characters
	pos          int // in bytes, of the whole text
}

// statement is one policy of a text.
type statement struct {
	text   string
	tokens []lexeme
}

// at is the place of the first token in words.
func (t lexeme) at() string { return fmt.Sprintf("line %d, column %d: ", t.line, t.column) }

// lexer walks through a text.
type lexer struct {
	src          string
	pos          int
	line, column int
}

// split cuts a text into its statements. What stands after the last semicolon is a statement too.
func split(src string) []statement {
	var all []statement
	var tokens []lexeme
	l := &lexer{src: src, line: 1, column: 1}
	from := 0
	for {
		l.blank()
		if l.pos == len(src) {
			break
		}
		start := l.pos
		t := l.next()
		if len(tokens) == 0 {
			from = start
		}
		tokens = append(tokens, t)
		if t.text == ";" {
			all = append(all, statement{src[from:l.pos], tokens})
			tokens = nil
		}
	}
	if len(tokens) > 0 {
		all = append(all, statement{strings.TrimRight(src[from:], " \t\r\n"), tokens})
	}
	return all
}

// step goes past one character.
func (l *lexer) step() {
	r, n := utf8.DecodeRuneInString(l.src[l.pos:])
	l.pos += n
	l.column++
	if r == '\n' {
		l.line, l.column = l.line+1, 1
	}
}

// blank goes past white space and comments.
func (l *lexer) blank() {
	for l.pos < len(l.src) {
		switch rest := l.src[l.pos:]; {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.step()
		case strings.HasPrefix(rest, "//"):
			for l.pos < len(l.src) && l.src[l.pos] != '\n' {
				l.step()
			}
		case strings.HasPrefix(rest, "/*"):
			l.step()
			l.step()
			for l.pos < len(l.src) && !strings.HasPrefix(l.src[l.pos:], "*/") {
				l.step()
			}
			if l.pos < len(l.src) {
				l.step()
				l.step()
			}
		default:
			return
		}
	}
}

// next consumes a word: a string with its quotes, a name, a number, or an operator.
func (l *lexer) next() lexeme {
	t := lexeme{line: l.line, column: l.column, pos: l.pos}
	from := l.pos
	switch c := l.src[l.pos]; {
	case c == '"':
		l.step()
		for l.pos < len(l.src) && l.src[l.pos] != '"' {
			if l.src[l.pos] == '\\' && l.pos+1 < len(l.src) {
				l.step()
			}
			l.step()
		}
		if l.pos < len(l.src) {
			l.step()
		}
	case wordByte(c):
		for l.pos < len(l.src) && wordByte(l.src[l.pos]) {
			l.step()
		}
	default:
		l.step()
		switch l.src[from:min(from+2, len(l.src))] {
		case "::", "==", "!=", "<=", ">=", "&&", "||":
			l.step()
		}
	}
	t.text = l.src[from:l.pos]
	return t
}

func wordByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// oversize is the first token that is too deep or too far; nil if there is none.
func (s statement) oversize() (*lexeme, string) {
	depth, path := 0, 0
	for i := range s.tokens {
		switch s.tokens[i].text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case ".":
			if path++; i < 2 || s.tokens[i-2].text != "." {
				path = 1
			}
		}
		if path > maxPath {
			return &s.tokens[i], fmt.Sprintf("a path of more than %d names", maxPath)
		}
		if depth > maxNesting {
			return &s.tokens[i], fmt.Sprintf("brackets are nested more than %d deep", maxNesting)
		}
		if i == maxTokens {
			return &s.tokens[i], fmt.Sprintf("a policy of more than %d words", maxTokens)
		}
	}
	return nil, ""
}

// begins says whether it begins as a policy does.
func (s statement) begins() bool {
	first := s.tokens[0].text
	return first == "@" || first == "permit" || first == "forbid"
}

// find is the first token that spells a word, as a name or as a string; else the first of all.
func (s statement) find(word string) lexeme {
	if i := slices.IndexFunc(s.tokens, func(t lexeme) bool { return t.spells(word) }); i >= 0 {
		return s.tokens[i]
	}
	return s.tokens[0]
}

// count counts the tokens that spell a word.
func (s statement) count(word string) int {
	n := 0
	for _, t := range s.tokens {
		if t.spells(word) {
			n++
		}
	}
	return n
}

// annotation is the name of an annotation; else the first token of all.
func (s statement) annotation(name string) lexeme {
	for i := 1; i < len(s.tokens); i++ {
		if s.tokens[i].text == name && s.tokens[i-1].text == "@" {
			return s.tokens[i]
		}
	}
	return s.tokens[0]
}

// spells says whether a token is a word, as a name or as a string. A word in quotes is a string only.
func (t lexeme) spells(word string) bool {
	if t.text == word || t.text[0] != '"' {
		return t.text == word
	}
	if !strings.Contains(t.text, `\`) {
		return len(t.text) == len(word)+2 && t.text[1:len(t.text)-1] == word
	}
	return unquoted(t.text) == strings.TrimSuffix(strings.TrimPrefix(word, `"`), `"`)
}

// unquoted is the text of a string literal; "" for one that can't be read.
func unquoted(literal string) string {
	var uid types.EntityUID
	if uid.UnmarshalCedar([]byte("T::"+literal)) != nil {
		return ""
	}
	return string(uid.ID)
}

// number says whether a token is a whole number without a sign.
func (t lexeme) number() bool { return strings.Trim(t.text, "0123456789") == "" }

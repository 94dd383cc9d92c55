package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rolegate/rolegate/internal/gateway"
)

func writeJSON(out io.Writer, e *gateway.Explanation) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(e)
}

func writeText(out io.Writer, e *gateway.Explanation) error {
	var b bytes.Buffer
	s := &chapters{page: page{out: &b, colour: isTerminal(out)}}
	for _, chapter := range chaptersOf(e) {
		s.write(chapter)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// A chapter is a part of an explanation, for people: text and HTML show the same.
type chapter struct {
	Title string
	Word  string // beside the title: the outcome; "" for none
	Note  string // under the title
	Rows  []explained
}

// explained is one fact.
type explained struct {
	Name  string
	Word  string // a verdict; "" for none
	Tone  string // of the word: good, bad, dim or ""
	Text  string
	Block string // shown as it is, on lines of its own
}

// chaptersOf is all that there is to show.
func chaptersOf(e *gateway.Explanation) []chapter {
	all := []chapter{verdictChapter(e), tokenChapter(e.Token)}
	if e.Role != nil {
		all = append(all, roleChapter(e.Role))
	}
	if e.STS != nil {
		all = append(all, stsChapter(e.STS), leaseChapter(e.STS))
	}
	if e.Policy != nil {
		all = append(all, policyChapter(e))
	}
	return append(all, answerChapter(e.Answer), changeChapter(e))
}

// tones of verdicts.
var tones = map[string]string{
	"ok": "good", "matched": "good", "allowed": "good", "permit": "good", "failed": "bad", "error": "bad", "denied": "bad", "forbid": "bad",
	"step-up": "bad", "token refused": "bad", "not reached": "dim", "not checked": "dim", "assumed": "dim", "no match": "dim",
}

func verdict(name, word, text string) explained {
	return explained{Name: name, Word: word, Tone: tones[word], Text: text}
}

func verdictChapter(e *gateway.Explanation) chapter {
	s := chapter{Title: e.Proxy, Word: e.Outcome, Rows: []explained{{Name: "why", Text: e.Why}}}
	switch c := e.Call; {
	case c == nil:
		s.Rows = append(s.Rows, explained{Name: "call", Text: "not read"})
	case !c.Asked:
		s.Rows = append(s.Rows, explained{Name: "call", Text: c.Method + ", with which every client begins"})
	default:
		text := strings.TrimSpace(c.Method + " " + c.Target)
		if c.Shown != "" {
			text += ", which clients know as " + c.Shown
		}
		s.Rows = append(s.Rows, explained{Name: "call", Text: text})
	}
	return s
}

func tokenChapter(t gateway.TokenFacts) chapter {
	s := chapter{Title: "Token"}
	if t.Source == "none" {
		s.Note = "Callers of this proxy are not authenticated."
		return s
	}
	if t.Source == "claims" {
		s.Title = "Claims"
	}
	for _, c := range t.Checks {
		s.Rows = append(s.Rows, verdict(c.Name, c.Verdict, c.Detail))
	}
	if t.Subject != "" {
		s.Rows = append(s.Rows, explained{Name: "caller", Text: t.Subject})
	}
	if t.Party != "" {
		s.Rows = append(s.Rows, explained{Name: "client", Text: t.Party})
	}
	if len(t.Scopes) > 0 {
		s.Rows = append(s.Rows, explained{Name: "scopes", Text: strings.Join(t.Scopes, " ")})
	}
	return s
}

func roleChapter(r *gateway.RoleFacts) chapter {
	s := chapter{Title: "Role"}
	for _, m := range r.Mappings {
		text := m.Test + " → " + m.RoleARN
		if m.Error != "" {
			text += " (" + m.Error + ")"
		}
		s.Rows = append(s.Rows, verdict(fmt.Sprintf("mapping %d", m.Index), m.Verdict, text))
	}
	fallback := r.Fallback
	if fallback == "" {
		fallback = "none: callers that no mapping matches are refused"
	}
	s.Rows = append(s.Rows, explained{Name: "fallback", Text: fallback})
	if r.Claim == "missing" || r.Claim == "mistyped" {
		s.Rows = append(s.Rows, explained{Name: "role claim", Word: r.Claim, Tone: "bad"})
	}
	if r.RoleARN != "" {
		s.Rows = append(s.Rows, explained{Name: "role", Text: r.RoleARN})
	}
	s.Rows = append(s.Rows, explained{Name: "reason", Text: r.Reason})
	if r.SessionName != "" {
		s.Rows = append(s.Rows, explained{Name: "session name", Text: r.SessionName})
	}
	if r.Error != "" {
		s.Rows = append(s.Rows, verdict("refused", "error", r.Error))
	}
	return s
}

func stsChapter(f *gateway.STSFacts) chapter {
	s := chapter{Title: "STS", Note: "What is asked where no lease is at hand. AWS was not asked."}
	if !f.Sent {
		s.Note = "Nothing is asked, since the request is refused before. It would be:"
	}
	if f.Error != "" {
		s.Rows = append(s.Rows, verdict("trouble", "error", f.Error))
	}
	if r := f.Request; r != nil {
		s.Rows = append(s.Rows, explained{Name: r.Method, Text: r.URL})
		for _, field := range r.Form {
			s.Rows = append(s.Rows, explained{Name: field.Name, Text: field.Value})
		}
	}
	return s
}

func leaseChapter(f *gateway.STSFacts) chapter {
	s := chapter{Title: "Lease", Note: "Callers for whom all of this is the same share one, for as long as it lasts."}
	for _, field := range f.Class {
		s.Rows = append(s.Rows, explained{Name: field.Name, Text: field.Value})
	}
	return s
}

func policyChapter(e *gateway.Explanation) chapter {
	p := e.Policy
	s := chapter{Title: "Policy"}
	switch {
	case !p.Decided && e.Outcome == gateway.OutcomeAllowed:
		s.Note = fmt.Sprintf("Not asked: this method needs no decision. Policies: %d.", p.Policies)
	case !p.Decided:
		s.Note = fmt.Sprintf("Not asked: the request did not come so far. Policies: %d.", p.Policies)
	case len(p.Matched) == 0:
		s.Note = fmt.Sprintf("No permit matches, so the default is to deny. Policies: %d.", p.Policies)
	}
	for _, f := range p.Matched {
		s.Rows = append(s.Rows, explained{Name: f.ID, Word: f.Effect, Tone: tones[f.Effect], Text: place(f), Block: f.Text})
	}
	for _, f := range p.Errors {
		s.Rows = append(s.Rows, explained{Name: f.ID, Word: "error", Tone: "bad", Text: f.Effect + " " + place(f) + ": " + f.Error, Block: f.Text})
	}
	if len(p.Scopes) > 0 {
		s.Rows = append(s.Rows, explained{Name: "scopes", Text: "asked for: " + strings.Join(p.Scopes, " ")})
	}
	switch {
	case !p.Decided:
	case p.Hints == gateway.HintsGiven:
		s.Rows = append(s.Rows, explained{Name: "annotations", Text: "those of --hints"})
	case p.Hints == gateway.HintsUnknown && p.Depends:
		s.Rows = append(s.Rows, explained{
			Name: "annotations", Word: "unknown", Tone: "bad",
			Text: "with other annotations of the tool the decision could be another, and --hints gives none: nothing is allowed because of what is not known",
		})
	case p.Hints == gateway.HintsUnknown:
		s.Rows = append(s.Rows, explained{Name: "annotations", Word: "unknown", Tone: "dim", Text: "the decision is the same with any"})
	}
	return s
}

func place(f gateway.FoundFact) string {
	if f.Place == "" {
		return ""
	}
	return fmt.Sprintf("%s, line %d", f.Place, f.Line)
}

func answerChapter(a gateway.Answer) chapter {
	if a.Relayed {
		return chapter{Title: "Answer", Note: "The remote's own, relayed. The remote was not asked."}
	}
	s := chapter{Title: "Answer", Rows: []explained{{Name: "HTTP status", Text: fmt.Sprint(a.Status)}}}
	if a.Challenge != "" {
		s.Rows = append(s.Rows, explained{Name: "WWW-Authenticate", Text: a.Challenge})
	}
	if a.Retry != "" {
		s.Rows = append(s.Rows, explained{Name: "Retry-After", Text: a.Retry})
	}
	if len(a.Body) > 0 {
		s.Rows = append(s.Rows, explained{Name: "body", Text: string(a.Body)})
	}
	if a.Hint != "" {
		s.Rows = append(s.Rows, explained{Name: "in the log", Text: a.Hint})
	}
	return s
}

func changeChapter(e *gateway.Explanation) chapter {
	s := chapter{Title: "One step away"}
	if len(e.Changes) == 0 {
		s.Note = "No single change that was tried gives another answer."
		if e.Outcome == gateway.OutcomeToken {
			s.Note = "Nothing was tried: a token that is no good must be replaced."
		}
	}
	if e.Untried > 0 {
		s.Note = strings.TrimSpace(fmt.Sprintf("%s There are too many to try: %d were left out.", s.Note, e.Untried))
	}
	for _, c := range e.Changes {
		text := c.Why
		if c.RoleARN != "" {
			text = c.RoleARN + "; " + text
		}
		s.Rows = append(s.Rows, verdict(c.What, c.Outcome, text))
	}
	return s
}

// chapters writes chapters as text.
type chapters struct {
	page
	begun bool
}

func (s *chapters) write(part chapter) {
	if s.begun {
		s.line("")
	}
	s.begun = true
	title := s.head(plain(part.Title))
	if part.Word != "" {
		title += "  " + s.tone(tones[part.Word], part.Word)
	}
	s.line(title)
	if part.Note != "" {
		s.line("  " + plain(part.Note))
	}
	var name, word int
	for _, r := range part.Rows {
		name, word = max(name, min(width(plain(r.Name)), 44)), max(word, width(r.Word))
	}
	for _, r := range part.Rows {
		line := "  " + pad(plain(r.Name), name)
		if width(plain(r.Name)) > name { // a line of its own
			s.line(line)
			line = "  " + pad("", name)
		}
		if word > 0 {
			line += "  " + s.tone(r.Tone, pad(r.Word, word))
		}
		if r.Text != "" {
			line += "  " + plain(r.Text)
		}
		s.line(strings.TrimRight(line, " "))
		for block := range strings.Lines(r.Block) {
			s.line("      " + plain(strings.TrimRight(block, "\n")))
		}
	}
}

func (s *chapters) tone(tone, text string) string {
	switch tone {
	case "good":
		return s.good(text)
	case "bad":
		return s.bad(text)
	case "dim":
		return s.paint("2", text)
	}
	return text
}

func width(text string) int { return utf8.RuneCountInString(text) }

func pad(text string, to int) string { return text + strings.Repeat(" ", max(0, to-width(text))) }

// plain is text that stays on its line and does nothing to a terminal: claims and policies may hold anything.
func plain(text string) string {
	return strings.Map(func(c rune) rune {
		if c == '\t' || c == '\n' {
			return ' '
		}
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}

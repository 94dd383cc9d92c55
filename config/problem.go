package config

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is a mistake in a document, or a warning about it.
//
// +kubebuilder:object:generate=false
type Problem struct {
	File string // as it was named; "" where the document came from elsewhere
	Line int    // 1 is the first; 0 where there is none
	Kind string // the kind of document, "" where it has none that is known
	// Field is the path within the spec, such as awsSts.roleMappings[2].matcher, or metadata.name and the like.
	Field string
	What  string // what is wrong
	Mend  string // what would be right
	// Warning marks what is allowed but may surprise; everything else is a mistake, and nothing loads.
	Warning bool
}

// String prints "file:line: field: what is wrong; what would be right", with "warning: " before the field of one.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		b.WriteString(p.File + ": ")
	case p.Kind != "":
		b.WriteString(p.Kind + ": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.What)
	if p.Mend != "" {
		b.WriteString("; " + p.Mend)
	}
	return b.String()
}

// Problems are the mistakes and warnings of a load, in the order of files and lines.
//
// +kubebuilder:object:generate=false
type Problems []Problem

// Errors are the mistakes.
func (ps Problems) Errors() Problems { return ps.only(false) }

// Warnings are the others.
func (ps Problems) Warnings() Problems { return ps.only(true) }

// String prints one problem a line.
func (ps Problems) String() string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// Err is an error that lists the mistakes, a line each; nil where there are only warnings.
func (ps Problems) Err() error {
	if bad := ps.Errors(); len(bad) > 0 {
		return errors.New(strings.TrimSuffix(bad.String(), "\n"))
	}
	return nil
}

func (ps Problems) only(warnings bool) Problems {
	var out Problems
	for _, p := range ps {
		if p.Warning == warnings {
			out = append(out, p)
		}
	}
	return out
}

// checker collects what is said about one document. Of several mistakes in a field the first is told: the others
// mostly follow from it.
type checker struct {
	kind     string
	problems Problems
	told     map[string]bool
}

func newChecker(kind string) *checker { return &checker{kind: kind, told: map[string]bool{}} }

func (c *checker) mistake(field, what, mend string) {
	if !c.told[field] {
		c.told[field] = true
		c.problems = append(c.problems, Problem{Kind: c.kind, Field: field, What: what, Mend: mend})
	}
}

func (c *checker) warn(field, what, mend string) {
	c.problems = append(c.problems, Problem{Kind: c.kind, Field: field, What: what, Mend: mend, Warning: true})
}

// quote shows a value of the user's: escaped, and cut where it is long.
func quote(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:77], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

// bare is quote without the quotes, for names that are mostly plain.
func bare(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The decisions that a case can expect.
const (
	decisionAllow  = "allow"
	decisionDeny   = "deny"
	decisionStepUp = "step-up"
)

// testCase is one question and what the answer should be.
type testCase struct {
	Name    string // file, within the folder, and the case's own name: "readers.yaml/may list buckets"
	Place   string // file:line
	Claims  []byte // JSON
	Message []byte // JSON-RPC; nil: initialize
	Hints   map[string]bool
	Expect  expectation
}

// expectation is what a case expects; what is empty is not compared.
type expectation struct {
	Decision, Role, Policy string
	Scopes                 []string
}

// readCases reads the cases of a folder, or of one file, in the order of the files' names, or tells every mistake. It
// names the files that it passed over.
func readCases(folder string) (all []testCase, passed, mistakes []string) {
	names, passed, err := caseFiles(folder, nil)
	if err != nil {
		return nil, nil, []string{fmt.Sprintf("%s: can't be read: %v", folder, err)}
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			mistakes = append(mistakes, fmt.Sprintf("%s: can't be read: %v", name, err))
			continue
		}
		short, err := filepath.Rel(folder, name)
		if err != nil || short == "." {
			short = filepath.Base(name)
		}
		r := &caseReader{file: name, prefix: filepath.ToSlash(short) + "/", names: map[string]bool{}}
		r.read(data)
		all, mistakes = append(all, r.cases...), append(mistakes, r.mistakes...)
	}
	if len(all) == 0 && len(mistakes) == 0 {
		mistakes = []string{folder + ": holds no cases; *.yaml, *.yml or *.json with some"}
	}
	return all, passed, mistakes
}

// caseFiles gives the files of a folder that hold cases, and those that do not; a file is its own folder. above are the
// folders around it, as they are behind links. What begins with a dot is neither.
func caseFiles(name string, above []string) (names, passed []string, err error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, nil, err
	}
	if !info.IsDir() {
		switch ext := strings.ToLower(filepath.Ext(name)); {
		case above == nil || ext == ".yaml" || ext == ".yml" || ext == ".json":
			return []string{name}, nil, nil
		}
		return nil, []string{name}, nil
	}
	if slices.Contains(above, real) {
		return nil, nil, fmt.Errorf("%s leads to a folder that it is in", name)
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		more, others, err := caseFiles(filepath.Join(name, e.Name()), append(slices.Clone(above), real))
		if err != nil {
			return nil, nil, err
		}
		names, passed = append(names, more...), append(passed, others...)
	}
	return names, passed, nil
}

// caseReader reads one file, strictly: what it does not know is a mistake, with its place.
type caseReader struct {
	file, prefix string
	names        map[string]bool
	cases        []testCase
	mistakes     []string
}

func (r *caseReader) mistake(line int, format string, args ...any) {
	r.mistakes = append(r.mistakes, fmt.Sprintf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...)))
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

func (r *caseReader) read(data []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		err := dec.Decode(&document)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			m := syntaxLine.FindStringSubmatch(err.Error())
			line, _ := strconv.Atoi(m[1])
			r.mistake(max(line, 1), "can't be parsed: %s", err.Error()[len(m[0]):])
			return
		}
		n := document.Content[0]
		if n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Value == "cases" {
			r.object(n, keys{"cases": func(n *yaml.Node) { r.each(n, r.one) }})
		} else if n.ShortTag() != "!!null" {
			r.one(n)
		}
	}
}

// keys says what may stand in an object, and who reads it.
type keys map[string]func(*yaml.Node)

// object reads a mapping: every key is known, and stands there once.
func (r *caseReader) object(n *yaml.Node, known keys) {
	if n.Kind != yaml.MappingNode {
		r.mistake(n.Line, "this is no mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		read, ok := known[key.Value]
		switch {
		case !ok:
			names := make([]string, 0, len(known))
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			r.mistake(key.Line, "%q is not a known key; one of %s", key.Value, strings.Join(names, ", "))
		case seen[key.Value]:
			r.mistake(key.Line, "%s is here twice", key.Value)
		default:
			seen[key.Value] = true
			read(n.Content[i+1])
		}
	}
}

func (r *caseReader) each(n *yaml.Node, read func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.mistake(n.Line, "this is no list")
		return
	}
	for _, item := range n.Content {
		read(item)
	}
}

// text reads a string that is not empty.
func (r *caseReader) text(into *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
			r.mistake(n.Line, "this is no text")
			return
		}
		*into = n.Value
	}
}

// json reads any value that is an object.
func (r *caseReader) json(into *[]byte) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			r.mistake(n.Line, "this is no mapping")
			return
		}
		var b bytes.Buffer
		r.encode(&b, n)
		*into = b.Bytes()
	}
}

func (r *caseReader) one(n *yaml.Node) {
	c := testCase{Place: fmt.Sprintf("%s:%d", r.file, n.Line)}
	before := len(r.mistakes)
	var name string
	expected := false
	r.object(n, keys{
		"name":   r.text(&name),
		"claims": r.json(&c.Claims),
		"call":   func(n *yaml.Node) { r.call(n, &c) },
		"expect": func(n *yaml.Node) { expected = true; r.expect(n, &c.Expect) },
	})
	switch {
	case len(r.mistakes) > before:
		return
	case name == "":
		r.mistake(n.Line, "the case has no name")
	case r.names[name]:
		r.mistake(n.Line, "a case %q is in this file already", name)
	case !expected:
		r.mistake(n.Line, "the case expects nothing; it needs expect with a decision")
	case c.Claims == nil:
		r.mistake(n.Line, "the case has no claims; {sub: ...} at least")
	}
	r.names[name] = true
	c.Name = r.prefix + name
	r.cases = append(r.cases, c)
}

func (r *caseReader) expect(n *yaml.Node, e *expectation) {
	before := len(r.mistakes)
	r.object(n, keys{
		"decision": r.text(&e.Decision),
		"role":     r.text(&e.Role),
		"policy":   r.text(&e.Policy),
		"scopes": func(n *yaml.Node) {
			e.Scopes = []string{}
			r.each(n, func(n *yaml.Node) {
				var scope string
				r.text(&scope)(n)
				e.Scopes = append(e.Scopes, scope)
			})
		},
	})
	if d := e.Decision; len(r.mistakes) == before && d != decisionAllow && d != decisionDeny && d != decisionStepUp {
		r.mistake(n.Line, "decision is %q; %s, %s or %s", d, decisionAllow, decisionDeny, decisionStepUp)
	}
}

func (r *caseReader) call(n *yaml.Node, c *testCase) {
	before := len(r.mistakes)
	var method, tool, prompt, resource string
	var args []byte
	r.object(n, keys{
		"method": r.text(&method), "tool": r.text(&tool), "prompt": r.text(&prompt), "resource": r.text(&resource),
		"args": r.json(&args), "hints": func(n *yaml.Node) { c.Hints = r.hints(n) },
	})
	if len(r.mistakes) > before {
		return
	}
	params, named := callParams{Name: tool + prompt, URI: resource, Arguments: args}, 0
	var what string
	var methods []string // that the call may have, the usual one first
	for _, x := range [...]struct {
		what, target string
		methods      []string
	}{
		{"tool", tool, []string{"tools/call"}},
		{"prompt", prompt, []string{"prompts/get"}},
		{"resource", resource, []string{"resources/read", "resources/subscribe", "resources/unsubscribe"}},
	} {
		if x.target != "" {
			named, what, methods = named+1, x.what, x.methods
		}
	}
	switch {
	case named > 1:
		r.mistake(n.Line, "the call names more than one of tool, prompt and resource")
		return
	case method == "" && named == 0:
		r.mistake(n.Line, "the call names no tool, prompt, resource or method")
		return
	case method == "":
		method = methods[0]
	case named == 1 && !slices.Contains(methods, method):
		r.mistake(n.Line, "a %s has no part in %s; its method is %s", what, method, strings.Join(methods, ", "))
		return
	}
	if args != nil && what != "tool" && what != "prompt" {
		r.mistake(n.Line, "args are those of a tool or a prompt")
	}
	if c.Hints != nil && what != "tool" {
		r.mistake(n.Line, "hints are those of a tool")
	}
	var err error
	if c.Message, err = message(method, params); err != nil {
		r.mistake(n.Line, "%v", err)
	}
}

func (r *caseReader) hints(n *yaml.Node) map[string]bool {
	hints := map[string]bool{}
	known := keys{}
	for _, name := range hintNames {
		known[name] = func(n *yaml.Node) {
			var yes bool
			if n.ShortTag() != "!!bool" || n.Decode(&yes) != nil {
				r.mistake(n.Line, "%s is neither true nor false", name)
			}
			hints[name] = yes
		}
	}
	r.object(n, known)
	return hints
}

// encode writes a value as JSON, each number as it was written.
func (r *caseReader) encode(b *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		r.encodeObject(b, n)
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			r.encode(b, item)
		}
		b.WriteByte(']')
	case yaml.ScalarNode:
		b.Write(r.scalar(n))
	default:
		r.mistake(n.Line, "aliases are not supported")
	}
}

func (r *caseReader) encodeObject(b *bytes.Buffer, n *yaml.Node) {
	seen := map[string]bool{}
	b.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || seen[key.Value] {
			r.mistake(key.Line, "the key %q is no text, or is here twice", key.Value)
			continue
		}
		if len(seen) > 0 {
			b.WriteByte(',')
		}
		seen[key.Value] = true
		b.Write(quoted(key.Value))
		b.WriteByte(':')
		r.encode(b, n.Content[i+1])
	}
	b.WriteByte('}')
}

func (r *caseReader) scalar(n *yaml.Node) []byte {
	var v any
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return []byte("null")
	case "!!str", "!!timestamp":
		return quoted(n.Value)
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return []byte(n.Value)
		}
	}
	if err := n.Decode(&v); err == nil {
		if text, err := json.Marshal(v); err == nil {
			return text
		}
	}
	r.mistake(n.Line, "%q is no value that JSON has", n.Value)
	return []byte("null")
}

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always marshals
	}
	return b
}

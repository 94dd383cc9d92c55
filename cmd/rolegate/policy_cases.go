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

// mistake notes a mistake at a value; without a column where only the line is known.
func (r *caseReader) mistake(n *yaml.Node, format string, args ...any) {
	place := fmt.Sprintf("%s:%d", r.file, n.Line)
	if n.Column > 0 {
		place += fmt.Sprintf(":%d", n.Column)
	}
	r.mistakes = append(r.mistakes, place+": "+fmt.Sprintf(format, args...))
}

// want tells what stands where something else should, by the key.
func (r *caseReader) want(key string, n *yaml.Node, wanted string) {
	r.mistake(n, "%s is %s; %s", key, nodeInWords(n), wanted)
}

// nodeInWords says what a value is.
func nodeInWords(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.ShortTag() == "!!str" && n.Value == "":
		return "empty"
	case n.ShortTag() == "!!str":
		return fmt.Sprintf("the text %q", n.Value)
	case n.ShortTag() == "!!null":
		return "null"
	case n.ShortTag() == "!!int" || n.ShortTag() == "!!float":
		return "the number " + n.Value
	}
	return n.Value
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

func (r *caseReader) read(data []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	found := 0
	for {
		var document yaml.Node
		err := dec.Decode(&document)
		if errors.Is(err, io.EOF) {
			if found == 0 && len(r.mistakes) == 0 {
				r.mistakes = append(r.mistakes, r.file+": holds no case; remove it, or write one")
			}
			return
		}
		if err != nil {
			m := syntaxLine.FindStringSubmatch(err.Error())
			line, _ := strconv.Atoi(m[1])
			r.mistake(&yaml.Node{Line: max(line, 1)}, "can't be parsed: %s", err.Error()[len(m[0]):])
			return
		}
		n := document.Content[0]
		if n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Value == "cases" {
			r.object("the document", n, keys{"cases": func(n *yaml.Node) {
				r.each("cases", n, func(n *yaml.Node) { found++; r.one(n) })
			}})
		} else if n.ShortTag() != "!!null" {
			found++
			r.one(n)
		}
	}
}

// keys says what may stand in an object, and who reads it.
type keys map[string]func(*yaml.Node)

// object reads the mapping at a key: every key in it is known, and stands there once.
func (r *caseReader) object(key string, n *yaml.Node, known keys) {
	if n.Kind != yaml.MappingNode {
		r.want(key, n, "a mapping")
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
			r.mistake(key, "%q is not a known key; one of %s", key.Value, strings.Join(names, ", "))
		case seen[key.Value]:
			r.mistake(key, "%s is here twice", key.Value)
		default:
			seen[key.Value] = true
			read(n.Content[i+1])
		}
	}
}

func (r *caseReader) each(key string, n *yaml.Node, read func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		r.want(key, n, "a list")
		return
	}
	for _, item := range n.Content {
		read(item)
	}
}

// text reads a string that is not empty.
func (r *caseReader) text(key string, into *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
			r.want(key, n, "a text, in quotes where it looks like something else")
			return
		}
		*into = n.Value
	}
}

// json reads any value that is an object.
func (r *caseReader) json(key string, into *[]byte) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			r.want(key, n, "a mapping")
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
	r.object("the case", n, keys{
		"name":   r.text("name", &name),
		"claims": r.json("claims", &c.Claims),
		"call":   func(n *yaml.Node) { r.call(n, &c) },
		"expect": func(n *yaml.Node) { expected = true; r.expect(n, &c.Expect) },
	})
	switch {
	case len(r.mistakes) > before:
		return
	case name == "":
		r.mistake(n, "the case has no name")
	case r.names[name]:
		r.mistake(n, "a case %q is in this file already", name)
	case !expected:
		r.mistake(n, "the case expects nothing; it needs expect with a decision")
	case c.Claims == nil:
		r.mistake(n, "the case has no claims; {sub: ...} at least")
	}
	r.names[name] = true
	c.Name = r.prefix + name
	r.cases = append(r.cases, c)
}

func (r *caseReader) expect(n *yaml.Node, e *expectation) {
	before := len(r.mistakes)
	r.object("expect", n, keys{
		"decision": r.text("decision", &e.Decision),
		"role":     r.text("role", &e.Role),
		"policy":   r.text("policy", &e.Policy),
		"scopes": func(n *yaml.Node) {
			e.Scopes = []string{}
			r.each("scopes", n, func(n *yaml.Node) {
				var scope string
				r.text("a scope", &scope)(n)
				e.Scopes = append(e.Scopes, scope)
			})
		},
	})
	if d := e.Decision; len(r.mistakes) == before && d == "" {
		r.mistake(n, "expect has no decision; %s, %s or %s", decisionAllow, decisionDeny, decisionStepUp)
	} else if len(r.mistakes) == before && d != decisionAllow && d != decisionDeny && d != decisionStepUp {
		r.mistake(n, "decision is %q; %s, %s or %s", d, decisionAllow, decisionDeny, decisionStepUp)
	}
}

func (r *caseReader) call(n *yaml.Node, c *testCase) {
	before := len(r.mistakes)
	var method, tool, prompt, resource string
	var args []byte
	r.object("call", n, keys{
		"method": r.text("method", &method), "tool": r.text("tool", &tool), "prompt": r.text("prompt", &prompt), "resource": r.text("resource", &resource),
		"args": r.json("args", &args), "hints": func(n *yaml.Node) { c.Hints = r.hints(n) },
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
		r.mistake(n, "the call names more than one of tool, prompt and resource")
		return
	case method == "" && named == 0:
		r.mistake(n, "the call names no tool, prompt, resource or method")
		return
	case method == "":
		method = methods[0]
	case named == 1 && !slices.Contains(methods, method):
		r.mistake(n, "a %s has no part in %s; its method is %s", what, method, strings.Join(methods, ", "))
		return
	}
	if args != nil && what != "tool" && what != "prompt" {
		r.mistake(n, "args are those of a tool or a prompt")
	}
	if c.Hints != nil && what != "tool" {
		r.mistake(n, "hints are those of a tool")
	}
	var err error
	if c.Message, err = message(method, params); err != nil {
		r.mistake(n, "%v", err)
	}
}

func (r *caseReader) hints(n *yaml.Node) map[string]bool {
	hints := map[string]bool{}
	known := keys{}
	for _, name := range hintNames {
		known[name] = func(n *yaml.Node) {
			var yes bool
			if n.ShortTag() != "!!bool" || n.Decode(&yes) != nil {
				r.want(name, n, "true or false")
			}
			hints[name] = yes
		}
	}
	r.object("hints", n, known)
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
		r.mistake(n, "aliases are not supported")
	}
}

func (r *caseReader) encodeObject(b *bytes.Buffer, n *yaml.Node) {
	seen := map[string]bool{}
	b.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || seen[key.Value] {
			r.mistake(key, "the key %q is no text, or is here twice", key.Value)
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
	r.mistake(n, "%q is no value that JSON has", n.Value)
	return []byte("null")
}

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always marshals
	}
	return b
}

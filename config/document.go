package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What one file may hold. A proxy's documents are a few kilobytes.
const (
	maxFile  = 1 << 20
	maxNodes = 100_000
	maxDepth = 64
)

// spec is what the kinds have in common.
type spec interface {
	Default()
	Validate() Problems
}

// document is one document of a file.
type document struct {
	file            string
	line            int
	lines           map[string]int  // by field
	told            map[string]bool // fields whose mistakes the reader told
	kind            string
	name, namespace string
	spec            spec
}

// envelope is what surrounds a spec.
type envelope[S any] struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       S        `json:"spec"`
	Status     *Opaque  `json:"status"`
}

// metadata is a Kubernetes object's; what only the API server writes is let through.
type metadata struct {
	Name                       string            `json:"name"`
	Namespace                  string            `json:"namespace"`
	Labels                     map[string]string `json:"labels"`
	Annotations                map[string]string `json:"annotations"`
	GenerateName               *Opaque           `json:"generateName"`
	UID                        *Opaque           `json:"uid"`
	ResourceVersion            *Opaque           `json:"resourceVersion"`
	Generation                 *Opaque           `json:"generation"`
	SelfLink                   *Opaque           `json:"selfLink"`
	CreationTimestamp          *Opaque           `json:"creationTimestamp"`
	DeletionTimestamp          *Opaque           `json:"deletionTimestamp"`
	DeletionGracePeriodSeconds *Opaque           `json:"deletionGracePeriodSeconds"`
	OwnerReferences            *Opaque           `json:"ownerReferences"`
	Finalizers                 *Opaque           `json:"finalizers"`
	ManagedFields              *Opaque           `json:"managedFields"`
}

// proxySpec is what the spec of an MCPRemoteProxy may hold in a file.
type proxySpec struct {
	RemoteProxy
	Cluster
}

// otherKinds are the kinds of the group that no proxy here is made from. They are skipped: what refers to them is
// refused, or has no effect and says so.
var otherKinds = []string{
	"EmbeddingServer", "MCPGroup", "MCPRegistry", "MCPServer", "MCPServerEntry", "MCPWebhookConfig",
	"VirtualMCPCompositeToolDefinition", "VirtualMCPServer",
}

// parse reads the documents of one file.
func parse(file string, data []byte) (docs []*document, problems Problems) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var root yaml.Node
		err := dec.Decode(&root)
		if errors.Is(err, io.EOF) {
			return docs, problems
		}
		if err != nil {
			return docs, append(problems, syntax(file, err))
		}
		if n := root.Content[0]; n.ShortTag() != "!!null" {
			r := newReader(file)
			if doc := r.document(n); doc != nil {
				docs = append(docs, doc)
			}
			problems = append(problems, r.problems...)
		}
	}
}

var yamlLine = regexp.MustCompile(`^line ([0-9]+): `)

// syntax places an error of the YAML parser.
func syntax(file string, err error) Problem {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{File: file, Mend: "YAML or JSON"}
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		what = what[len(m[0]):]
	}
	p.What = "can't be parsed: " + what
	return p
}

// document reads one document; nil where it is skipped or can't be told what it is.
func (r *reader) document(n *yaml.Node) *document {
	if n.Kind != yaml.MappingNode {
		r.mistake(n, "", "the document is "+describe(n), "a mapping with apiVersion, kind, metadata and spec")
		return nil
	}
	d := &document{file: r.file, line: n.Line, lines: r.lines, told: r.told, kind: scalarAt(n, "kind")}
	version := scalarAt(n, "apiVersion")
	group, _, _ := strings.Cut(version, "/")
	switch r.kind = d.kind; {
	case version == "":
		r.mistake(n, "apiVersion", "is missing", Alpha+" or "+Beta)
	case d.kind == "List":
		r.mistake(n, "kind", "is List, whose items are not read", "each item as a document of its own")
	case group != Group:
		r.skip(n, "is "+bare(version)+" "+bare(d.kind))
	case version != Alpha && version != Beta:
		r.mistake(n, "apiVersion", quote(version)+" is not known", Alpha+" or "+Beta)
	case slices.Contains(otherKinds, d.kind):
		r.skip(n, "is of kind "+d.kind)
	case !r.bounded(n):
	case d.kind == KindProxy:
		s := readSpec[proxySpec](r, n, d)
		d.spec = &s.RemoteProxy
		if !goodProxyName(d.name) {
			r.badName(n, d.name, proxyNameRule)
		}
		return d
	case d.kind == KindAuth:
		d.spec = readSpec[ExternalAuth](r, n, d)
		return r.named(n, d)
	case d.kind == KindOIDC:
		d.spec = readSpec[OIDCConfig](r, n, d)
		return r.named(n, d)
	case d.kind == KindAuthz:
		d.spec = readSpec[AuthzConfig](r, n, d)
		return r.named(n, d)
	case d.kind == KindTools:
		d.spec = readSpec[ToolConfig](r, n, d)
		return r.named(n, d)
	case d.kind == KindTelemetry:
		d.spec = readSpec[TelemetryConfig](r, n, d)
		return r.named(n, d)
	default:
		r.mistake(n, "kind", quote(d.kind)+" is not a kind of this API", strings.Join([]string{KindProxy, KindAuth, KindOIDC, KindAuthz, KindTools}, ", ")+" or "+KindTelemetry)
	}
	return nil
}

func readSpec[S any](r *reader, n *yaml.Node, d *document) *S {
	e := new(envelope[S])
	r.value(n, reflect.ValueOf(e).Elem(), "")
	d.name, d.namespace = e.Metadata.Name, e.Metadata.Namespace
	if d.namespace == "" {
		d.namespace = "default"
	}
	if len(d.namespace) > 63 || !dnsLabel.MatchString(d.namespace) {
		r.mistakeAt(n, "metadata.namespace", quote(d.namespace)+" is not a namespace", "lower-case letters, digits and hyphens, at most 63")
	}
	return &e.Spec
}

func (r *reader) named(n *yaml.Node, d *document) *document {
	if len(d.name) > 253 || !dnsSubdomain.MatchString(d.name) {
		r.badName(n, d.name, "lower-case letters, digits, hyphens and dots, at most 253")
	}
	return d
}

func (r *reader) badName(n *yaml.Node, name, right string) {
	if name == "" {
		r.mistakeAt(n, "metadata.name", "is missing", right)
		return
	}
	r.mistakeAt(n, "metadata.name", quote(name)+" is not a name", right)
}

// mistakeAt notes a mistake about a field that was read before, unless one was told of it.
func (r *reader) mistakeAt(n *yaml.Node, field, what, mend string) {
	if r.told[field] {
		return
	}
	if line := r.lines[field]; line > 0 {
		n = &yaml.Node{Line: line}
	}
	r.mistake(n, field, what, mend)
}

func (r *reader) skip(n *yaml.Node, what string) {
	p := Problem{File: r.file, Line: n.Line, Kind: r.kind, What: "the document " + what + ", and is skipped", Warning: true}
	if r.kind == "Secret" || r.kind == "ConfigMap" {
		p.Mend = "its values are read from the folder of references (--refs)"
	}
	r.problems = append(r.problems, p)
}

// bounded checks what can be checked without knowing a document's type: no aliases and merge keys, whose values stand
// elsewhere, no key that isn't a string, no key twice. It tells whether the document is of a size to be read at all.
func (r *reader) bounded(n *yaml.Node) bool {
	count := 0
	if r.walk(n, "", 0, &count) {
		return true
	}
	r.mistake(n, "", fmt.Sprintf("the document has more than %d values, or is nested deeper than %d", maxNodes, maxDepth), "a smaller document")
	return false
}

// walk visits the nodes below n and counts them. It stops, with false, where there are too many or they are too deep.
func (r *reader) walk(n *yaml.Node, path string, depth int, count *int) bool {
	if *count++; *count > maxNodes || depth > maxDepth {
		return false
	}
	switch n.Kind {
	case yaml.AliasNode:
		r.sound = false
		r.mistake(n, path, "is an alias, and aliases are refused", "the value itself")
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if !r.walk(item, fmt.Sprintf("%s[%d]", path, i), depth+1, count) {
				return false
			}
		}
	case yaml.MappingNode:
		first := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			at := join(path, pathName(key.Value))
			if line, twice := first[key.Value]; twice {
				r.mistake(key, at, fmt.Sprintf("is set twice, first on line %d", line), "one of them")
			} else {
				r.key(key, path)
			}
			first[key.Value] = key.Line
			if !r.walk(n.Content[i+1], at, depth+1, count) {
				return false
			}
		}
	}
	return true
}

func (r *reader) key(key *yaml.Node, path string) {
	switch {
	case key.ShortTag() == "!!merge":
		r.sound = false
		r.mistake(key, path, "has a merge key (<<), and merge keys are refused", "the keys themselves")
	case !isText(key):
		r.sound = false
		r.mistake(key, path, "has a key that is not a string", "a string: put it in quotes")
	}
}

// scalarAt is the text of a top-level key, "" where there is none.
func scalarAt(n *yaml.Node, key string) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// lineOf is the line of a field, or of the nearest thing around it that the document has.
func (d *document) lineOf(field string) int {
	for f := field; f != ""; f = f[:max(strings.LastIndexAny(f, ".["), 0)] {
		if line, ok := d.lines[f]; ok {
			return line
		}
	}
	if line, ok := d.lines["spec"]; ok {
		return line
	}
	return d.line
}

// silent tells whether the reader has told of a mistake in the field, or in what it is part of.
func (d *document) silent(field string) bool {
	if d.told["spec"] {
		return true
	}
	for f := field; f != ""; f = f[:max(strings.LastIndexAny(f, ".["), 0)] {
		if d.told[f] {
			return true
		}
	}
	return false
}

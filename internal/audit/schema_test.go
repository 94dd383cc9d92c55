package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/role"
)

var update = flag.Bool("update", false, "write docs/reference/audit.schema.json and the table of docs/audit.md anew")

const (
	schemaFile = "../../docs/reference/audit.schema.json"
	page       = "../../docs/audit.md"
)

// property is a field of a Record: what its comment and its tags say.
type property struct {
	name, meaning string
	required      bool
	tag           reflect.StructTag
	kind          reflect.Type
}

// properties reads the type from its source.
func properties(t *testing.T) []property {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "record.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var all []property
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Record" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			field, ok := reflect.TypeFor[audit.Record]().FieldByName(f.Names[0].Name)
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			doc := strings.Join(strings.Fields(f.Doc.Text()), " ")
			_, meaning, said := strings.Cut(doc, field.Name+" ")
			if !ok || !said {
				t.Errorf("%s has no comment that begins with its name", f.Names[0].Name)
			}
			for _, verb := range []string{"is ", "are ", "tells "} {
				meaning = strings.TrimPrefix(meaning, verb)
			}
			all = append(all, property{name, strings.ToUpper(meaning[:1]) + meaning[1:], options == "", field.Tag, field.Type})
		}
		return false
	})
	if len(all) != reflect.TypeFor[audit.Record]().NumField() {
		t.Fatalf("%d fields were found", len(all))
	}
	return all
}

// shape is the schema of one field.
func (p property) shape() *jsonschema.Schema {
	s := &jsonschema.Schema{Description: p.meaning, Pattern: p.tag.Get("pattern")}
	if c := p.tag.Get("const"); c != "" {
		s.Const = jsonschema.Ptr[any](c)
	}
	for name := range strings.SplitSeq(p.tag.Get("enum"), ",") {
		switch name {
		case "":
		case "types":
			for _, t := range append(config.EventTypes(), audit.TypeDropped, audit.TypeContinued) {
				s.Enum = append(s.Enum, t)
			}
		default:
			s.Enum = append(s.Enum, name)
		}
	}
	switch p.kind.String() {
	case "string":
		s.Type = "string"
	case "time.Time":
		s.Type, s.Format = "string", "date-time"
	case "bool":
		s.Type = "boolean"
	case "[]string":
		s.Type, s.Items = "array", &jsonschema.Schema{Type: "string"}
	case "float64":
		s.Type, s.Minimum = "number", jsonschema.Ptr(0.0)
	case "int", "uint64":
		s.Type, s.Minimum = "integer", jsonschema.Ptr(0.0)
	case "int64", "*int":
		s.Type = "integer"
	case "json.RawMessage":
		s.Type = p.tag.Get("type")
	}
	return s
}

func recordSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s := &jsonschema.Schema{
		Schema:      "https://json-schema.org/draft/2020-12/schema",
		ID:          "https://github.com/rolegate/rolegate/raw/main/docs/reference/audit.schema.json",
		Title:       "rolegate audit record",
		Description: "One line of rolegate's audit log, version 1. Later releases may add members; none is removed, renamed or given another meaning within a version. A member that is not there is empty, zero or false.",
		Type:        "object",
		Properties:  map[string]*jsonschema.Schema{},
		DependentRequired: map[string][]string{
			"seq": {"prev", "hash"}, "prev": {"seq", "hash"}, "hash": {"seq", "prev"},
		},
	}
	for _, p := range properties(t) {
		s.Properties[p.name] = p.shape()
		s.PropertyOrder = append(s.PropertyOrder, p.name)
		if p.required {
			s.Required = append(s.Required, p.name)
		}
	}
	return s
}

// TestReferenceSchema holds docs/reference/audit.schema.json to the type; -update writes it anew.
func TestReferenceSchema(t *testing.T) {
	want, err := json.MarshalIndent(recordSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fresh(t, schemaFile, append(want, '\n'))
}

const tableBegin, tableEnd = "<!-- The table is generated from the type by make generate. -->\n", "<!-- end of the table -->\n"

// TestReferenceTable holds the table of docs/audit.md to the type; -update writes it anew.
func TestReferenceTable(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	var b strings.Builder
	b.WriteString("| member | type | meaning |\n|---|---|---|\n")
	for _, p := range properties(t) {
		kind := p.shape().Type
		if p.required {
			kind += ", always there"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.name, kind, p.meaning)
	}
	fresh(t, page, []byte(before+tableBegin+b.String()+tableEnd+after))
}

func fresh(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), strings.ReplaceAll(string(got), "\r\n", "\n")); diff != "" {
		t.Errorf("%s is stale (make generate):\n%s", file, diff)
	}
}

// TestPageNamesEveryType: docs/audit.md has a row for each type of event, and each setting.
func TestPageNamesEveryType(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := append(config.EventTypes(), audit.TypeDropped, audit.TypeContinued)
	for f := range reflect.TypeFor[config.Audit]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		want = append(want, name)
	}
	for _, name := range want {
		if !regexp.MustCompile("(?m)^\\| .*`" + name + "`.* \\|").Match(text) {
			t.Errorf("%s does not explain %s", page, name)
		}
	}
}

// TestRecordsAreOfTheSchema: the published schema, read from its file, accepts the records that are written, and not
// others.
func TestRecordsAreOfTheSchema(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	resolved, err := schema.Resolve(&jsonschema.ResolveOptions{BaseURI: schema.ID})
	if err != nil {
		t.Fatal(err)
	}
	o := options(config.Audit{IncludeRequestData: true, Claims: []string{"email"}})
	full := allowed()
	full.Arguments = []byte(`{"a":1}`)
	full.Role.Errors = []role.MatchError{{Mapping: 3, What: role.FailureNoKey}}
	full.Role.Mapping, full.Hidden, full.Withheld, full.Stream, full.IsError = role.Fallback, 1, 2, true, true
	full.PolicyErrors = []policy.Found{{ID: "p", Effect: "forbid", Message: "m"}}
	cut := allowed()
	cut.Arguments, cut.ArgumentsCut = []byte(`{"a":"`), true
	full.Response = []byte(`{"content":[]}`)
	cut.Response, cut.ResponseCut = []byte(`{"content":["`), true
	out := new(slowOutput)
	for _, chained := range []bool{false, true} {
		b := open(t, audit.Options{Stdout: out, Settings: config.Audit{TamperEvident: chained}})
		for _, ev := range []*audit.Event{
			full, cut,
			{Err: fault.New(fault.Unauthenticated, "no token").Hint("h").Because(errors.New("c")), Status: 401},
			{Call: &mcp.Call{Era: mcp.Modern, Kind: mcp.Notification, Method: "notifications/cancelled"}, Status: 202},
			{Status: 499, Err: fault.New(fault.Aborted, "gone")},
		} {
			r := ev.Record(o)
			b.Write(t.Context(), &r)
		}
		shut(t, b)
	}
	drop := audit.Record{Schema: audit.Schema, Type: audit.TypeDropped, Outcome: audit.Failure, Dropped: 3}
	text := append(drop.AppendJSON(out.got.Bytes()), '\n')
	n := 0
	for line := range bytes.Lines(text) {
		var instance map[string]any
		if err := json.Unmarshal(line, &instance); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(instance); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
		for member := range instance {
			if schema.Properties[member] == nil {
				t.Errorf("%s is not in the schema", member)
			}
		}
		n++
	}
	if n != 11 {
		t.Errorf("%d records", n)
	}
	for _, wrong := range []string{
		`{}`,
		`{"schema":"rolegate.audit/v2","time":"2026-11-21T16:00:00.000000Z","type":"mcp_ping","outcome":"success"}`,
		`{"schema":"rolegate.audit/v1","time":"2026-11-21T16:00:00.000000Z","type":"other","outcome":"success"}`,
		`{"schema":"rolegate.audit/v1","time":"2026-11-21T16:00:00.000000Z","type":"mcp_ping","outcome":"fine"}`,
		`{"schema":"rolegate.audit/v1","time":"2026-11-21T16:00:00.000000Z","type":"mcp_ping","outcome":"success","status":"200"}`,
		`{"schema":"rolegate.audit/v1","time":"2026-11-21T16:00:00.000000Z","type":"mcp_ping","outcome":"success","seq":1}`,
		`{"schema":"rolegate.audit/v1","time":"2026-11-21T16:00:00.000000Z","type":"mcp_ping","outcome":"success","session":"rg1.x"}`,
	} {
		var instance map[string]any
		if err := json.Unmarshal([]byte(wrong), &instance); err != nil {
			t.Fatal(err)
		}
		if resolved.Validate(instance) == nil {
			t.Errorf("accepted: %s", wrong)
		}
	}
}

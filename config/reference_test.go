package config_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const referencePage = "../docs/reference/config.md"

// docField is a field of a documented type: what its doc comment and its tags say.
type docField struct {
	name, kind, fallback, meaning string
	refused, inert                string
}

// docType is a type of the schema.
type docType struct {
	doc    string
	fields []docField
	embeds []string // types whose fields are fields of this one too
}

// chapters are the types of the reference page, in its order.
var chapters = []struct {
	title, intro string
	types        []string
}{
	{"MCPRemoteProxy", "One proxy. Names have at most 46 characters: lower-case letters, digits and hyphens.", []string{"RemoteProxy", "OIDC", "OIDCInline", "OIDCRef", "Unauthenticated", "ProxyAuthz", "AuthzInline", "AuthzConfigMap", "AuthzDocument", "Limits", "Audit", "ProxyTelemetry", "OpenTelemetry", "TracingExport", "SignalExport", "Prometheus", "ProxyConsole"}},
	{"MCPOIDCConfig", "An identity provider that several proxies of a namespace share.", []string{"OIDCConfig"}},
	{"MCPExternalAuthConfig", "What satisfies the remote; several proxies of a namespace can share it.", []string{"ExternalAuth", "AWSSTS", "RoleMapping"}},
	{"MCPAuthzConfig", "What callers may do; several proxies of a namespace can share it.", []string{"AuthzConfig", "Cedar"}},
	{"MCPToolConfig", "Which of the remote's tools are offered, and as what; several proxies of a namespace can share it.", []string{"ToolConfig", "ToolOverride"}},
	{"MCPTelemetryConfig", "Where metrics and traces go; several proxies of a namespace can share it.", []string{"TelemetryConfig", "TelemetryRef", "SharedOpenTelemetry", "SensitiveHeader"}},
	{"References", "A document names another by its name, and a Secret's or ConfigMap's value by name and key. They are looked for in the namespace of the document that names them.", []string{"Ref", "SecretKeyRef", "CABundleRef", "ConfigMapKeyRef"}},
}

// titles are the types' headings: what users of YAML know them as.
var titles = map[string]string{
	"RemoteProxy": "Spec of MCPRemoteProxy", "OIDC": "oidcConfig", "OIDCInline": "inline", "OIDCRef": "oidcConfigRef",
	"Unauthenticated": "unauthenticated", "Limits": "limits", "Audit": "audit", "ProxyConsole": "console", "OIDCConfig": "Spec of MCPOIDCConfig",
	"ExternalAuth": "Spec of MCPExternalAuthConfig", "AWSSTS": "awsSts", "RoleMapping": "roleMappings",
	"ProxyAuthz": "authzConfig", "AuthzInline": "Inline policies", "AuthzConfigMap": "ConfigMap of policies",
	"AuthzDocument": "Document of policies", "AuthzConfig": "Spec of MCPAuthzConfig", "Cedar": "Policies",
	"ToolConfig": "Spec of MCPToolConfig", "ToolOverride": "toolsOverride",
	"ProxyTelemetry": "telemetry", "OpenTelemetry": "openTelemetry", "TracingExport": "tracing", "SignalExport": "metrics and logs",
	"Prometheus": "prometheus", "TelemetryConfig": "Spec of MCPTelemetryConfig", "TelemetryRef": "telemetryConfigRef",
	"SharedOpenTelemetry": "Shared openTelemetry", "SensitiveHeader": "sensitiveHeaders",
	"Ref": "Document", "SecretKeyRef": "Secret", "CABundleRef": "CA bundle", "ConfigMapKeyRef": "ConfigMap",
}

// TestReferencePage holds docs/reference/config.md to the doc comments; -update writes it anew.
func TestReferencePage(t *testing.T) {
	example := fixture(t, "tutorial/aws-sts-auth-config.yaml") + "---\n" + fixture(t, "tutorial/aws-mcp-remote-proxy.yaml")
	want := page(schema(t), example)
	if *update {
		writeFile(t, referencePage, want)
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale; go test ./config -update writes it anew (-want +got):\n%s", referencePage, diff)
	}
}

// schema reads the doc comments of the package.
func schema(t *testing.T) map[string]docType {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]docType{}
	fset := token.NewFileSet()
	for _, f := range files {
		if name := f.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				continue
			}
			spec := decl.Specs[0].(*ast.TypeSpec)
			if s, ok := spec.Type.(*ast.StructType); ok {
				types[spec.Name.Name] = docType{prose(decl.Doc), fields(s), embeds(s)}
			}
		}
	}
	for name, typ := range types {
		for _, embedded := range typ.embeds {
			typ.fields = append(slices.Clone(types[embedded].fields), typ.fields...)
		}
		types[name] = typ
	}
	return types
}

// embeds are the types that s embeds as parts of the same object.
func embeds(s *ast.StructType) (names []string) {
	for _, f := range s.Fields.List {
		if id, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 && f.Tag != nil {
			names = append(names, id.Name)
		}
	}
	return names
}

var (
	stated = regexp.MustCompile(`(?:^| )Default:? (.+?)\.(?: |$)`)
	aside  = regexp.MustCompile(`^(\S+)( \(.*\)|,.*)$`)
)

func fields(s *ast.StructType) []docField {
	var out []docField
	for _, f := range s.Fields.List {
		if f.Tag == nil || len(f.Names) == 0 {
			continue
		}
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		d := docField{name: name, kind: kindOf(f.Type), refused: tag.Get("refused"), inert: tag.Get("inert")}
		d.meaning = strings.TrimPrefix(prose(f.Doc), f.Names[0].Name+" ")
		if m := stated.FindStringSubmatchIndex(d.meaning); m != nil {
			d.fallback = d.meaning[m[2]:m[3]]
			d.meaning = strings.TrimSpace(d.meaning[:m[0]] + " " + d.meaning[m[1]:])
		}
		out = append(out, d)
	}
	return out
}

// prose is a doc comment in one line, without markers.
func prose(doc *ast.CommentGroup) string {
	var words []string
	for line := range strings.Lines(doc.Text()) {
		if !strings.HasPrefix(line, "+") {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.Join(words, " ")
}

// kindOf is a type as users of YAML would call it; a type of the schema becomes a link.
func kindOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return kindOf(e.X)
	case *ast.ArrayType:
		return "list of " + kindOf(e.Elt)
	case *ast.MapType:
		return "mapping of name to " + kindOf(e.Value)
	case *ast.Ident:
		switch e.Name {
		case "string", "FormatVersion":
			return "string"
		case "bool":
			return "boolean"
		case "int32", "int64":
			return "integer"
		case "Duration":
			return "duration"
		case "Opaque":
			return "any"
		default:
			return anchor(titles[e.Name])
		}
	default:
		return "any"
	}
}

func page(types map[string]docType, example string) []byte {
	var b bytes.Buffer
	b.WriteString(`<!-- Generated from the doc comments of package config by "go test ./config -update". -->

# Configuration

rolegate reads the documents of the API group ` + "`toolhive.stacklok.dev`" + `, in version ` + "`v1alpha1` or `v1beta1`" + `: YAML or JSON, several
documents in a file if you like. Keys are case-sensitive. What can't be fully understood is refused: an unknown key, a
key twice, a value of the wrong type, an alias, a merge key. ` + "`rolegate check -f`" + ` tells every mistake at once.

| | |
| --- | --- |
| a duration | is written as Go writes it: ` + "`30s`, `5m`, `1h30m`" + ` |
| **required** | has no default; leaving it out is a mistake |
| documents of other groups | are skipped, with a warning |
| values of Secrets and ConfigMaps | are read from the folder that ` + "`--refs`" + ` names: ` + "`secrets/<name>/<key>`, `configmaps/<name>/<key>`" + ` |
| ` + "`metadata.namespace`" + ` | defaults to ` + "`default`" + `; documents find each other within one namespace |

`)
	fmt.Fprintf(&b, "The documents of the tutorial, for a start:\n\n```yaml\n%s```\n\n", example)
	for _, c := range chapters {
		fmt.Fprintf(&b, "- %s\n", anchor(c.title))
	}
	b.WriteString("- [Settings that are refused](#settings-that-are-refused)\n- [Settings without effect](#settings-without-effect)\n")
	for _, c := range chapters {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", c.title, c.intro)
		for _, name := range c.types {
			table(&b, name, types[name])
		}
	}
	refusals(&b, types)
	return b.Bytes()
}

func table(b *bytes.Buffer, name string, t docType) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n| Field | Type | Default | Meaning |\n| --- | --- | --- | --- |\n", titles[name], escape(capital(strings.TrimPrefix(t.doc, name+" "))))
	for _, f := range t.fields {
		if f.refused != "" || f.inert != "" || strings.Contains(f.meaning, "Refused with its type.") {
			continue
		}
		fallback, meaning := code(f.fallback), f.meaning
		if rest, ok := strings.CutSuffix(meaning, " Required."); ok && fallback == "" {
			fallback, meaning = "**required**", rest
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, fallback, escape(capital(meaning)))
	}
}

func refusals(b *bytes.Buffer, types map[string]docType) {
	b.WriteString("\n## Settings that are refused\n\nThese belong to the API, but this version does not act on them, and to ignore them would be unsafe.\n\n| Field | Why |\n| --- | --- |\n")
	each(types, func(in string, f docField) {
		if f.refused != "" {
			fmt.Fprintf(b, "| %s `%s` | %s |\n", in, f.name, escape(capital(f.refused)))
		} else if strings.Contains(f.meaning, "Refused with its type.") {
			fmt.Fprintf(b, "| %s `type: %s` | %s |\n", in, f.name, escape(capital(strings.TrimSuffix(f.meaning, " Refused with its type."))))
		}
	})
	b.WriteString("\n`transport: sse` and `transport: stdio` are refused too: MCP has retired the one, and a remote is not reached by the other.\n" +
		"So is an MCPAuthzConfig of `type: httpv1`: this version decides by policies that it has, and asks no server.\n")
	b.WriteString("\n## Settings without effect\n\nThese are accepted with a warning.\n\n| Field | Why |\n| --- | --- |\n")
	each(types, func(in string, f docField) {
		if f.inert != "" {
			fmt.Fprintf(b, "| %s `%s` | %s |\n", in, f.name, escape(capital(f.inert)))
		}
	})
	b.WriteString("\nThese describe the pods and the Service of a proxy in a cluster. Files may hold them; only the operator reads them.\n\n| Field | Meaning |\n| --- | --- |\n")
	for _, f := range types["Cluster"].fields {
		fmt.Fprintf(b, "| `%s` | %s |\n", f.name, escape(capital(f.meaning)))
	}
}

func each(types map[string]docType, visit func(in string, f docField)) {
	for _, c := range chapters {
		for _, name := range c.types {
			for _, f := range types[name].fields {
				visit(titles[name], f)
			}
		}
	}
}

// code sets the literal part of a default apart from what is said about it.
func code(s string) string {
	value, rest := s, ""
	if m := aside.FindStringSubmatch(s); m != nil {
		value, rest = m[1], m[2]
	}
	if literal.MatchString(value) {
		return "`" + value + "`" + rest
	}
	return s
}

var literal = regexp.MustCompile(`^([0-9]+|"[^"]*"|\[.*\])$`)

// anchor links to a heading of the page.
func anchor(title string) string {
	return fmt.Sprintf("[%s](#%s)", title, strings.ReplaceAll(strings.ToLower(title), " ", "-"))
}

func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`).Replace(s)
}

func capital(s string) string {
	for _, verb := range []string{"is ", "are "} {
		s = strings.TrimPrefix(s, verb)
	}
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

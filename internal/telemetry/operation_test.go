package telemetry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// TestEveryMethodOfTheProtocolHasItsLabel: whatever method the reader of messages knows by name is one here.
func TestEveryMethodOfTheProtocolHasItsLabel(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../mcp/protocol.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, methods := telemetry.NewMetrics("v1", "abc"), []string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Method") {
			method, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			methods = append(methods, method)
			m.Operated(telemetry.Operation{HTTPMethod: "POST", Method: method})
		}
		return true
	})
	if len(methods) < 20 {
		t.Fatalf("only %d methods were found", len(methods))
	}
	text := scrape(m)
	for _, method := range methods {
		if !strings.Contains(text, `mcp_server_operation_duration_seconds_count{mcp_method_name="`+method+`",`) {
			t.Errorf("%s has no series of its own", method)
		}
	}
}

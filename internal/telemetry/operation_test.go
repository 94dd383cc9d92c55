package telemetry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
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

// TestEveryErrorCodeHasItsLabel: whatever code of JSON-RPC or MCP is known to the reader of messages, or is answered
// by the gateway's own refusals, is one here.
func TestEveryErrorCodeHasItsLabel(t *testing.T) {
	codes := map[string]bool{}
	for path, form := range map[string]string{"../mcp/protocol.go": `= (-32\d{3}) `, "../fault/fault.go": `, (-32\d{3})}`} {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(form).FindAllStringSubmatch(string(source), -1) {
			codes[found[1]] = true
		}
	}
	if len(codes) < 6 || !codes["-32020"] || !codes["-32003"] {
		t.Fatalf("only %v were found", codes)
	}
	m := telemetry.NewMetrics("v1", "abc")
	for text := range codes {
		code, _ := strconv.ParseInt(text, 10, 64)
		m.Operated(telemetry.Operation{HTTPMethod: "POST", Method: "ping", Ending: telemetry.Ending{Status: 200, Code: code}})
	}
	text := scrape(m)
	for code := range codes {
		if !strings.Contains(text, `mcp_server_operation_duration_seconds_count{error_type="`+code+`",mcp_method_name="ping",network_transport="tcp",rpc_response_status_code="`+code+`"} 1`) {
			t.Errorf("%s has no series of its own", code)
		}
	}
}

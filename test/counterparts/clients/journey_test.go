package clients_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// What the everything-server of the Go SDK is called, has and says.
const (
	serverName = "mcp-conformance-test-server"
	simpleTool = "test_simple_text"
	simpleText = "This is a simple text response for testing."
)

// raiseEverything is raise before the everything-server of the Go SDK: without sessions for the modern era.
func raiseEverything(t *testing.T, sessions bool) *stand {
	t.Helper()
	program := lab.GoInstall(t, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server@v1.8.0")
	address := fmt.Sprintf("127.0.0.1:%d", lab.Port(t))
	lab.Start(t, lab.Command{
		Name: program, Args: []string{"-http", address, fmt.Sprintf("-stateless=%t", !sessions)}, Ready: lab.Answers("http://" + address),
	})
	return raise(t, "http://"+address)
}

// TestJourney: each program connects with a token header, lists the tools, calls one, and reads the result.
func TestJourney(t *testing.T) {
	lab.Need(t)
	t.Parallel()
	for _, sessions := range []bool{true, false} {
		s := raiseEverything(t, sessions)
		for _, program := range []struct {
			name string
			play func(*testing.T)
		}{
			{"TypeScript SDK, first generation", func(t *testing.T) { s.journey(t, "one") }},
			{"TypeScript SDK, second generation", func(t *testing.T) { s.journey(t, "two") }},
			{"TypeScript SDK, second generation, modern era", func(t *testing.T) { s.journey(t, "modern") }},
			{"mcp-remote", s.remote},
			{"Inspector CLI", s.inspector},
		} {
			if sessions && strings.Contains(program.name, "modern") {
				continue // that era has none
			}
			t.Run(fmt.Sprintf("%s, sessions %t", program.name, sessions), func(t *testing.T) {
				before := len(s.judge.Requests())
				program.play(t)
				s.arrived(t, before)
			})
		}
	}
}

func (s *stand) journey(t *testing.T, generation string) {
	var saw struct {
		Server, Text string
		Tools        []string
	}
	s.sdk(t, generation, s.endpoint, "journey", simpleTool, ann, &saw)
	if saw.Server != serverName || saw.Text != simpleText || !slices.Contains(saw.Tools, simpleTool) {
		t.Errorf("the client saw %+v", saw)
	}
}

// remote speaks to mcp-remote as a desktop client does: over its standard input and output.
func (s *stand) remote(t *testing.T) {
	cmd := exec.Command(s.node, filepath.Join(s.modules, "mcp-remote", "dist", "proxy.js"), s.endpoint,
		"--transport", "http-only", "--header", "Authorization:${BEARER}")
	dir := t.TempDir()
	said := &fake.Log{}
	cmd.Env, cmd.Stderr = lab.Environment("HOME="+dir, "MCP_REMOTE_CONFIG_DIR="+dir, "BROWSER=/bin/true", "BEARER=Bearer "+s.Token("ann")), said
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill() // where it did not end with its standard input
		}
		if t.Failed() {
			t.Logf("mcp-remote:\n%s", strings.ReplaceAll(said.String(), s.Token("ann"), "[token]"))
		}
	})
	cs, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.CommandTransport{Command: cmd},
		&mcp.ClientSessionOptions{ProtocolVersion: "2025-11-25"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tool, err := range cs.Tools(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	result, err := cs.CallTool(t.Context(), &mcp.CallToolParams{Name: simpleTool, Arguments: map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok || text.Text != simpleText || !slices.Contains(names, simpleTool) || cs.InitializeResult().ServerInfo.Name != serverName {
		t.Errorf("the client saw %+v, %q and %+v", cs.InitializeResult().ServerInfo, names, result.Content)
	}
	if err := cs.Close(); err != nil {
		t.Logf("close: %v", err) // its exit code
	}
}

func (s *stand) inspector(t *testing.T) {
	dir := t.TempDir()
	ask := func(answer any, args ...string) {
		t.Helper()
		args = append([]string{
			filepath.Join(s.modules, "@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js"), "--cli",
			"--transport", "http", "--server-url", s.endpoint, "--header", "Authorization: Bearer " + s.Token("ann"),
		}, args...)
		out, err := lab.Output(t, dir, lab.Patience, lab.Environment("HOME="+dir, "BROWSER=/bin/true"), s.node, args...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := json.Unmarshal([]byte(out[max(strings.Index(out, "{"), 0):]), answer); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	var list struct{ Tools []struct{ Name string } }
	ask(&list, "--method", "tools/list")
	var result struct{ Content []struct{ Type, Text string } }
	ask(&result, "--method", "tools/call", "--tool-name", simpleTool)
	named := slices.ContainsFunc(list.Tools, func(tool struct{ Name string }) bool { return tool.Name == simpleTool })
	if !named || len(result.Content) != 1 || result.Content[0].Text != simpleText {
		t.Errorf("the client saw %+v and %+v", list, result)
	}
}

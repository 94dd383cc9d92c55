package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// block is a fenced block of a document.
type block struct {
	file string // within the repository
	line int    // of its first line
	text string
}

// fenced gives a document's blocks of a language.
func fenced(t *testing.T, file, language string) []block {
	t.Helper()
	var all []block
	var open *block
	inside, n := false, 0
	for line := range strings.Lines(readFile(t, filepath.Join(root, file))) {
		n++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && inside:
			if open != nil {
				all = append(all, *open)
			}
			inside, open = false, nil
		case isFence:
			inside = true
			if fence == language {
				open = &block{file: file, line: n + 1}
			}
		case open != nil:
			open.text += line
		}
	}
	return all
}

// blockWith is the one block of a document that holds text.
func blockWith(t *testing.T, file, language, text string) string {
	t.Helper()
	var found []block
	for _, b := range fenced(t, file, language) {
		if strings.Contains(b.text, text) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks of %s with %q; it should be one", file, len(found), language, text)
	}
	return found[0].text
}

// commands are the commands of a block: continued lines are joined, comments left out.
func (b block) commands() []string {
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// TestEveryDocumentedCommandIsRun: a command that a document tells people to type is run by a test, or there is a reason
// why it can't be.
func TestEveryDocumentedCommandIsRun(t *testing.T) {
	known := []struct {
		prefix string
		by     func(*testing.T) // the test that runs it
		reason string           // why none does
	}{
		{"go run ./cmd/rolegate demo", TestCommandsOfTheDemo, ""}, // and demo.txtar
		{"go test ./...", nil, "it is what runs this"},
		{"aws iam ", nil, "test/counterparts/ceph types them, against Ceph's IAM"},
		{"go run ./test/bench", nil, "takes minutes; .ci/run runs it in its quick form"},
		{"rolegate check -f aws-sts-auth-config.yaml -f aws-mcp-remote-proxy.yaml", TestTutorial, ""},
		{"rolegate run -f aws-sts-auth-config.yaml -f aws-mcp-remote-proxy.yaml", TestTutorial, ""},
		{`curl -s -o /dev/null -w "%{http_code}" -X POST http://localhost:8080/mcp`, TestTutorial, ""},
		{`SESSION=$(curl -si -X POST http://localhost:8080/mcp`, TestTutorial, ""},
		{`curl -X POST http://localhost:8080/mcp`, TestTutorial, ""},
		{"rolegate run -f ... 2>&1 | grep -i ", TestTutorial, ""},
		{"rolegate run -f /etc/rolegate/", TestCommandsOfOperationsAndHelp, ""},
		{"rolegate run -f examples/aws.yaml", TestCommandsOfOperationsAndHelp, ""},
		{"rolegate check -f examples/aws.yaml", TestCommandsOfOperationsAndHelp, ""},
		{"rolegate explain -f examples/policy", TestExampleOfPolicies, ""},
		{"rolegate policy test -f examples/policy", TestExampleOfPolicies, ""},
		{"rolegate demo", TestCommandsOfTheDemo, ""}, // and demo.txtar
		{"rolegate audit verify audit.jsonl.2.gz", TestCommandsOfAudit, ""},
		{"rolegate audit trail audit.jsonl", TestCommandsOfAudit, ""},
		{"sed -n 3p audit.jsonl", TestCommandsOfAudit, ""},
	}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("documents: %d, %v", len(files), err)
	}
	files = append(files, filepath.Join(root, "docs", "reference", "cli.md"), filepath.Join(root, "README.md"))
	used := map[string]bool{}
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range fenced(t, filepath.ToSlash(name), "sh") {
		next:
			for _, c := range b.commands() {
				for _, k := range known {
					if strings.HasPrefix(c, k.prefix) {
						used[k.prefix] = true
						continue next
					}
				}
				t.Errorf("%s:%d: no test runs %q: let one, and name it here", b.file, b.line, c)
			}
		}
	}
	for _, k := range known {
		switch {
		case !used[k.prefix]:
			t.Errorf("no document has a command %q", k.prefix)
		case (k.by == nil) == (k.reason == ""):
			t.Errorf("%q: either a test runs it, or there is a reason why not", k.prefix)
		}
	}
}

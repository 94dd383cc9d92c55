package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnnouncementOfOperations: docs/operations.md shows what a process says at start, but for the time, its version and
// its addresses.
func TestAnnouncementOfOperations(t *testing.T) {
	t.Parallel()
	own := regexp.MustCompile(`\b(version|listen|admin)=\S+`)
	shown := own.ReplaceAllString(blockWith(t, "docs/operations.md", "text", "msg=serving"), "$1=X")

	env := environment("HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=") // nothing may leave this machine
	p := start(t, t.TempDir(), env, "run", "-f", readable(t, "examples/aws.yaml"), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	p.says("about=admin")
	time := regexp.MustCompile(`^time=\S+ `)
	var said strings.Builder
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, " msg=serving ") || strings.Contains(line, " about=") {
			said.WriteString(own.ReplaceAllString(time.ReplaceAllString(line, ""), "$1=X"))
		}
	}
	if diff := cmp.Diff(shown, said.String()); diff != "" {
		t.Errorf("what it says at start (-docs/operations.md +process):\n%s", diff)
	}
}

// readable is a file of the repository, as a process in any folder finds it.
func readable(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

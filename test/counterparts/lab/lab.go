// Package lab is the workbench for trying rolegate with programs that other people wrote: it installs them at pinned
// versions, starts them on loopback, puts the real rolegate between them, and stops everything afterwards.
//
// It promises that nothing listens beyond loopback, that nothing outlives its test, that what can't be had on this
// machine is a skip that says what was missing, and that an installation is whole or not there. It must never be
// imported by the product, nor install anything outside of its own folder in the user's cache.
package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

// Switch is the environment variable that turns these tests on: they need registries, time, and ports.
const Switch = "ROLEGATE_COUNTERPARTS"

// On says whether the switch is on.
func On() bool { return os.Getenv(Switch) != "" }

// Need skips the test unless the switch is on.
func Need(t testing.TB) {
	t.Helper()
	if !On() {
		t.Skipf("set %s=1 to run it (make counterparts)", Switch)
	}
}

// Patience bounds every wait; only a failure takes that long.
const Patience = 30 * time.Second

// Eventually waits for what another process does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// Port is a free port on every loopback address.
func Port(t testing.TB) int {
	t.Helper()
	port, err := stage.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Write writes a file, and gives its path.
func Write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Environment is this process's without what would lead a program elsewhere, and with more.
func Environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		if !strings.HasPrefix(name, "AWS_") && !strings.HasSuffix(name, "_PROXY") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// binary is the rolegate that Main built.
var binary string

// Main is the body of TestMain in each of the packages: it builds rolegate once for all of their tests.
func Main(m *testing.M) {
	os.Exit(func() int {
		if !On() {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "rolegate-lab-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "rolegate")
		build := exec.Command("go", "build", "-o", binary, "./cmd/rolegate")
		build.Dir, build.Stderr = tree(), os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// tree is the folder of rolegate's own module, so that what is built has the dependencies which that names, whatever
// module the tests are of.
func tree() string {
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/rolegate/rolegate")
	list.Stderr = os.Stderr
	dir, err := list.Output()
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(dir))
}

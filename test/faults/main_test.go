package faults_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
)

const (
	// patience bounds waits for what will happen; only a failure takes that long.
	patience = 30 * time.Second * slack
	// prompt is how long an answer may take that waits for nobody: below every deadline of the gateway, the
	// shortest of which is 5 s.
	prompt = 4500 * time.Millisecond * slack
)

// scratch is a folder that lives as long as the tests.
var scratch string

// runs is the environment variable that turns these tests on: they judge times, and want the machine for themselves.
const runs = "ROLEGATE_FAULTS"

func TestMain(m *testing.M) {
	if os.Getenv(runs) == "" {
		fmt.Printf("skipped: set %s=1 to run them (make faults)\n", runs)
		return
	}
	os.Exit(run(m))
}

// run runs the tests, and then looks for what they left: the goroutines and descriptors of some 150 gateways that were
// in every kind of trouble and have ended.
func run(m *testing.M) int {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(32 / slack)) // the cases wait far more than they work
	}
	for _, kv := range os.Environ() { // what a developer has set must not lead elsewhere
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			_ = os.Unsetenv(name)
		}
	}
	debug.SetGCPercent(400) // the fakes are most of the work
	var err error
	if scratch, err = os.MkdirTemp("", "rolegate-faults-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	goroutines, descriptors := runtime.NumGoroutine(), openFiles("self")
	code := m.Run()
	if code != 0 {
		return code
	}
	settled := settle(func() bool { return runtime.NumGoroutine() <= goroutines && openFiles("self") <= descriptors })
	if !settled {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		fmt.Printf("left behind: %d goroutines, %d at the start; %d descriptors, %d at the start: %q\n%s\n",
			runtime.NumGoroutine(), goroutines, openFiles("self"), descriptors, named("self"), stacks)
		return 1
	}
	return code
}

// settle waits for something to come true, for what ends on its own.
func settle(ok func() bool) bool {
	for end := time.Now().Add(10 * time.Second * slack); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// openFiles is how many descriptors a process has open; 0 where the system does not tell.
func openFiles(pid string) int {
	dir, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		return 0
	}
	return len(dir)
}

// named says what a process has open.
func named(pid string) (names []string) {
	folder := filepath.Join("/proc", pid, "fd")
	dir, _ := os.ReadDir(folder) // there where openFiles counted
	for _, fd := range dir {
		name, _ := os.Readlink(filepath.Join(folder, fd.Name())) // "" for the one that reads the folder
		names = append(names, name)
	}
	return names
}

// binary builds rolegate, once; under the race detector where the tests run under it.
var binary = sync.OnceValues(func() (string, error) {
	out := filepath.Join(scratch, "rolegate")
	args := []string{"build", "-o", out, "-ldflags", "-s -w"}
	if underRace {
		args = append(args, "-race")
	}
	said, err := exec.Command("go", append(args, "github.com/rolegate/rolegate/cmd/rolegate")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build rolegate: %w\n%s", err, said)
	}
	return out, nil
})

// book is a log of lines.
type book struct{ fake.Log }

// lines are the whole lines that hold every one of the texts.
func (b *book) lines(texts ...string) (found []string) {
	for line := range strings.Lines(b.String()) {
		ok := strings.HasSuffix(line, "\n")
		for _, text := range texts {
			ok = ok && strings.Contains(line, text)
		}
		if ok {
			found = append(found, line)
		}
	}
	return found
}

// eventually waits for something that happens elsewhere.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

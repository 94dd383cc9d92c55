package rolegate_test

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The rules of the house (docs/design.md), as tests. Whoever must break one changes docs/decisions and this file.

const module = "github.com/rolegate/rolegate"

// arrows says which of our packages each package may import. What is not listed may import nothing of ours.
var arrows = map[string][]string{
	"internal/role":      {"config", "internal/fault", "internal/token"},
	"internal/token":     {"config", "internal/fault"},
	"internal/mcp":       {"config", "internal/fault"},
	"internal/sts":       {"config", "internal/fault", "internal/token", "internal/sigv4"},
	"internal/audit":     {"config", "internal/fault", "internal/token", "internal/mcp", "internal/policy", "internal/role", "internal/sts", "internal/telemetry"},
	"internal/console":   {"config", "internal/fault", "internal/telemetry"},
	"internal/policy":    {"config", "internal/fault", "internal/token", "internal/mcp"},
	"internal/gateway":   {"config", "internal/fault", "internal/token", "internal/mcp", "internal/policy", "internal/role", "internal/sts", "internal/sigv4", "internal/audit", "internal/console", "internal/telemetry"},
	"internal/telemetry": {"config"},
	"internal/fake":      {"internal/fake"},
	"cmd/rolegate":       {"config", "internal/audit", "internal/gateway", "internal/telemetry", "internal/mcp", "internal/fake"},
	"test":               {"config", "internal", "test"},
}

// besides are those of the gateway's packages that no request goes through: the others are the path, and their number
// is a budget.
var besides = []string{"internal/fault", "internal/telemetry", "internal/console"}

// mayReveal are the files that may read what a secret type hides.
var mayReveal = []string{
	"internal/token/caller.go",     // hashes and compares it
	"internal/token/read.go",       // parses it
	"internal/sts/call.go",         // sends it to STS
	"internal/gateway/gateway.go",  // takes the session key from the configuration
	"internal/console/door.go",     // compares the console's token
	"internal/telemetry/export.go", // gives collectors their headers
}

const (
	maxFileLines     = 500
	maxFunctionLines = 80
	maxRequestPath   = 8
	maxBinary        = 35 << 20
)

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// rule finds the arrows of a package: its own, or those of the nearest folder above.
func rule(pkg string) []string {
	for dir := pkg; dir != "."; dir = filepath.Dir(dir) {
		if allowed, ok := arrows[dir]; ok {
			return allowed
		}
	}
	return nil
}

func TestArrows(t *testing.T) {
	for from := range arrows {
		if _, err := os.Stat(from); err != nil {
			t.Errorf("an arrow from nowhere: %v", err)
		}
	}
	for _, line := range goList(t, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...") {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		for _, to := range fields[1:] {
			to, ours := strings.CutPrefix(to, module+"/")
			if !ours {
				if strings.HasPrefix(to, "k8s.io/") || strings.HasPrefix(to, "sigs.k8s.io/controller-runtime") {
					t.Errorf("%s imports %s: the proxy knows no Kubernetes", from, to)
				}
				continue
			}
			if !slices.ContainsFunc(rule(from), func(a string) bool { return to == a || strings.HasPrefix(to, a+"/") }) {
				t.Errorf("%s imports %s: no arrow leads there", from, to)
			}
		}
	}
}

func TestProxyKnowsNoKubernetes(t *testing.T) {
	for _, p := range goList(t, "-deps", "./cmd/rolegate") {
		if strings.HasPrefix(p, "k8s.io/") || strings.HasPrefix(p, "sigs.k8s.io/controller-runtime") {
			t.Errorf("cmd/rolegate depends on %s", p)
		}
	}
}

func TestRequestPath(t *testing.T) {
	var path []string
	for _, p := range goList(t, "-deps", "./internal/gateway") {
		if p, ours := strings.CutPrefix(p, module+"/"); ours && strings.HasPrefix(p, "internal/") && !slices.Contains(besides, p) {
			path = append(path, p)
		}
	}
	if len(path) > maxRequestPath {
		t.Errorf("the path of a request has %d packages, the budget is %d: %s", len(path), maxRequestPath, path)
	}
}

// file is one Go file of ours.
type file struct {
	path string
	ast  *ast.File
	set  *token.FileSet
	test bool
}

func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasPrefix(filepath.Base(path), "zz_generated") {
			return nil
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, file{filepath.ToSlash(path), parsed, set, strings.HasSuffix(path, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSizes(t *testing.T) {
	for _, f := range files(t) {
		if n := f.set.File(f.ast.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines, the budget is %d", f.path, n, maxFileLines)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || f.test {
				continue
			}
			if n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, the budget is %d", f.path, fn.Name.Name, n, maxFunctionLines)
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s has an init function", f.path)
			}
		}
	}
}

func TestNothingIsSilenced(t *testing.T) {
	mark := "//no" + "lint"
	for _, f := range files(t) {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, mark) || strings.Contains(c.Text, "lint:"+"ignore") {
					t.Errorf("%s: %s", f.set.Position(c.Pos()), c.Text)
				}
			}
		}
	}
}

// TestCalls holds the rules about who may call what.
func TestCalls(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at := f.set.Position(sel.Pos())
			recv, _ := sel.X.(*ast.Ident)
			name := sel.Sel.Name
			switch {
			case recv != nil && recv.Name == "context" && name == "WithValue" && f.path != "internal/sigv4/sigv4.go":
				t.Errorf("%s: context.WithValue belongs to the seal alone", at)
			case recv != nil && recv.Name == "slog" && (name == "Default" || name == "SetDefault"):
				t.Errorf("%s: loggers are injected, not global", at)
			case name == "Reveal" && !slices.Contains(mayReveal, f.path):
				t.Errorf("%s: this file may not reveal secrets", at)
			}
			return true
		})
	}
}

func TestInterfacesAreSmall(t *testing.T) {
	for _, f := range files(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok && i.Methods.NumFields() > 2 {
				t.Errorf("%s: an interface with %d methods", f.set.Position(i.Pos()), i.Methods.NumFields())
			}
			return true
		})
	}
}

func TestEveryPackageIsExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		dir := filepath.Dir(f.path)
		explained[dir] = explained[dir] || f.ast.Doc != nil && len(f.ast.Doc.Text()) > 80
	}
	for dir, ok := range explained {
		if !ok {
			t.Errorf("%s: no comment says what the package is, what it promises and what it must never do", dir)
		}
	}
}

// TestProjectSpeaksOfItself: no sentence in it is about how it came to be.
func TestProjectSpeaksOfItself(t *testing.T) {
	foreign := []string{".." + "/shared", "/wor" + "k/", "issues " + "show", "the issue " + "asks"}
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Skip("no git checkout:", err)
	}
	for path := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		f, err := os.Open(path)
		if err != nil {
			continue // deleted, not committed yet
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<22)
		for n := 1; lines.Scan(); n++ {
			for _, word := range foreign {
				if strings.Contains(lines.Text(), word) {
					t.Errorf("%s:%d: %q", path, n, word)
				}
			}
		}
		_ = f.Close()
	}
}

func TestBinaryIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("links the binary")
	}
	out := filepath.Join(t.TempDir(), "rolegate")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/rolegate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, msg)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxBinary {
		t.Errorf("the stripped binary has %d bytes, the budget is %d", info.Size(), maxBinary)
	}
	t.Logf("%.1f MiB stripped", float64(info.Size())/(1<<20))
}

// TestPromisesAreHeld: every test that docs/security.md names exists.
func TestPromisesAreHeld(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range files(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				have[fn.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !have[m[1]] {
			t.Errorf("docs/security.md names %s, which does not exist", m[1])
		}
	}
}

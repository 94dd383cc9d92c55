package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// policyTest runs rolegate policy test in this process.
func policyTest(documents, cases string) (code int, out string) {
	var b bytes.Buffer
	code = run([]string{"policy", "test", "-f", documents, cases}, &b, &b)
	return code, b.String()
}

// TestExampleOfPolicies: the example is in order, its cases are as expected, and each of its policies matters to one.
func TestExampleOfPolicies(t *testing.T) {
	example := filepath.Join(root, "examples", "policy")
	cases := filepath.Join(example, "cases")
	var out bytes.Buffer
	if code := run([]string{"check", "-f", example}, &out, &out); code != exitOK || out.String() != "1 proxy in order\n" {
		t.Fatalf("check: %d\n%s", code, out.String())
	}
	if code, out := policyTest(example, cases); code != exitOK {
		t.Fatalf("policy test: %d\n%s", code, out)
	}
	out.Reset()
	claims := filepath.Join(t.TempDir(), "ann.json")
	if err := os.WriteFile(claims, []byte(`{"sub": "ann", "groups": ["readers"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"explain", "-f", example, "--claims", claims, "--tool", "aws___call_aws", "--args", `{"service":"s3"}`}, &out, &out); code != exitDenied {
		t.Fatalf("explain: %d\n%s", code, out.String())
	}
	documents := readFile(t, filepath.Join(example, "proxy.yaml"))
	policy := regexp.MustCompile(`(?m)^        - \|\n(?:          .*\n)+`)
	found := policy.FindAllStringIndex(documents, -1)
	if len(found) != 6 {
		t.Fatalf("%d policies in the example", len(found))
	}
	for _, at := range found {
		text := documents[at[0]:at[1]]
		file := filepath.Join(t.TempDir(), "proxy.yaml")
		if err := os.WriteFile(file, []byte(documents[:at[0]]+documents[at[1]:]), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := policyTest(file, cases); code != exitDenied || !strings.Contains(out, "--- FAIL: ") {
			t.Errorf("without this policy no case fails: %d\n%s\n%s", code, text, out)
		}
	}
}

// TestCasesBehindLinks: a folder of cases is read whatever stands in the place of it and of what is in it, and what
// can't be read is not passed over in silence.
func TestCasesBehindLinks(t *testing.T) {
	example := filepath.Join(root, "examples", "policy")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
	one := "name: a\nclaims: {sub: ann, groups: [readers]}\nexpect: {decision: allow}\n"
	write("cases/a.yaml", one)
	write("elsewhere/b.yaml", one)
	link("elsewhere", "cases/more")
	link("elsewhere/b.yaml", "cases/c.yaml")
	link("cases", "linked")
	for _, folder := range []string{"cases", "linked"} {
		if code, out := policyTest(example, filepath.Join(dir, folder)); code != exitOK || out != "ok  3 cases\n" {
			t.Errorf("%s: %d\n%s", folder, code, out)
		}
	}
	if code, out := policyTest(example, filepath.Join(dir, "linked", "c.yaml")); code != exitOK || out != "ok  1 case\n" {
		t.Errorf("a file: %d\n%s", code, out)
	}
	link("cases", "elsewhere/round")
	if code, out := policyTest(example, filepath.Join(dir, "cases")); code != exitMistake || !strings.Contains(out, "leads to a folder that it is in") {
		t.Errorf("round and round: %d\n%s", code, out)
	}
	if err := os.Remove(filepath.Join(dir, "elsewhere", "round")); err != nil {
		t.Fatal(err)
	}
	link("nowhere", "cases/lost.yaml")
	if code, out := policyTest(example, filepath.Join(dir, "cases")); code != exitMistake || !strings.Contains(out, "nowhere: no such file") {
		t.Errorf("a link to nothing: %d\n%s", code, out)
	}
}

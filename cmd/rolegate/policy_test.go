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

// TestMistakesOfCases: a file without a case is a mistake, whatever else is in the folder, and so is a value of another
// kind, told by its key and place.
func TestMistakesOfCases(t *testing.T) {
	const good = "name: a\nclaims: {sub: ann, groups: [readers]}\nexpect: {decision: allow}\n"
	const empty = ": holds no case; remove it, or write one\n"
	for text, want := range map[string]string{
		"":                 empty,
		"# nothing\n":      empty,
		"cases: []\n":      empty,
		"---\n---\n":       empty,
		"cases:\n":         ":1:7: cases is null; a list\n",
		"cases: []\nx: 1":  ":2:1: \"x\" is not a known key; one of cases\n",
		good + "call:\n":   ":4:6: call is null; a mapping\n",
		good + "call: [a]": ":4:7: call is a list; a mapping\n",
		"name: 1\nclaims: {sub: a}\nexpect: {decision: true, role: ''}\n": ":1:7: name is the number 1; a text, in quotes where it looks like something else\n" +
			":3:20: decision is true; a text, in quotes where it looks like something else\n" +
			":3:32: role is empty; a text, in quotes where it looks like something else\n",
		"name: a\nclaims: {sub: a}\nexpect: {scopes: [a, 2]}\ncall: {tool: t, hints: {readOnlyHint: 'yes'}}\n": ":3:22: a scope is the number 2; a text, in quotes where it looks like something else\n" +
			":4:39: readOnlyHint is the text \"yes\"; true or false\n",
		"name: a\nclaims: {sub: a}\nexpect: {}\n": ":3:9: expect has no decision; allow, deny or step-up\n",
		"- name: a\n": ":1:1: the case is a list; a mapping\n",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "b.yaml")
		for name, text := range map[string]string{filepath.Join(dir, "a.yaml"): good, file: text} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, out := policyTest(filepath.Join(root, "examples", "policy"), dir)
		if out = strings.ReplaceAll(out, file, ""); code != exitMistake || out != want {
			t.Errorf("%q: %d\ngot  %s\nwant %s", text, code, out, want)
		}
	}
}

// TestCheckPolicies: a mistake in a policy is told once, and a warning stops nothing.
func TestCheckPolicies(t *testing.T) {
	example := readFile(t, filepath.Join(root, "examples", "policy", "proxy.yaml"))
	list := regexp.MustCompile(`(?ms)^      policies:\n(        .*\n)+`)
	if len(list.FindAllString(example, -1)) != 1 {
		t.Fatal("the example has no list of policies")
	}
	cases := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(cases, []byte("name: a\nclaims: {sub: ann, groups: [readers]}\nexpect: {decision: allow}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for policies, want := range map[string]struct {
		code int
		out  string
	}{
		`" "`: {exitMistake, `: authzConfig.inline.policies[0]: is empty; a Cedar policy` + "\n1 mistake\n"},
		`'forbid(principal, action, resource == Resource::"a/b");'`:                                     {exitOK, `: warning: authzConfig.inline.policies[0]: line 1, column 49: no resource has the id "a/b": each of : / \ ? & = # . and space in a URI is _ in its id; write Resource::"a_b", or resource.uri == "a/b"` + "\n1 proxy in order\n"},
		`'@id("a") forbid(principal, action, resource); @id("a") forbid(principal, action, resource);'`: {exitOK, `: warning: authzConfig.inline.policies[0]: line 1, column 48: the ID "a" is that of the policy in policies[0], line 1, too; choose another @id: decisions name this one "a#2"` + "\n1 proxy in order\n"},
	} {
		file := filepath.Join(t.TempDir(), "proxy.yaml")
		if err := os.WriteFile(file, []byte(list.ReplaceAllLiteralString(example, "      policies: ["+policies+"]\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := run([]string{"check", "-f", file}, &out, &out)
		if got := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(file)+`:\d+`).ReplaceAllString(out.String(), ""); code != want.code || got != want.out {
			t.Errorf("%s: %d\ngot  %s\nwant %s", policies, code, got, want.out)
		}
		if code, out := policyTest(file, cases); want.code == exitOK && (code != exitOK || !strings.HasSuffix(out, "ok  1 case\n")) {
			t.Errorf("%s: policy test: %d\n%s", policies, code, out)
		}
	}
}

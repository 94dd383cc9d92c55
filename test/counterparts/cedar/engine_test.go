package cedar_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// engine is Cedar's own, in a process beside the test: a question on a line, an answer on a line.
type engine struct {
	in  io.Writer
	out *bufio.Reader
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	modules := lab.NPM(t, "testdata")
	cmd := exec.Command(lab.Program(t, "node"), filepath.Join("testdata", "engine.cjs"), modules)
	said := &fake.Log{}
	cmd.Env, cmd.Stderr = lab.Environment(), said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it, where it still listens
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && said.String() != "" {
			t.Logf("the engine:\n%s", said)
		}
	})
	return &engine{in: in, out: bufio.NewReader(out)}
}

// verdict is what the engine says: allow or deny, the policies that determined it, and those that could not be
// evaluated.
type verdict struct {
	allow  bool
	reason []string
	errors []string
}

// answer is what the engine writes on a line.
type answer struct {
	Type     string
	Response struct {
		Decision    string
		Diagnostics struct {
			Reason []string
			Errors []struct{ PolicyID string }
		}
	}
}

// say gives the engine one line of JSON, and reads its answer.
func (e *engine) say(words string) (a answer, err error) {
	if _, err := io.WriteString(e.in, strings.ReplaceAll(words, "\n", " ")+"\n"); err != nil {
		return a, err
	}
	line, err := e.out.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Type != "success" {
		return a, fmt.Errorf("the engine refuses it: %s", line)
	}
	return a, nil
}

// load gives the engine the policies for what is asked next.
func (e *engine) load(policies []written) error {
	texts := members{}
	for _, p := range policies {
		texts[p.id] = jsonText(p.text)
	}
	_, err := e.say(`{"staticPolicies": ` + object(texts) + "}")
	return err
}

// ask asks one question, in JSON.
func (e *engine) ask(question string) (verdict, error) {
	a, err := e.say(question)
	if err != nil {
		return verdict{}, err
	}
	said := a.Response
	if said.Decision != "allow" && said.Decision != "deny" {
		return verdict{}, fmt.Errorf("no decision: %q", said.Decision)
	}
	v := verdict{allow: said.Decision == "allow", reason: said.Diagnostics.Reason}
	for _, failed := range said.Diagnostics.Errors {
		v.errors = append(v.errors, failed.PolicyID)
	}
	return v, nil
}

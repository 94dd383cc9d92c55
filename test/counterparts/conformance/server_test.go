package conformance_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// TestServer: what the suite finds in a server, it finds in the same server behind rolegate, check by check.
func TestServer(t *testing.T) {
	s := newSuite(t)
	program := lab.GoInstall(t, sdk+"everything-server"+version)
	for revision, flags := range map[string][]string{
		"2025-11-25": {"-stateless=false"},
		"2026-07-28": nil,
	} {
		t.Run(revision, func(t *testing.T) {
			at := fmt.Sprintf("127.0.0.1:%d", lab.Port(t))
			lab.Start(t, lab.Command{Name: program, Args: append(flags, "-http="+at), Ready: lab.Answers("http://" + at)})
			target := "http://" + at + "/mcp"
			ask := func(url string) results {
				found, _, _ := s.run(t, nil, "server", "--url", url, "--requirements", revision)
				return found
			}

			direct := ask(target)
			scenarios, checks, good := direct.count()
			t.Logf("%d scenarios, %d checks, %d of them good", scenarios, checks, good)
			if scenarios < 30 || good < 80 {
				t.Fatal("the suite does not find the server itself")
			}

			f := newFront(t)
			f.point(t, "http://"+at, "")
			same(t, "a plain front", direct, ask(f.URL+"/mcp"))

			c := newChain(t, target)
			same(t, "rolegate", direct, ask(c.url))
			t.Logf("%d requests came through rolegate", c.through(t))

			judged := newChain(t, target, permitAll...)
			same(t, "rolegate with policies that permit all", direct, ask(judged.url))
			t.Logf("%d requests came through rolegate, %d of them to learn annotations; decisions: %v", judged.through(t), judged.annotations(t), judged.decisions(t))
		})
	}
}

// permitAll is a policy set that permits all that the suite asks for: methods that are no calls, prompts or resources only
// a policy permits that names them. Each list is filtered, and the last of the policies makes rolegate ask the server for
// the annotations of its tools.
var permitAll = []string{
	"authzConfig:",
	"  type: inline",
	"  inline:",
	"    policies:",
	"      - permit (principal, action, resource);",
	`      - permit (principal, action in [Action::"tasks/get", Action::"tasks/list", Action::"tasks/result", Action::"tasks/update"], resource);`,
	`      - permit (principal, action in [Action::"tasks/cancel", Action::"unknown/method"], resource);`,
	`      - permit (principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`,
}

// annotations says how many requests were rolegate's own, for the annotations of tools.
func (c chain) annotations(t *testing.T) (n int) {
	t.Helper()
	for _, r := range c.judge.Requests() {
		if bytes.Contains(r.Body, []byte(`"rolegate-`)) {
			n++
		}
	}
	if n == 0 {
		t.Error("rolegate did not ask for annotations")
	}
	return n
}

var decided = regexp.MustCompile(`(?m)^rolegate_policy_decisions_total\{decision="(\w+)"\} (\d+)$`)

// decisions says how often policies said what.
func (c chain) decisions(t *testing.T) map[string]string {
	t.Helper()
	resp, err := http.Get(c.gate.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range decided.FindAllStringSubmatch(string(page), -1) {
		all[m[1]] = m[2]
	}
	if all["allow"] == "" {
		t.Errorf("policies allowed nothing: %v", all)
	}
	return all
}

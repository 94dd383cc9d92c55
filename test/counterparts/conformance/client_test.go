package conformance_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// In a client scenario the suite starts a server and runs a command with the server's URL: here it is this program,
// which asks the test for a rolegate before that server, and runs the real client with rolegate's URL.

const (
	brokerName = "ROLEGATE_CONFORMANCE_BROKER" // URL of the test
	clientName = "ROLEGATE_CONFORMANCE_CLIENT" // path of the real client
)

// client is this program as the suite's client. It gives the exit code.
func client(broker string) int {
	resp, err := http.Post(broker, "text/plain", strings.NewReader(os.Args[len(os.Args)-1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	url, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, "no gateway:", resp.Status, err)
		return 1
	}
	cmd := exec.Command(os.Getenv(clientName), string(url))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// ask is a server's URL, and where the URL of the rolegate before it is awaited.
type ask struct {
	target string
	answer chan string
}

// broker takes the questions of client to the goroutine of the test, which alone may start things.
func broker(t *testing.T) (url string, asks chan ask) {
	t.Helper()
	asks = make(chan ask)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a := ask{string(target), make(chan string, 1)}
		select {
		case asks <- a:
			_, _ = io.WriteString(w, <-a.answer)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asks
}

// inapplicable says why a scenario can't be run with rolegate in the middle; "" where it can.
func inapplicable(scenario string) string {
	switch {
	case strings.HasPrefix(scenario, "auth/"):
		return "the server that asks for tokens is the scenario's, and with rolegate in the middle it is rolegate"
	case strings.HasPrefix(scenario, "sep-2640-"):
		return "the client does not have the extension"
	}
	return ""
}

// scenarios are the client scenarios of the suite with the revisions that they are for.
func scenarios(t *testing.T, s suite) map[string][]string {
	t.Helper()
	said, err := lab.Output(t, ".", suiteTime, nil, s.node, s.script, "list", "--client")
	if err != nil {
		t.Fatalf("list the scenarios: %v\n%s", err, said)
	}
	all := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^ +- (\S+) \[(.*)\]$`).FindAllStringSubmatch(said, -1) {
		all[m[1]] = strings.Split(m[2], ",")
	}
	if len(all) < 40 {
		t.Fatalf("the scenarios can't be read:\n%s", said)
	}
	return all
}

// TestClient: what the suite finds in a client that it serves itself, it finds in the same client behind rolegate,
// check by check.
func TestClient(t *testing.T) {
	s := newSuite(t)
	program := lab.GoInstall(t, sdk+"everything-client"+version)
	all := scenarios(t, s)
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if why := inapplicable(name); why != "" {
			out[why] = append(out[why], name)
			continue
		}
		for _, revision := range []string{"2025-11-25", "2026-07-28"} {
			if slices.Contains(all[name], revision) {
				t.Run(name+"/"+revision, func(t *testing.T) { clientScenario(t, s, program, name, revision) })
			}
		}
	}
	for why, names := range out {
		t.Logf("not applicable, since %s: %s", why, strings.Join(names, ", "))
	}
}

type ran struct {
	found  results
	said   string
	failed bool
}

func clientScenario(t *testing.T, s suite, program, name, revision string) {
	args := []string{"client", "--scenario", name, "--spec-version", revision, "--command"}
	var direct ran
	direct.found, direct.said, direct.failed = s.run(t, nil, append(args, program)...)
	if _, checks, good := direct.found.count(); good == 0 {
		t.Fatalf("the suite does not find the client itself: %d checks\n%s", checks, direct.said)
	}

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	url, asks := broker(t)
	done := make(chan ran, 1)
	go func() {
		var r ran
		r.found, r.said, r.failed = s.run(t, []string{brokerName + "=" + url, clientName + "=" + program}, append(args, self)...)
		done <- r
	}()
	var c []chain
	for {
		select {
		case a := <-asks:
			c = append(c, newChain(t, a.target))
			a.answer <- c[len(c)-1].url
		case got := <-done:
			if len(c) != 1 {
				t.Fatalf("%d clients asked for rolegate\n%s", len(c), got.said)
			}
			same(t, "rolegate", direct.found, got.found)
			if diff := cmp.Diff(direct.failed, got.failed); diff != "" {
				t.Errorf("the suite fails (-direct +through):\n%s\n%s", diff, got.said)
			}
			_, checks, good := direct.found.count()
			t.Logf("%d checks, %d of them good; %d requests came through rolegate", checks, good, c[0].through(t))
			return
		}
	}
}

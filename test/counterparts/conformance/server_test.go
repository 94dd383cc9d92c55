package conformance_test

import (
	"fmt"
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
		})
	}
}

package lab

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
)

// Process runs beside a test, and is ended with it.
type Process struct {
	*exec.Cmd
	Log   *fake.Log     // standard error, and standard output unless the Command says where that goes
	Ended chan struct{} // closed when it has ended
}

// Command is what to start.
type Command struct {
	Name string
	Args []string
	Env  []string // nil: Environment()
	Dir  string
	Out  io.Writer // standard output; nil: the Log
	// Ready says when it may be used; nil: at once. A URL to poll is Answers(url).
	Ready func() bool
}

// Start starts a command in a process group of its own, and waits until it is ready. When the test ends the group is
// asked to end, and killed where it does not; where the test failed, what it wrote is shown.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	Need(t)
	p := &Process{Cmd: exec.Command(c.Name, c.Args...), Log: &fake.Log{}, Ended: make(chan struct{})}
	group(p.Cmd)
	p.Dir, p.Env, p.Stdout, p.Stderr, p.WaitDelay = c.Dir, c.Env, p.Log, p.Log, time.Second
	if c.Out != nil {
		p.Stdout = c.Out
	}
	if c.Env == nil {
		p.Env = Environment()
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.Ended)
		_ = p.Wait() // its exit code says it
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s %s:\n%s", filepath.Base(c.Name), strings.Join(c.Args, " "), p.Log)
		}
	})
	if c.Ready != nil {
		Eventually(t, filepath.Base(c.Name)+" is ready", func() bool {
			select {
			case <-p.Ended:
				t.Fatalf("%s ended before it was ready", c.Name)
			default:
			}
			return c.Ready()
		})
	}
	return p
}

// Stop ends the process and all that it started.
func (p *Process) Stop() {
	_ = terminate(p.Cmd)
	select {
	case <-p.Ended:
	case <-time.After(10 * time.Second):
	}
	_ = kill(p.Cmd)
	<-p.Ended
}

// Answers says whether somebody answers HTTP at a URL, whatever the answer.
func Answers(url string) func() bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return func() bool {
		resp, err := client.Get(url)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return true
	}
}

// Gate is a rolegate that serves.
type Gate struct {
	*Process
	URL     string    // of the MCP endpoint
	Admin   string    // base URL
	Records *fake.Log // of audit: what it writes to standard output
}

// Serve starts the real binary with documents on a loopback address ("" is 127.0.0.1 and a free port), and waits until
// it is ready. Its log must never hold a token.
func Serve(t testing.TB, documents, listen string, env []string, args ...string) *Gate {
	t.Helper()
	g := start(t, documents, listen, env, args...)
	Eventually(t, "the gateway is ready", func() bool { return g.Ready() })
	return g
}

// ServeUnready is Serve for a gateway that can't be ready yet.
func ServeUnready(t testing.TB, documents, listen string, env []string, args ...string) *Gate {
	t.Helper()
	return start(t, documents, listen, env, args...)
}

func start(t testing.TB, documents, listen string, env []string, args ...string) *Gate {
	t.Helper()
	Need(t)
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	dir := t.TempDir()
	file := Write(t, dir, "documents.yaml", documents)
	args = append([]string{"run", "-f", file, "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug"}, args...)
	records := &fake.Log{}
	g := &Gate{Process: Start(t, Command{Name: binary, Args: args, Env: Environment(env...), Dir: dir, Out: records}), Records: records}
	t.Cleanup(func() {
		if strings.Contains(g.Log.String()+g.Records.String(), "eyJ") {
			t.Error("the gateway's log, or its records, hold a token")
		}
	})
	var told struct{ Msg, Listen, Endpoint, Admin string }
	Eventually(t, "the gateway serves", func() bool {
		for line := range strings.Lines(g.Log.String()) {
			if json.Unmarshal([]byte(line), &told) == nil && told.Msg == "serving" {
				return true
			}
		}
		select {
		case <-g.Ended:
			t.Fatalf("the gateway does not start:\n%s", g.Log)
		default:
		}
		return false
	})
	g.URL, g.Admin = "http://"+told.Listen+told.Endpoint, "http://"+told.Admin
	return g
}

// Ready says whether it calls itself ready.
func (g *Gate) Ready() bool {
	resp, err := http.Get(g.Admin + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

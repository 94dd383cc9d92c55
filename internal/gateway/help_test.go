package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	trouble "github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// stand is a gateway among the fakes.
type stand struct {
	t     *testing.T
	world *fake.World
	gate  *gateway.Gateway
	house *gateway.House
	url   string // of the MCP endpoint
	log   *fake.Log
}

// edit changes the documents before they are loaded.
type edit func(w *fake.World, documents string) string

func replace(old, with string) edit {
	return func(_ *fake.World, d string) string {
		if !strings.Contains(d, old) {
			panic("no such text in the documents: " + old)
		}
		return strings.Replace(d, old, with, 1)
	}
}

// spec adds lines to the proxy's spec, each "key: value".
func spec(lines ...string) edit {
	return replace("  transport: streamable-http\n", "  transport: streamable-http\n  "+strings.Join(lines, "\n  ")+"\n")
}

func load(t testing.TB, documents string) *config.Proxy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "documents.yaml")
	if err := os.WriteFile(file, []byte(documents), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load([]string{file}, config.LoadOptions{Refs: filepath.Dir(file), CompileAuthz: gateway.CompileAuthz})
	if err := problems.Err(); err != nil {
		t.Fatalf("documents:\n%v", err)
	}
	return cfg
}

func newWorld(t testing.TB, o fake.Options) *fake.World {
	t.Helper()
	if o.IDP.Algs == nil {
		o.IDP.Algs = []jose.SignatureAlgorithm{jose.ES256} // RSA keys take longer to make than most cases
	}
	w, err := fake.NewWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	t.Setenv("AWS_ENDPOINT_URL_STS", w.STS.URL())
	return w
}

// stage starts the fakes and a gateway between them. At the end nothing may have leaked to the backend or into the log.
func stage(t *testing.T, edits ...edit) *stand {
	t.Helper()
	return stageWith(t, fake.Options{}, edits...)
}

func stageWith(t *testing.T, o fake.Options, edits ...edit) *stand {
	t.Helper()
	s := &stand{t: t, world: newWorld(t, o), log: &fake.Log{}}
	documents := s.world.Documents()
	for _, e := range edits {
		documents = e(s.world, documents)
	}
	s.house = gateway.NewHouse(slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), telemetry.NewMetrics("test", "test"))
	gate, problems := gateway.New(load(t, documents), s.house, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s.gate = gate
	server := httptest.NewServer(gate)
	t.Cleanup(func() {
		server.Close()
		gate.Retire(nil)
	})
	s.url = server.URL + "/mcp"
	t.Cleanup(s.nothingLeaked)
	return s
}

// nothingLeaked looks for secrets where they must not be.
func (s *stand) nothingLeaked() {
	for _, leak := range s.world.Leaks(s.log.String()) {
		s.t.Error(leak)
	}
}

// down is a provider that does not answer.
var down = trouble.Trouble{Status: 503}

// call is one request of a test.
type call struct {
	user    string // "" sends no token
	token   string // instead of user's
	method  string // HTTP method, POST by default
	body    string
	headers map[string]string
	session string
}

// rpc is a JSON-RPC request.
func rpc(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

var (
	listTools = rpc("tools/list", "{}")
	whoami    = rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"whoami"}}`)
)

func (s *stand) request(ctx context.Context, c call) *http.Request {
	s.t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, c.method, s.url, strings.NewReader(c.body))
	if err != nil {
		s.t.Fatal(err)
	}
	if c.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.user != "" {
		c.token = s.world.Token(c.user)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	for k, v := range c.headers {
		req.Header.Set(k, v)
	}
	return req
}

// result is an answer, read to its end.
type result struct {
	status  int
	header  http.Header
	body    string
	session string
}

func (s *stand) do(c call) result {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(s.request(s.t.Context(), c))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("read answer: %v", err)
	}
	return result{resp.StatusCode, resp.Header, string(body), resp.Header.Get("Mcp-Session-Id")}
}

// open initializes a session.
func (s *stand) open(user string) string {
	s.t.Helper()
	r := s.do(call{user: user, body: initialize})
	if r.status != http.StatusOK || r.session == "" {
		s.t.Fatalf("initialize: %d %s", r.status, r.body)
	}
	s.do(call{user: user, session: r.session, body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`})
	return r.session
}

// refused checks a refusal: status, JSON-RPC form, id, and that no cause is told.
func (r result) refused(t *testing.T, status int) (message string) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	var m struct {
		JSONRPC string
		ID      json.RawMessage
		Error   struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal([]byte(r.body), &m); err != nil || m.JSONRPC != "2.0" || m.Error.Code == 0 || m.Error.Message == "" {
		t.Fatalf("not a JSON-RPC error: %q (%v)", r.body, err)
	}
	if string(m.ID) == "null" {
		t.Errorf("the answer has an id of null: %s", r.body)
	}
	for _, secret := range []string{"127.0.0.1", "localhost", "dial tcp", "arn:aws", "eyJ"} {
		if strings.Contains(r.body, secret) {
			t.Errorf("the answer holds %q: %s", secret, r.body)
		}
	}
	return m.Error.Message
}

// eventually waits for something that happens elsewhere.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it did not happen: %s", what)
}

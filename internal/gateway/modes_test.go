package gateway_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// gate serves documents that the tutorial does not have.
func gate(t *testing.T, documents string, refs map[string]string) (url string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range refs {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "documents.yaml")
	if err := os.WriteFile(file, []byte(documents), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load([]string{file}, config.LoadOptions{Refs: dir})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	g, problems := gateway.New(cfg, gateway.NewHouse(nil, telemetry.NewMetrics("test", "test")), nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(func() { server.Close(); g.Retire(nil) })
	return server.URL + "/mcp"
}

func post(t *testing.T, url, body string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

// Callers that nobody asks for a token still don't get theirs carried on, and nothing is signed.
func TestUnauthenticatedInSoManyWords(t *testing.T) {
	var saw http.Header
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header.Clone()
		w.Header().Set("Mcp-Session-Id", "abc")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	defer backend.Close()
	url := gate(t, `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: open}
spec:
  remoteUrl: `+backend.URL+`/mcp
  unauthenticated: {acknowledge: true}
`, nil)
	resp, body := post(t, url, initialize, map[string]string{"Authorization": "Bearer something", "Cookie": "a=b"})
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	for _, name := range []string{"Authorization", "Cookie", "X-Amz-Date"} {
		if saw.Get(name) != "" {
			t.Errorf("the backend saw %s", name)
		}
	}
	session := resp.Header.Get("Mcp-Session-Id")
	if session == "abc" || session == "" {
		t.Errorf("session %q", session)
	}
	if post(t, url, listTools, map[string]string{"Mcp-Session-Id": session}); saw.Get("Mcp-Session-Id") != "abc" {
		t.Errorf("the backend saw session %q", saw.Get("Mcp-Session-Id"))
	}
}

// The remote, the provider and STS are each trusted by a bundle that is named, and not without.
func TestPrivateAuthorities(t *testing.T) {
	backend := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	defer backend.Close()
	backend.Config.ErrorLog = nil
	bundle := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: backend.Certificate().Raw}))
	documents := `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: private}
spec:
  remoteUrl: ` + backend.URL + `/mcp
  unauthenticated: {acknowledge: true}
`
	if resp, body := post(t, gate(t, documents, nil), initialize, nil); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("a stranger's certificate: %d %s", resp.StatusCode, body)
	}
	named := documents + "  caBundleRef: {configMapRef: {name: roots, key: ca.crt}}\n"
	if resp, body := post(t, gate(t, named, map[string]string{"configmaps/roots/ca.crt": bundle}), initialize, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a named authority: %d %s", resp.StatusCode, body)
	}
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, []byte(bundle), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	if resp, body := post(t, gate(t, documents, nil), initialize, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("AWS_CA_BUNDLE: %d %s", resp.StatusCode, body)
	}
}

func TestKeysThatSTSRefusesAreWarnedOf(t *testing.T) {
	s := stageWith(t, fake.Options{IDP: idp.Options{Algs: []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA}}})
	eventually(t, "the warning", func() bool {
		return strings.Contains(s.log.String(), "keys whose tokens AWS STS refuses")
	})
	if n := strings.Count(s.log.String(), "keys whose tokens AWS STS refuses"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
}

// Two replicas that share a key open each other's sessions; two that don't, don't.
func TestReplicasShareSessionsThroughTheKey(t *testing.T) {
	var saw string
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header.Get("Mcp-Session-Id")
		w.Header().Set("Mcp-Session-Id", "abc")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	}))
	defer backend.Close()
	documents := `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: twins}
spec:
  remoteUrl: ` + backend.URL + `/mcp
  unauthenticated: {acknowledge: true}
`
	keyed, refs := documents+"  sessionKeyRef: {name: session, key: key}\n", map[string]string{"secrets/session/key": strings.Repeat("k", 32)}
	resp, _ := post(t, gate(t, keyed, refs), initialize, nil)
	if resp, _ = post(t, gate(t, keyed, refs), listTools, map[string]string{"Mcp-Session-Id": resp.Header.Get("Mcp-Session-Id")}); resp.StatusCode != http.StatusOK || saw != "abc" {
		t.Errorf("the other replica: %d, session %q", resp.StatusCode, saw)
	}
	resp, _ = post(t, gate(t, documents, nil), initialize, nil)
	if resp, _ = post(t, gate(t, documents, nil), listTools, map[string]string{"Mcp-Session-Id": resp.Header.Get("Mcp-Session-Id")}); resp.StatusCode != http.StatusNotFound {
		t.Errorf("another key: %d", resp.StatusCode)
	}
}

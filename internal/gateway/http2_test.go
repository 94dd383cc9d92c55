package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
)

// behind puts a remote of the test's own in the place of the fake.
func behind(t *testing.T, remote http.HandlerFunc) edit {
	t.Helper()
	server := httptest.NewServer(remote)
	t.Cleanup(server.Close)
	return func(w *fake.World, d string) string {
		return strings.Replace(d, w.RemoteURL(), server.URL+"/mcp", 1)
	}
}

// pausing is a remote whose answer pauses between its two halves, and ends early where the gateway goes away.
func pausing(media string, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(pause):
			_, _ = io.WriteString(w, "data: two\n\n")
		case <-r.Context().Done():
		}
	}
}

// serveTLS is serve over TLS, and a client that speaks HTTP/2 there.
func serveTLS(t *testing.T, settings gateway.Settings, edits ...edit) (s *stand, term func() error, client *http.Client) {
	t.Helper()
	lender := httptest.NewTLSServer(nil) // of its certificate
	defer lender.Close()
	pair := lender.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings.TLSCert, settings.TLSKey = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, block := range map[string]*pem.Block{
		settings.TLSCert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		settings.TLSKey:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _, term = serve(t, settings, edits...)
	s.url = strings.Replace(s.url, "http:", "https:", 1)
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return s, term, &http.Client{Transport: transport}
}

// begin sends a call and gives the answer, of which only the headers have come.
func (s *stand) begin(ctx context.Context, client *http.Client, c call) *http.Response {
	s.t.Helper()
	resp, err := client.Do(s.request(ctx, c))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// limits.writeTimeout is for a client that does not read, not for a remote that has nothing to say.
func TestAQuietAnswerOutlivesWriteTimeout(t *testing.T) {
	s, _, client := serveTLS(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {writeTimeout: 1s}"), behind(t, func(w http.ResponseWriter, r *http.Request) {
		media := map[string]string{http.MethodGet: "text/event-stream", http.MethodPost: "application/json"}[r.Method]
		pausing(media, 2*time.Second)(w, r)
	}))
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: client.Transport.(*http.Transport).TLSClientConfig.Clone()}}
	var all sync.WaitGroup
	for proto, client := range map[string]*http.Client{"HTTP/1.1": old, "HTTP/2.0": client} {
		for _, c := range []call{{user: "ann", method: http.MethodGet}, {user: "ann", body: listTools}} {
			all.Go(func() {
				resp, err := client.Do(s.request(t.Context(), c))
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = resp.Body.Close() }()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.Proto != proto || string(body) != "data: one\n\ndata: two\n\n" {
					t.Errorf("%s, %s over %s: %q, %v", proto, resp.Header.Get("Content-Type"), resp.Proto, body, err)
				}
			})
		}
	}
	all.Wait()
}

func TestEventsArriveOneByOneOverHTTP2(t *testing.T) {
	remote, read := stepwise(t)
	s, _, client := serveTLS(t, gateway.Settings{DrainTimeout: time.Second}, behind(t, remote))
	resp := s.begin(t.Context(), client, call{user: "ann", body: rpc("tools/call", `{"name":"x"}`)})
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %d", resp.Proto, resp.StatusCode)
	}
	oneByOne(t, resp, read)
}

func TestHangingUpReachesTheBackendOverHTTP2(t *testing.T) {
	gone := make(chan struct{})
	s, _, client := serveTLS(t, gateway.Settings{DrainTimeout: time.Second}, behind(t, func(w http.ResponseWriter, r *http.Request) {
		pausing("text/event-stream", time.Minute)(w, r)
		close(gone)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	other := s.begin(t.Context(), client, call{user: "ann", method: http.MethodOptions}) // of the same connection
	if resp := s.begin(ctx, client, call{user: "ann", method: http.MethodGet}); resp.ProtoMajor != 2 || other.ProtoMajor != 2 {
		t.Fatal(resp.Proto)
	}
	cancel()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the backend's request goes on")
	}
	eventually(t, "the log says so", func() bool { return strings.Contains(s.log.String(), `"decision":"aborted"`) })
}

func TestBrokenAnswerIsNotPassedOffAsWholeOverHTTP2(t *testing.T) {
	s, _, client := serveTLS(t, gateway.Settings{DrainTimeout: time.Second}, behind(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	resp := s.begin(t.Context(), client, call{user: "ann", method: http.MethodGet})
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client read a clean end: %q", body)
	}
}

func TestSlowBodyIs408OverHTTP2(t *testing.T) {
	s, _, client := serveTLS(t, gateway.Settings{DrainTimeout: time.Second}, spec("limits: {bodyTimeout: 200ms}"))
	body, more := io.Pipe()
	defer func() { _ = more.Close() }()
	go func() { _, _ = fmt.Fprint(more, "{") }()
	req := s.request(t.Context(), call{user: "ann"})
	req.Body, req.ContentLength = body, 100
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	result{status: resp.StatusCode, body: string(answer)}.refused(t, http.StatusRequestTimeout)
}

func TestDrainOverHTTP2(t *testing.T) {
	s, term, client := serveTLS(t, gateway.Settings{DrainTimeout: 5 * time.Second}, behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			pausing("text/event-stream", time.Minute)(w, r)
			return
		}
		pausing("text/event-stream", 300*time.Millisecond)(w, r)
	}))
	listening := s.begin(t.Context(), client, call{user: "ann", method: http.MethodGet})
	calling := s.begin(t.Context(), client, call{user: "ann", body: listTools})
	stopped := make(chan error, 1)
	go func() { stopped <- term() }()
	if body, err := io.ReadAll(listening.Body); err != nil || string(body) != "data: one\n\n" {
		t.Errorf("the listening stream ended in disorder: %q %v", body, err)
	}
	if body, err := io.ReadAll(calling.Body); err != nil || string(body) != "data: one\n\ndata: two\n\n" {
		t.Errorf("the call was not finished: %q %v", body, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}

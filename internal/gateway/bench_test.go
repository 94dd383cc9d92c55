package gateway_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// BenchmarkWarmPath is one call of a known user, over loopback: client, proxy and backend are all in the figure, so
// compare the two proxies of one run, not a figure with that of another machine. The bare proxy verifies, decides and
// signs nothing.
func BenchmarkWarmPath(b *testing.B) {
	answer := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 900) + `"}]}}`)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	b.Cleanup(backend.Close)
	world := newWorld(b, fake.Options{})
	token := world.Token("ann")
	target, err := url.Parse(backend.URL)
	if err != nil {
		b.Fatal(err)
	}
	tuned := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
	bare := &httputil.ReverseProxy{Transport: tuned, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}

	gate, problems := gateway.New(load(b, strings.Replace(world.Documents(), world.RemoteURL(), backend.URL+"/mcp", 1)),
		gateway.NewHouse(nil, telemetry.NewMetrics("test", "test")), nil)
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { gate.Retire(nil) })
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KiB", 900}, {"100KiB", 100 << 10}} {
		body := rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"`+strings.Repeat("x", size.bytes)+`"}}`)
		for _, proxy := range []struct {
			name    string
			handler http.Handler
		}{{"bare", bare}, {"rolegate", gate}} {
			b.Run(size.name+"/"+proxy.name, func(b *testing.B) { warm(b, proxy.handler, token, body) })
		}
	}
}

func warm(b *testing.B, handler http.Handler, token, body string) {
	server := httptest.NewServer(handler)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	once := func() {
		req, err := http.NewRequest(http.MethodPost, server.URL+"/mcp", bytes.NewReader([]byte(body)))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
	}
	once()
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

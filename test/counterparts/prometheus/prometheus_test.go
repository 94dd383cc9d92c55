package prometheus_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// serve starts a world and the gateway in it, which has served a user, and refused whoever had no token.
func serve(t *testing.T) *lab.Gate {
	t.Helper()
	lab.Need(t)
	w, err := fake.NewWorld(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	g := lab.Serve(t, w.Documents(), "", w.Env())
	user := w.UserNames()[0]
	for range 3 {
		if status := post(t, g, w.Token(user)); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	if status := post(t, g, ""); status != http.StatusUnauthorized {
		t.Fatalf("status %d without a token", status)
	}
	return g
}

func post(t *testing.T, g *lab.Gate, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL, strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d %v", url, resp.StatusCode, err)
	}
	return string(body)
}

func TestPromtoolHasNothingToSay(t *testing.T) {
	g := serve(t)
	promtool := filepath.Join(lab.Debs(t, "prometheus"), "usr/bin/promtool")
	page := lab.Write(t, t.TempDir(), "metrics", get(t, g.Admin+"/metrics"))
	said, err := lab.Output(t, ".", lab.Patience, nil, "sh", "-c", `exec "$1" check metrics <"$2"`, "sh", promtool, page)
	if err != nil || said != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, said)
	}
}

// TestPrometheusScrapes: what the server has stored after a scrape is what happened.
func TestPrometheusScrapes(t *testing.T) {
	g := serve(t)
	root, dir, port := lab.Debs(t, "prometheus"), t.TempDir(), lab.Port(t)
	file := lab.Write(t, dir, "prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - job_name: rolegate
    static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(g.Admin, "http://")))
	if said, err := lab.Output(t, dir, lab.Patience, nil, filepath.Join(root, "usr/bin/promtool"), "check", "config", file); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	lab.Start(t, lab.Command{
		Name: filepath.Join(root, "usr/bin/prometheus"), Dir: dir, Ready: ready(base + "/-/ready"),
		Args: []string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + strings.TrimPrefix(base, "http://"),
			"--web.console.libraries=" + dir, "--web.console.templates=" + dir,
		},
	})
	for _, c := range []struct{ query, want string }{
		{`up{job="rolegate"}`, "1"},
		{telemetry.MetricRequests + `{decision="unauthenticated",status="401"}`, "1"},
		{`sum(` + telemetry.MetricRequests + `{decision="allowed"})`, "3"},
		{`sum(` + telemetry.MetricSTSCalls + `{code="ok"})`, "1"},
		{`sum(` + telemetry.MetricRequestDuration + `_count) + sum(` + telemetry.MetricStreamDuration + `_count or vector(0))`, "4"},
		{telemetry.MetricInFlight, "0"},
		{`count(` + telemetry.MetricBuildInfo + `)`, "1"},
	} {
		got := ""
		for end := time.Now().Add(lab.Patience); time.Now().Before(end) && got != c.want; time.Sleep(100 * time.Millisecond) {
			got = ask(t, base, c.query)
		}
		if got != c.want {
			t.Errorf("%s is %q, want %s", c.query, got, c.want)
		}
	}
	if got := ask(t, base, `count({__name__=~"rolegate_.+",otel_scope_name!=""})`); got != "" {
		t.Errorf("%s series have labels of OpenTelemetry's scopes", got)
	}
}

// ready says whether a URL answers that all is well.
func ready(url string) func() bool {
	return func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
}

// ask is the value of a query's one series; "" where there is none.
func ask(t *testing.T, base, query string) string {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	text := get(t, base+"/api/v1/query?query="+url.QueryEscape(query))
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if len(answer.Data.Result) != 1 {
		return ""
	}
	value, _ := answer.Data.Result[0].Value[1].(string)
	return value
}

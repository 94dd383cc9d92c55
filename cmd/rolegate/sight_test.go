//go:build unix

package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	collectlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fake"
)

// records reads a file of audit records.
func records(t *testing.T, text string) (all []audit.Record) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// TestTheEndDoesNotWaitForRecordsThatCantBeWritten: it takes a few seconds, also where a request waits for room, and the
// log says how many are lost.
func TestTheEndDoesNotWaitForRecordsThatCantBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g := serve(t, w, swap(t, w.Documents(), "  audit:\n    enabled: true\n", "  audit: {enabled: true, queueSize: 16, logFile: "+filepath.Join(dir, "audit.jsonl")+"}\n"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	ann := g.caller("ann")
	ann.enter(t) // two requests
	for range 14 {
		if _, err := ann.whoami(t.Context()); err != nil {
			t.Error(err)
		}
	}
	g.says("audit records can't be written")
	served := w.AWS.Count()
	go func() { _, _ = ann.whoami(t.Context()) }() // waits for room
	until(t, "the last call was served", func() bool { return w.AWS.Count() > served })
	began := time.Now()
	g.signal(syscall.SIGTERM)
	if code := g.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if d := time.Since(began); d > 7*time.Second {
		t.Errorf("it took %s", d)
	}
	g.says(`"level":"ERROR"`, "not all could be written at the end", "write audit records: 16 are lost: ")
}

// TestRecordsOutliveRotationAndTheEnd: a file that is renamed under load, a hangup, and an end in order lose nothing, and
// the chain goes on from one file to the next, and to the next process.
func TestRecordsOutliveRotationAndTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	documents := swap(t, w.Documents(), "  audit:\n    enabled: true\n", "  audit: {enabled: true, tamperEvident: true, logFile: "+file+"}\n")
	sent := 0
	calls := func(g *gate, user string, n int) {
		c := g.caller(user)
		c.enter(t) // two requests
		for range n {
			if _, err := c.whoami(t.Context()); err != nil {
				t.Error(err)
			}
		}
		sent += 2 + n
	}
	g := serve(t, w, documents)
	calls(g, "ann", 5)
	for _, rotated := range []string{".2", ".1"} {
		var load sync.WaitGroup
		load.Go(func() { calls(g, "bob", 50) })
		until(t, "the load runs", func() bool { return len(fetchOrNone(file)) > 5000 })
		if err := os.Rename(file, file+rotated); err != nil {
			t.Fatal(err)
		}
		g.signal(syscall.SIGHUP)
		until(t, "a new file", func() bool { _, err := os.Stat(file); return err == nil })
		load.Wait()
	}
	calls(g, "eve", 3)
	g.signal(syscall.SIGTERM)
	if code := g.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}

	again := serve(t, w, documents) // the next process goes on with the same file
	calls(again, "ann", 2)
	again.signal(syscall.SIGTERM)
	if code := again.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if mode, err := os.Stat(file); err != nil || mode.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", mode.Mode(), err)
	}

	said, err := exec.Command("rolegate", "audit", "verify", file+".2", file+".1", file).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "ok") {
		t.Errorf("verify: %v\n%s", err, said)
	}
	all := records(t, readFile(t, file+".2")+readFile(t, file+".1")+readFile(t, file))
	requests := 0
	for i, r := range all {
		if r.Seq != uint64(i+1) || r.Outcome != audit.Success {
			t.Errorf("record %d: %+v", i, r)
		}
		if r.Type != audit.TypeContinued {
			requests++
		}
	}
	if requests != sent {
		t.Errorf("%d records of %d requests", requests, sent)
	}
	tampered := strings.Replace(readFile(t, file+".1"), `"caller":"bob"`, `"caller":"eve"`, 1)
	writeFile(t, file+".1", tampered)
	if said, err := exec.Command("rolegate", "audit", "verify", file+".2", file+".1", file).CombinedOutput(); err == nil {
		t.Errorf("verify takes a changed record:\n%s", said)
	}
}

// fetchOrNone is the text of a file, "" where there is none.
func fetchOrNone(name string) string {
	text, _ := os.ReadFile(name)
	return string(text)
}

// TestRecordsGoToStandardOutput where the documents name no file, and the log does not.
func TestRecordsGoToStandardOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, w.Documents())
	resp, err := http.Post(g.endpoint, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	id := `"request_id":"` + resp.Header.Get("X-Request-Id") + `"`
	g.says(`{"schema":"rolegate.audit/v1"`, id, `"outcome":"denied"`, `"status":401`)
	g.says(`"level":"WARN"`, id, `"decision":"unauthenticated"`)
}

// collector is an OTLP/HTTP receiver that counts.
type collector struct {
	mu      sync.Mutex
	spans   map[string]int // by name
	records []string
	metrics map[string]bool
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		from = unzipped
	}
	body, err := io.ReadAll(from)
	if err == nil {
		err = c.take(r.URL.Path, body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) take(path string, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var traces collecttraces.ExportTraceServiceRequest
	var logs collectlogs.ExportLogsServiceRequest
	var metrics collectmetrics.ExportMetricsServiceRequest
	switch path {
	case "/v1/traces":
		if err := proto.Unmarshal(body, &traces); err != nil {
			return err
		}
	case "/v1/logs":
		if err := proto.Unmarshal(body, &logs); err != nil {
			return err
		}
	case "/v1/metrics":
		if err := proto.Unmarshal(body, &metrics); err != nil {
			return err
		}
	}
	for _, from := range traces.ResourceSpans {
		for _, scope := range from.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans[s.Name]++
			}
		}
	}
	for _, from := range logs.ResourceLogs {
		for _, scope := range from.ScopeLogs {
			for _, l := range scope.LogRecords {
				c.records = append(c.records, l.Body.GetStringValue())
			}
		}
	}
	for _, from := range metrics.ResourceMetrics {
		for _, scope := range from.ScopeMetrics {
			for _, m := range scope.Metrics {
				c.metrics[m.Name] = true
			}
		}
	}
	return nil
}

// TestTheEndFlushesTelemetry: what was seen in the last moment before SIGTERM is with the collector.
func TestTheEndFlushesTelemetry(t *testing.T) {
	t.Parallel()
	to := &collector{spans: map[string]int{}, metrics: map[string]bool{}}
	server := httptest.NewServer(to)
	t.Cleanup(server.Close)
	w := newWorld(t)
	g := serve(t, w, swap(t, w.Documents(), "  transport: streamable-http\n", `  transport: streamable-http
  telemetry:
    openTelemetry:
      enabled: true
      endpoint: `+server.URL+`
      insecure: true
      tracing: {enabled: true, samplingRate: "1"}
      metrics: {enabled: true}
      logs: {enabled: true}
`))
	g.guest(t, "ann") // two requests
	g.signal(syscall.SIGTERM)
	if code := g.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.spans["initialize"] != 1 || to.spans["notifications/initialized"] != 1 || to.spans["backend"] != 2 {
		t.Errorf("spans %v", to.spans)
	}
	if all := records(t, strings.Join(to.records, "\n")); len(all) != 2 || all[0].Method != "initialize" || all[0].TraceID == "" {
		t.Errorf("records %v", to.records)
	}
	for _, name := range []string{"http.server.request.duration", "mcp.server.operation.duration", "rolegate.requests", "rolegate.sts_calls"} {
		if !to.metrics[name] {
			t.Errorf("no metric %s among %v", name, to.metrics)
		}
	}
}

// withConsole turns the console on.
func withConsole(t *testing.T, w *fake.World, more string) string {
	t.Helper()
	return swap(t, w.Documents(), "  transport: streamable-http\n", "  transport: streamable-http\n  console: {enabled: true"+more+"}\n")
}

// TestConsole: the page, what happens, and the try-out, on the admin address alone.
func TestConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, withConsole(t, w, ""))
	resp, err := http.Get(g.admin + "/console")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || resp.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	if resp, err := http.Get("http://" + g.listen + "/console"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("on the address of clients: %v, %v", resp, err)
	}

	events := look(t, g.admin, "")
	life := events("life")
	var snapshot struct {
		Proxy string
		Ready bool
	}
	if err := json.Unmarshal([]byte(life), &snapshot); err != nil || !snapshot.Ready || snapshot.Proxy != "toolhive-system/aws-mcp-proxy" {
		t.Errorf("%v: %s", err, life)
	}
	g.guest(t, "ann")
	for !strings.Contains(events("record"), `"method":"initialize"`) { // else the test ends by its patience
	}
	var busy struct{ Requests map[string]float64 }
	for busy.Requests["success"] < 2 {
		if err := json.Unmarshal([]byte(events("life")), &busy); err != nil {
			t.Fatal(err)
		}
	}

	question := `{"claims":{"sub":"x","groups":["s3-readers"]},"call":` + strings.TrimSpace(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"aws___run_script","arguments":{}}}`) + `}`
	calls := w.AWS.Count()
	resp, err = http.Post(g.admin+"/console/explain", "application/json", strings.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(said), fake.S3Role) || w.AWS.Count() != calls {
		t.Errorf("%s %s; %d requests reached the remote", resp.Status, said, w.AWS.Count()-calls)
	}
}

// look follows the console's events; what it gives waits for the next of a kind.
func look(t *testing.T, admin, token string) (next func(kind string) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/console/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("events: %s", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	return func(kind string) string {
		t.Helper()
		for named := false; ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("waited in vain for %s: %v", kind, err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok && named {
				return data
			}
			named = line == "event: "+kind+"\n" || named && line != "\n"
		}
	}
}

// TestConsoleBeyondLoopback needs a token, or rolegate does not start.
func TestConsoleBeyondLoopback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	const token = "0123456789abcdef0123456789abcdef"
	writeFile(t, filepath.Join(dir, "open.yaml"), withConsole(t, w, ""))
	writeFile(t, filepath.Join(dir, "closed.yaml"), withConsole(t, w, ", tokenSecretRef: {name: console, key: token}"))
	if err := os.MkdirAll(filepath.Join(dir, "refs/secrets/console"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "refs/secrets/console/token"), token+"\n")
	args := func(file string) []string {
		return []string{"run", "-f", file, "--refs", "refs", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0", "--log-format", "json"}
	}
	p := start(t, dir, environment(w.Env()...), args("open.yaml")...)
	if code := p.waitEnd(); code == exitOK || !strings.Contains(p.log.String(), "console.tokenSecretRef") || p.count(`"msg":"serving"`) > 0 {
		t.Errorf("exit code %d: %s", code, p.log)
	}

	p = start(t, dir, environment(w.Env()...), args("closed.yaml")...)
	var told struct{ Admin string }
	if err := json.Unmarshal([]byte(p.says(`"msg":"serving"`)), &told); err != nil {
		t.Fatal(err)
	}
	p.says(`"level":"WARN"`, `"about":"admin"`, "/console, with a bearer token", "the console's token crosses the network in the clear")
	_, port, _ := strings.Cut(told.Admin[strings.LastIndexByte(told.Admin, ']')+1:], ":")
	admin := "http://127.0.0.1:" + port
	began := time.Now()
	resp, err := http.Get(admin + "/console/events")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || time.Since(began) > patience {
		t.Errorf("without a token: %s", resp.Status)
	}
	if life := look(t, admin, token)("life"); !strings.Contains(life, `"proxy":"toolhive-system/aws-mcp-proxy"`) {
		t.Errorf("with the token: %s", life)
	}
	if strings.Contains(p.log.String(), token) {
		t.Error("the log holds the console's token")
	}
}

// TestAHangingEndTakesNoTimeFromTheNext: records that nobody takes do not keep metrics and traces from being sent.
func TestAHangingEndTakesNoTimeFromTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told strings.Builder
		ended := false
		inTurn(slog.New(slog.NewTextHandler(&told, nil)), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			ended = ctx.Err() == nil && time.Until(deadline) == closeTime
			return nil
		})
		if !ended || strings.Count(told.String(), "not all could be written") != 1 {
			t.Errorf("the next had no time of its own: %s", told.String())
		}
	})
}

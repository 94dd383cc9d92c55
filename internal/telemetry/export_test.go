package telemetry_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// exercise leaves something of every signal in the pipelines, and closes them.
func exercise(t *testing.T, p *telemetry.Pipelines) {
	t.Helper()
	p.Metrics.Answered("allowed", "200", false, time.Millisecond)
	p.Metrics.Verified("ok", true)
	p.Tracing.Begin(time.Now(), telemetry.Remote{}).End(time.Now(), telemetry.Request{Method: "ping"}, telemetry.Ending{Status: 200})
	if p.Records != nil {
		if err := p.Records.Write(t.Context(), []telemetry.Record{{Time: time.Now(), Body: []byte(`{}`)}}); err != nil {
			t.Error(err)
		}
	}
	end(t, p)
}

func TestMetricsArrive(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	p := open(t, telemetry.Options{Config: everything(r.URL)})
	exercise(t, p)
	m := r.metrics["rolegate.requests"]
	if m == nil || m.GetSum() == nil || !m.GetSum().IsMonotonic || m.GetSum().DataPoints[0].GetAsInt() != 1 {
		t.Errorf("rolegate.requests: %v", m)
	}
	if m = r.metrics["rolegate.request_duration"]; m == nil || m.Unit != "s" || m.GetHistogram().DataPoints[0].Count != 1 {
		t.Errorf("rolegate.request_duration: %v", m)
	}
}

// TestNothingIsSentUnasked: no endpoint, no exporter; and what is said against sending holds.
func TestNothingIsSentUnasked(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	export := func(change func(*config.Export)) *config.Telemetry {
		c := everything(r.URL)
		change(c.Export)
		return c
	}
	for _, c := range []struct {
		name   string
		env    map[string]string
		config *config.Telemetry
		want   []string // signals
	}{
		{name: "nobody says anything"},
		{name: "exporters without an endpoint", env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}},
		{name: "documents that are about Prometheus", config: &config.Telemetry{Prometheus: true}},
		{name: "documents without an endpoint", config: export(func(e *config.Export) { e.Endpoint = "" })},
		{name: "not enabled", config: export(func(e *config.Export) { e.Enabled = false })},
		{
			name: "not enabled, but in the environment", config: export(func(e *config.Export) { e.Enabled = false }),
			env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL},
		},
		{name: "the SDK is disabled", config: everything(r.URL), env: map[string]string{"OTEL_SDK_DISABLED": "true"}},
		{name: "all of it", config: everything(r.URL), want: []string{"logs", "metrics", "traces"}},
		{name: "traces alone", config: export(func(e *config.Export) { e.Metrics, e.Audit = false, false }), want: []string{"traces"}},
		{name: "an endpoint in the environment", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL}, want: []string{"metrics", "traces"}},
		{
			name: "logs too", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_LOGS_EXPORTER": "console, otlp", "OTEL_METRICS_EXPORTER": "prometheus"},
			want: []string{"logs", "traces"},
		},
		{name: "one signal's endpoint", env: map[string]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": r.URL + "/v1/logs"}, want: []string{"logs"}},
		{
			name: "one signal is against it", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_TRACES_EXPORTER": "none"},
			want: []string{"metrics"},
		},
		{
			name: "an endpoint in the environment for what documents enable", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL},
			config: export(func(e *config.Export) { e.Endpoint, e.Metrics = "", false }), want: []string{"logs", "traces"},
		},
		{name: "documents win", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, config: everything(r.URL), want: []string{"logs", "metrics", "traces"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			r.requests = nil
			exercise(t, open(t, telemetry.Options{Config: c.config}))
			var got []string
			for _, path := range r.requests {
				got = append(got, strings.TrimPrefix(path, "/v1/"))
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, c.want) {
				t.Errorf("sent %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatDocumentsLeaveOpenTheEnvironmentFillsIn(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-from=environment")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=environment,both=environment")
	r := newReceiver(t)
	for _, c := range []struct {
		name, service, header, both string
		change                      func(*config.Export)
	}{
		{"open", "environment", "environment", "environment", func(*config.Export) {}},
		{"set", "mine", "documents", "documents", func(e *config.Export) {
			e.ServiceName, e.ResourceAttributes = "mine", map[string]string{"both": "documents"}
			e.Headers = map[string]config.Secret{"x-from": config.NewSecret("documents")}
		}},
	} {
		o := everything(r.URL + "/base")
		c.change(o.Export)
		exercise(t, open(t, telemetry.Options{Config: o}))
		if got := r.resource["service.name"]; got != c.service {
			t.Errorf("%s: service %s, want %s", c.name, got, c.service)
		}
		if r.resource["deployment.environment.name"] != "test" || r.resource["both"] != c.both {
			t.Errorf("%s: resource %v", c.name, r.resource)
		}
		if got := r.headers.Get("X-From"); got != c.header {
			t.Errorf("%s: header %s, want %s", c.name, got, c.header)
		}
	}
	if !slices.Contains(r.requests, "/base/v1/traces") {
		t.Errorf("sent to %v", r.requests)
	}
}

func TestSampling(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	for _, c := range []struct {
		name, env string
		rate      *float64
		all, none bool
	}{
		{name: "documents", rate: rate(1), env: "always_off", all: true},
		{name: "environment", env: "always_on", all: true},
		{name: "environment, none", env: "always_off", none: true},
		{name: "neither"},
	} {
		t.Setenv("OTEL_TRACES_SAMPLER", c.env)
		o := everything(r.URL)
		o.Export.SamplingRate = c.rate
		p := open(t, telemetry.Options{Config: o})
		r.spans = nil
		for range 1000 {
			p.Tracing.Begin(time.Now(), telemetry.Remote{}).End(time.Now(), telemetry.Request{Method: "ping"}, telemetry.Ending{})
		}
		end(t, p)
		// One in twenty, with room for chance: less than one run in a million is outside.
		if n := len(r.spans); c.all && n != 1000 || c.none && n != 0 || !c.all && !c.none && (n < 15 || n > 100) {
			t.Errorf("%s: %d of 1000", c.name, n)
		}
	}
}

func TestGRPC(t *testing.T) {
	clean(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	server := grpc.NewServer()
	collecttraces.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	exercise(t, open(t, telemetry.Options{}))
	r.span(t, "ping")
}

func TestPrometheusCanBeSwitchedOff(t *testing.T) {
	clean(t)
	if text := scrape(open(t, telemetry.Options{Config: &config.Telemetry{}}).Metrics); strings.Contains(text, "rolegate_") {
		t.Error("served nevertheless")
	}
	if text := scrape(open(t, telemetry.Options{}).Metrics); !strings.Contains(text, `target_info{`) || !strings.Contains(text, `service_name="aws"`) {
		t.Error("the service has no name")
	}
}

// messages are those of a log, each with its signal.
func messages(t *testing.T, log *fake.Log) (all []string) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var record struct{ Msg, Signal string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		all = append(all, record.Signal+": "+record.Msg)
	}
	return all
}

// TestAnOutageIsToldOnce: and again when it is over.
func TestAnOutageIsToldOnce(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	r := newReceiver(t)
	o := everything(r.URL)
	o.Export.Metrics, o.Export.Audit = false, false
	log := &fake.Log{}
	p := open(t, telemetry.Options{Config: o, Log: slog.New(slog.NewJSONHandler(log, nil))})
	send := func(status int) {
		r.mu.Lock()
		r.status = status
		before := len(r.requests)
		r.mu.Unlock()
		p.Tracing.Begin(time.Now(), telemetry.Remote{}).End(time.Now(), telemetry.Request{Method: "ping"}, telemetry.Ending{})
		for range 10_000 {
			time.Sleep(2 * time.Millisecond)
			r.mu.Lock()
			came := len(r.requests)
			r.mu.Unlock()
			if came > before {
				return
			}
		}
		t.Fatal("nothing was sent")
	}
	for _, status := range []int{400, 400, 400, 0, 0, 403} {
		send(status)
	}
	end(t, p)
	want := []string{"traces: telemetry can't be exported", "traces: telemetry is exported again", "traces: telemetry can't be exported"}
	if got := messages(t, log); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestACollectorThatHangsHoldsUpNothing: neither a request nor, for long, the end of the process.
func TestACollectorThatHangsHoldsUpNothing(t *testing.T) {
	clean(t)
	release := make(chan struct{})
	r := newReceiver(t)
	r.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	p := open(t, telemetry.Options{Config: everything(r.URL)})
	began := time.Now()
	for range 10_000 {
		p.Tracing.Begin(began, telemetry.Remote{}).End(began, telemetry.Request{Method: "ping"}, telemetry.Ending{})
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("10000 requests took %s", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	if err := p.Close(ctx); err == nil {
		t.Error("closed, as if all had been sent")
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("closing took %s", d)
	}
}

func TestRecordsArrive(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	p := open(t, telemetry.Options{Config: everything(r.URL)})
	at := time.Unix(1_700_000_000, 0)
	body := `{"long":"` + strings.Repeat("x", 10_000) + `"}`
	err := p.Records.Write(t.Context(), []telemetry.Record{
		{Time: at, Body: []byte(body), TraceID: trace1, SpanID: parent, Attributes: []slog.Attr{slog.String("outcome", "denied"), slog.Int("status", 403)}},
		{Time: at, Body: []byte(`{"n":2}`)},
	})
	if err != nil || len(r.logs) != 2 || len(r.requests) != 1 {
		t.Fatalf("%v, %d records in %v", err, len(r.logs), r.requests)
	}
	first, second := r.logs[0], r.logs[1]
	if first.Body.GetStringValue() != body || first.EventName != "rolegate.audit" || int64(first.TimeUnixNano) != at.UnixNano() {
		t.Errorf("%v", first)
	}
	if got := attributes(first.Attributes); got["outcome"] != "denied" || got["status"] != "int 403" {
		t.Errorf("attributes %v", got)
	}
	if len(first.TraceId) != 16 || len(second.TraceId) != 0 || second.Body.GetStringValue() != `{"n":2}` {
		t.Errorf("traces %x and %x", first.TraceId, second.TraceId)
	}
	r.status = 400
	if err := p.Records.Write(t.Context(), []telemetry.Record{{Time: at, Body: []byte(`{}`)}}); err == nil {
		t.Error("a record that the collector refused counts as written")
	}
	r.status = 0
	end(t, p)
}

package telemetry_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	collectlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// receiver is an OTLP/HTTP collector that keeps what it gets.
type receiver struct {
	*httptest.Server
	collecttraces.UnimplementedTraceServiceServer

	mu       sync.Mutex
	status   int // answered instead of 200, where set
	requests []string
	headers  http.Header // of the last request
	resource map[string]string
	spans    []*tracepb.Span
	metrics  map[string]*metricspb.Metric
	logs     []*logspb.LogRecord
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{metrics: map[string]*metricspb.Metric{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req.URL.Path)
	r.headers = req.Header
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	from := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(req.Body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		from = unzipped
	}
	body, err := io.ReadAll(from)
	if err == nil {
		err = r.take(req.URL.Path, body)
	}
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *receiver) take(path string, body []byte) error {
	switch {
	case strings.HasSuffix(path, "/v1/traces"):
		var m collecttraces.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return err
		}
		r.takeSpans(&m)
	case strings.HasSuffix(path, "/v1/metrics"):
		var m collectmetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return err
		}
		for _, from := range m.ResourceMetrics {
			r.resource = attributes(from.Resource.Attributes)
			for _, s := range from.ScopeMetrics {
				for _, metric := range s.Metrics {
					r.metrics[metric.Name] = metric
				}
			}
		}
	case strings.HasSuffix(path, "/v1/logs"):
		var m collectlogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return err
		}
		for _, from := range m.ResourceLogs {
			r.resource = attributes(from.Resource.Attributes)
			for _, s := range from.ScopeLogs {
				r.logs = append(r.logs, s.LogRecords...)
			}
		}
	}
	return nil
}

func (r *receiver) takeSpans(m *collecttraces.ExportTraceServiceRequest) {
	for _, from := range m.ResourceSpans {
		r.resource = attributes(from.Resource.Attributes)
		for _, s := range from.ScopeSpans {
			r.spans = append(r.spans, s.Spans...)
		}
	}
}

// Export is the same over gRPC.
func (r *receiver) Export(_ context.Context, m *collecttraces.ExportTraceServiceRequest) (*collecttraces.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takeSpans(m)
	return &collecttraces.ExportTraceServiceResponse{}, nil
}

// span finds one by name; the test fails where there is none.
func (r *receiver) span(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	for _, s := range r.spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q came: %v", name, r.spans)
	return nil
}

func attributes(all []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range all {
		out[a.Key] = a.Value.GetStringValue()
		if v, ok := a.Value.Value.(*commonpb.AnyValue_IntValue); ok {
			out[a.Key] = "int " + itoa(v.IntValue)
		}
	}
	return out
}

// clean takes the variables of OpenTelemetry away that whoever runs the tests may have.
func clean(t testing.TB) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

func rate(r float64) *float64 { return &r }

// everything sends all signals and every trace to a receiver.
func everything(endpoint string) *config.Telemetry {
	return &config.Telemetry{Prometheus: true, Export: &config.Export{
		Enabled: true, Endpoint: endpoint, Traces: true, Metrics: true, Audit: true, SamplingRate: rate(1),
	}}
}

func open(t testing.TB, o telemetry.Options) *telemetry.Pipelines {
	t.Helper()
	if o.Proxy == "" {
		o.Proxy = "aws"
	}
	o.Version, o.Commit, o.Instance = "v1", "abc", "one"
	p, err := telemetry.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// end closes the pipelines, so that all that was seen is with the receiver.
func end(t *testing.T, p *telemetry.Pipelines) {
	t.Helper()
	if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error("close:", err)
	}
}

package collector_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// What the three call themselves.
const (
	clientName = "agent"
	gateName   = "the-gate"
	remoteName = "remote"
)

func TestMain(m *testing.M) {
	for _, kv := range os.Environ() { // of whoever runs the tests
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}
	lab.Main(m)
}

// stand is the built binary between an instrumented client and an instrumented remote, all three of which send what they
// see to one receiver.
type stand struct {
	*fake.World
	receiver *receiver
	client   *sdk
	remote   *sdk
	gate     *lab.Gate
}

// setup is how telemetry is set.
type setup struct {
	protocol    string // grpc or http
	secure      bool
	environment bool // by OTEL_*, not by the documents
}

func raise(t *testing.T, how setup) *stand {
	t.Helper()
	s := &stand{receiver: receive(t, how.protocol, how.secure)}
	s.client, s.remote = s.receiver.sdk(t, clientName), s.receiver.sdk(t, remoteName)
	var err error
	if s.World, err = fake.NewWorld(fake.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	remote := httptest.NewServer(otelhttp.NewHandler(s.AWS, "mcp", s.remote.options()...))
	t.Cleanup(func() { remote.CloseClientConnections(); remote.Close() })
	documents, env, refs := strings.ReplaceAll(s.Documents(), s.AWS.URL(), remote.URL), s.Env(), t.TempDir()
	more := policies
	if how.environment {
		env = append(env, s.receiver.environment(t)...)
	} else {
		more += s.receiver.document(t, refs)
	}
	const after = "  transport: streamable-http\n"
	if strings.Count(documents, after) != 1 {
		t.Fatalf("the documents have changed:\n%s", documents)
	}
	s.gate = lab.Serve(t, strings.Replace(documents, after, after+more, 1), "", env, "--refs", refs)
	return s
}

// policies let everything through but one tool.
const policies = `  authzConfig:
    type: inline
    inline:
      policies:
        - '@id("all") permit(principal, action, resource);'
        - '@id("no-urls") forbid(principal, action == Action::"call_tool", resource == Tool::"aws___get_presigned_url");'
`

// document is the part of a proxy's document that sends everything to the receiver.
func (r *receiver) document(t *testing.T, refs string) string {
	t.Helper()
	trust := "insecure: true"
	if r.certificate != "" {
		trust = "caBundleRef: {configMapRef: {name: collector}}"
		lab.Write(t, filepath.Join(refs, "configmaps", "collector"), "ca.crt", r.certificate)
	}
	return fmt.Sprintf(`  telemetry:
    openTelemetry:
      enabled: true
      endpoint: %s
      %s
      serviceName: %s
      resourceAttributes: {deployment.environment.name: test}
      tracing: {enabled: true, samplingRate: "1"}
      metrics: {enabled: true}
      logs: {enabled: true}
`, r.url, trust, gateName)
}

// environment has the same effect as document.
func (r *receiver) environment(t *testing.T) []string {
	t.Helper()
	env := []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.url, "OTEL_SERVICE_NAME=" + gateName, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test",
		"OTEL_LOGS_EXPORTER=otlp", "OTEL_TRACES_SAMPLER=always_on",
	}
	if r.protocol == "grpc" {
		env = append(env, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	}
	if r.certificate != "" {
		env = append(env, "OTEL_EXPORTER_OTLP_CERTIFICATE="+lab.Write(t, t.TempDir(), "ca.crt", r.certificate))
	}
	return env
}

// sdk is OpenTelemetry's SDK, as a client or a remote has it.
type sdk struct {
	*sdktrace.TracerProvider
	open open
}

// open counts spans that have begun and not ended: what is instrumented may end its last one after the answer is there.
type open struct{ atomic.Int64 }

func (o *open) OnStart(context.Context, sdktrace.ReadWriteSpan) { o.Add(1) }
func (o *open) OnEnd(sdktrace.ReadOnlySpan)                     { o.Add(-1) }
func (o *open) Shutdown(context.Context) error                  { return nil }
func (o *open) ForceFlush(context.Context) error                { return nil }

func (r *receiver) sdk(t *testing.T, service string) *sdk {
	t.Helper()
	var trust *tls.Config
	if r.certificate != "" {
		trust = &tls.Config{RootCAs: x509.NewCertPool()}
		trust.RootCAs.AppendCertsFromPEM([]byte(r.certificate))
	}
	var exporter sdktrace.SpanExporter
	var err error
	if r.protocol == "grpc" {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpointURL(r.url)}
		if trust != nil {
			options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(trust)))
		}
		exporter, err = otlptracegrpc.New(t.Context(), options...)
	} else {
		options := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(r.url + "/v1/traces")}
		if trust != nil {
			options = append(options, otlptracehttp.WithTLSClientConfig(trust))
		}
		exporter, err = otlptracehttp.New(t.Context(), options...)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &sdk{}
	s.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithSpanProcessor(&s.open),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))))
	return s
}

func (s *sdk) options() []otelhttp.Option {
	return []otelhttp.Option{
		otelhttp.WithTracerProvider(s.TracerProvider), otelhttp.WithPropagators(propagation.TraceContext{}), otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
	}
}

// flush waits until all spans have ended, and sends them.
func (s *sdk) flush(t *testing.T) {
	t.Helper()
	lab.Eventually(t, "all spans have ended", func() bool { return s.open.Load() == 0 })
	if err := s.TracerProvider.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// end ends the gateway, and then the other two, so that what they saw is with the receiver.
func (s *stand) end(t *testing.T) {
	t.Helper()
	s.gate.Stop()
	if code := s.gate.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the gateway ended with %d", code)
	}
	s.client.flush(t)
	s.remote.flush(t)
}

// bearer adds a token to requests.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// connect is an MCP client of a version of the protocol; an instrumented one sends a traceparent with every request.
func (s *stand) connect(ctx context.Context, t *testing.T, token, version string, instrumented bool) *mcp.ClientSession {
	t.Helper()
	var way http.RoundTripper = bearer(token)
	if instrumented {
		way = otelhttp.NewTransport(way, s.client.options()...)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx,
		&mcp.StreamableClientTransport{Endpoint: s.gate.URL, HTTPClient: &http.Client{Transport: way}, DisableStandaloneSSE: true},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	return session
}

package telemetry

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"

	"github.com/rolegate/rolegate/config"
)

// The signals of OTLP, as paths and variables name them.
const (
	traces  = "traces"
	metrics = "metrics"
	logs    = "logs"
)

// target is where a signal is sent. What it leaves open the exporters read from the environment by themselves.
type target struct {
	url     string
	grpc    bool
	headers map[string]string // nil: those of the environment
	tls     *tls.Config       // nil: that of Go
}

// target says where a signal is sent; false where it is not. An error is a variable that is asked for and can't be read:
// whoever set it wants something else than what would be done without it.
func (o Options) target(signal string) (to target, sent bool, err error) {
	e := o.export()
	if strings.EqualFold(environment("OTEL_SDK_DISABLED"), "true") || !o.wanted(e, signal) {
		return target{}, false, nil
	}
	var bundle []byte
	if to.url = e.SignalURL(signal); to.url == "" {
		if to.grpc, err = overGRPC(signal); err != nil {
			return target{}, false, err
		}
		if to.url, err = endpoint(signal, to.grpc); err != nil {
			return target{}, false, err
		}
	}
	if to.url == "" {
		if e != nil {
			o.Log.Warn("telemetry is enabled, and goes nowhere", slog.String("signal", signal),
				slog.String(KeyHint, "set openTelemetry.endpoint, or OTEL_EXPORTER_OTLP_ENDPOINT"))
		}
		return target{}, false, nil
	}
	if e != nil {
		to.headers, bundle = revealed(e.Headers), e.CABundle
	}
	if to.headers == nil {
		err = headersCanBeRead(signal)
	}
	if err == nil && strings.HasPrefix(to.url, "https:") {
		to.tls, err = trust(signal, bundle)
	}
	return to, err == nil, err
}

// revealed are headers as they are sent; nil for none.
func revealed(headers map[string]config.Secret) map[string]string {
	if len(headers) == 0 {
		return nil
	}
	out := make(map[string]string, len(headers))
	for name, value := range headers {
		out[name] = value.Reveal()
	}
	return out
}

// wanted says whether a signal is to be sent, if there is somewhere to send it to. Where the documents have no
// openTelemetry the environment decides, and an endpoint is enough. Audit records say who did what, so for them it takes
// a variable that is about logs.
func (o Options) wanted(e *config.Export, signal string) bool {
	if e != nil {
		return e.Enabled && map[string]bool{traces: e.Traces, metrics: e.Metrics, logs: e.Audit}[signal]
	}
	exporters := environment("OTEL_" + strings.ToUpper(signal) + "_EXPORTER")
	if exporters == "" {
		return signal != logs || environment("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") != ""
	}
	for name := range strings.SplitSeq(exporters, ",") {
		if strings.TrimSpace(name) == "otlp" {
			return true
		}
	}
	return false
}

// options are those of an exporter, each made by its own package.
func options[O any](to target, url func(string) O, headers func(map[string]string) O, trust func(*tls.Config) O) (all []O) {
	all = append(all, url(to.url))
	if to.headers != nil {
		all = append(all, headers(to.headers))
	}
	if to.tls != nil {
		all = append(all, trust(to.tls))
	}
	return all
}

func (to target) spanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if to.grpc {
		return otlptracegrpc.New(ctx, options(to, otlptracegrpc.WithEndpointURL, otlptracegrpc.WithHeaders,
			func(c *tls.Config) otlptracegrpc.Option {
				return otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c))
			})...)
	}
	return otlptracehttp.New(ctx, options(to, otlptracehttp.WithEndpointURL, otlptracehttp.WithHeaders, otlptracehttp.WithTLSClientConfig)...)
}

func (to target) metricExporter(ctx context.Context) (sdk.Exporter, error) {
	if to.grpc {
		return otlpmetricgrpc.New(ctx, options(to, otlpmetricgrpc.WithEndpointURL, otlpmetricgrpc.WithHeaders,
			func(c *tls.Config) otlpmetricgrpc.Option {
				return otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(c))
			})...)
	}
	return otlpmetrichttp.New(ctx, options(to, otlpmetrichttp.WithEndpointURL, otlpmetrichttp.WithHeaders, otlpmetrichttp.WithTLSClientConfig)...)
}

func (to target) logExporter(ctx context.Context) (sdklog.Exporter, error) {
	if to.grpc {
		return otlploggrpc.New(ctx, options(to, otlploggrpc.WithEndpointURL, otlploggrpc.WithHeaders,
			func(c *tls.Config) otlploggrpc.Option { return otlploggrpc.WithTLSCredentials(credentials.NewTLS(c)) })...)
	}
	return otlploghttp.New(ctx, options(to, otlploghttp.WithEndpointURL, otlploghttp.WithHeaders, otlploghttp.WithTLSClientConfig)...)
}

// outage tells once that exports of a signal fail, and once that they work again. It stands between the exporters and
// OpenTelemetry's global error handler, which is everybody's.
type outage struct {
	log    *slog.Logger
	signal string
	on     atomic.Bool
}

func (o Options) outage(signal string) *outage { return &outage{log: o.Log, signal: signal} }

func (o *outage) note(err error) {
	switch {
	case err != nil && o.on.CompareAndSwap(false, true):
		o.log.Warn("telemetry can't be exported", slog.String("signal", o.signal), slog.Any(KeyError, err),
			slog.String(KeyHint, "what can't be sent is dropped, and requests go on; look at the collector, and at openTelemetry.endpoint or OTEL_EXPORTER_OTLP_ENDPOINT"))
	case err == nil && o.on.CompareAndSwap(true, false):
		o.log.Info("telemetry is exported again", slog.String("signal", o.signal))
	}
}

type quietSpans struct {
	sdktrace.SpanExporter
	outage *outage
}

func (q quietSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	q.outage.note(q.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

type quietMetrics struct {
	sdk.Exporter
	outage *outage
}

func (q quietMetrics) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	q.outage.note(q.Exporter.Export(ctx, m))
	return nil
}

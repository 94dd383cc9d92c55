package collector_test

import (
	"context"
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// receiver is the Collector's OTLP receiver, and what it handed on.
type receiver struct {
	protocol    string // grpc or http: the only one that it speaks
	url         string // with the scheme that says whether there is TLS, without a path
	certificate string // PEM; "" without TLS

	traces  consumertest.TracesSink
	metrics consumertest.MetricsSink
	logs    consumertest.LogsSink
}

// receive starts a receiver, with a configuration as the Collector's own files have it.
func receive(t *testing.T, protocol string, secure bool) *receiver {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", lab.Port(t))
	r := &receiver{protocol: protocol, url: "http://" + address}
	settings := map[string]any{"endpoint": address}
	if secure {
		certificate, key, err := stage.Certificate(1)
		if err != nil {
			t.Fatal(err)
		}
		r.certificate = string(certificate)
		r.url = "https://" + address
		dir := t.TempDir()
		settings["tls"] = map[string]any{"cert_file": lab.Write(t, dir, "tls.crt", r.certificate), "key_file": lab.Write(t, dir, "tls.key", string(key))}
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	said := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{protocol: settings}})
	if err := said.Unmarshal(config); err != nil {
		t.Fatal(err)
	}
	with := receivertest.NewNopSettings(factory.Type())
	traces, err := factory.CreateTraces(t.Context(), with, config, &r.traces)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := factory.CreateMetrics(t.Context(), with, config, &r.metrics)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := factory.CreateLogs(t.Context(), with, config, &r.logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []component.Component{traces, metrics, logs} {
		if err := part.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := part.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	return r
}

// source is what a payload says of the process that it comes from.
type source struct{ service, version, instance, environment string }

func sourceOf(r pcommon.Resource) source {
	return source{
		text(r.Attributes(), "service.name"), text(r.Attributes(), "service.version"),
		text(r.Attributes(), "service.instance.id"), text(r.Attributes(), "deployment.environment.name"),
	}
}

// text is an attribute as text; "" for none.
func text(of pcommon.Map, key string) string {
	if v, ok := of.Get(key); ok {
		return v.AsString()
	}
	return ""
}

// span is one that was received.
type span struct {
	ptrace.Span
	from source
}

// spans are all that came, in the order of their arrival.
func (r *receiver) spans() (all []span) {
	for _, payload := range r.traces.AllTraces() {
		for _, resource := range payload.ResourceSpans().All() {
			for _, scope := range resource.ScopeSpans().All() {
				for _, s := range scope.Spans().All() {
					all = append(all, span{s, sourceOf(resource.Resource())})
				}
			}
		}
	}
	return all
}

// record is a log record that was received.
type record struct {
	plog.LogRecord
	from source
}

func (r *receiver) records() (all []record) {
	for _, payload := range r.logs.AllLogs() {
		for _, resource := range payload.ResourceLogs().All() {
			for _, scope := range resource.ScopeLogs().All() {
				for _, l := range scope.LogRecords().All() {
					all = append(all, record{l, sourceOf(resource.Resource())})
				}
			}
		}
	}
	return all
}

// metric is one that was received, as it was last told.
type metric struct {
	pmetric.Metric
	from source
}

func (r *receiver) latest() map[string]metric {
	all := map[string]metric{}
	for _, payload := range r.metrics.AllMetrics() {
		for _, resource := range payload.ResourceMetrics().All() {
			for _, scope := range resource.ScopeMetrics().All() {
				for _, m := range scope.Metrics().All() {
					all[m.Name()] = metric{m, sourceOf(resource.Resource())}
				}
			}
		}
	}
	return all
}

// count is how much a counter, or a histogram, has counted in all its series.
func (m metric) count() (n int) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			n += int(p.IntValue()) + int(p.DoubleValue()) // one of them is 0
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			n += int(p.Count())
		}
	}
	return n
}

// payloads is all that was received, as bytes that hold every text as it is.
func (r *receiver) payloads(t *testing.T) (all []byte) {
	t.Helper()
	add := func(payload []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, payload...)
	}
	for _, p := range r.traces.AllTraces() {
		add((&ptrace.ProtoMarshaler{}).MarshalTraces(p))
	}
	for _, p := range r.metrics.AllMetrics() {
		add((&pmetric.ProtoMarshaler{}).MarshalMetrics(p))
	}
	for _, p := range r.logs.AllLogs() {
		add((&plog.ProtoMarshaler{}).MarshalLogs(p))
	}
	return all
}

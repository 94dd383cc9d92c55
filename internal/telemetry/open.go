// Package telemetry is the windows of rolegate: what is counted and traced, what it is called, and where it goes.
//
// It promises that every metric and log key has one name, kept in names.go; that no label value comes from a client; that
// nothing is sent anywhere that the configuration or the environment does not name; and that a collector which is away
// holds up no request. It must never know a token, a credential of AWS, a claim, or the arguments of a call.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/rolegate/rolegate/config"
)

// Options say what to open.
type Options struct {
	Config          *config.Telemetry // of the documents; nil where they say nothing
	Proxy           string            // its name: service.name, unless another is given
	Version, Commit string
	Instance        string // tells this process from others of the same service, such as a random text
	Log             *slog.Logger
}

// Pipelines are the ways out of this process for what is seen in it.
type Pipelines struct {
	Metrics *Metrics
	Tracing *Tracing // nil: there are no traces
	Records *Records // nil: audit records are not sent

	Ways     []Way  // where each signal that is sent goes
	Sampling string // which traces are recorded: a share from 0 to 1, or what OTEL_TRACES_SAMPLER says; "" without traces

	closers []func(context.Context) error
}

// Open makes the pipelines. What the documents set wins over the environment variables OTEL_*, as settings in code do
// in OpenTelemetry's own libraries; the variables fill in what is left open, and decide alone where the documents have no
// openTelemetry. Nothing is sent to an endpoint that neither names, and OTEL_SDK_DISABLED=true stops all sending. A
// variable that counts and can't be read is an error. Opening asks nothing of the network: a collector that is away is
// told of in the log, once for each stretch, and holds up no request. Whatever OpenTelemetry's libraries complain about
// goes into the log of the last Open, since they have one for the whole process.
func Open(ctx context.Context, o Options) (*Pipelines, error) {
	p := &Pipelines{}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	listen(o.Log)
	from, err := o.resource(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	if err := p.openMetrics(ctx, o, from); err != nil {
		return nil, err
	}
	if err := p.openTracing(ctx, o, from); err != nil {
		return nil, err
	}
	if err := p.openRecords(ctx, o, from); err != nil {
		return nil, err
	}
	return p, nil
}

// resource is what all telemetry says of the process that it comes from.
func (o Options) resource(ctx context.Context) (*resource.Resource, error) {
	said := []attribute.KeyValue{}
	if e := o.export(); e != nil {
		for k, v := range e.ResourceAttributes {
			said = append(said, attribute.String(k, v))
		}
		if e.ServiceName != "" {
			said = append(said, attribute.String(attrService, e.ServiceName))
		}
	}
	r, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String(attrService, o.Proxy), attribute.String(attrServiceVersion, o.Version), attribute.String(attrServiceInstance, o.Instance)),
		resource.WithFromEnv(),
		resource.WithAttributes(said...))
	if errors.Is(err, resource.ErrPartialResource) {
		o.Log.Warn("an attribute of OTEL_RESOURCE_ATTRIBUTES can't be read", slog.Any(KeyError, err))
		err = nil
	}
	return r, err
}

// export is what the documents say about sending; nil for nothing.
func (o Options) export() *config.Export {
	if o.Config == nil {
		return nil
	}
	return o.Config.Export
}

func (p *Pipelines) openMetrics(ctx context.Context, o Options, from *resource.Resource) (err error) {
	var readers []sdk.Reader
	to, sent, err := o.target(metrics)
	if err != nil {
		return fmt.Errorf("export metrics: %w", err)
	}
	if sent {
		exporter, err := to.metricExporter(ctx)
		if err != nil {
			return fmt.Errorf("export metrics: %w", err)
		}
		p.Ways = append(p.Ways, to.way(metrics))
		readers = append(readers, sdk.NewPeriodicReader(quietMetrics{exporter, o.outage(metrics)}))
	}
	if p.Metrics, err = newMetrics(o.Version, o.Commit, from, readers...); err != nil {
		return fmt.Errorf("make metrics: %w", err)
	}
	p.Metrics.hidden = o.Config != nil && !o.Config.Prometheus
	p.closers = append(p.closers, p.Metrics.provider.Shutdown)
	return nil
}

func (p *Pipelines) openTracing(ctx context.Context, o Options, from *resource.Resource) error {
	to, sent, err := o.target(traces)
	if err == nil && sent {
		err = o.samplerCanBeRead()
	}
	if err != nil {
		return fmt.Errorf("export traces: %w", err)
	}
	if !sent {
		return nil
	}
	exporter, err := to.spanExporter(ctx)
	if err != nil {
		return fmt.Errorf("export traces: %w", err)
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(from), sdktrace.WithBatcher(quietSpans{exporter, o.outage(traces)})}
	if rate, ok := o.rate(); ok {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(rate))))
	}
	p.Ways, p.Sampling = append(p.Ways, to.way(traces)), o.sampling()
	provider := sdktrace.NewTracerProvider(options...)
	p.Tracing = newTracing(provider, o.Version)
	p.closers = append(p.closers, provider.Shutdown)
	return nil
}

// rate is the share of traces that are recorded; false where that is left to the environment.
func (o Options) rate() (float64, bool) {
	e := o.export()
	switch {
	case e == nil:
		return 0, false
	case e.SamplingRate != nil:
		return *e.SamplingRate, true
	}
	return config.DefaultSamplingRate, environment("OTEL_TRACES_SAMPLER") == ""
}

func (p *Pipelines) openRecords(ctx context.Context, o Options, from *resource.Resource) error {
	to, sent, err := o.target(logs)
	if err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	if !sent {
		return nil
	}
	exporter, err := to.logExporter(ctx)
	if err != nil {
		return fmt.Errorf("export audit records: %w", err)
	}
	p.Ways = append(p.Ways, to.way(logs))
	p.Records = newSink(exporter, from, o.Version)
	p.closers = append(p.closers, exporter.Shutdown)
	return nil
}

// flushTime bounds what Close waits for collectors.
const flushTime = 5 * time.Second

// Close sends what is still to be sent, for five seconds at most, and ends the pipelines.
func (p *Pipelines) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	failures := make([]error, len(p.closers))
	var all sync.WaitGroup
	for i, end := range p.closers {
		all.Go(func() { failures[i] = end(ctx) })
	}
	all.Wait()
	return errors.Join(failures...)
}

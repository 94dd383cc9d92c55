package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// eventRecord is the event name of audit records among other log records.
const eventRecord = "rolegate.audit"

// Record is one record for Records.
type Record struct {
	Time            time.Time
	Body            []byte // JSON, as it stands in the file
	TraceID, SpanID string // hex, "" for none
	Attributes      []slog.Attr
}

// Records sends audit records as log records of OpenTelemetry.
type Records struct {
	exporter sdklog.Exporter
	logger   log.Logger

	mu    sync.Mutex // one Write at a time, which is all that an exporter allows
	batch []sdklog.Record
}

func newSink(exporter sdklog.Exporter, from *resource.Resource, version string) *Records {
	r := &Records{exporter: exporter}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(from), sdklog.WithProcessor((*gatherer)(r)), sdklog.WithAttributeValueLengthLimit(-1))
	r.logger = provider.Logger(scope, log.WithInstrumentationVersion(version))
	return r
}

// Write sends records, all or none, and waits until the collector has them. It tries again, for as long as the exporter
// is told to, while the collector is busy or away. An error means that they are lost to it.
func (r *Records) Write(ctx context.Context, records []Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch = r.batch[:0]
	for _, record := range records {
		r.logger.Emit(within(record), record.log())
	}
	defer clear(r.batch)
	return r.exporter.Export(ctx, r.batch)
}

// within is a context that says what trace a record belongs to.
func within(r Record) context.Context {
	ctx := context.Background()
	t, err := trace.TraceIDFromHex(r.TraceID)
	if err != nil {
		return ctx
	}
	c := trace.SpanContextConfig{TraceID: t}
	if s, err := trace.SpanIDFromHex(r.SpanID); err == nil {
		c.SpanID = s
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c))
}

func (r Record) log() log.Record {
	var out log.Record
	out.SetEventName(eventRecord)
	out.SetTimestamp(r.Time)
	out.SetObservedTimestamp(r.Time)
	out.SetSeverity(log.SeverityInfo)
	out.SetSeverityText("INFO")
	out.SetBody(attribute.StringValue(string(r.Body)))
	for _, a := range r.Attributes {
		switch a.Value.Kind() {
		case slog.KindInt64:
			out.AddAttributes(attribute.Int64(a.Key, a.Value.Int64()))
		case slog.KindBool:
			out.AddAttributes(attribute.Bool(a.Key, a.Value.Bool()))
		default:
			out.AddAttributes(attribute.String(a.Key, clip(a.Value.String())))
		}
	}
	return out
}

// gatherer takes what the logger makes of a Write's records.
type gatherer Records

// Enabled says that every record is wanted.
func (*gatherer) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

// OnEmit keeps a record for the Write that is under way.
func (g *gatherer) OnEmit(_ context.Context, r *sdklog.Record) error {
	g.batch = append(g.batch, r.Clone())
	return nil
}

// Shutdown has nothing to do: the exporter is ended by itself.
func (*gatherer) Shutdown(context.Context) error { return nil }

// ForceFlush has nothing to do: a Write has sent all that it was given.
func (*gatherer) ForceFlush(context.Context) error { return nil }

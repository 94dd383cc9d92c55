package gateway

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// What is seen of a request: one line in the log, one record in the book, one span, the counts. All of it is said by
// the door, once, when the request is over.

// recordOptions are what the settings say about records. A book that was opened at the start is kept until the end,
// whatever a reload says of it. The console shows records also where no book keeps them, but then without arguments and
// answers: who turned records off has not asked for those to be seen.
func recordOptions(cfg *config.Proxy, h *House) *audit.RecordOptions {
	shown := *cfg
	if a := &shown.Audit; !a.Enabled {
		a.Enabled = h.Book != nil || h.Console != nil || cfg.Console != nil
		a.IncludeRequestData = a.IncludeRequestData && h.Book != nil
		a.IncludeResponseData = a.IncludeResponseData && h.Book != nil
	}
	return audit.NewRecordOptions(&shown)
}

// arrived begins what is seen of a request.
func (g *Gateway) arrived(ev *audit.Event, r *http.Request) {
	ev.Span = g.Tracing.Begin(ev.Start, telemetry.FromHeader(r.Header))
	g.records.Arrived(ev, r)
}

// verified notes that the request comes from somebody who may call: from here on its word about its trace counts.
func (g *Gateway) verified(ev *audit.Event, r *http.Request) {
	if ev.Span.Believe(); ev.Span == nil {
		ev.TraceID = telemetry.FromHeader(r.Header).TraceID()
	}
}

// understood notes what the message tells.
func (g *Gateway) understood(ev *audit.Event) {
	g.records.Read(ev)
	parent, state := ev.Call.Trace()
	if told := (telemetry.Remote{Parent: parent, State: state}); ev.Span != nil {
		ev.Span.Adopt(told)
	} else if ev.TraceID == "" {
		ev.TraceID = told.TraceID()
	}
}

// over says what became of a request, everywhere where that is said.
func (g *Gateway) over(ev *audit.Event, r *http.Request) {
	g.Metrics.Ended(ev.Outcome())
	g.Metrics.Answered(ev.Decision(), strconv.Itoa(ev.Status), ev.Stream, ev.End.Sub(ev.Start))
	ending := telemetry.Ending{Status: ev.Status, Code: ev.RPCCode, ToolError: ev.IsError}
	if f := fault.Of(ev.Err); f != nil {
		ending.Kind, ending.Public = f.Kind.String(), f.Public
		ending.Broken = f.Kind == fault.Aborted || f.Status() != ev.Status // of an answer that had begun
	} else if ev.Flaw != nil {
		ending.Kind, ending.Public = ev.Flaw.Kind.String(), ev.Flaw.Public
	}
	operation := telemetry.Operation{Ending: ending, HTTPMethod: ev.HTTPMethod, TLS: r.TLS != nil, Duration: ev.End.Sub(ev.Start)}
	if c := ev.Call; c != nil {
		operation.Method, operation.Listening = c.Method, ev.Stream && listening(c)
	}
	if !ev.Sent.IsZero() {
		operation.Remote = ev.End.Sub(ev.Sent)
	}
	g.Metrics.Operated(operation)
	if ev.Span != nil {
		ev.TraceID, ev.SpanID = ev.Span.TraceID(), ev.Span.SpanID()
		ev.Span.End(ev.End, g.spanned(ev), ending)
	}
	ev.Log(r.Context(), g.Log)
	if g.records.Wants(ev.Type()) {
		g.keep(ev)
	}
}

// spanned is what the span tells of the request.
func (g *Gateway) spanned(ev *audit.Event) telemetry.Request {
	told := telemetry.Request{ID: ev.ID, HTTPMethod: ev.HTTPMethod, Path: ev.Path}
	if c := ev.Call; c != nil {
		told.RPCID, told.Method, told.Target, told.Version = string(c.ID), c.Method, c.Target, c.Version
		told.Known = g.known.Has(c.Method, c.Target)
		if ev.Span.Recorded() {
			told.Session = cmp.Or(ev.Session, audit.SessionDigest(c.Session))
		}
		if ev.Err == nil && ev.Flaw == nil && ev.RPCCode == 0 && !ev.IsError && ev.Status < 300 && c.Target != "" {
			g.known.Learn(c.Method, c.Target) // the remote has it
		}
	}
	return told
}

// keep puts the record of a request into the book, and before whoever looks.
func (g *Gateway) keep(ev *audit.Event) {
	record := ev.Record(g.records)
	record.Line(func(line []byte) {
		g.Book.WriteLine(context.Background(), &record, line) // the request's own context may be over
		g.Console.Publish(line[:len(line)-1])
	})
}

// decided is what policy said in the end, for its step; "" where it was not asked, or something else went wrong.
func decided(ev *audit.Event, err error) string {
	f := fault.Of(err)
	switch {
	case !ev.Judged || f != nil && f.Kind != fault.Denied:
		return ""
	case f == nil:
		return "allow"
	case f.Challenge == challengeScope:
		return "step_up"
	default:
		return "deny"
	}
}

// failure is the kind of a step's failure; "" for none.
func failure(err error) string {
	if f := fault.Of(err); f != nil {
		return f.Kind.String()
	}
	return ""
}

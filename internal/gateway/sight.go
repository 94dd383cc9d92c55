package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// What is seen of a request: one line in the log, one record in the book, one span, the counts. All of it is said by
// the door, once, when the request is over.

// recordOptions are what the settings say about records. The console shows them also where no book keeps them.
func recordOptions(cfg *config.Proxy) *audit.RecordOptions {
	if cfg.Console != nil && !cfg.Audit.Enabled {
		shown := *cfg
		shown.Audit.Enabled = true
		return audit.NewRecordOptions(&shown)
	}
	return audit.NewRecordOptions(cfg)
}

// arrived begins what is seen of a request.
func (g *Gateway) arrived(ev *audit.Event, r *http.Request) {
	ev.Span = g.Tracing.Begin(ev.Start, telemetry.FromHeader(r.Header))
	g.records.Arrived(ev, r)
}

// understood notes what the message tells.
func (g *Gateway) understood(ev *audit.Event) {
	g.records.Read(ev)
	if ev.Span != nil {
		ev.Span.Adopt(traceOf(ev.Call.Params))
	}
}

// traceOf is the trace context of params._meta.
func traceOf(params []byte) telemetry.Remote {
	if !bytes.Contains(params, []byte("traceparent")) {
		return telemetry.Remote{}
	}
	var p struct {
		Meta struct {
			Parent string `json:"traceparent"`
			State  string `json:"tracestate"`
		} `json:"_meta"`
	}
	if json.Unmarshal(params, &p) != nil {
		return telemetry.Remote{}
	}
	return telemetry.Remote{Parent: p.Meta.Parent, State: p.Meta.State}
}

// over says what became of a request, everywhere where that is said.
func (g *Gateway) over(ev *audit.Event, r *http.Request) {
	g.Metrics.Ended(ev.Outcome())
	g.Metrics.Answered(ev.Decision(), strconv.Itoa(ev.Status), ev.Stream, ev.End.Sub(ev.Start))
	ending := telemetry.Ending{Status: ev.Status, Code: ev.RPCCode, ToolError: ev.IsError}
	if f := fault.Of(ev.Err); f != nil {
		ending.Kind, ending.Public = f.Kind.String(), f.Public
	}
	operation := telemetry.Operation{Ending: ending, HTTPMethod: ev.HTTPMethod, TLS: r.TLS != nil, Duration: ev.End.Sub(ev.Start)}
	if c := ev.Call; c != nil {
		operation.Method, operation.Listening = c.Method, ev.Stream && listening(c)
	}
	g.Metrics.Operated(operation)
	if ev.Span != nil {
		ev.TraceID, ev.SpanID = ev.Span.TraceID(), ev.Span.SpanID()
		ev.Span.End(ev.End, g.spanned(ev), ending)
	} else {
		ev.TraceID = telemetry.FromHeader(r.Header).TraceID()
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
		if ev.Err == nil && ev.RPCCode == 0 && !ev.IsError && ev.Status < 300 && c.Target != "" {
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

// watch learns from an answer what became of the call.
func watch(ev *audit.Event, resp *http.Response) *mcp.Watcher {
	if ev.Call.Kind == mcp.Notification || ev.Call.Kind == mcp.Response || resp.Header.Get("Content-Encoding") != "" {
		return nil
	}
	return mcp.NewWatcher(ev.Stream)
}

// learn notes what a watcher saw.
func learn(ev *audit.Event, w *mcp.Watcher) {
	if w == nil {
		return
	}
	switch seen := w.Outcome(); seen.Kind {
	case mcp.OutcomeToolError:
		ev.IsError = true
	case mcp.OutcomeError:
		if ev.RPCCode = seen.Code; seen.Code == 0 {
			ev.RPCCode = mcp.CodeInternal // an error without a code that can be read
		}
	}
}

// failure is the kind of a step's failure; "" for none.
func failure(err error) string {
	if f := fault.Of(err); f != nil {
		return f.Kind.String()
	}
	return ""
}

package telemetry

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The steps of a request that are spans of their own, under the request's.
const (
	StepToken   = "token"   // the bearer token is verified
	StepPolicy  = "policy"  // policies decide about the call
	StepSTS     = "sts"     // credentials are borrowed, from memory or from STS
	StepBackend = "backend" // the call is sent, until the answer's headers are there
)

// Tracing makes the spans of requests. A nil one makes none: its spans and their steps are nil too, and whatever is done
// with them costs nothing.
//
// Of a request's contents a span has names and ids, never arguments, results, tokens or claims.
type Tracing struct {
	tracer   trace.Tracer
	incoming trace.SpanStartOption // the kind of a request's span: made once
}

func newTracing(p *sdktrace.TracerProvider, version string) *Tracing {
	return &Tracing{p.Tracer(scope, trace.WithInstrumentationVersion(version)), trace.WithSpanKind(trace.SpanKindServer)}
}

// Remote is a trace context as a request brought it (W3C Trace Context): the values of traceparent and tracestate. What
// is not valid counts as none.
type Remote struct{ Parent, State string }

// FromHeader is the trace context of HTTP headers.
func FromHeader(h http.Header) Remote {
	return Remote{h.Get("Traceparent"), strings.Join(h["Tracestate"], ",")}
}

// Get is for the propagator.
func (r Remote) Get(key string) string {
	switch key {
	case "traceparent":
		return r.Parent
	case "tracestate":
		return r.State
	}
	return ""
}

// Set is for the propagator, which does not use it to extract.
func (Remote) Set(string, string) {}

// Keys is for the propagator.
func (Remote) Keys() []string { return []string{"traceparent", "tracestate"} }

func (r Remote) context() trace.SpanContext {
	if r.Parent == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), r))
}

// TraceID is the trace that the request belongs to, in hex; "" for none. It is for where there is no Tracing.
func (r Remote) TraceID() string {
	if c := r.context(); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}

// Span is the span of one request. It begins with the request, though its trace may be known only when the body was
// read. It is not for concurrent use. A nil one does nothing.
//
// What a request says of its trace counts once it is believed. Until then anybody may say it, and so decide what is
// recorded, and in whose trace: such a request has a trace of its own, sampled as if nothing had been said, that links to
// the one which was named.
type Span struct {
	tracing  *Tracing
	start    time.Time
	parent   trace.SpanContext
	link     trace.SpanContext
	believed bool
	early    []*Step    // that ended before the trace was known
	span     trace.Span // nil until the trace is known
}

// Begin begins the span of a request that came at start, with the trace context of its headers.
func (t *Tracing) Begin(start time.Time, header Remote) *Span {
	if t == nil {
		return nil
	}
	return &Span{tracing: t, start: start, parent: header.context()}
}

// Believe says that the request may name its trace. It comes before Adopt.
func (s *Span) Believe() {
	if s != nil {
		s.believed = true
	}
}

// Adopt takes the trace context of params._meta, or none, once the body was read: from here on it is known what the span
// is part of. The context is the parent where the headers had none; beside another one it becomes a link.
func (s *Span) Adopt(meta Remote) {
	if s == nil || s.span != nil {
		return
	}
	switch c := meta.context(); {
	case !s.parent.IsValid():
		s.parent = c
	case c.IsValid() && !c.Equal(s.parent):
		s.link = c
	}
	s.begun()
}

// begun is the span, from the moment on where it is known what it is part of.
func (s *Span) begun() trace.Span {
	if s.span != nil {
		return s.span
	}
	ctx := context.Background()
	switch {
	case s.believed && s.parent.IsValid():
		ctx = trace.ContextWithRemoteSpanContext(ctx, s.parent)
	case !s.believed:
		s.link = s.parent.WithTraceState(trace.TraceState{}) // which may be long
	}
	options := []trace.SpanStartOption{trace.WithTimestamp(s.start), s.tracing.incoming}
	if s.link.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: s.link}))
	}
	_, s.span = s.tracing.tracer.Start(ctx, "request", options...)
	for _, early := range s.early {
		if early.begin(); early.span != nil {
			early.span.SetAttributes(early.attrs...)
			early.finish(early.kind, early.end)
		}
	}
	s.early = nil
	return s.span
}

// TraceID is the trace that the span belongs to, in hex, and SpanID the span; both "" without tracing. Asking settles
// what the parent is.
func (s *Span) TraceID() string {
	if s == nil {
		return ""
	}
	return s.begun().SpanContext().TraceID().String()
}

// Recorded says whether what the span is told goes anywhere. Asking settles what the parent is.
func (s *Span) Recorded() bool { return s != nil && s.begun().IsRecording() }

// SpanID is the id of the span within its trace, in hex.
func (s *Span) SpanID() string {
	if s == nil {
		return ""
	}
	return s.begun().SpanContext().SpanID().String()
}

// Request is what a span tells of its request. The strings may be the client's; they are cut at 256 bytes.
type Request struct {
	ID         string // ours: X-Request-Id
	HTTPMethod string
	Path       string
	RPCID      string // of the JSON-RPC message, as JSON; "" for none
	Method     string // of JSON-RPC; "" for none
	Target     string // tool, prompt or URI
	Known      bool   // the target's name is one of a known set, and may be part of the span's name
	Session    string // a digest of the MCP session's id; "" for none
	Version    string // of the protocol
}

// End ends the span of a request.
func (s *Span) End(at time.Time, r Request, e Ending) {
	if s == nil {
		return
	}
	span := s.begun()
	if !span.IsRecording() {
		return // and there is nothing to end
	}
	defer span.End(trace.WithTimestamp(at))
	span.SetName(r.name())
	attrs := append(make([]attribute.KeyValue, 0, 16), attribute.Int(AttrHTTPStatus, e.Status), attribute.String(attrHTTPMethod, oneOf(r.HTTPMethod)))
	attrs = r.attributes(attrs)
	if e.Code != 0 {
		attrs = append(attrs, attribute.String(attrRPCStatus, strconv.FormatInt(e.Code, 10)))
	}
	failure := e.failure()
	if r.Method == "" {
		failure = e.httpFailure() // a span of HTTP alone
	}
	span.SetAttributes(failed(attrs, failure)...)
	if failure != "" {
		span.SetStatus(codes.Error, clip(e.Public))
	}
}

// name is "{mcp.method.name} {target}", the target only where it is of low cardinality.
func (r Request) name() string {
	switch {
	case r.Method == "":
		return oneOf(r.HTTPMethod)
	case r.Known && named(r.Method):
		return r.Method + " " + clip(r.Target)
	}
	return knownMethod(r.Method)
}

func (r Request) attributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	target := ""
	switch r.Method {
	case "tools/call":
		target = attrTool
		attrs = append(attrs, attribute.String(attrOperation, "execute_tool"))
	case "prompts/get":
		target = attrPrompt
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		target = attrResource
	}
	for _, a := range [...]struct{ key, value string }{
		{attrRequestID, r.ID},
		{attrPath, r.Path},
		{attrMethod, r.Method},
		{target, r.Target},
		{attrRPCID, bare(r.RPCID)},
		{attrSession, r.Session},
		{attrVersion, r.Version},
	} {
		if a.key != "" && a.value != "" {
			attrs = append(attrs, attribute.String(a.key, clip(a.value)))
		}
	}
	return append(attrs, attribute.String(attrTransport, "tcp"))
}

// bare is the id of a message as the conventions have it: a text without its quotes, a number as it stands.
func bare(id string) string {
	if !strings.HasPrefix(id, `"`) {
		return id
	}
	var text string
	if json.Unmarshal([]byte(id), &text) != nil {
		return ""
	}
	return text
}

// Step is one step of a request. A nil one does nothing.
type Step struct {
	of    *Span
	name  string
	start time.Time
	span  trace.Span // nil while the trace is not known
	attrs []attribute.KeyValue
	end   time.Time
	kind  string
}

// Step begins a step now. It is nil where the span is not recorded.
func (s *Span) Step(name string) *Step {
	if s == nil || s.span != nil && !s.span.IsRecording() {
		return nil
	}
	step := &Step{of: s, name: name, start: time.Now()}
	if s.span != nil {
		step.begin()
	}
	return step
}

func (st *Step) begin() {
	if !st.of.span.IsRecording() {
		return
	}
	kind := trace.SpanKindInternal
	if st.name == StepBackend {
		kind = trace.SpanKindClient
	}
	_, st.span = st.of.tracing.tracer.Start(trace.ContextWithSpan(context.Background(), st.of.span), st.name,
		trace.WithTimestamp(st.start), trace.WithSpanKind(kind))
}

// Set adds an attribute, unless the value is "". Values are cut at 256 bytes.
func (st *Step) Set(key, value string) {
	if st == nil || value == "" {
		return
	}
	st.set(attribute.String(key, clip(value)))
}

// SetInt adds an attribute.
func (st *Step) SetInt(key string, value int) {
	if st != nil {
		st.set(attribute.Int(key, value))
	}
}

func (st *Step) set(a attribute.KeyValue) {
	if st.span != nil {
		st.span.SetAttributes(a)
		return
	}
	st.attrs = append(st.attrs, a)
}

// End ends a step; kind is that of the failure that it ended with, "" for none.
func (st *Step) End(kind string) {
	if st == nil {
		return
	}
	if st.of.span == nil { // the trace is not known yet
		st.end, st.kind = time.Now(), kind
		st.of.early = append(st.of.early, st)
		return
	}
	if st.span == nil { // it became known meanwhile
		if st.begin(); st.span == nil {
			return
		}
		st.span.SetAttributes(st.attrs...)
	}
	st.finish(kind, time.Now())
}

func (st *Step) finish(kind string, at time.Time) {
	if kind != "" {
		st.span.SetAttributes(attribute.String(attrErrorType, kind))
		st.span.SetStatus(codes.Error, "")
	}
	st.span.End(trace.WithTimestamp(at))
}

// Inject replaces the trace context of outgoing headers by that of a step of this span, or of the span itself where the
// step is nil. Without tracing the headers stay as they are. Baggage is never added.
func (s *Span) Inject(step *Step, h http.Header) {
	if s == nil {
		return
	}
	span := s.begun()
	if step != nil {
		if step.span == nil {
			step.begin()
		}
		if step.span != nil {
			span = step.span
		}
	}
	delete(h, "Traceparent")
	delete(h, "Tracestate")
	c := span.SpanContext()
	if !c.IsValid() {
		return
	}
	h["Traceparent"] = []string{parentOf(c)}
	if state := c.TraceState().String(); state != "" {
		h["Tracestate"] = []string{state}
	}
}

// parentOf is a traceparent of version 00 (W3C Trace Context, "traceparent Header"), with the flags that are defined
// today. OpenTelemetry's propagator writes the same, but reads it from a context, which would have to be made first.
func parentOf(c trace.SpanContext) string {
	var room [55]byte
	t, s := c.TraceID(), c.SpanID()
	b := append(hex.AppendEncode(append(room[:0], "00-"...), t[:]), '-')
	b = append(hex.AppendEncode(b, s[:]), '-')
	return string(hex.AppendEncode(b, []byte{byte(c.TraceFlags() & (trace.FlagsSampled | trace.FlagsRandom))}))
}

const maxText = 256

// clip bounds a text of others, and makes it the UTF-8 that OTLP demands: one bad byte would cost the whole batch.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "�")
}

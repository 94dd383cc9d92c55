package collector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

const (
	legacy = "2025-11-25"
	modern = "2026-07-28"

	allowed  = aws.ToolRetrieveSkill
	refused  = aws.ToolPresignedURL
	argument = "the-argument-of-a-call" // which the answer repeats
)

// TestOneTrace: the receiver gets one trace of client, rolegate and remote, the audit records that belong to it, and
// metrics; and no secret.
func TestOneTrace(t *testing.T) {
	lab.Need(t)
	for name, how := range map[string]setup{
		"documents, HTTP":            {protocol: "http"},
		"documents, HTTP over TLS":   {protocol: "http", secure: true},
		"environment, HTTP":          {protocol: "http", environment: true},
		"environment, gRPC":          {protocol: "grpc", environment: true},
		"environment, gRPC over TLS": {protocol: "grpc", secure: true, environment: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := raise(t, how)
			secrets := []string{argument}
			traces := map[string]trace.SpanContext{} // of the client's spans, by the way in which rolegate is told of them
			for way, play := range map[string]func(*testing.T, string) (trace.SpanContext, []string){"header": s.byHeader, "_meta": s.byMeta} {
				token := s.Token("ann")
				began, more := play(t, token)
				traces[way], secrets = began, append(append(secrets, token), more...)
			}
			s.end(t)
			got := &seen{T: t, spans: s.receiver.spans(), records: s.receiver.records(), metrics: s.receiver.latest()}
			got.joined(traces["header"])
			got.adopted(traces["_meta"])
			got.sources()
			got.recorded(s.gate.Records.String())
			got.counted()
			for _, lent := range s.STS.Issued() {
				secrets = append(secrets, lent.SecretAccessKey, lent.SessionToken)
			}
			s.keeps(t, secrets)
		})
	}
}

// byHeader has an instrumented client do its work within one span. What it gives besides is secret.
func (s *stand) byHeader(t *testing.T, token string) (trace.SpanContext, []string) {
	ctx, root := s.client.Tracer("test").Start(t.Context(), "work")
	defer root.End()
	session := s.connect(ctx, t, token, legacy, true)
	id := session.ID()
	bare, ok := strings.CutPrefix(id, "rg1.")
	if !ok || len(bare) < 45 {
		t.Fatalf("the session is called %q", id)
	}
	s.calls(ctx, t, session, nil)
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	return root.SpanContext(), []string{id, bare[44:]} // the client's name of the session, and the remote's
}

// byMeta has a client that knows nothing of HTTP headers name its span in the messages.
func (s *stand) byMeta(t *testing.T, token string) (trace.SpanContext, []string) {
	ctx, root := s.client.Tracer("test").Start(t.Context(), "work")
	defer root.End()
	said := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, said)
	session := s.connect(ctx, t, token, modern, false)
	s.calls(ctx, t, session, mcp.Meta{"traceparent": said["traceparent"]})
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	return root.SpanContext(), nil
}

// calls calls two tools: one that policies allow, and one that they don't.
func (s *stand) calls(ctx context.Context, t *testing.T, session *mcp.ClientSession, meta mcp.Meta) {
	t.Helper()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Meta: meta, Name: allowed, Arguments: map[string]any{"skill_name": argument}})
	if err != nil || result.IsError || !strings.Contains(result.Content[0].(*mcp.TextContent).Text, argument) {
		t.Fatalf("%v, %v", result, err)
	}
	result, err = session.CallTool(ctx, &mcp.CallToolParams{Meta: meta, Name: refused, Arguments: map[string]any{"bucket": argument, "key": argument}})
	if err == nil {
		t.Fatalf("the policy let a call through: %v", result)
	}
}

// keeps looks for what must be nowhere.
func (s *stand) keeps(t *testing.T, secrets []string) {
	t.Helper()
	all := s.receiver.payloads(t)
	if !bytes.Contains(all, []byte(allowed)) {
		t.Error("what was received does not even name the tool") // and so whoever looks here for a secret finds none
	}
	for _, secret := range append(secrets, "eyJ") {
		if at := bytes.Index(all, []byte(secret)); at >= 0 {
			t.Errorf("a payload holds %q: %q", secret, all[max(at-200, 0):min(at+200, len(all))])
		}
	}
	for _, leak := range s.Leaks(s.gate.Log.String() + s.gate.Records.String()) {
		t.Error(leak)
	}
}

// seen is what the receiver got.
type seen struct {
	*testing.T
	spans   []span
	records []record
	metrics map[string]metric
}

// under are the spans under one.
func (s *seen) under(parent pcommon.SpanID) (all []span) {
	for _, each := range s.spans {
		if each.ParentSpanID() == parent {
			all = append(all, each)
		}
	}
	return all
}

// by is the span of an id; nil where it did not come.
func (s *seen) by(id pcommon.SpanID) *span {
	if at := slices.IndexFunc(s.spans, func(each span) bool { return each.SpanID() == id }); at >= 0 {
		return &s.spans[at]
	}
	return nil
}

// requests are the gateway's own spans of requests, in a trace; in every one for the zero trace.
func (s *seen) requests(in trace.TraceID) (all []span) {
	for _, each := range s.spans {
		if each.from.service == gateName && each.Kind() == ptrace.SpanKindServer && (!in.IsValid() || each.TraceID() == pcommon.TraceID(in)) {
			all = append(all, each)
		}
	}
	return all
}

// call is the request's span for a tool, in a trace.
func (s *seen) call(in trace.TraceID, tool string) span {
	s.Helper()
	for _, each := range s.requests(in) {
		if text(each.Attributes(), "gen_ai.tool.name") == tool {
			return each
		}
	}
	s.Fatalf("no span for %s in trace %s", tool, in)
	return span{}
}

// joined holds a trace whose client sends traceparent: all that it did is one tree, from its first span to those of the
// remote.
func (s *seen) joined(root trace.SpanContext) {
	s.Helper()
	services := map[string]bool{}
	for _, each := range s.spans {
		if each.TraceID() != pcommon.TraceID(root.TraceID()) {
			continue
		}
		services[each.from.service] = true
		if parent := s.by(each.ParentSpanID()); parent == nil && each.SpanID() != pcommon.SpanID(root.SpanID()) || parent != nil && parent.TraceID() != each.TraceID() {
			s.Errorf("%s of %s has no parent in its trace", each.Name(), each.from.service)
		}
	}
	if diff := cmp.Diff(map[string]bool{clientName: true, gateName: true, remoteName: true}, services); diff != "" {
		s.Errorf("services of the trace (-want +got):\n%s", diff)
	}
	requests := s.requests(root.TraceID())
	if len(requests) < 4 { // initialize, notifications/initialized, two calls
		s.Errorf("the trace has %d requests", len(requests))
	}
	for _, request := range requests {
		parent := s.by(request.ParentSpanID())
		if parent == nil || parent.from.service != clientName || parent.Kind() != ptrace.SpanKindClient || parent.ParentSpanID() != pcommon.SpanID(root.SpanID()) {
			s.Errorf("%s is not under a request of the client's: %v", request.Name(), parent)
		}
	}
	s.steps(s.call(root.TraceID(), allowed), "")
	s.steps(s.call(root.TraceID(), refused), "denied")
}

// adopted holds a trace whose client names its span in _meta.
func (s *seen) adopted(root trace.SpanContext) {
	s.Helper()
	for tool, failure := range map[string]string{allowed: "", refused: "denied"} {
		request := s.call(root.TraceID(), tool)
		if request.ParentSpanID() != pcommon.SpanID(root.SpanID()) {
			s.Errorf("%s is under %s, not under the client's %s", request.Name(), request.ParentSpanID(), root.SpanID())
		}
		s.steps(request, failure)
	}
	if parent := s.by(pcommon.SpanID(root.SpanID())); parent == nil || parent.from.service != clientName {
		s.Errorf("the client's span is %v", parent)
	}
}

// steps holds what is under the span of a call that ended with a failure, "" for none: the steps of the gateway, and
// the remote's span under the one that sent the call.
func (s *seen) steps(request span, failure string) {
	s.Helper()
	if got := text(request.Attributes(), "error.type"); got != failure || (request.Status().Code() == ptrace.StatusCodeError) != (failure != "") {
		s.Errorf("%s ended with error %q and status %s, want %q", request.Name(), got, request.Status().Code(), failure)
	}
	want := []string{"backend", "policy", "sts", "token"}
	if failure != "" {
		want = []string{"policy", "token"}
	}
	var steps []string
	for _, step := range s.under(request.SpanID()) {
		steps = append(steps, step.Name())
		if step.TraceID() != request.TraceID() || step.from != request.from || step.StartTimestamp() < request.StartTimestamp() || step.EndTimestamp() > request.EndTimestamp() {
			s.Errorf("%s is not within %s", step.Name(), request.Name())
		}
		below := s.under(step.SpanID())
		if step.Name() != "backend" {
			if len(below) > 0 {
				s.Errorf("%d spans are under %s", len(below), step.Name())
			}
			continue
		}
		if len(below) != 1 || below[0].from.service != remoteName || below[0].Kind() != ptrace.SpanKindServer || below[0].TraceID() != request.TraceID() || step.Kind() != ptrace.SpanKindClient {
			s.Errorf("under backend is %v, not the remote's span", below)
		}
	}
	slices.Sort(steps)
	if diff := cmp.Diff(want, steps); diff != "" {
		s.Errorf("steps of %s (-want +got):\n%s", request.Name(), diff)
	}
}

// sources holds what is said of the gateway's process to be the same in all that comes from it, and as it was set.
func (s *seen) sources() {
	s.Helper()
	all := map[source]bool{}
	for _, each := range s.requests(trace.TraceID{}) {
		all[each.from] = true
	}
	for _, each := range s.records {
		all[each.from] = true
	}
	for _, each := range s.metrics {
		all[each.from] = true
	}
	for from := range all {
		if from.service != gateName || from.environment != "test" || from.version == "" || from.instance == "" || len(all) != 1 {
			s.Errorf("what was received comes from %+v", all)
		}
	}
}

// recorded holds each request to have one record of its own: under its span, and as it stands in the file.
func (s *seen) recorded(file string) {
	s.Helper()
	lines := slices.Sorted(strings.Lines(file))
	var bodies []string
	of := map[pcommon.SpanID]int{}
	for _, each := range s.records {
		body := each.Body().AsString()
		bodies = append(bodies, strings.TrimSuffix(body, "\n")+"\n")
		of[each.SpanID()]++
		var told struct {
			Trace string `json:"trace_id"`
			Span  string `json:"span_id"`
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil || told.Trace != each.TraceID().String() || told.Span != each.SpanID().String() || each.EventName() != "rolegate.audit" {
			s.Errorf("a %s of %s and %s: %s, %v", each.EventName(), each.TraceID(), each.SpanID(), body, err)
		}
	}
	slices.Sort(bodies)
	if diff := cmp.Diff(lines, bodies); diff != "" {
		s.Errorf("records (-written +received):\n%s", diff)
	}
	requests := s.requests(trace.TraceID{})
	if len(of) != len(requests) {
		s.Errorf("%d requests, records of %d", len(requests), len(of))
	}
	for _, request := range requests {
		if of[request.SpanID()] != 1 {
			s.Errorf("%s has %d records", request.Name(), of[request.SpanID()])
		}
	}
}

// counted holds the metrics to as many requests as there are spans.
func (s *seen) counted() {
	s.Helper()
	n := len(s.requests(trace.TraceID{}))
	want, got := map[string]int{}, map[string]int{}
	for name, count := range map[string]int{
		"rolegate.requests": n, "http.server.request.duration": n, "rolegate.sts_calls": 1,
	} {
		want[name], got[name] = count, s.metrics[name].count()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("metrics (-want +got):\n%s", diff)
	}
}

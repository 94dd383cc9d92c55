package telemetry_test

import (
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/rolegate/rolegate/internal/telemetry"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

const (
	trace1 = "4bf92f3577b34da6a3ce929d0e0e4736"
	trace2 = "0af7651916cd43dd8448eb211c80319c"
	parent = "00f067aa0ba902b7"
)

func from(trace string, flags string) telemetry.Remote {
	return telemetry.Remote{Parent: "00-" + trace + "-" + parent + "-" + flags}
}

// journey is a request as the gateway sees it. The backend starts a span of its own from what it is sent.
func journey(t *testing.T, tracing *telemetry.Tracing, header, meta telemetry.Remote) {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Baggage") != "" {
			t.Error("baggage went on")
		}
		s := tracing.Begin(time.Now(), telemetry.FromHeader(r.Header))
		s.Believe()
		s.End(time.Now(), telemetry.Request{HTTPMethod: "POST", Method: "tools/call", Target: "at the backend", Known: true}, telemetry.Ending{Status: 200})
	}))
	defer backend.Close()

	s := tracing.Begin(time.Now(), header)
	step := s.Step(telemetry.StepToken)
	step.Set("result", "ok")
	step.End("")
	s.Believe()
	s.Adopt(meta)
	s.Step(telemetry.StepPolicy).End("")
	step = s.Step(telemetry.StepSTS)
	step.Set("rolegate.sts.source", "joined")
	step.End("unavailable")
	step = s.Step(telemetry.StepBackend)
	req, _ := http.NewRequestWithContext(t.Context(), "POST", backend.URL, nil)
	req.Header.Set("Traceparent", "of the client")
	req.Header.Set("Tracestate", "of=client")
	s.Inject(step, req.Header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	step.SetInt("http.response.status_code", resp.StatusCode)
	step.End("")
	s.End(time.Now(), telemetry.Request{
		ID: "r1", HTTPMethod: "POST", Path: "/mcp", RPCID: `"7\u0031"`, Method: "tools/call", Target: "weather", Known: true, Session: "s", Version: "2025-11-25",
	}, telemetry.Ending{Status: 200, Code: -32602})
}

func TestOneTrace(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	p := open(t, telemetry.Options{Config: everything(r.URL)})
	journey(t, p.Tracing, from(trace1, "01"), telemetry.Remote{})
	end(t, p)

	names := map[string]string{} // name of the parent by name
	byID := map[string]string{parent: "the client's"}
	for _, s := range r.spans {
		byID[hex.EncodeToString(s.SpanId)] = s.Name
	}
	for _, s := range r.spans {
		if got := hex.EncodeToString(s.TraceId); got != trace1 {
			t.Errorf("%s is of trace %s", s.Name, got)
		}
		names[s.Name] = byID[hex.EncodeToString(s.ParentSpanId)]
	}
	root := "tools/call weather"
	want := map[string]string{
		root: "the client's", "token": root, "policy": root, "sts": root, "backend": root, "tools/call at the backend": "backend",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}
	span := r.span(t, root)
	if diff := cmp.Diff(map[string]string{
		"mcp.method.name": "tools/call", "gen_ai.tool.name": "weather", "gen_ai.operation.name": "execute_tool", "jsonrpc.request.id": "71",
		"mcp.session.id": "s", "mcp.protocol.version": "2025-11-25", "rpc.response.status_code": "-32602", "error.type": "-32602",
		"http.request.method": "POST", "http.response.status_code": "int 200", "url.path": "/mcp", "network.transport": "tcp", "rolegate.request_id": "r1",
	}, attributes(span.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if span.Kind != tracepb.Span_SPAN_KIND_SERVER || span.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("kind %s, status %s", span.Kind, span.Status)
	}
	if s := r.span(t, "sts"); attributes(s.Attributes)["error.type"] != "unavailable" || attributes(s.Attributes)["rolegate.sts.source"] != "joined" {
		t.Errorf("sts: %v", s)
	}
	if s := r.span(t, "token"); attributes(s.Attributes)["result"] != "ok" || s.StartTimeUnixNano < span.StartTimeUnixNano || s.EndTimeUnixNano > span.EndTimeUnixNano {
		t.Errorf("token: %v", s)
	}
	if s := r.span(t, "backend"); s.Kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("backend: %v", s)
	}
	if r.resource["service.name"] != "aws" || r.resource["service.version"] != "v1" || r.resource["service.instance.id"] != "one" {
		t.Errorf("resource %v", r.resource)
	}
}

func TestWhereTheParentComesFrom(t *testing.T) {
	clean(t)
	for _, c := range []struct {
		name         string
		header, meta telemetry.Remote
		trace, link  string
	}{
		{"the header", from(trace1, "01"), telemetry.Remote{}, trace1, ""},
		{"_meta", telemetry.Remote{}, from(trace2, "01"), trace2, ""},
		{"the header before _meta", from(trace1, "01"), from(trace2, "01"), trace1, trace2},
		{"both say the same", from(trace1, "01"), from(trace1, "01"), trace1, ""},
		{"a header that is not valid", telemetry.Remote{Parent: "00-" + strings.ToUpper(trace1) + "-" + parent + "-01"}, from(trace2, "01"), trace2, ""},
		{"_meta that is not valid", from(trace1, "01"), telemetry.Remote{Parent: "x"}, trace1, ""},
		{"the client's word that it is not to be sampled", from(trace1, "00"), telemetry.Remote{}, "", ""},
		{"the client's word in _meta", telemetry.Remote{}, from(trace1, "00"), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t)
			p := open(t, telemetry.Options{Config: everything(r.URL)})
			journey(t, p.Tracing, c.header, c.meta)
			end(t, p)
			if c.trace == "" {
				if len(r.spans) > 0 {
					t.Errorf("recorded nevertheless: %v", r.spans)
				}
				return
			}
			for _, s := range r.spans {
				if got := hex.EncodeToString(s.TraceId); got != c.trace {
					t.Errorf("%s is of trace %s, want %s", s.Name, got, c.trace)
				}
			}
			span, link := r.span(t, "tools/call weather"), ""
			if len(span.Links) > 0 {
				link = hex.EncodeToString(span.Links[0].TraceId)
			}
			if link != c.link {
				t.Errorf("link to %q, want %q", link, c.link)
			}
			r.span(t, "token")
		})
	}
}

// TestAStrangersTraceIsNotBelieved: a request of nobody who is known decides neither what is recorded nor in whose trace.
func TestAStrangersTraceIsNotBelieved(t *testing.T) {
	clean(t)
	for _, c := range []struct {
		name, flags string
		share       float64
		recorded    bool
	}{
		{"it wants to be recorded, and chance is against it", "01", 0, false},
		{"it does not, and chance is for it", "00", 1, true},
		{"both are for it", "01", 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t)
			o := everything(r.URL)
			o.Export.SamplingRate = rate(c.share)
			p := open(t, telemetry.Options{Config: o})
			said := from(trace1, c.flags)
			said.State = "vendor=" + strings.Repeat("x", 200)
			s := p.Tracing.Begin(time.Now(), said)
			s.Step(telemetry.StepToken).End("unauthenticated")
			if got := s.TraceID(); got == "" || got == trace1 {
				t.Errorf("it is of trace %q", got)
			}
			s.End(time.Now(), telemetry.Request{HTTPMethod: "POST"}, telemetry.Ending{Status: 401, Kind: "unauthenticated"})
			end(t, p)
			if !c.recorded {
				if len(r.spans) > 0 {
					t.Errorf("recorded nevertheless: %v", r.spans)
				}
				return
			}
			span := r.span(t, "POST")
			if span.Status.GetCode() != tracepb.Status_STATUS_CODE_UNSET || attributes(span.Attributes)["error.type"] != "" {
				t.Errorf("a refusal over HTTP is an error of the server's: %v", span)
			}
			if len(span.ParentSpanId) > 0 || len(span.Links) != 1 || hex.EncodeToString(span.Links[0].TraceId) != trace1 || span.Links[0].TraceState != "" {
				t.Errorf("parent %x, links %v", span.ParentSpanId, span.Links)
			}
			if step := r.span(t, "token"); string(step.ParentSpanId) != string(span.SpanId) {
				t.Errorf("token is under %x", step.ParentSpanId)
			}
		})
	}
}

func TestAnUnsampledRequestIsPassedOnAsSuch(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	o := everything(r.URL)
	o.Export.SamplingRate = rate(0)
	p := open(t, telemetry.Options{Config: o})
	s := p.Tracing.Begin(time.Now(), telemetry.Remote{})
	s.Step(telemetry.StepToken).End("")
	h := http.Header{"Tracestate": {"a=b"}}
	step := s.Step(telemetry.StepBackend)
	s.Inject(step, h)
	step.End("")
	if got := h.Get("Traceparent"); !strings.HasSuffix(got, "-00") || !strings.Contains(got, s.TraceID()) || h.Get("Tracestate") != "" {
		t.Errorf("headers %v of trace %s", h, s.TraceID())
	}
	s.End(time.Now(), telemetry.Request{}, telemetry.Ending{})
	end(t, p)
	if len(r.spans) != 0 {
		t.Errorf("spans came: %v", r.spans)
	}
}

func TestSpanNames(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	p := open(t, telemetry.Options{Config: everything(r.URL)})
	for _, c := range []struct {
		name    string
		request telemetry.Request
	}{
		{"tools/call weather", telemetry.Request{Method: "tools/call", Target: "weather", Known: true}},
		{"tools/call", telemetry.Request{Method: "tools/call", Target: "made up"}},
		{"prompts/get plan", telemetry.Request{Method: "prompts/get", Target: "plan", Known: true}},
		{"resources/read", telemetry.Request{Method: "resources/read", Target: "file:///x", Known: true}},
		{"ping", telemetry.Request{Method: "ping"}},
		{"_OTHER", telemetry.Request{Method: "made/up", Target: "x", Known: true}},
		{"GET", telemetry.Request{HTTPMethod: "GET"}},
		{"_OTHER", telemetry.Request{HTTPMethod: "MAKEUP"}},
	} {
		r.spans = nil
		p := open(t, telemetry.Options{Config: everything(r.URL)})
		p.Tracing.Begin(time.Now(), telemetry.Remote{}).End(time.Now(), c.request, telemetry.Ending{Status: 200})
		end(t, p)
		if s := r.spans[0]; s.Name != c.name || s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("%+v: %q %s, want %q", c.request, s.Name, s.Status, c.name)
		}
	}
	end(t, p)
}

// TestOddTextsDoNotCostTheBatch: protobuf takes UTF-8 alone, and one span that is not would lose its neighbours too.
func TestOddTextsDoNotCostTheBatch(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	p := open(t, telemetry.Options{Config: everything(r.URL)})
	odd := strings.Repeat("x", 255) + "€\xff"
	s := p.Tracing.Begin(time.Now(), telemetry.Remote{})
	step := s.Step(telemetry.StepToken)
	step.Set("odd", odd)
	step.End("")
	s.End(time.Now(), telemetry.Request{HTTPMethod: odd, Method: "tools/call", Target: odd, Known: true, RPCID: odd, Path: odd}, telemetry.Ending{Kind: "denied", Public: odd})
	end(t, p)
	span := r.spans[len(r.spans)-1]
	if got := attributes(span.Attributes)["gen_ai.tool.name"]; len(got) > 260 || !strings.HasPrefix(got, "xxx") {
		t.Errorf("a name of %d bytes", len(got))
	}
}

// TestWithoutTracingNothingIsSpent: neither time nor memory.
func TestWithoutTracingNothingIsSpent(t *testing.T) {
	var tracing *telemetry.Tracing
	header := http.Header{"Traceparent": {"00-" + trace1 + "-" + parent + "-01"}}
	now := time.Now()
	allocations := testing.AllocsPerRun(1000, func() {
		s := tracing.Begin(now, telemetry.FromHeader(header))
		step := s.Step(telemetry.StepToken)
		step.Set("a", "b")
		step.SetInt("c", 1)
		step.End("denied")
		s.Believe()
		s.Adopt(telemetry.Remote{})
		s.Inject(step, header)
		if s.TraceID() != "" || s.SpanID() != "" {
			t.Error("a trace without tracing")
		}
		s.End(now, telemetry.Request{Method: "tools/call", Target: "x"}, telemetry.Ending{Status: 200})
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
	if header.Get("Traceparent") == "" {
		t.Error("the client's own context is gone")
	}
	if got := telemetry.FromHeader(header).TraceID(); got != trace1 {
		t.Errorf("the client's trace is %q", got)
	}
	if got := (telemetry.Remote{Parent: "x"}).TraceID(); got != "" {
		t.Errorf("a trace %q out of nothing", got)
	}
}

package gateway_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// collector is an OTLP/HTTP receiver of spans.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		from = unzipped
	}
	var m collecttraces.ExportTraceServiceRequest
	body, err := io.ReadAll(from)
	if err == nil {
		err = proto.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range m.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// traced is a watched stand whose spans go to a collector, through the pipelines that a process opens. seen ends them
// and gives the spans by name.
func traced(t *testing.T, edits ...edit) (s *watched, seen func() map[string]*tracepb.Span) {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	rate := 1.0
	pipes, err := telemetry.Open(t.Context(), telemetry.Options{
		Config: &config.Telemetry{Export: &config.Export{Enabled: true, Endpoint: c.URL, Traces: true, SamplingRate: &rate}}, Proxy: "aws", Version: "v1", Commit: "abc", Instance: "one",
	})
	if err != nil {
		t.Fatal(err)
	}
	s = watch(t, edits...)
	s.enter() // in no trace
	s.house.Tracing = pipes.Tracing
	closed := sync.OnceFunc(func() {
		if err := pipes.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(closed)
	return s, func() map[string]*tracepb.Span {
		eventually(t, "all is over", func() bool { return s.sums("rolegate_requests_in_flight")[""] == 0 })
		closed()
		c.mu.Lock()
		defer c.mu.Unlock()
		byName := map[string]*tracepb.Span{}
		for _, span := range c.spans {
			if byName[span.Name] != nil {
				t.Errorf("two spans are called %s", span.Name)
			}
			byName[span.Name] = span
			for _, secret := range []string{"eyJ", `"code"`, "whoami", s.session, s.session[len("rg1.")+44:]} { // the token, the arguments, the session's ids
				if strings.Contains(span.String(), secret) {
					t.Errorf("a span holds %q: %s", secret, span)
				}
			}
		}
		return byName
	}
}

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
	otherTrace  = "11111111111111111111111111111111"
)

func parent(trace, flags string) string { return "00-" + trace + "-" + clientSpan + "-" + flags }

// withMeta is a call of whoami whose _meta has a trace context.
func withMeta(traceparent string) string {
	return rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"whoami"},"_meta":{"traceparent":"`+traceparent+`"}}`)
}

// TestOneTrace joins client, gateway and remote.
func TestOneTrace(t *testing.T) {
	for name, c := range map[string]struct {
		header, body string
		link         string // trace that is linked
	}{
		"by the header":                  {header: parent(clientTrace, "01"), body: whoami},
		"by _meta":                       {body: withMeta(parent(clientTrace, "01"))},
		"by the header, and _meta links": {header: parent(clientTrace, "01"), body: withMeta(parent(otherTrace, "01")), link: otherTrace},
	} {
		t.Run(name, func(t *testing.T) {
			s, seen := traced(t, judged)
			headers := map[string]string{"Baggage": "secret=1", "User-Agent": "it"}
			if c.header != "" {
				headers["Traceparent"], headers["Tracestate"] = c.header, "vendor=1"
			}
			if r := s.do(call{token: s.tokens["ann"], session: s.session, body: c.body, headers: headers}); r.status != http.StatusOK {
				t.Fatalf("%d %s", r.status, r.body)
			}
			spans := seen()
			request := spans["tools/call"] // the tool was not known yet
			if request == nil || hex.EncodeToString(request.ParentSpanId) != clientSpan || request.Kind != tracepb.Span_SPAN_KIND_SERVER {
				t.Fatalf("%v", spans)
			}
			for _, step := range []string{"token", "policy", "sts", "backend"} {
				span := spans[step]
				if span == nil || string(span.ParentSpanId) != string(request.SpanId) || span.StartTimeUnixNano < request.StartTimeUnixNano || span.EndTimeUnixNano > request.EndTimeUnixNano {
					t.Errorf("%s: %v under %v", step, span, request)
				}
			}
			for name, span := range spans {
				if hex.EncodeToString(span.TraceId) != clientTrace {
					t.Errorf("%s is of another trace: %v", name, span)
				}
			}
			last, _ := s.world.AWS.Last()
			if got, want := last.Header.Get("Traceparent"), "00-"+clientTrace+"-"+hex.EncodeToString(spans["backend"].SpanId)+"-01"; got != want {
				t.Errorf("the remote got traceparent %s, want %s", got, want)
			}
			if c.header != "" && last.Header.Get("Tracestate") != "vendor=1" || last.Header.Get("Baggage") != "" {
				t.Errorf("the remote got %v", last.Header)
			}
			if c.link != "" && (len(request.Links) != 1 || hex.EncodeToString(request.Links[0].TraceId) != c.link) {
				t.Errorf("links %v", request.Links)
			}
			want := facts{"trace_id": clientTrace, "span_id": hex.EncodeToString(request.SpanId)}
			if diff := want.holds(s.by("it")); diff != "" {
				t.Error(diff)
			}
			s.told(spans)
		})
	}
}

// told looks for what the spans of whoami must tell.
func (s *watched) told(spans map[string]*tracepb.Span) {
	last, _ := s.world.AWS.Last()
	r := s.by("it")
	for name, want := range map[string]map[string]string{
		"tools/call": {"mcp.method.name": "tools/call", "gen_ai.tool.name": "aws___run_script", "rolegate.request_id": r.RequestID, "error.type": "", "mcp.session.id": r.Session, "jsonrpc.request.id": "1"},
		"policy":     {"rolegate.policy.ids": "all", "rolegate.policy.decision": "allow"},
		"sts":        {"rolegate.sts.source": "hit", "rolegate.role": r.Role, "aws.request_id": r.STSRequestID},
		"backend":    {"aws.request_id": last.ID, "server.address": "127.0.0.1"},
	} {
		got := map[string]string{}
		for key := range want {
			got[key] = attribute(spans[name], key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// attribute is a text attribute of a span; "" for none.
func attribute(span *tracepb.Span, key string) string {
	for _, a := range span.GetAttributes() {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// TestARefusalIsASpan: telemetry stands outside everything else. Who has no token is in a trace that nobody chose, and
// only links to the one that was named.
func TestARefusalIsASpan(t *testing.T) {
	s, seen := traced(t)
	s.do(call{body: listTools, headers: map[string]string{"User-Agent": "it", "Traceparent": parent(clientTrace, "00")}}).refused(t, http.StatusUnauthorized)
	spans := seen()
	for _, name := range []string{"POST", "token"} {
		span := spans[name]
		failure, code := "unauthenticated", tracepb.Status_STATUS_CODE_ERROR
		if name == "POST" { // over HTTP a refusal is no error of the server's
			failure, code = "", tracepb.Status_STATUS_CODE_UNSET
		}
		if span == nil || attribute(span, "error.type") != failure || span.Status.GetCode() != code || hex.EncodeToString(span.TraceId) == clientTrace {
			t.Errorf("%s: %v", name, span)
		}
	}
	if len(spans) != 2 {
		t.Errorf("spans %v", spans)
	}
	if links := spans["POST"].GetLinks(); len(links) != 1 || hex.EncodeToString(links[0].TraceId) != clientTrace || len(spans["POST"].GetParentSpanId()) > 0 {
		t.Errorf("links %v", links)
	}
	if r := s.by("it"); r.TraceID != hex.EncodeToString(spans["POST"].GetTraceId()) {
		t.Errorf("trace %s", r.TraceID)
	}
}

// TestWhoseTraceARecordIsOf: of the one that the request names where its token was verified, with tracing and without;
// never of one that a stranger named.
func TestWhoseTraceARecordIsOf(t *testing.T) {
	for name, stand := range map[string]func(*testing.T, ...edit) *watched{
		"without tracing": watch,
		"with tracing": func(t *testing.T, edits ...edit) *watched {
			s, _ := traced(t, edits...)
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := stand(t)
			says := func(client string) map[string]string {
				return map[string]string{"User-Agent": client, "Traceparent": parent(clientTrace, "01")}
			}
			s.do(call{body: listTools, headers: says("stranger")}).refused(t, http.StatusUnauthorized)
			s.do(call{token: s.tokens["ann"], body: "{", headers: says("ann")}).refused(t, http.StatusBadRequest) // before _meta is known
			if r := s.by("stranger"); r.TraceID == clientTrace || (r.TraceID != "") != (r.SpanID != "") {
				t.Errorf("the stranger's is of trace %q, span %q", r.TraceID, r.SpanID)
			}
			if r := s.by("ann"); r.TraceID != clientTrace {
				t.Errorf("ann's is of trace %q", r.TraceID)
			}
		})
	}
}

// TestTheClientDecidesOnSampling: a trace that is not recorded goes on all the same.
func TestTheClientDecidesOnSampling(t *testing.T) {
	s, seen := traced(t)
	if r := s.do(call{token: s.tokens["ann"], session: s.session, body: whoami, headers: map[string]string{"User-Agent": "it", "Traceparent": parent(clientTrace, "00")}}); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if spans := seen(); len(spans) > 0 {
		t.Errorf("spans %v", spans)
	}
	last, _ := s.world.AWS.Last()
	if got := last.Header.Get("Traceparent"); !strings.HasPrefix(got, "00-"+clientTrace+"-") || !strings.HasSuffix(got, "-00") || strings.Contains(got, clientSpan) {
		t.Errorf("the remote got traceparent %s", got)
	}
	if r := s.by("it"); r.TraceID != clientTrace {
		t.Errorf("trace %q", r.TraceID)
	}
}

// TestACollectorThatHangsHoldsUpNobody.
func TestACollectorThatHangsHoldsUpNobody(t *testing.T) {
	hang := make(chan struct{})
	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(func() { close(hang); away.Close() })
	rate := 1.0
	pipes, err := telemetry.Open(t.Context(), telemetry.Options{
		Config: &config.Telemetry{Export: &config.Export{Enabled: true, Endpoint: away.URL, Traces: true, SamplingRate: &rate}}, Proxy: "aws", Version: "v1", Commit: "abc", Instance: "one",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = pipes.Close(ctx) // it can't send what there is
	})
	s := watch(t, behind(t, act))
	s.house.Tracing = pipes.Tracing
	began := time.Now()
	for range 3000 { // more than the queue holds
		if r := s.do(call{token: s.tokens["ann"], body: callTool("ok", "{}")}); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

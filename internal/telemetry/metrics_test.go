package telemetry_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

func scrape(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// used has something in every metric.
func used(m *telemetry.Metrics) {
	m.Began("POST", false)
	m.StreamOpened()
	m.Answered("allowed", "200", false, time.Millisecond)
	m.Answered("unauthenticated", "401", false, time.Millisecond)
	m.Answered("allowed", "200", true, time.Hour)
	m.Ended("success")
	m.Operated(telemetry.Operation{HTTPMethod: "POST", TLS: true, Method: "tools/call", Duration: time.Second, Remote: time.Millisecond, Ending: telemetry.Ending{Status: 200, ToolError: true}})
	m.Exchanged(telemetry.Exchange{HTTPMethod: "POST", Server: &url.URL{Scheme: "https", Host: "aws-mcp.us-east-1.api.aws", Path: "/mcp"}, Status: 200, Duration: time.Millisecond})
	m.Verified("ok", true)
	m.Refreshed(nil)
	m.Refreshed(errors.New("away"))
	m.Reloaded(nil)
	m.RoleChosen("arn", "fallback", "missing")
	m.MatcherFailed(1, "no such key")
	m.PolicyDecided("deny", time.Microsecond)
	m.PolicyFailed("policies[0]", "permit")
	m.ItemsHidden("tools/list", 3)
	m.STSCalled("ok", time.Millisecond)
	m.STSCached("hit")
	m.SessionRefused()
	m.Configured("aws", "0123")
	m.WatchAudit(func() telemetry.AuditFigures {
		return telemetry.AuditFigures{Queued: 1, Written: 2, Failed: 3, Dropped: 4, Retried: 5}
	})
	for _, name := range []string{
		telemetry.MetricKeySetAge, telemetry.MetricKeySetKeys, telemetry.MetricSTSEntries, telemetry.MetricSTSFlights, telemetry.MetricSTSNextExpiry, telemetry.MetricSTSUnrenewed,
	} {
		m.Gauge(name, "A gauge.", func() float64 { return 1 })
	}
}

// TestThereFromTheStart: what an alert waits for has a series before it happens, or its first increase would not be seen.
func TestThereFromTheStart(t *testing.T) {
	text := scrape(telemetry.NewMetrics("v1", "abc"))
	for _, line := range []string{
		telemetry.MetricSessionsRefused + " 0\n",
		telemetry.MetricSTSCache + `{event="` + telemetry.RefreshFailed + "\"} 0\n",
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
}

// TestEveryMetricIsServed: each name in names.go stands for something that can be scraped, under just that name.
func TestEveryMetricIsServed(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	used(m)
	text := scrape(m)
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"target_info": true}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Metric") {
			return true
		}
		name, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		names[name] = true
		if !strings.Contains(text, "# TYPE "+name+" ") || !strings.Contains(text, "# HELP "+name+" ") {
			t.Errorf("%s is not served", name)
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/operations.md does not tell of %s", name)
		}
		return true
	})
	if len(names) < 25 {
		t.Fatal("no names found")
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(text, -1) {
		if !names[m[1]] && !strings.HasPrefix(m[1], "go_") && !strings.HasPrefix(m[1], "process_") {
			t.Errorf("%s is served, and names.go does not have it", m[1])
		}
	}
	if strings.Contains(text, "otel_scope") {
		t.Error("series have labels of OpenTelemetry's scopes")
	}
}

func TestWhatIsServed(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	used(m)
	text := scrape(m)
	for _, line := range []string{
		`rolegate_requests_total{decision="unauthenticated",status="401"} 1`,
		`rolegate_requests_total{decision="allowed",status="200"} 2`,
		`rolegate_request_duration_seconds_count 2`,
		`rolegate_stream_duration_seconds_count 1`,
		`rolegate_stream_duration_seconds_sum 3600`,
		`rolegate_requests_in_flight 1`,
		`rolegate_open_streams 1`,
		`rolegate_key_set_refreshes_total{result="error"} 1`,
		`rolegate_list_items_hidden_total{method="tools/list"} 3`,
		`rolegate_sessions_refused_total 1`,
		`rolegate_audit_records_total{result="dropped"} 4`,
		`rolegate_audit_records_total{result="failed"} 3`,
		`rolegate_audit_write_failures_total 5`,
		`rolegate_audit_queue_length 1`,
		`rolegate_config_info{hash="0123",proxy="aws"} 1`,
		`http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="200",url_scheme="https"} 1`,
		`http_server_active_requests{http_request_method="POST",url_scheme="http"} 1`,
		`http_client_request_duration_seconds_sum{http_request_method="POST",http_response_status_code="200",server_address="aws-mcp.us-east-1.api.aws",server_port="443"} 0.001`,
		`mcp_server_operation_duration_seconds_sum{error_type="tool_error",mcp_method_name="tools/call",network_transport="tcp"} 1`,
		`mcp_client_operation_duration_seconds_sum{error_type="tool_error",mcp_method_name="tools/call",network_transport="tcp"} 0.001`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	m.Configured("aws", "4567")
	m.Began("POST", false)()
	if text = scrape(m); strings.Contains(text, `hash="0123"`) || !strings.Contains(text, `hash="4567"`) {
		t.Error("the configuration is still the old one")
	}
	if !strings.Contains(text, "rolegate_requests_in_flight 1\n") {
		t.Error("a request that ended is in flight")
	}
}

func TestUnreadRoleClaimIsNotCounted(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	m.RoleChosen("arn", "mapping", "")
	if strings.Contains(scrape(m), telemetry.MetricRoleClaims+"{") {
		t.Error("a claim that nothing reads was counted")
	}
}

func TestAGaugeWithoutAValueIsNotServed(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	v := math.NaN()
	m.Gauge(telemetry.MetricSTSNextExpiry, "A gauge.", func() float64 { return v })
	if strings.Contains(scrape(m), "\n"+telemetry.MetricSTSNextExpiry+" ") {
		t.Error("served without a value")
	}
	v = 60
	if !strings.Contains(scrape(m), "\n"+telemetry.MetricSTSNextExpiry+" 60\n") {
		t.Error("not served with a value")
	}
}

// TestLabelsOfClientsAreBounded: whatever a client calls its methods, there is one series for them; and where a list of
// labels is long all the same, nothing that was counted is lost.
func TestLabelsOfClientsAreBounded(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	for i := range 3000 {
		m.Operated(telemetry.Operation{HTTPMethod: "M" + strconv.Itoa(i), Method: "made/up" + strconv.Itoa(i), Ending: telemetry.Ending{Status: 200, Code: int64(i + 1)}})
		m.Began("M"+strconv.Itoa(i), false)
		m.PolicyFailed("policies["+strconv.Itoa(i)+"]", "permit")
	}
	text := scrape(m)
	for _, line := range []string{
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="200",url_scheme="http"} 3000`,
		`http_server_active_requests{http_request_method="_OTHER",url_scheme="http"} 3000`,
		`mcp_server_operation_duration_seconds_count{error_type="_OTHER",mcp_method_name="_OTHER",network_transport="tcp",rpc_response_status_code="_OTHER"} 3000`,
		`rolegate_policy_errors_total{otel_metric_overflow="true"} 2000`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if n := strings.Count(text, "\nrolegate_policy_errors_total{"); n != 1001 {
		t.Errorf("%d series", n)
	}
}

func TestWhatFailed(t *testing.T) {
	for _, c := range []struct {
		ending telemetry.Ending
		want   string
	}{
		{telemetry.Ending{Status: 200}, ``},
		{telemetry.Ending{Status: 202}, ``},
		{telemetry.Ending{Status: 403, Kind: "denied", Code: -32003}, `denied`},
		{telemetry.Ending{Status: 200, Code: -32601}, `-32601`},
		{telemetry.Ending{Status: 200, Code: 12345}, `_OTHER`},
		{telemetry.Ending{Status: 200, ToolError: true}, `tool_error`},
		{telemetry.Ending{Status: 503}, `503`},
		{telemetry.Ending{Status: 404}, ``},
	} {
		m := telemetry.NewMetrics("v1", "abc")
		m.Operated(telemetry.Operation{HTTPMethod: "POST", Method: "ping", Ending: c.ending})
		if got := errorType(m, telemetry.MetricMCPDuration); got != c.want {
			t.Errorf("%+v: %q, want %q", c.ending, got, c.want)
		}
	}
}

// TestWhatFailedOverHTTP: what a client did wrong, and what an answer of 200 says within, are no errors of an HTTP server.
func TestWhatFailedOverHTTP(t *testing.T) {
	for _, c := range []struct {
		ending telemetry.Ending
		want   string
	}{
		{telemetry.Ending{Status: 200}, ``},
		{telemetry.Ending{Status: 200, ToolError: true}, ``},
		{telemetry.Ending{Status: 200, Code: -32601}, ``},
		{telemetry.Ending{Status: 401, Kind: "unauthenticated", Code: -32001}, ``},
		{telemetry.Ending{Status: 403, Kind: "denied", Code: -32003}, ``},
		{telemetry.Ending{Status: 404}, ``},
		{telemetry.Ending{Status: 200, Kind: "bad_upstream"}, ``}, // passed on whole, and without a response
		{telemetry.Ending{Status: 200, Kind: "bad_upstream", Broken: true}, `bad_upstream`},
		{telemetry.Ending{Status: 499, Kind: "aborted", Broken: true}, `aborted`},
		{telemetry.Ending{Status: 502}, `502`},
		{telemetry.Ending{Status: 503, Kind: "unavailable", Code: -32000}, `unavailable`},
	} {
		m := telemetry.NewMetrics("v1", "abc")
		m.Operated(telemetry.Operation{HTTPMethod: "POST", Method: "ping", Ending: c.ending})
		if got := errorType(m, telemetry.MetricHTTPDuration); got != c.want {
			t.Errorf("%+v: %q, want %q", c.ending, got, c.want)
		}
	}
}

// errorType is the error.type of the one series of a histogram.
func errorType(m *telemetry.Metrics, metric string) string {
	if found := regexp.MustCompile(metric + `_count\{error_type="([^"]*)"`).FindStringSubmatch(scrape(m)); found != nil {
		return found[1]
	}
	return ""
}

// TestExchanges: each attempt has what HTTP's conventions ask of clients, and nothing that is a caller's.
func TestExchanges(t *testing.T) {
	for _, c := range []struct {
		server       string
		status       int
		kind, labels string
	}{
		{"https://aws-mcp.us-east-1.api.aws/mcp", 200, "", `http_request_method="GET",http_response_status_code="200",server_address="aws-mcp.us-east-1.api.aws",server_port="443"`},
		{"http://127.0.0.1/mcp", 202, "", `http_request_method="GET",http_response_status_code="202",server_address="127.0.0.1",server_port="80"`},
		{"https://[::1]:8443/mcp?x=1", 403, "", `error_type="403",http_request_method="GET",http_response_status_code="403",server_address="::1",server_port="8443"`},
		{"https://h", 503, "", `error_type="503",http_request_method="GET",http_response_status_code="503",server_address="h",server_port="443"`},
		{"https://h", 0, "upstream_timeout", `error_type="upstream_timeout",http_request_method="GET",server_address="h",server_port="443"`},
	} {
		m := telemetry.NewMetrics("v1", "abc")
		server, err := url.Parse(c.server)
		if err != nil {
			t.Fatal(err)
		}
		m.Exchanged(telemetry.Exchange{HTTPMethod: "GET", Server: server, Status: c.status, Kind: c.kind, Duration: time.Second})
		if line := telemetry.MetricHTTPClientDuration + "_sum{" + c.labels + "} 1\n"; !strings.Contains(scrape(m), line) {
			t.Errorf("no line %s", line)
		}
	}
}

// TestNewsStreamsHaveNoDuration: a stream that waits for news would fill the last bucket of what others read as latency.
func TestNewsStreamsHaveNoDuration(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	m.Operated(telemetry.Operation{HTTPMethod: "GET", Listening: true, Duration: time.Hour, Ending: telemetry.Ending{Status: 200}})
	m.Operated(telemetry.Operation{HTTPMethod: "DELETE", Ending: telemetry.Ending{Status: 200}})
	text := scrape(m)
	if strings.Contains(text, `http_request_method="GET"`) || !strings.Contains(text, `http_request_method="DELETE"`) {
		t.Error(text)
	}
	if strings.Contains(text, "mcp_server_operation_duration_seconds_count") {
		t.Error("an operation without a method")
	}
}

func TestCountingIsExact(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				m.Answered("allowed", strconv.Itoa(200+i%20), false, time.Millisecond)
				m.Began("POST", false)()
				if w == 0 && i%100 == 0 {
					scrape(m)
				}
			}
		})
	}
	wg.Wait()
	text := scrape(m)
	for i := range 20 {
		if line := `rolegate_requests_total{decision="allowed",status="` + strconv.Itoa(200+i) + `"} 400`; !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if !strings.Contains(text, "rolegate_request_duration_seconds_count 8000\n") || !strings.Contains(text, "rolegate_requests_in_flight 0\n") {
		t.Error("durations or levels are off")
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	m, remote := telemetry.NewMetrics("v1", "abc"), &url.URL{Scheme: "https", Host: "aws-mcp.us-east-1.api.aws"}
	for name, count := range map[string]func(){
		"Began":         func() { m.Began("POST", false)() },
		"StreamOpened":  func() { m.StreamOpened()() },
		"Answered":      func() { m.Answered("allowed", "200", false, time.Millisecond) },
		"Verified":      func() { m.Verified("ok", true) },
		"RoleChosen":    func() { m.RoleChosen("arn", "mapping", "present") },
		"PolicyDecided": func() { m.PolicyDecided("allow", time.Microsecond) },
		"STSCached":     func() { m.STSCached("hit") },
		"ItemsHidden":   func() { m.ItemsHidden("tools/list", 2) },
		"Operated": func() {
			m.Operated(telemetry.Operation{HTTPMethod: "POST", Method: "tools/call", Remote: time.Second, Ending: telemetry.Ending{Status: 200}})
		},
		"Exchanged": func() { m.Exchanged(telemetry.Exchange{HTTPMethod: "POST", Server: remote, Status: 200}) },
	} {
		if n := testing.AllocsPerRun(100, count); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

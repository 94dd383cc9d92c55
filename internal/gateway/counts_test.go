package gateway_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// TestWhyThatRole: of those who get no role, the ones whom a matcher's failure denied it are told from the others.
func TestWhyThatRole(t *testing.T) {
	matcher := "roleArn: " + fake.AdminRole
	for name, c := range map[string]struct {
		edits  []edit
		reason string
	}{
		"the matcher fails, and is skipped":     {nil, "fallback"},
		"the matcher fails, and that is denied": {[]edit{replace(matcher, matcher+"\n        onError: deny")}, "error"},
		"nothing matches":                       {[]edit{replace("fallbackRoleArn: >-\n      "+fake.DefaultRole, "sessionDuration: 3600")}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stage(t, c.edits...)
			s.do(call{user: "eve", body: initialize})
			if diff := cmp.Diff(map[string]int{c.reason: 1}, s.sums(telemetry.MetricRoleChoices, "reason")); diff != "" {
				t.Errorf("choices by reason (-want +got):\n%s", diff)
			}
		})
	}
}

// TestIsItTheRemote: what the remote took, and how it failed, is told apart from all the rest.
func TestIsItTheRemote(t *testing.T) {
	const pause = 300 * time.Millisecond
	remote := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") == "slow" {
			_, _ = io.Copy(io.Discard, r.Body)
			events(w, progress)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(pause)
			events(w, okResult)
			return
		}
		act(w, r)
	}
	for name, c := range map[string]struct {
		tool, agent string
		status      int
		http, mcp   string // http_response_status_code and error_type; error_type
	}{
		"well":              {"ok", "", 200, "200 ", ""},
		"a tool's error":    {"tool error", "", 200, "200 ", "tool_error"},
		"an error":          {"error", "", 200, "200 ", "-32602"},
		"429":               {"refuses", "", 429, "429 429", ""},
		"503":               {"fails", "", 503, "503 503", "503"},
		"nobody there":      {"is down", "", 502, " bad_upstream", "bad_upstream"},
		"headers, then not": {"events", "slow", 200, "200 ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := stage(t, behind(t, remote))
			if r := s.do(call{user: "ann", body: callTool(c.tool, "{}"), headers: map[string]string{"User-Agent": c.agent}}); r.status != c.status {
				t.Fatalf("%d %s", r.status, r.body)
			}
			eventually(t, "it is counted", func() bool { return len(s.sums(telemetry.MetricMCPClientDuration)) > 0 })
			if diff := cmp.Diff(map[string]int{c.http: 1}, s.sums(telemetry.MetricHTTPClientDuration, "http_response_status_code", "error_type")); diff != "" {
				t.Errorf("HTTP (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]int{c.mcp: 1}, s.sums(telemetry.MetricMCPClientDuration, "error_type")); diff != "" {
				t.Errorf("MCP (-want +got):\n%s", diff)
			}
			if whole, there := s.seconds(telemetry.MetricMCPDuration), s.seconds(telemetry.MetricMCPClientDuration); there <= 0 || there > whole {
				t.Errorf("%v s of %v s at the remote", there, whole)
			} else if c.agent == "slow" && (there < pause.Seconds() || s.seconds(telemetry.MetricHTTPClientDuration) >= there) {
				t.Errorf("%v s at the remote, %v s to the headers", there, s.seconds(telemetry.MetricHTTPClientDuration))
			}
		})
	}
}

// TestWhoIsRefusedHereDoesNotCountThere.
func TestWhoIsRefusedHereDoesNotCountThere(t *testing.T) {
	s := stage(t)
	s.do(call{body: listTools}).refused(t, http.StatusUnauthorized)
	for _, metric := range []string{telemetry.MetricHTTPClientDuration, telemetry.MetricMCPClientDuration} {
		if got := s.sums(metric); len(got) > 0 {
			t.Errorf("%s: %v", metric, got)
		}
	}
}

// seconds is all that a histogram has seen.
func (s *stand) seconds(metric string) (sum float64) {
	families, err := s.house.Metrics.Gather()
	if err != nil {
		s.t.Error(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == metric {
				sum += m.GetHistogram().GetSampleSum()
			}
		}
	}
	return sum
}

package gateway_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/rolegate/rolegate/internal/audit"
)

// sums adds up the series of a metric by the values of labels, joined by a blank. Of a histogram it counts observations.
func (s *stand) sums(metric string, labels ...string) map[string]int {
	families, err := s.house.Metrics.Gather()
	if err != nil {
		s.t.Error(err)
	}
	sums := map[string]int{}
	for _, f := range families {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			key := make([]string, len(labels))
			for i, name := range labels {
				at := slices.IndexFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == name })
				if at >= 0 {
					key[i] = m.GetLabel()[at].GetValue()
				}
			}
			sums[strings.Join(key, " ")] += int(m.GetCounter().GetValue()+m.GetGauge().GetValue()) + int(m.GetHistogram().GetSampleCount())
		}
	}
	return sums
}

// soakers is how many clients there are at once, and soakRuns the variable that turns the long form on: it wants the
// machine for itself, as the tests of test/faults do.
const (
	soakers  = 16
	soakRuns = "ROLEGATE_FAULTS"
)

// TestSoak mixes everything that clients and remotes do. There are as many records as requests, each tells the outcome
// that the client saw, and what was counted is what was written down.
func TestSoak(t *testing.T) {
	requests := 500
	if os.Getenv(soakRuns) != "" {
		requests = 20_000
	}
	s := watch(t, behind(t, act), spec("allowedOrigins: ['https://a.example']"), judged)
	s.enter()
	mix := slices.DeleteFunc(slices.Clone(deeds), func(d deed) bool { return strings.HasPrefix(d.name, "large") }) // 5 MB each

	transport := &http.Transport{MaxIdleConnsPerHost: soakers}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	did := make([]deed, requests)
	var all sync.WaitGroup
	for worker := range soakers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 0))
			for i := worker; i < requests; i += soakers {
				did[i] = mix[r.IntN(len(mix))]
				if err := did[i].done(t.Context(), s, client, agentOf(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()

	eventually(t, "all is written", func() bool {
		return int(s.book.Stats().Written) >= s.counted() && s.sums("rolegate_requests_in_flight")[""] == 0
	})
	records := s.records()
	if len(records) != requests+2 { // with those of enter
		t.Errorf("%d records of %d requests", len(records), requests+2)
	}
	for i, d := range did {
		r, ok := records[agentOf(i)]
		if !ok {
			t.Fatalf("%s (%s) has no record", agentOf(i), d.name)
		}
		if diff := d.want.holds(r); diff != "" {
			t.Errorf("%s, %s (-want +got):\n%s", agentOf(i), d.name, diff)
		}
	}
	s.agree(slices.Collect(maps.Values(records)))
}

func agentOf(i int) string { return "soak " + strconv.Itoa(i) }

// records are those so far, by User-Agent; those of enter by numbers.
func (s *watched) records() map[string]audit.Record {
	all := map[string]audit.Record{}
	for line := range strings.Lines(s.lines.String()) {
		var r audit.Record
		if !strings.HasSuffix(line, "\n") {
			continue
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		name := r.UserAgent
		if !strings.HasPrefix(name, "soak ") {
			name = r.RequestID
		}
		if _, again := all[name]; again {
			s.t.Errorf("a second record: %s", line)
		}
		all[name] = r
	}
	return all
}

// agree holds the counters against the records.
func (s *watched) agree(records []audit.Record) {
	t := s.t
	t.Helper()
	tally := func(of func(r audit.Record) (key string, n int)) map[string]int {
		sums := map[string]int{}
		for _, r := range records {
			if key, n := of(r); n > 0 {
				sums[key] += n
			}
		}
		return sums
	}
	one := func(ok bool) int { return map[bool]int{true: 1}[ok] }
	for name, c := range map[string]struct{ counted, written map[string]int }{
		"requests": {s.sums("rolegate_requests_total", "decision", "status"), tally(func(r audit.Record) (string, int) {
			return fmt.Sprint(r.Decision, " ", r.Status), 1
		})},
		"outcomes":  {s.sums("rolegate_request_outcomes_total", "outcome"), tally(func(r audit.Record) (string, int) { return r.Outcome, 1 })},
		"durations": {s.sums("rolegate_request_duration_seconds"), tally(func(r audit.Record) (string, int) { return "", one(!r.Stream) })},
		"streams":   {s.sums("rolegate_stream_duration_seconds"), tally(func(r audit.Record) (string, int) { return "", one(r.Stream) })},
		"HTTP": {s.sums("http_server_request_duration_seconds", "http_request_method", "http_response_status_code", "error_type"), tally(func(r audit.Record) (string, int) {
			return fmt.Sprint(r.HTTPMethod, " ", r.Status, " ", httpFailureOf(r)), one(r.Type != "sse_connection")
		})},
		"HTTP to the remote": {s.sums("http_client_request_duration_seconds", "http_request_method"), tally(func(r audit.Record) (string, int) {
			return r.HTTPMethod, one(r.AccessKeyID != "")
		})},
		"MCP to the remote": {s.sums("mcp_client_operation_duration_seconds", "mcp_method_name", "error_type"), tally(func(r audit.Record) (string, int) {
			return r.Method + " " + failureOf(r), one(r.Method != "" && r.AccessKeyID != "")
		})},
		"MCP": {s.sums("mcp_server_operation_duration_seconds", "mcp_method_name", "error_type"), tally(func(r audit.Record) (string, int) {
			return r.Method + " " + failureOf(r), one(r.Method != "")
		})},
		"verdicts": {s.sums("rolegate_token_verifications_total", "result"), nil},
		"hidden":   {s.sums("rolegate_list_items_hidden_total", "method"), tally(func(r audit.Record) (string, int) { return r.Method, r.Hidden })},
		"sessions": {s.sums("rolegate_sessions_refused_total"), tally(func(r audit.Record) (string, int) { return "", one(r.Decision == "session_lost") })},
		"policy": {s.sums("rolegate_policy_decisions_total", "decision"), tally(func(r audit.Record) (string, int) {
			return map[bool]string{true: "deny", false: "allow"}[slices.Contains(r.Policies, "no-drop")], one(len(r.Policies) > 0)
		})},
		"audit":     {s.sums("rolegate_audit_records_total", "result"), map[string]int{"written": len(records), "dropped": 0, "failed": 0}},
		"in flight": {s.sums("rolegate_requests_in_flight"), map[string]int{"": 0}},
		"active":    {s.sums("http_server_active_requests"), map[string]int{"": 0}},
		"open":      {s.sums("rolegate_open_streams"), map[string]int{"": 0}},
	} {
		if name == "verdicts" {
			c.written = c.counted
			if ok := tally(func(r audit.Record) (string, int) { return "", one(r.Caller != "") })[""]; c.counted["ok"] != ok {
				t.Errorf("%v verdicts on tokens, %d records with a caller", c.counted, ok)
			}
		}
		if diff := cmp.Diff(c.written, c.counted); diff != "" {
			t.Errorf("%s (-records +counters):\n%s", name, diff)
		}
	}
}

// httpFailureOf is the error.type of a request for HTTP: of 5xx, and of an answer that broke off.
func httpFailureOf(r audit.Record) string {
	broken := r.Decision != "allowed" && (r.Outcome == audit.Failure || r.Outcome == audit.Aborted)
	switch {
	case r.Status < 500 && !broken:
		return ""
	case r.Decision != "allowed":
		return r.Decision
	}
	return strconv.Itoa(r.Status)
}

// failureOf is the error.type of a request for MCP, as its record tells of it.
func failureOf(r audit.Record) string {
	switch {
	case r.Decision != "allowed":
		return r.Decision
	case r.IsError:
		return "tool_error"
	case r.RPCCode != 0:
		return strconv.FormatInt(r.RPCCode, 10)
	case r.Status >= 500:
		return strconv.Itoa(r.Status)
	case r.Outcome == audit.Failure: // an answer without a response
		return "bad_upstream"
	}
	return ""
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"
)

// What it costs to see everything: rolegate with records, traces, metrics that are sent and the console, against rolegate
// without any of these.

const nameOff = "off"

// A collector is sent something every second, and both processes are given the time to send it: what one does while it is
// the other's turn counts too.
const (
	sendEvery  = time.Second
	sendSettle = 2 * sendEvery
)

// tenPolicies let the calls pass by the ninth of them.
var tenPolicies = func() []string {
	var all []string
	for i := range 8 {
		all = append(all, fmt.Sprintf(`permit(principal in THVGroup::"team-%d", action == Action::"call_tool", resource == Tool::"tool-%d");`, i, i))
	}
	return append(all,
		`permit(principal in THVGroup::"s3-readers", action == Action::"call_tool", resource) when { context has arg_code };`,
		`forbid(principal, action == Action::"call_tool", resource) when { context has arg_code && context.arg_code like "*drop*" && !(principal in THVGroup::"admins") };`)
}()

// sights are what is turned on.
var sights = []struct {
	key, what string
	policies  bool
}{
	{"sight", "CPU per 1000 calls of 1 KiB, all of it seen", false},
	{"sight-judged", "the same, and judged by ten policies", true},
}

// seeing turns everything on.
func (s *stand) seeing(documents, collector string, policies bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  audit: {enabled: true, logFile: %s}\n", filepath.Join(s.dir, fmt.Sprintf("audit-%d.jsonl", s.starts)))
	fmt.Fprintf(&b, "  console: {enabled: true}\n  telemetry: {openTelemetry: {enabled: true, endpoint: %q, insecure: true, tracing: {enabled: true, samplingRate: \"0.05\"}, metrics: {enabled: true}}}\n", collector)
	if policies {
		b.WriteString("  authzConfig:\n    type: inline\n    inline:\n      policies:\n")
		for _, p := range tenPolicies {
			fmt.Fprintf(&b, "        - '%s'\n", p)
		}
	}
	return strings.Replace(documents, auditOn, b.String(), 1)
}

// sight measures the processor time of both for warm calls of 1 KiB.
func (b *bench) sight() error {
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what breaks off is sent again
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	off := func(d string) string { return strings.Replace(d, auditOn, "", 1) }
	for _, c := range sights {
		row := Row{Key: c.key, What: c.what, Backend: backendName(false), Unit: "ms", Than: nameOff}
		on := func(d string) string { return b.seeing(d, collector.URL, c.policies) }
		for round := range b.rounds {
			both, err := b.sighted(round, map[string]func(string) string{nameRolegate: on, nameBare: off})
			if err != nil {
				return err
			}
			used, err := b.sightRound(round, both)
			stopAll(both)
			if err != nil {
				return err
			}
			row.Rolegate, row.Bare = append(row.Rolegate, used[nameRolegate]), append(row.Bare, used[nameBare])
			b.progress(row)
		}
		b.report.add(row)
	}
	return nil
}

// sighted starts rolegate twice, each with documents of its own.
func (b *bench) sighted(round int, documents map[string]func(string) string) (map[string]*runner, error) {
	both := map[string]*runner{}
	env := []string{fmt.Sprintf("OTEL_METRIC_EXPORT_INTERVAL=%d", sendEvery.Milliseconds()), fmt.Sprintf("OTEL_BSP_SCHEDULE_DELAY=%d", sendEvery.Milliseconds())}
	for _, name := range turns(round, 1) {
		p, err := b.startAs(b.ctx, nameRolegate, false, documents[name], env...)
		if err != nil {
			stopAll(both)
			return nil, err
		}
		r, err := b.attend(p, true, fewConns, cpuCase{size: 1 << 10}.request)
		if err != nil {
			stopAll(both)
			return nil, err
		}
		both[name] = r
	}
	return both, nil
}

// sightRound gives each one's milliseconds for 1000 calls, until all is sent.
func (b *bench) sightRound(round int, both map[string]*runner) (map[string]float64, error) {
	used, calls := map[string]float64{}, map[string]int{}
	for _, r := range both {
		if _, err := r.all(b.few(5000, 200), 0); err != nil {
			return nil, err
		}
	}
	time.Sleep(sendSettle)
	add := func(sign float64) (failed error) {
		for name, r := range both {
			d, err := r.cpu()
			used[name] += sign * float64(d) / float64(time.Millisecond)
			failed = errors.Join(failed, err)
		}
		return failed
	}
	if err := add(-1); err != nil {
		return nil, err
	}
	for _, name := range turns(round, b.few(2*cpuPairs, 2)) {
		n := cpuCase{}.calls()
		if _, err := both[name].all(n, 0); err != nil {
			return nil, err
		}
		calls[name] += n
	}
	time.Sleep(sendSettle)
	if err := add(1); err != nil {
		return nil, err
	}
	for name := range used {
		used[name] *= 1000 / float64(calls[name])
	}
	return used, nil
}

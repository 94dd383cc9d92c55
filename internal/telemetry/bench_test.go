package telemetry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// BenchmarkMetrics is what counting costs a request.
func BenchmarkMetrics(b *testing.B) {
	m := telemetry.NewMetrics("v1", "abc")
	for _, c := range []struct {
		name  string
		count func()
	}{
		{"Verified", func() { m.Verified("ok", true) }},
		{"STSCached", func() { m.STSCached("hit") }},
		{"Began", func() { m.Began("POST", false)() }},
		{"Answered", func() { m.Answered("allowed", "200", false, 12*time.Millisecond) }},
		{"PolicyDecided", func() { m.PolicyDecided("allow", 7*time.Microsecond) }},
		{"Request", func() {
			ended := m.Began("POST", false)
			m.Verified("ok", true)
			m.PolicyDecided("allow", 7*time.Microsecond)
			m.STSCached("hit")
			m.Answered("allowed", "200", false, 12*time.Millisecond)
			ended()
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.count()
			}
		})
	}
}

// BenchmarkSpan is what the span of a request and its four steps cost it, the export left out.
func BenchmarkSpan(b *testing.B) {
	clean(b)
	r := newReceiver(b)
	for name, share := range map[string]float64{"off": -1, "unsampled": 0, "sampled": 1} {
		var tracing *telemetry.Tracing
		if share >= 0 {
			o := everything(r.URL)
			o.Export.SamplingRate = rate(share)
			tracing = open(b, telemetry.Options{Config: o}).Tracing
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			header := http.Header{}
			for b.Loop() {
				s := tracing.Begin(time.Now(), telemetry.Remote{})
				s.Step(telemetry.StepToken).End("")
				s.Believe()
				s.Adopt(telemetry.Remote{})
				s.Step(telemetry.StepPolicy).End("")
				s.Step(telemetry.StepSTS).End("")
				step := s.Step(telemetry.StepBackend)
				s.Inject(step, header)
				step.End("")
				s.End(time.Now(), telemetry.Request{ID: "r", HTTPMethod: "POST", Path: "/mcp", Method: "tools/call", Target: "weather", RPCID: "7"}, telemetry.Ending{Status: 200})
			}
		})
	}
}

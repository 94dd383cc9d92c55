package console_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolegate/rolegate/internal/console"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// TestCount reads what metrics count, however many series there are.
func TestCount(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := func(name string, labels []string, series map[float64][]string) {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "."}, labels)
		registry.MustRegister(c)
		for n, values := range series {
			c.WithLabelValues(values...).Add(n)
		}
	}
	gauge := func(name string, n float64) {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "."})
		registry.MustRegister(g)
		g.Set(n)
	}
	counter(telemetry.MetricOutcomes, []string{"outcome"}, map[float64][]string{120: {"success"}, 3: {"application_error"}, 11: {"failure"}, 8: {"aborted"}})
	counter(telemetry.MetricTokenVerifications, []string{"result", "cached"}, map[float64][]string{10: {"ok", "false"}, 90: {"ok", "true"}, 2: {"expired", "false"}})
	counter(telemetry.MetricSTSCalls, []string{"code"}, map[float64][]string{11: {"ok"}, 1: {"Throttling"}})
	counter(telemetry.MetricListItemsHidden, []string{"method"}, map[float64][]string{5: {"tools/list"}, 6: {"stream"}})
	gauge(telemetry.MetricInFlight, 3)
	gauge(telemetry.MetricOpenStreams, 2)
	gauge(telemetry.MetricSTSNextExpiry, 61.5)
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: telemetry.MetricRequestDuration, Help: ".", Buckets: []float64{.1, .2}})
	registry.MustRegister(took)
	for _, s := range []float64{.05, .15, .15, 3} {
		took.Observe(s)
	}

	loaded := time.Now()
	got := console.Snapshot{Proxy: "default/aws", Loaded: loaded}
	got.Count(registry)
	want := console.Snapshot{
		Proxy: "default/aws", Loaded: loaded, InFlight: 3, Streams: 2, NextExpiry: 61.5, Hidden: 11,
		Requests: map[string]float64{"success": 120, "application_error": 3, "failure": 11, "aborted": 8},
		Tokens:   map[string]float64{"ok": 100, "expired": 2},
		STS:      map[string]float64{"ok": 11, "Throttling": 1},
		Duration: []console.Bucket{{Seconds: .1, Count: 1}, {Seconds: .2, Count: 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

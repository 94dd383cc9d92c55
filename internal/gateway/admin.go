package gateway

import (
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// adminHandler serves health and metrics, on an address of their own: nothing of them is on the MCP endpoint's.
func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { s.readiness(w) })
	mux.Handle("GET /metrics", s.house.Metrics.Handler())
	if s.house.Console != nil {
		mux.Handle("/console", s.house.Console)
		mux.Handle("/console/", s.house.Console)
	}
	return mux
}

func (s *Server) readiness(w http.ResponseWriter) {
	switch {
	case s.draining.Load():
		say(w, http.StatusServiceUnavailable, "draining")
	case !s.Gateway().Ready():
		say(w, http.StatusServiceUnavailable, "the identity provider's keys were not fetched yet")
	default:
		say(w, http.StatusOK, "ok")
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func portAddr(port int32) string { return net.JoinHostPort("", strconv.Itoa(int(port))) }

func (s *Server) registerGauges() {
	m := s.house.Metrics
	m.Gauge(telemetry.MetricKeySetAge, "Seconds since the identity provider's keys were last fetched; -1 before the first time.", func() float64 {
		if v := s.Gateway().verifier; v != nil {
			return v.Status().Age()
		}
		return -1
	})
	m.Gauge(telemetry.MetricKeySetKeys, "Usable keys of the identity provider.", func() float64 {
		if v := s.Gateway().verifier; v != nil {
			return float64(v.Status().Keys)
		}
		return 0
	})
	for metric, g := range map[string]struct {
		help string
		read func(sts.Stats) float64
	}{
		telemetry.MetricSTSEntries:    {"Callers and roles whose credentials are held.", func(s sts.Stats) float64 { return float64(s.Entries) }},
		telemetry.MetricSTSFlights:    {"Calls to STS that are under way or queued.", func(s sts.Stats) float64 { return float64(s.Flights) }},
		telemetry.MetricSTSNextExpiry: {"Seconds until the first of the credentials held ends; no value where there are none.", func(s sts.Stats) float64 { return until(s.NextExpiry) }},
		telemetry.MetricSTSUnrenewed:  {"Seconds until the first of the credentials ends that are in use and whose refresh keeps failing; no value where there are none.", func(s sts.Stats) float64 { return until(s.Unrenewed) }},
	} {
		m.Gauge(metric, g.help, func() float64 { return g.read(s.house.Vault.Stats()) })
	}
	m.WatchAudit(func() telemetry.AuditFigures {
		f := s.house.Book.Stats()
		return telemetry.AuditFigures{Queued: f.Queued, Written: f.Written, Failed: f.Failed, Dropped: f.Dropped, Retried: f.Retried}
	})
}

// until is no number where there is nothing that ends, and then there is no value.
func until(end time.Duration) float64 {
	if end == 0 {
		return math.NaN()
	}
	return end.Seconds()
}

// Package telemetry is the windows of rolegate: what is counted and what it is called.
//
// It promises that every metric and log key has one name, kept in names.go, and that no label value comes from a
// client. It must never know a token, a credential or a claim.
package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the instruments of one process.
type Metrics struct {
	registry      *prometheus.Registry
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	inFlight      prometheus.Gauge
	openStreams   prometheus.Gauge
	verifications *prometheus.CounterVec
	refreshes     *prometheus.CounterVec
	roles         *prometheus.CounterVec
	matcherErrors *prometheus.CounterVec
	roleClaims    *prometheus.CounterVec
	policies      *prometheus.CounterVec
	policyTime    prometheus.Histogram
	policyErrors  *prometheus.CounterVec
	hidden        *prometheus.CounterVec
	stsCalls      *prometheus.CounterVec
	stsDuration   prometheus.Histogram
	stsCache      *prometheus.CounterVec
	sessions      prometheus.Counter
	reloads       *prometheus.CounterVec
}

// NewMetrics makes the instruments; version and commit go into the build information.
func NewMetrics(version, commit string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.requests = m.counter(MetricRequests, "Requests to the MCP endpoint, by what became of them and by HTTP status.", "decision", "status")
	m.duration = m.histogram(MetricRequestDuration, "Time from a request's first byte to its answer's last; streams apart.", "stream")
	m.verifications = m.counter(MetricTokenVerifications, "Bearer tokens judged, by result and by whether the verdict was remembered.", "result", "cached")
	m.refreshes = m.counter(MetricKeySetRefreshes, "Fetches of the identity provider's key set.", "result")
	m.roles = m.counter(MetricRoleChoices, "Role choices made for verified tokens, by role and reason.", "role", "reason")
	m.roleClaims = m.counter(MetricRoleClaims, "State of the role claim in verified tokens: present, missing or mistyped.", "state")
	m.matcherErrors = m.counter(MetricMatcherErrors, "Matchers that failed while a role was chosen, by the mapping's index in the document.", "mapping", "why")
	m.policies = m.counter(MetricPolicyDecisions, "Policy decisions about calls: allow, deny, or step_up where more scopes would do.", "decision")
	m.policyErrors = m.counter(MetricPolicyErrors, "Policies that could not be evaluated for a call, by id and effect.", "policy", "effect")
	m.hidden = m.counter(MetricListItemsHidden, "Items of lists that callers did not see, by the list's method; stream where another answer brought it.", "method")
	m.policyTime = prometheus.NewHistogram(prometheus.HistogramOpts{Name: MetricPolicyDuration, Help: "Time of a policy decision.", Buckets: prometheus.ExponentialBuckets(0.000001, 4, 10)})
	m.stsCalls = m.counter(MetricSTSCalls, "Calls to STS by result code.", "code")
	m.stsCache = m.counter(MetricSTSCache, "Events of the credential cache.", "event")
	m.reloads = m.counter(MetricConfigReloads, "Configuration reloads by result.", "result")
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{Name: MetricInFlight, Help: "Requests being served, streams included."})
	m.openStreams = prometheus.NewGauge(prometheus.GaugeOpts{Name: MetricOpenStreams, Help: "Server-sent event streams open."})
	m.sessions = prometheus.NewCounter(prometheus.CounterOpts{Name: MetricSessionsRefused, Help: "MCP session ids that were not the caller's, altered, or of another role."})
	m.stsDuration = prometheus.NewHistogram(prometheus.HistogramOpts{Name: MetricSTSCallDuration, Help: "Duration of calls to STS, retries included.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 12)})
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: MetricBuildInfo, Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "goversion": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(m.inFlight, m.openStreams, m.sessions, m.stsDuration, m.policyTime, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}, labels)
	m.registry.MustRegister(h)
	return h
}

// Gauge registers a value that is read when the metrics are scraped.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Handler serves the metrics in Prometheus' text form.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Began counts a request in; the function it returns counts it out.
func (m *Metrics) Began() (ended func()) {
	m.inFlight.Inc()
	return m.inFlight.Dec
}

// Answered counts a request by its decision ("allowed" or the kind of the refusal) and its HTTP status.
func (m *Metrics) Answered(decision, status string, stream bool, d time.Duration) {
	m.requests.WithLabelValues(decision, status).Inc()
	m.duration.WithLabelValues(yesNo(stream)).Observe(d.Seconds())
}

// StreamOpened counts a stream in; the function it returns counts it out.
func (m *Metrics) StreamOpened() (closed func()) {
	m.openStreams.Inc()
	return m.openStreams.Dec
}

// Verified counts a verdict on a token.
func (m *Metrics) Verified(result string, cached bool) {
	m.verifications.WithLabelValues(result, yesNo(cached)).Inc()
}

// Refreshed counts a fetch of the key set.
func (m *Metrics) Refreshed(err error) { m.refreshes.WithLabelValues(result(err)).Inc() }

// Reloaded counts a reload of the configuration.
func (m *Metrics) Reloaded(err error) { m.reloads.WithLabelValues(result(err)).Inc() }

// RoleChosen counts a choice: the role's ARN, why (mapping, fallback, none), the role claim's state ("" where nothing
// reads it).
func (m *Metrics) RoleChosen(role, reason, claim string) {
	m.roles.WithLabelValues(role, reason).Inc()
	if claim != "" {
		m.roleClaims.WithLabelValues(claim).Inc()
	}
}

// MatcherFailed counts a matcher that failed while a role was chosen: its index in the document and why, in fixed words.
func (m *Metrics) MatcherFailed(mapping int, why string) {
	m.matcherErrors.WithLabelValues(strconv.Itoa(mapping), why).Inc()
}

// PolicyDecided counts a decision: allow, deny or step_up.
func (m *Metrics) PolicyDecided(decision string, d time.Duration) {
	m.policies.WithLabelValues(decision).Inc()
	m.policyTime.Observe(d.Seconds())
}

// PolicyFailed counts a policy that could not be evaluated: its id in the configuration, and permit or forbid.
func (m *Metrics) PolicyFailed(id, effect string) { m.policyErrors.WithLabelValues(id, effect).Inc() }

// ItemsHidden counts items of a list that a caller did not see: the list's method, or "stream" where
// another answer brought it.
func (m *Metrics) ItemsHidden(method string, n int) {
	m.hidden.WithLabelValues(method).Add(float64(n))
}

// STSCalled counts a call to STS.
func (m *Metrics) STSCalled(code string, d time.Duration) {
	m.stsCalls.WithLabelValues(code).Inc()
	m.stsDuration.Observe(d.Seconds())
}

// STSCached counts an event of the credential cache.
func (m *Metrics) STSCached(event string) { m.stsCache.WithLabelValues(event).Inc() }

// SessionRefused counts an MCP session id that was not the caller's.
func (m *Metrics) SessionRefused() { m.sessions.Inc() }

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func yesNo(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

package telemetry

import (
	"context"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Metrics are the instruments of one process: OpenTelemetry's, read by Prometheus on the admin address, and by whoever
// else was named to Open.
type Metrics struct {
	registry *prometheus.Registry
	provider *sdk.MeterProvider
	meter    metric.Meter
	hidden   bool // nothing is served to Prometheus

	requests      *counter
	outcomes      *counter
	duration      metric.Float64Histogram
	streams       metric.Float64Histogram
	http          *histogram[httpKey]
	httpClient    *histogram[exchangeKey]
	mcp           *histogram[mcpKey]
	mcpClient     *histogram[mcpKey]
	inFlight      series[activeKey, active]
	openStreams   atomic.Int64
	verifications *counter
	refreshes     *counter
	roles         *counter
	matcherErrors *counter
	roleClaims    *counter
	policies      *counter
	policyTime    metric.Float64Histogram
	policyErrors  *counter
	items         *counter
	stsCalls      *counter
	stsDuration   metric.Float64Histogram
	stsCache      *counter
	sessions      *counter
	reloads       *counter
	config        atomic.Pointer[metric.MeasurementOption]

	closed func() // of openStreams: made once
	mu     sync.Mutex
	broken error // the first instrument that could not be made
}

// NewMetrics makes the instruments, read by Prometheus alone; version and commit go into the build information.
func NewMetrics(version, commit string) *Metrics {
	m, _ := newMetrics(version, commit, resource.Empty()) // without readers of others there is nothing that can fail
	return m
}

func newMetrics(version, commit string, from *resource.Resource, readers ...sdk.Reader) (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry()}
	scraped, err := exporter.New(exporter.WithRegisterer(m.registry), exporter.WithoutScopeInfo(),
		exporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return nil, err
	}
	options := []sdk.Option{sdk.WithResource(from), sdk.WithExemplarFilter(exemplar.AlwaysOffFilter), sdk.WithReader(scraped)}
	for _, r := range readers {
		options = append(options, sdk.WithReader(r))
	}
	m.provider = sdk.NewMeterProvider(options...)
	m.meter = m.provider.Meter(scope, metric.WithInstrumentationVersion(version))
	m.closed = func() { m.openStreams.Add(-1) }
	m.counters()
	m.histograms()
	m.levels()
	m.info(version, commit)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m, m.broken
}

func (m *Metrics) counters() {
	m.requests = m.counter(MetricRequests, "Requests to the MCP endpoint, by what became of them and by HTTP status.", "decision", "status")
	m.outcomes = m.counter(MetricOutcomes, "Requests by outcome, as audit records have it: success, denied, application_error (the remote, or a tool, says that it failed), failure, aborted.", "outcome")
	m.verifications = m.counter(MetricTokenVerifications, "Bearer tokens judged, by result and by whether the verdict was remembered.", "result", "cached")
	m.refreshes = m.counter(MetricKeySetRefreshes, "Fetches of the identity provider's key set.", "result")
	m.roles = m.counter(MetricRoleChoices, "Role choices made for verified tokens, by role and reason.", "role", "reason")
	m.roleClaims = m.counter(MetricRoleClaims, "State of the role claim in verified tokens: present, missing or mistyped.", "state")
	m.matcherErrors = m.counter(MetricMatcherErrors, "Matchers that failed while a role was chosen, by the mapping's index in the document.", "mapping", "why")
	m.policies = m.counter(MetricPolicyDecisions, "Policy decisions about calls: allow, deny, or step_up where more scopes would do.", "decision")
	m.policyErrors = m.counter(MetricPolicyErrors, "Policies that could not be evaluated for a call, by id and effect.", "policy", "effect")
	m.items = m.counter(MetricListItemsHidden, "Items of lists that callers did not see, by the list's method; stream where another answer brought it.", "method")
	m.stsCalls = m.counter(MetricSTSCalls, "Calls to STS by result code.", "code")
	m.stsCache = m.counter(MetricSTSCache, "Events of the credential cache: hit, miss, joined, refused, refresh, refresh_failed or evicted.", "event")
	m.stsCache.add(0, RefreshFailed) // there from the start, so that its first increase is seen
	m.reloads = m.counter(MetricConfigReloads, "Configuration reloads by result.", "result")
	m.sessions = m.counter(MetricSessionsRefused, "MCP session ids that were not the caller's, altered, or of another role.")
	m.sessions.add(0) // there from the start, so that its first increase is seen
}

func (m *Metrics) histograms() {
	m.duration = m.histogram(MetricRequestDuration, "Time from a request's first byte to its answer's last; streams are apart.", prometheus.ExponentialBuckets(0.001, 2, 16))
	m.streams = m.histogram(MetricStreamDuration, "Time from a request's first byte to the end of the stream that answers it.", prometheus.ExponentialBuckets(0.005, 4, 13))
	m.policyTime = m.histogram(MetricPolicyDuration, "Time of a policy decision.", prometheus.ExponentialBuckets(0.000001, 4, 10))
	m.stsDuration = m.histogram(MetricSTSCallDuration, "Duration of calls to STS, retries included.", prometheus.ExponentialBuckets(0.005, 2, 12))
	m.http = newHistogram(httpKey.attributes, m.histogram(MetricHTTPDuration, "Duration of HTTP server requests.", httpBuckets))
	m.httpClient = newHistogram(exchangeKey.attributes, m.histogram(MetricHTTPClientDuration, "Duration of HTTP client requests to the remote, until the headers of the answer are there.", httpBuckets))
	m.mcp = newHistogram(mcpKey.attributes, m.histogram(MetricMCPDuration, "Duration of MCP requests and notifications, as the receiver sees it.", mcpBuckets))
	m.mcpClient = newHistogram(mcpKey.attributes, m.histogram(MetricMCPClientDuration, "Duration of MCP requests and notifications that went to the remote, from when they left to the end of the answer.", mcpBuckets))
}

func (m *Metrics) levels() {
	m.inFlight = series[activeKey, active]{attributes: activeKey.attributes, fresh: newActive}
	m.level(MetricInFlight, "Requests being served, streams included.", func(o metric.Int64Observer) {
		n := int64(0)
		m.inFlight.each(func(a *active) { n += a.n.Load() })
		o.Observe(n)
	})
	m.level(MetricHTTPActive, "Number of active HTTP server requests.", func(o metric.Int64Observer) {
		m.inFlight.each(func(a *active) { o.Observe(a.n.Load(), a.option) })
	})
	m.level(MetricOpenStreams, "Server-sent event streams open.", func(o metric.Int64Observer) { o.Observe(m.openStreams.Load()) })
}

// info makes the metrics that say what this is; they are always 1.
func (m *Metrics) info(version, commit string) {
	build := metric.WithAttributes(attribute.String("version", version), attribute.String("commit", commit), attribute.String("goversion", runtime.Version()))
	m.observed(MetricBuildInfo, "Always 1; the labels say which build this is.", func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(1, build)
		return nil
	})
	m.observed(MetricConfigInfo, "Always 1; the labels say which proxy this is, and a hash of the configuration that it serves.", func(_ context.Context, o metric.Float64Observer) error {
		if config := m.config.Load(); config != nil {
			o.Observe(1, *config)
		}
		return nil
	})
}

func (m *Metrics) counter(metricName, help string, names ...string) *counter {
	c := &counter{series[labels, count]{attributes: labelled(names...), fresh: newCount}}
	name, unit := instrument(metricName)
	_, err := m.meter.Int64ObservableCounter(name, metric.WithDescription(help), metric.WithUnit(unit), metric.WithInt64Callback(c.observe))
	m.note(err)
	return c
}

func (m *Metrics) histogram(metricName, help string, buckets []float64) metric.Float64Histogram {
	name, unit := instrument(metricName)
	h, err := m.meter.Float64Histogram(name, metric.WithDescription(help), metric.WithUnit(unit), metric.WithExplicitBucketBoundaries(buckets...))
	m.note(err)
	return h
}

// level is a number that goes up and down.
func (m *Metrics) level(metricName, help string, observe func(metric.Int64Observer)) {
	name, unit := instrument(metricName)
	_, err := m.meter.Int64ObservableUpDownCounter(name, metric.WithDescription(help), metric.WithUnit(unit),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			observe(o)
			return nil
		}))
	m.note(err)
}

func (m *Metrics) observed(metricName, help string, callback metric.Float64Callback) {
	name, unit := instrument(metricName)
	_, err := m.meter.Float64ObservableGauge(name, metric.WithDescription(help), metric.WithUnit(unit), metric.WithFloat64Callback(callback))
	m.note(err)
}

// note keeps the first error. An instrument comes back with its error, and does nothing.
func (m *Metrics) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.broken = err
	}
}

// Gauge registers a value that is read when the metrics are collected. While read gives NaN the metric has no value.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.observed(name, help, func(_ context.Context, o metric.Float64Observer) error {
		if v := read(); !math.IsNaN(v) {
			o.Observe(v)
		}
		return nil
	})
}

// Handler serves the metrics in Prometheus' text form; 404 where the configuration says that they are not served.
func (m *Metrics) Handler() http.Handler {
	if m.hidden {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Configured says which proxy is served, under which configuration.
func (m *Metrics) Configured(proxy, hash string) {
	o := metric.WithAttributes(attribute.String("proxy", proxy), attribute.String("hash", hash))
	m.config.Store(&o)
}

// AuditFigures are those of the book of audit records.
type AuditFigures struct {
	Queued                   int    // records that wait to be written
	Written, Failed, Dropped uint64 // since the start
	Retried                  uint64 // attempts at writing that failed
}

// WatchAudit counts audit records by what became of them, and the attempts at writing them that failed; read is asked
// when the metrics are collected.
func (m *Metrics) WatchAudit(read func() AuditFigures) {
	written, failed, dropped := labelledResult("written"), labelledResult("failed"), labelledResult("dropped")
	name, unit := instrument(MetricAuditRecords)
	_, err := m.meter.Int64ObservableCounter(name, metric.WithDescription("Audit records, by what became of them: written, or dropped (the queue was full, or the end came); and among both those that a collector did not take (failed)."),
		metric.WithUnit(unit), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			f := read()
			o.Observe(int64(f.Written), written)
			o.Observe(int64(f.Failed), failed)
			o.Observe(int64(f.Dropped), dropped)
			return nil
		}))
	m.note(err)
	name, unit = instrument(MetricAuditWriteFailures)
	_, err = m.meter.Int64ObservableCounter(name, metric.WithDescription("Attempts at writing audit records that failed. They are tried again: nothing is lost while the queue has room."),
		metric.WithUnit(unit), metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(read().Retried))
			return nil
		}))
	m.note(err)
	m.Gauge(MetricAuditQueue, "Audit records that wait to be written.", func() float64 { return float64(read().Queued) })
}

func labelledResult(result string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("result", result))
}

// Began counts a request in, by its HTTP method and whether it came over TLS; the function it returns counts it out.
func (m *Metrics) Began(httpMethod string, tls bool) (ended func()) {
	a := m.inFlight.of(activeKey{oneOf(httpMethod), tls})
	a.n.Add(1)
	return a.ended
}

// Answered counts a request by its decision ("allowed" or the kind of the refusal) and its HTTP status. The duration of
// a stream is kept apart from that of other answers.
func (m *Metrics) Answered(decision, status string, stream bool, d time.Duration) {
	m.requests.add(1, decision, status)
	if stream {
		m.streams.Record(context.Background(), d.Seconds())
		return
	}
	m.duration.Record(context.Background(), d.Seconds())
}

// Ended counts a request by its outcome, one of those that audit records have.
func (m *Metrics) Ended(outcome string) { m.outcomes.add(1, outcome) }

// StreamOpened counts a stream in; the function it returns counts it out.
func (m *Metrics) StreamOpened() (closed func()) {
	m.openStreams.Add(1)
	return m.closed
}

// Verified counts a verdict on a token.
func (m *Metrics) Verified(result string, cached bool) { m.verifications.add(1, result, yesNo(cached)) }

// Refreshed counts a fetch of the key set.
func (m *Metrics) Refreshed(err error) { m.refreshes.add(1, result(err)) }

// Reloaded counts a reload of the configuration.
func (m *Metrics) Reloaded(err error) { m.reloads.add(1, result(err)) }

// RoleChosen counts a choice: the role's ARN, why (mapping, fallback, none, or error where a matcher failed whose onError
// is deny), the role claim's state ("" where nothing reads it).
func (m *Metrics) RoleChosen(role, reason, claim string) {
	m.roles.add(1, role, reason)
	if claim != "" {
		m.roleClaims.add(1, claim)
	}
}

// MatcherFailed counts a matcher that failed while a role was chosen: its index in the document and why, in fixed words.
func (m *Metrics) MatcherFailed(mapping int, why string) {
	m.matcherErrors.add(1, strconv.Itoa(mapping), why)
}

// PolicyDecided counts a decision: allow, deny or step_up.
func (m *Metrics) PolicyDecided(decision string, d time.Duration) {
	m.policies.add(1, decision)
	m.policyTime.Record(context.Background(), d.Seconds())
}

// PolicyFailed counts a policy that could not be evaluated: its id in the configuration, and permit or forbid.
func (m *Metrics) PolicyFailed(id, effect string) { m.policyErrors.add(1, id, effect) }

// ItemsHidden counts items of a list that a caller did not see: the list's method, or "stream" where
// another answer brought it.
func (m *Metrics) ItemsHidden(method string, n int) { m.items.add(int64(n), method) }

// STSCalled counts a call to STS.
func (m *Metrics) STSCalled(code string, d time.Duration) {
	m.stsCalls.add(1, code)
	m.stsDuration.Record(context.Background(), d.Seconds())
}

// STSCached counts an event of the credential cache.
func (m *Metrics) STSCached(event string) { m.stsCache.add(1, event) }

// SessionRefused counts an MCP session id that was not the caller's.
func (m *Metrics) SessionRefused() { m.sessions.add(1) }

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

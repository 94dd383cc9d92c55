package console

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// Snapshot is the life of the gateway at one moment. Numbers of events count since the start; whoever looks makes rates
// of two snapshots.
type Snapshot struct {
	Proxy   string    `json:"proxy"`   // namespace/name
	Version string    `json:"version"` // of rolegate
	State   string    `json:"state"`   // "ready", or in a few words why not
	Ready   bool      `json:"ready"`
	Started time.Time `json:"started"`
	Loaded  time.Time `json:"loaded"` // when the configuration was taken over

	InFlight float64 `json:"in_flight"` // requests, streams included
	Streams  float64 `json:"streams"`   // open server-sent event streams

	Requests  map[string]float64 `json:"requests"`  // by outcome: success, denied, application_error, failure, aborted
	Tokens    map[string]float64 `json:"tokens"`    // verified, by result
	Roles     map[string]float64 `json:"roles"`     // choices, by reason: mapping, fallback, none, error
	Decisions map[string]float64 `json:"decisions"` // of policy: allow, deny, step_up
	STS       map[string]float64 `json:"sts"`       // calls, by code
	Cache     map[string]float64 `json:"cache"`     // events of the credential cache: hit, miss, joined, refused, refresh, refresh_failed, evicted
	Audit     map[string]float64 `json:"audit"`     // records: written, failed, dropped
	Sessions  float64            `json:"sessions"`  // refused
	Hidden    float64            `json:"hidden"`    // items of lists that callers did not see

	Entries    float64 `json:"entries"`     // keys of the credential cache
	NextExpiry float64 `json:"next_expiry"` // seconds until the first lease ends; 0 where there is none
	Keys       *Keys   `json:"keys"`        // nil: callers are not authenticated

	Duration []Bucket `json:"duration"` // of requests that are not streams
}

// Keys are the identity provider's.
type Keys struct {
	Count   int     `json:"count"`   // usable ones
	Age     float64 `json:"age"`     // seconds since they were fetched; negative before the first time
	Trouble string  `json:"trouble"` // "" where the last fetch succeeded
}

// Bucket counts the requests that took at most so long.
type Bucket struct {
	Seconds float64 `json:"le"`
	Count   uint64  `json:"count"`
}

// Count fills in what the metrics count, which is everything but Proxy, Version, State, Ready, Started, Loaded and Keys.
// What can't be gathered stays as it was.
func (s *Snapshot) Count(metrics prometheus.Gatherer) {
	families, _ := metrics.Gather() // what it has beside the error is right
	for _, f := range families {
		switch f.GetName() {
		case telemetry.MetricInFlight:
			s.InFlight = total(f)
		case telemetry.MetricOpenStreams:
			s.Streams = total(f)
		case telemetry.MetricOutcomes:
			s.Requests = sums(f, named("outcome"))
		case telemetry.MetricTokenVerifications:
			s.Tokens = sums(f, named("result"))
		case telemetry.MetricRoleChoices:
			s.Roles = sums(f, named("reason"))
		case telemetry.MetricPolicyDecisions:
			s.Decisions = sums(f, named("decision"))
		case telemetry.MetricSTSCalls:
			s.STS = sums(f, named("code"))
		case telemetry.MetricSTSCache:
			s.Cache = sums(f, named("event"))
		case telemetry.MetricAuditRecords:
			s.Audit = sums(f, named("result"))
		case telemetry.MetricSessionsRefused:
			s.Sessions = total(f)
		case telemetry.MetricListItemsHidden:
			s.Hidden = total(f)
		case telemetry.MetricSTSEntries:
			s.Entries = total(f)
		case telemetry.MetricSTSNextExpiry:
			s.NextExpiry = total(f)
		case telemetry.MetricRequestDuration:
			s.Duration = buckets(f)
		}
	}
}

func named(label string) func(*dto.Metric) string {
	return func(m *dto.Metric) string {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				return l.GetValue()
			}
		}
		return ""
	}
}

// sums adds up the series of a family, by a word for each.
func sums(f *dto.MetricFamily, by func(*dto.Metric) string) map[string]float64 {
	all := map[string]float64{}
	for _, m := range f.GetMetric() {
		all[by(m)] += value(m)
	}
	return all
}

func total(f *dto.MetricFamily) float64 {
	return sums(f, func(*dto.Metric) string { return "" })[""]
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is there
}

func buckets(f *dto.MetricFamily) []Bucket {
	var all []Bucket
	for _, m := range f.GetMetric() {
		for i, b := range m.GetHistogram().GetBucket() {
			if i == len(all) {
				all = append(all, Bucket{Seconds: b.GetUpperBound()})
			}
			all[i].Count += b.GetCumulativeCount()
		}
	}
	return all
}

package observability_test

import (
	"slices"

	"github.com/rolegate/rolegate/internal/telemetry"
)

const runbook = "https://github.com/rolegate/rolegate/blob/main/docs/operations.md"

// An alert is critical where callers are refused, or something is lost for good, until somebody acts; else it is a
// warning, which can wait for the morning.
const (
	critical = "critical"
	warning  = "warning"
)

// alert is one alert rule and the cases that show it.
type alert struct {
	name, severity string
	hold           string // how long it must be so
	expr           string
	summary        string
	description    string // says what to look at
	cases          []example
}

// example is a story in series, and what becomes of the alert at a moment of it.
type example struct {
	story  string
	input  []input
	early  string // when it is so, but not for long enough yet; of one that fires after some time
	at     string
	fires  map[string]string // labels of the alert, besides severity; nil: it does not fire
	figure string            // of $value in the annotations, as people read it
}

// input is a series with a value for each minute.
type input struct{ series, values string }

var (
	keysAge       = telemetry.MetricKeySetAge
	refreshes     = telemetry.MetricKeySetRefreshes
	calls         = telemetry.MetricSTSCalls
	events        = telemetry.MetricSTSCache
	nextExpiry    = telemetry.MetricSTSNextExpiry
	unrenewed     = telemetry.MetricSTSUnrenewed
	choices       = telemetry.MetricRoleChoices
	requests      = telemetry.MetricRequests
	outcomes      = telemetry.MetricOutcomes
	records       = telemetry.MetricAuditRecords
	unwritten     = telemetry.MetricAuditWriteFailures
	reloads       = telemetry.MetricConfigReloads
	callersFail   = `ExpiredToken|IDPRejectedClaim` // codes of STS that are about one token
	refreshFailed = `event="` + telemetry.RefreshFailed + `"`
)

// at is a series of the process that the examples are about.
func at(metric string, conditions ...string) string {
	return series(metric, append(conditions, `instance="a:9090"`, `job="rolegate"`)...)
}

// newer is a series of a pod that is one of several, one after another.
func newer(metric, pod string, conditions ...string) string {
	return series(metric, append(conditions, `instance="`+pod+`:9090"`, `job="rolegate"`, `namespace="tools"`, `pod="`+pod+`"`)...)
}

// about are the labels of an alert about that process, and more, as name and value.
func about(more ...string) map[string]string {
	out := map[string]string{"instance": "a:9090", "job": "rolegate"}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

var alerts = slices.Concat(ofProcess, ofSTS, ofRequests, ofMistakes)

var ofProcess = []alert{
	{
		name: "RolegateDown", severity: critical, hold: "2m",
		expr:        "up == 0\nand on (job, instance) last_over_time(" + telemetry.MetricBuildInfo + "[1d])",
		summary:     "rolegate on {{ $labels.instance }} can't be scraped",
		description: "Its admin address does not answer. Look at whether the process runs, at the end of its log, and at what changed on the way from Prometheus to it.",
		cases: []example{
			{
				story: "it was there, and is gone",
				input: []input{{at("up"), "1+0x9 0+0x20"}, {at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x9"}},
				early: "11m", at: "15m", fires: about(),
			},
			{
				story: "it answers",
				input: []input{{at("up"), "1+0x30"}, {at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x30"}},
				at:    "15m",
			},
			{
				story: "something else is gone",
				input: []input{{`up{instance="db:9100",job="node"}`, "0+0x30"}, {at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x30"}},
				at:    "15m",
			},
		},
	},
	{
		name: "RolegateKeysMissing", severity: critical, hold: "2m",
		expr:        keysAge + " < 0\nand " + grown("5m", refreshes, `result="error"`) + " > 0",
		summary:     "rolegate on {{ $labels.instance }} has no keys of the identity provider",
		description: "They were never fetched, so no token can be verified and every caller gets 503. Look at the log for \"key set not fetched\": its trouble and error say why. Then at the issuer, DNS, HTTPS_PROXY and caBundleRef.",
		cases: []example{
			{
				story: "every fetch since the start fails",
				input: []input{{at(keysAge), "-1+0x20"}, {at(refreshes, `result="error"`), "1+2x20"}},
				early: "1m", at: "10m", fires: about(),
			},
			{
				story: "callers are not authenticated, so there are no keys to fetch",
				input: []input{{at(keysAge), "-1+0x20"}},
				at:    "10m",
			},
			{
				story: "fetches fail, but there are keys",
				input: []input{{at(keysAge), "0+60x20"}, {at(refreshes, `result="error"`), "1+2x20"}},
				at:    "10m",
			},
		},
	},
	{
		name: "RolegateKeysStale", severity: warning, hold: "5m",
		expr:        keysAge + " > 600",
		summary:     "the identity provider's keys on {{ $labels.instance }} are {{ $value | humanizeDuration }} old",
		description: "They are fetched every four minutes, and that fails. Tokens of known keys still verify; those of a new key get 503. Look at the log for \"key set not fetched\", and at whether the provider answers from where rolegate runs.",
		cases: []example{
			{
				story: "the provider went away",
				input: []input{{at(keysAge), "0+60x30"}},
				early: "12m", at: "20m", fires: about(), figure: "20m 0s",
			},
			{
				story: "it has been away for eleven minutes, which may be a restart",
				input: []input{{at(keysAge), "0+60x30"}},
				at:    "11m",
			},
			{
				story: "keys are fetched every four minutes",
				input: []input{{at(keysAge), "0+60x3 0+60x3 0+60x3 0+60x3 0+60x3"}},
				at:    "19m",
			},
		},
	},
}

var ofMistakes = []alert{
	{
		name: "RolegateMatcherErrors", severity: warning, hold: "0m",
		expr:        happened("15m", telemetry.MetricMatcherErrors),
		summary:     "the matcher of mapping {{ $labels.mapping }} fails on {{ $labels.instance }}: {{ $labels.why }}",
		description: "Its callers are passed over or denied, as onError says. Look at matcher_errors in their log lines; has() before a claim that may be missing, and type() before one that may be of another type, mend most.",
		cases: []example{
			{
				story: "the first failure since the start",
				input: []input{{at(telemetry.MetricMatcherErrors, `mapping="1"`, `why="no such key"`), "_x9 1+0x30"}},
				at:    "12m", fires: about("mapping", "1", "why", "no such key"),
			},
			{
				story: "one more",
				input: []input{{at(telemetry.MetricMatcherErrors, `mapping="1"`, `why="no such key"`), "3+0x29 4+0x10"}},
				at:    "35m", fires: about("mapping", "1", "why", "no such key"),
			},
			{
				story: "failures of an hour ago",
				input: []input{{at(telemetry.MetricMatcherErrors, `mapping="1"`, `why="no such key"`), "3+0x70"}},
				at:    "60m",
			},
		},
	},
	{
		name: "RolegatePolicyErrors", severity: warning, hold: "0m",
		expr:        happened("15m", telemetry.MetricPolicyErrors),
		summary:     "{{ $labels.effect }} {{ $labels.policy }} can't be evaluated on {{ $labels.instance }}",
		description: "A forbid that can't be evaluated refuses the call, a permit does not permit it. Look at policy_errors in the log lines; \"has\" before an attribute that may be missing mends most, and \"rolegate policy test\" shows it.",
		cases: []example{
			{
				story: "the first failure since the start",
				input: []input{{at(telemetry.MetricPolicyErrors, `effect="forbid"`, `policy="policies[0]"`), "_x9 1+0x30"}},
				at:    "12m", fires: about("effect", "forbid", "policy", "policies[0]"),
			},
			{
				story: "one more",
				input: []input{{at(telemetry.MetricPolicyErrors, `effect="permit"`, `policy="policies[1]"`), "3+0x29 4+0x10"}},
				at:    "35m", fires: about("effect", "permit", "policy", "policies[1]"),
			},
			{
				story: "failures of an hour ago",
				input: []input{{at(telemetry.MetricPolicyErrors, `effect="forbid"`, `policy="policies[0]"`), "3+0x70"}},
				at:    "60m",
			},
		},
	},
	{
		name: "RolegateAuditLost", severity: critical, hold: "0m",
		expr:        happened("10m", records, `result="dropped"`),
		summary:     "audit records on {{ $labels.instance }} are lost",
		description: "They are lost for good, since the queue was full; with onFull: block only after a wait of ten seconds. Look at the queue's length, at rolegate_audit_write_failures_total and at the disk: it is too slow, or takes nothing.",
		cases: []example{
			{
				story: "the queue was full",
				input: []input{{at(records, `result="dropped"`), "0+0x9 7+0x20"}, {at(records, `result="written"`), "0+100x30"}},
				at:    "12m", fires: about("result", "dropped"),
			},
			{
				story: "records were lost before the first scrape",
				input: []input{{at(records, `result="dropped"`), "_x9 7+0x20"}, {at(records, `result="written"`), "_x9 100+100x20"}},
				at:    "12m", fires: about("result", "dropped"),
			},
			{
				story: "the disk is full, and the queue is not: nothing is lost yet",
				input: []input{{at(records, `result="dropped"`), "0+0x30"}, {at(unwritten), "0+12x30"}, {at(records, `result="written"`), "100+0x30"}},
				at:    "12m",
			},
			{
				story: "a collector is away: what it misses is in the file",
				input: []input{{at(records, `result="dropped"`), "0+0x30"}, {at(records, `result="failed"`), "0+50x30"}, {at(records, `result="written"`), "0+50x30"}},
				at:    "12m",
			},
			{
				story: "all are written, since something was lost hours ago",
				input: []input{{at(records, `result="dropped"`), "7+0x30"}, {at(records, `result="failed"`), "0+0x30"}, {at(records, `result="written"`), "0+100x30"}},
				at:    "20m",
			},
		},
	},
	{
		name: "RolegateAuditNotWritten", severity: warning, hold: "5m",
		expr:        increase("5m", unwritten) + " > 0",
		summary:     "audit records on {{ $labels.instance }} can't be written",
		description: "Nothing is lost yet: the file is tried again, and records wait. When the queue is full, requests wait or records are dropped, as onFull says. Look at the log for \"audit records can't be written\", at the disk and at the rights on logFile.",
		cases: []example{
			{
				story: "the disk is full",
				input: []input{{at(unwritten), "0+0x9 12+12x20"}, {at(records, `result="written"`), "100+0x30"}},
				early: "12m", at: "20m", fires: about(),
			},
			{
				story: "it could not be written from the start on",
				input: []input{{at(unwritten), "_x9 12+12x20"}},
				at:    "20m", fires: about(),
			},
			{
				story: "it was full for half a minute",
				input: []input{{at(unwritten), "0+0x9 10+0x30"}, {at(records, `result="written"`), "0+100x40"}},
				at:    "15m",
			},
		},
	},
	{
		name: "RolegateAuditNotExported", severity: warning, hold: "0m",
		expr:        happened("10m", records, `result="failed"`),
		summary:     "audit records on {{ $labels.instance }} don't reach the collector",
		description: "They are in the file or on standard output, and nowhere else: they are not sent again. Look at the log for \"audit records can't be exported\", and at the collector of telemetry.openTelemetry.",
		cases: []example{
			{
				story: "the collector went away",
				input: []input{{at(records, `result="failed"`), "0+0x9 50+50x20"}, {at(records, `result="written"`), "0+50x30"}},
				at:    "12m", fires: about("result", "failed"),
			},
			{
				story: "it was away an hour ago",
				input: []input{{at(records, `result="failed"`), "50+0x70"}, {at(records, `result="written"`), "0+50x70"}},
				at:    "60m",
			},
			{
				story: "records are dropped, which is another alert's business",
				input: []input{{at(records, `result="dropped"`), "0+5x30"}, {at(records, `result="failed"`), "0+0x30"}},
				at:    "12m",
			},
		},
	},
	{
		name: "RolegateReloadRefused", severity: warning, hold: "0m",
		expr:        happened("15m", reloads, `result="error"`),
		summary:     "rolegate on {{ $labels.instance }} did not take over its configuration",
		description: "The documents have a mistake, and the configuration from before is still served; a restart would not come up. Look at the log for \"configuration not reloaded\", which tells every mistake, or at \"rolegate check\".",
		cases: []example{
			{
				story: "the first reload since the start is refused",
				input: []input{{at(reloads, `result="error"`), "_x9 1+0x20"}},
				at:    "12m", fires: about("result", "error"),
			},
			{
				story: "another one is refused",
				input: []input{{at(reloads, `result="error"`), "1+0x19 2+0x20"}},
				at:    "25m", fires: about("result", "error"),
			},
			{
				story: "reloads are taken over",
				input: []input{{at(reloads, `result="ok"`), "0+1x30"}, {at(reloads, `result="error"`), "1+0x30"}},
				at:    "25m",
			},
		},
	},
}

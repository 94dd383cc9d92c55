package observability_test

import "github.com/rolegate/rolegate/internal/telemetry"

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
	choices       = telemetry.MetricRoleChoices
	requests      = telemetry.MetricRequests
	records       = telemetry.MetricAuditRecords
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

var alerts = []alert{
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
	{
		name: "RolegateSTSFailing", severity: critical, hold: "5m",
		expr: "(\n" + share("10m", calls, `code!~"ok|`+callersFail+`|AccessDenied|Throttling"`) + "\n) > 0.1\nand " +
			grown("10m", calls, `code!~"ok|`+callersFail+`|AccessDenied|Throttling"`) + " >= 3",
		summary:     "{{ $value | humanizePercentage }} of the STS calls from {{ $labels.instance }} fail",
		description: "Callers without live credentials are refused. Look at the calls by code: network and timeout are the way to STS; InvalidIdentityToken is the OIDC provider in IAM; ValidationError and RegionDisabled are settings. The hint in the log lines with sts=miss says more.",
		cases: []example{
			{
				story: "one call of five gets no answer",
				input: []input{{at(calls, `code="network"`), "0+1x30"}, {at(calls, `code="ok"`), "0+4x30"}},
				early: "3m", at: "20m", fires: about(), figure: "20%",
			},
			{
				story: "none gets through, of a process that never had another answer",
				input: []input{{at(calls, `code="InvalidIdentityToken"`), "0+1x30"}},
				at:    "20m", fires: about(), figure: "100%",
			},
			{
				story: "tokens expire on the way, trust policies refuse, STS throttles: other alerts' business or none's",
				input: []input{
					{at(calls, `code="ExpiredToken"`), "0+9x30"},
					{at(calls, `code="AccessDenied"`), "0+9x30"},
					{at(calls, `code="Throttling"`), "0+9x30"},
					{at(calls, `code="ok"`), "0+1x30"},
				},
				at: "20m",
			},
			{
				story: "one call of twenty",
				input: []input{{at(calls, `code="network"`), "0+1x30"}, {at(calls, `code="ok"`), "0+19x30"}},
				at:    "20m",
			},
			{
				story: "two failures on a quiet night",
				input: []input{{at(calls, `code="network"`), "0+0x9 2+0x20"}},
				at:    "15m",
			},
		},
	},
	{
		name: "RolegateCredentialsNotRefreshed", severity: critical, hold: "1m",
		expr:        nextExpiry + " < 300\nand " + grown("5m", events, refreshFailed) + " > 0",
		summary:     "credentials on {{ $labels.instance }} end in {{ $value | humanizeDuration }}, and are not refreshed",
		description: "Refreshes are tried and fail; when the credentials are a minute from their end, their users are refused. Look at the log for \"refresh of credentials failed\", which names role, region and code, and at the STS calls by code.",
		cases: []example{
			{
				story: "refreshes began twelve minutes before the end, and all fail, ever more slowly",
				input: []input{
					{at(nextExpiry), "720-60x11"},
					{at(events, refreshFailed), "0 3 4 5 5 6 6 6 7 7 8 8"},
					{at(events, `event="refresh"`), "9 12 13 14 14 15 15 15 16 16 17 17"},
					{at(events, `event="hit"`), "0+60x12"},
				},
				early: "8m", at: "9m", fires: about(), figure: "3m 0s",
			},
			{
				story: "the first failure since the start, of a user who comes back late",
				input: []input{{at(nextExpiry), "720-60x11"}, {at(events, refreshFailed), "0x7 1x4"}},
				early: "8m", at: "9m", fires: about(), figure: "3m 0s",
			},
			{
				story: "a user has gone home, and nobody needs the credentials",
				input: []input{{at(nextExpiry), "720-60x11"}, {at(events, refreshFailed), "5+0x12"}, {at(events, `event="hit"`), "0+60x12"}},
				at:    "9m",
			},
			{
				story: "a user has gone home, and the others' credentials are refreshed",
				input: []input{{at(nextExpiry), "720-60x11"}, {at(events, `event="refresh"`), "0+1x12"}, {at(events, refreshFailed), "0+0x12"}},
				at:    "9m",
			},
			{
				story: "a refresh failed, and the next one did not",
				input: []input{{at(nextExpiry), "360-60x2 3600-60x10"}, {at(events, refreshFailed), "0 0 1+0x11"}},
				at:    "4m",
			},
			{
				story: "refreshes fail, and there is time",
				input: []input{{at(nextExpiry), "720-60x11"}, {at(events, refreshFailed), "0+1x12"}},
				at:    "6m",
			},
		},
	},
	{
		name: "RolegateRoleNotLent", severity: warning, hold: "5m",
		expr:        "(\n" + share("15m", calls, `code="AccessDenied"`) + "\n) > 0.2\nand " + grown("15m", calls, `code="AccessDenied"`) + " >= 3",
		summary:     "{{ $value | humanizePercentage }} of the STS calls from {{ $labels.instance }} are refused with AccessDenied",
		description: "A role's trust policy does not let tokens in: their callers get 403. Look at the log lines with decision=denied: role names the role, hint what its trust policy must say.",
		cases: []example{
			{
				story: "a trust policy was changed",
				input: []input{{at(calls, `code="AccessDenied"`), "0+1x30"}, {at(calls, `code="ok"`), "0+1x30"}},
				early: "5m", at: "25m", fires: about(), figure: "50%",
			},
			{
				story: "one user of many",
				input: []input{{at(calls, `code="AccessDenied"`), "0+1x30"}, {at(calls, `code="ok"`), "0+9x30"}},
				at:    "25m",
			},
			{
				story: "two refusals, and no other call",
				input: []input{{at(calls, `code="AccessDenied"`), "0+0x9 2+0x20"}},
				at:    "20m",
			},
		},
	},
	{
		name: "RolegateSTSThrottled", severity: warning, hold: "0m",
		expr:        grown("10m", calls, `code="Throttling"`) + " >= 3",
		summary:     "AWS throttles the STS calls from {{ $labels.instance }}",
		description: "Calls were given up after three attempts; users without live credentials get 503 for some seconds. Look at misses among the cache events: one per user, role, replica and hour is right. Then at who else in the account calls STS in that region.",
		cases: []example{
			{
				story: "STS throttles",
				input: []input{{at(calls, `code="Throttling"`), "0+1x20"}, {at(calls, `code="ok"`), "0+9x20"}},
				at:    "12m", fires: about(),
			},
			{
				story: "one call was throttled",
				input: []input{{at(calls, `code="Throttling"`), "0+0x5 1+0x20"}, {at(calls, `code="ok"`), "0+9x20"}},
				at:    "12m",
			},
		},
	},
	{
		name: "RolegateRemoteThrottled", severity: warning, hold: "5m",
		expr:        "(\n" + share("10m", requests, `decision="allowed"`, `status="429"`) + "\n) > 0.01\nand " + grown("10m", requests, `decision="allowed"`, `status="429"`) + " >= 3",
		summary:     "the remote answers {{ $value | humanizePercentage }} of the requests through {{ $labels.instance }} with 429",
		description: "AWS throttles the calls themselves, not STS. Look at the log lines with status=429 and decision=allowed: caller says whether it is one client that loops, aws_request_id is what AWS support asks for.",
		cases: []example{
			{
				story: "one request of twenty",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "0+5x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+95x20"}},
				early: "4m", at: "18m", fires: about(), figure: "5%",
			},
			{
				story: "rolegate itself refuses a caller who has too much open",
				input: []input{{at(requests, `decision="too_many"`, `status="429"`), "0+5x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+95x20"}},
				at:    "18m",
			},
			{
				story: "one request of two hundred",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "0+1x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+199x20"}},
				at:    "18m",
			},
			{
				story: "two on a quiet night",
				input: []input{{at(requests, `decision="allowed"`, `status="429"`), "0+0x5 2+0x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+1x25"}},
				at:    "14m",
			},
		},
	},
	{
		name: "RolegateServerErrors", severity: critical, hold: "5m",
		expr:        "(\n" + share("5m", requests, `status=~"5.."`) + "\n) > 0.05\nand " + grown("5m", requests, `status=~"5.."`) + " >= 5",
		summary:     "{{ $value | humanizePercentage }} of the answers of {{ $labels.instance }} are 5xx",
		description: "Look at the requests by decision. unavailable: the identity provider or STS is away. bad_upstream, upstream_timeout: the remote, or a setting at AWS. internal: a setting, or a mistake of rolegate's. allowed: the remote's own 5xx. The log lines of level error have the hint.",
		cases: []example{
			{
				story: "one of five",
				input: []input{{at(requests, `decision="unavailable"`, `status="503"`), "0+5x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+20x20"}},
				early: "4m", at: "15m", fires: about(), figure: "20%",
			},
			{
				story: "callers are refused",
				input: []input{{at(requests, `decision="unauthenticated"`, `status="401"`), "0+50x20"}, {at(requests, `decision="denied"`, `status="403"`), "0+50x20"}},
				at:    "15m",
			},
			{
				story: "one of thirty",
				input: []input{{at(requests, `decision="unavailable"`, `status="503"`), "0+5x20"}, {at(requests, `decision="allowed"`, `status="200"`), "0+145x20"}},
				at:    "15m",
			},
			{
				story: "one each few minutes of a quiet night",
				input: []input{{at(requests, `decision="bad_upstream"`, `status="502"`), "0+0x2 1+0x2 2+0x2 3+0x2 4+0x2 5+0x2 6+0x2"}},
				at:    "18m",
			},
		},
	},
	{
		name: "RolegateFallbackSurge", severity: warning, hold: "5m",
		expr: "(\n" + share("30m", choices, `reason="fallback"`) + "\n- on " + alike + " group_left () (\n" + common("1d offset 30m", choices, `reason="fallback"`) +
			" >= 0\nor 0 * (sum by " + alike + " (" + increase("1d offset 30m", choices) + ") > 0)\nor 0 * sum by " + alike + " (" + telemetry.MetricBuildInfo + " offset 1d)\n)\n) > 0.25\nand " +
			grown("30m", choices, `reason="fallback"`) + " >= 5",
		summary:     "the share of callers of {{ $labels.instance }} who get the fallback role is up by {{ $value | humanizePercentage }}",
		description: "That is against all processes of the job the day before. No mapping matches them, as if a claim went missing from the tokens. Look at " + telemetry.MetricRoleClaims + " by state, at why in the log lines of those callers, and at what changed at the identity provider; \"rolegate explain\" tells what a token would get.",
		cases: []example{
			{
				story: "after some quiet hours half of the callers fall back",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x300 1+1x60"},
				},
				early: "5h14m", at: "5h40m", fires: about(), figure: "46.88%",
			},
			{
				story: "nobody has ever fallen back before, on the first day",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "_x300 1+1x60"},
				},
				at: "5h40m", fires: about(), figure: "46.57%",
			},
			{
				story: "on Monday, after days without anybody",
				input: []input{
					{at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x1860"},
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "100+0x1860"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x1780 1+1x60"},
				},
				at: "30h", fires: about(), figure: "100%",
			},
			{
				story: "half of the callers have always fallen back, and a new version takes over",
				input: []input{
					{newer(choices, "old", `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x300"},
					{newer(choices, "old", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+1x300"},
					{newer(choices, "new", `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "_x300 0+1x100"},
					{newer(choices, "new", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "_x300 0+1x100"},
				},
				at: "5h20m",
			},
			{
				story: "the new version has forgotten a mapping",
				input: []input{
					{newer(choices, "old", `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+3x300"},
					{newer(choices, "old", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+1x300"},
					{newer(choices, "new", `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "_x300 0+4x100"},
				},
				at:    "5h30m",
				fires: map[string]string{"instance": "new:9090", "job": "rolegate", "namespace": "tools", "pod": "new"}, figure: "75%",
			},
			{
				story: "the first hour of all, in which half of the callers fall back",
				input: []input{
					{at(telemetry.MetricBuildInfo, `version="v1"`), "1+0x60"},
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+0x20 1+1x40"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x20 1+1x40"},
				},
				at: "45m",
			},
			{
				story: "half of the callers always fall back",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "0+1x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+1x360"},
				},
				at: "5h40m",
			},
			{
				story: "three newcomers fall back",
				input: []input{
					{at(choices, `reason="mapping"`, `role="arn:aws:iam::123456789012:role/Reader"`), "100+0x360"},
					{at(choices, `reason="fallback"`, `role="arn:aws:iam::123456789012:role/Default"`), "0+0x300 3+0x60"},
				},
				at: "5h20m",
			},
		},
	},
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
		expr:        happened("10m", records, `result=~"dropped|failed"`),
		summary:     "audit records on {{ $labels.instance }} are lost: {{ $labels.result }}",
		description: "failed: the file or the collector does not take them; look at the log's error, the disk and the rights on logFile. dropped: lost for good, since the queue was full; with onFull: block only after a wait of ten seconds. Look at the queue's length and at the disk: it is too slow, or takes nothing.",
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
				story: "the disk is full",
				input: []input{{at(records, `result="failed"`), "0+5x30"}, {at(records, `result="written"`), "100+0x30"}},
				at:    "12m", fires: about("result", "failed"),
			},
			{
				story: "all are written, since something was lost hours ago",
				input: []input{{at(records, `result="dropped"`), "7+0x30"}, {at(records, `result="failed"`), "0+0x30"}, {at(records, `result="written"`), "0+100x30"}},
				at:    "20m",
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

package observability_test

import (
	"fmt"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// variables pick processes: by the job of Prometheus, by the proxy that they serve, and one by one.
var variables = []object{
	{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "", "hide": 0, "multi": false, "includeAll": false, "refresh": 1, "options": []object{}, "skipUrlSync": false},
	variable("job", "Job", ".*", fmt.Sprintf("label_values(%s, job)", telemetry.MetricBuildInfo)),
	variable("proxy", "Proxy", ".*", fmt.Sprintf(`label_values(%s{job=~"$job"}, proxy)`, telemetry.MetricConfigInfo)),
	variable("instance", "Instance", "", fmt.Sprintf(`label_values(%s{job=~"$job",proxy=~"$proxy"}, instance)`, telemetry.MetricConfigInfo)),
}

// variable has its values from a query. All of them are what matches all, or, where that is "", their list.
func variable(name, label, all, query string) object {
	v := object{
		"name": name, "label": label, "type": "query", "datasource": datasource,
		"query": object{"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
		"multi": true, "includeAll": true, "refresh": 2, "sort": 1, "hide": 0, "regex": "", "skipUrlSync": false,
		"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}, "options": []object{},
	}
	if all != "" {
		v["allValue"] = all
	}
	return v
}

// line is a timeseries of the usual size.
func line(title, unit, says string, queries ...query) chart {
	return chart{kind: "timeseries", title: title, unit: unit, says: says, queries: queries}
}

// figure is one number.
func figure(title, unit, says, expr string, limits ...step) chart {
	return chart{kind: "stat", title: title, unit: unit, says: says, w: 4, h: 4, steps: limits, queries: []query{{expr, ""}}}
}

func stacked(c chart) chart {
	c.stacked = true
	return c
}

func limited(c chart, limits []step) chart {
	c.steps = limits
	return c
}

// quantiles are the lines that tell of a histogram.
func quantiles(metric string) []query {
	return []query{{quantile(0.5, "", metric), "p50"}, {quantile(0.9, "", metric), "p90"}, {quantile(0.99, "", metric), "p99"}}
}

const howToRead = `**outcome** is what became of a request, as in the audit records. **decision** is rolegate's own verdict on a request: *allowed*, or the kind of its refusal. **status** is what the client got: allowed with 5xx or 429 is the remote's own answer.

A role is chosen **once per token**, a policy decides **each call**, STS is called **once per user, role and replica**. A stream counts when it ends, and its duration is apart.

Who was refused and why stands in the log and in the audit records, never in a metric.`

var rows = []row{
	{"Overview", []chart{
		figure("Requests", "reqps", "Requests per second to the MCP endpoint, refused ones included.", rate("", telemetry.MetricRequests)),
		figure("5xx and broken off", "percentunit", "Which part of the requests ended in a failure: answered with 5xx, or with an answer that broke off or held no response. More than 5 % within ten minutes, for five, is an alert.", part(telemetry.MetricOutcomes, `outcome="failure"`), steps(0.01, 0.05)...),
		figure("Latency, p99", "s", "99 of 100 requests were answered within this time. Event streams are not in it.", quantile(0.99, "", telemetry.MetricRequestDuration)),
		figure("In flight", "short", "Requests being served now, open streams included.", sum("", picked(telemetry.MetricInFlight))),
		figure("Open streams", "short", "Server-sent event streams that are open now.", sum("", picked(telemetry.MetricOpenStreams))),
		figure("Processes", "short", "Processes that Prometheus sees.", "count("+picked(telemetry.MetricBuildInfo)+")"),
		{
			kind: "table", title: "Alerts that fire", w: 12, h: 6, says: "Alerts of rolegate-alerts.yaml that fire now. Empty is good, or the rules are not loaded.",
			queries: []query{{`max by (alertname, severity, instance) (ALERTS{alertname=~"Rolegate.+",alertstate="firing"})`, ""}},
		},
		{kind: "text", title: "How to read this", w: 12, h: 6, text: howToRead},
		stacked(line("Requests by outcome", "reqps", "What became of requests, as audit records have it. denied: rolegate refused. application_error: the remote, or a tool, says that it failed. failure: rolegate, STS, the provider or the remote is in trouble. aborted: the client hung up.",
			query{rate("outcome", telemetry.MetricOutcomes), "{{outcome}}"})),
		stacked(line("Requests by decision", "reqps", "What rolegate decided. unauthenticated: no good token. denied: no role, or a policy. unavailable: the identity provider or STS is away. bad_upstream, upstream_timeout: the remote, or a setting at AWS. internal: a setting, or a mistake of rolegate's.",
			query{rate("decision", telemetry.MetricRequests), "{{decision}}"})),
		stacked(line("Requests by status", "reqps", "The HTTP status that clients got, the remote's own included.", query{rate("status", telemetry.MetricRequests), "{{status}}"})),
		line("Latency", "s", "Time from a request's first byte to its answer's last. Event streams are not in it. It is the remote's time, but for some milliseconds and for the first call of a user, which waits for STS.", quantiles(telemetry.MetricRequestDuration)...),
		line("Latency by MCP method, p99", "s", "99 of 100 requests with this method were answered within this time, answers in streams included.", query{quantile(0.99, "mcp_method_name", telemetry.MetricMCPDuration), "{{mcp_method_name}}"}),
		line("In flight", "short", "Requests being served, streams included, and streams alone.",
			query{sum("", picked(telemetry.MetricInFlight)), "requests"}, query{sum("", picked(telemetry.MetricOpenStreams)), "streams"}),
		stacked(line("Operations by MCP method", "reqps", "What clients ask for. A method that no version of MCP has is _OTHER.", query{rate("mcp_method_name", telemetry.MetricMCPDuration+"_count"), "{{mcp_method_name}}"})),
		stacked(line("Failures of MCP operations", "reqps", "Operations that failed, by what went wrong: the kind of rolegate's refusal, the JSON-RPC code of the remote's error, or tool_error where a tool says so within an answer of 200.",
			query{rate("error_type", telemetry.MetricMCPDuration+"_count", `error_type!=""`), "{{error_type}}"})),
		line("Streams that ended, duration", "s", "How long event streams lasted that ended. The biggest bucket has no end, so long ones are cut off at its start.", quantiles(telemetry.MetricStreamDuration)...),
	}},
	{"Remote", []chart{
		line("Is it the remote?", "s", "99 of 100 calls took at most so long: with the client, and of it at the remote, from when the call left to the end of the answer. What lies between is rolegate's: the token, policy, and for the first call of a user STS. A client that reads slowly makes both longer.",
			query{quantile(0.99, "", telemetry.MetricMCPDuration), "whole"}, query{quantile(0.99, "", telemetry.MetricMCPClientDuration), "at the remote"}),
		line("Time to the answer's headers", "s", "Of each attempt at sending a call to the remote. A tool that answers with an event stream may take much longer than its headers.", quantiles(telemetry.MetricHTTPClientDuration)...),
		line("At the remote by MCP method, p99", "s", "99 of 100 calls with this method had the whole answer within this time.", query{quantile(0.99, "mcp_method_name", telemetry.MetricMCPClientDuration), "{{mcp_method_name}}"}),
		stacked(line("Attempts by status", "reqps", "HTTP requests to the remote by the status of the answer; none where there was none.", query{rate("http_response_status_code", telemetry.MetricHTTPClientDuration+"_count"), "{{http_response_status_code}}"})),
		stacked(line("Attempts that failed", "reqps", "HTTP requests to the remote that failed: its status of 4xx or 5xx, or why there was no answer. bad_upstream: it can't be reached. upstream_timeout: it was too slow. aborted: the client hung up before.",
			query{rate("error_type", telemetry.MetricHTTPClientDuration+"_count", `error_type!=""`), "{{error_type}}"})),
	}},
	{"Sign-in", []chart{
		stacked(line("Tokens judged", "reqps", "Bearer tokens by result. expired is everyday life; audience, issuer and unknown_key are settings; unavailable means that the provider's keys could not be fetched.",
			query{rate("result", telemetry.MetricTokenVerifications), "{{result}}"})),
		line("Verdicts from memory", "percentunit", "Which part of the verdicts was remembered from an earlier request with the same token. It is near 100 % where clients call often.",
			query{part(telemetry.MetricTokenVerifications, `cached="true"`), "remembered"}),
		limited(line("Age of the keys", "s", "Since the identity provider's keys were last fetched, which happens every four minutes. Over ten minutes they are stale; -1 is never.",
			query{picked(telemetry.MetricKeySetAge), "{{instance}}"}), steps(300, 600)),
		line("Keys", "short", "Keys of the provider that can verify tokens. It changes when the provider rotates them.", query{picked(telemetry.MetricKeySetKeys), "{{instance}}"}),
		line("Fetches of the keys", "reqps", "Fetches of the provider's key set, by result. Errors come thicker, since a failed one is tried again soon.", query{rate("result", telemetry.MetricKeySetRefreshes), "{{result}}"}),
		line("Sessions refused", "reqps", "MCP session ids that were not the caller's, altered, or of another role: someone tries other people's sessions, or replicas have no common key.", query{rate("", telemetry.MetricSessionsRefused), "refused"}),
	}},
	{"Roles and policy", []chart{
		stacked(line("Roles chosen", "reqps", "Role choices by role, once per token. No role at all is an empty name: the caller was denied.", query{rate("role", telemetry.MetricRoleChoices), "{{role}}"})),
		stacked(line("Why that role", "reqps", "Role choices by reason. mapping: one matched. fallback: none did. none: none did, and there is no fallback. error: a matcher failed whose onError is deny.", query{rate("reason", telemetry.MetricRoleChoices), "{{reason}}"})),
		line("Share of the fallback role", "percentunit", "Which part of the choices was the fallback. A surge means that a claim went missing.", query{part(telemetry.MetricRoleChoices, `reason="fallback"`), "fallback"}),
		stacked(line("The role claim", "reqps", "State of the role claim in verified tokens. missing or mistyped: roleClaim names the wrong claim, or the provider changed.", query{rate("state", telemetry.MetricRoleClaims), "{{state}}"})),
		line("Matchers that failed", "reqps", "By the mapping's index in the document and the reason. Its callers are passed over or denied, as onError says.",
			query{rate("mapping, why", telemetry.MetricMatcherErrors), "mapping {{mapping}}: {{why}}"}),
		stacked(line("Policy decisions", "reqps", "Decisions about calls: allow, deny, or step_up where a token with more scopes would do.", query{rate("decision", telemetry.MetricPolicyDecisions), "{{decision}}"})),
		line("Time of a policy decision", "s", "Grows with the number of policies.", quantiles(telemetry.MetricPolicyDuration)...),
		line("Policies that can't be evaluated", "reqps", "By policy and effect: an attribute is missing, or a type is wrong. Such a forbid refuses, such a permit does not permit.", query{rate("policy, effect", telemetry.MetricPolicyErrors), "{{effect}} {{policy}}"}),
		stacked(line("Items hidden from lists", "short", "Tools, prompts and resources per second that callers did not see, by the list's method.", query{rate("method", telemetry.MetricListItemsHidden), "{{method}}"})),
	}},
	{"STS", []chart{
		stacked(line("Calls by code", "reqps", "Calls to AWS STS by result. AccessDenied is a role's trust policy, InvalidIdentityToken the OIDC provider in IAM, Throttling AWS, network and timeout the way there.", query{rate("code", telemetry.MetricSTSCalls), "{{code}}"})),
		line("Time of a call", "s", "Retries included. The first request of a user waits for it.", quantiles(telemetry.MetricSTSCallDuration)...),
		line("Credentials from memory", "percentunit", "Which part of the requests for credentials got them from memory. The others asked STS, waited for another request's call, or were refused by what is remembered.",
			query{partOf(telemetry.MetricSTSCache, []string{`event=~"hit|miss|joined|refused"`}, `event="hit"`), "hits"}),
		stacked(line("Events of the cache but hits", "reqps", "miss: STS was asked. joined: waited for another request's call. refused: a refusal that is remembered. refresh: ahead of the end. refresh_failed: that brought nothing, and the credentials at hand are still good. evicted: there was no more room.", query{rate("event", telemetry.MetricSTSCache, `event!="hit"`), "{{event}}"})),
		line("Credentials held", "short", "Callers and roles that are remembered, about 5 KB each, and calls under way.",
			query{sum("", picked(telemetry.MetricSTSEntries)), "entries"}, query{sum("", picked(telemetry.MetricSTSFlights)), "calls under way"}),
		line("Next end of credentials", "s", "Until the first of the live credentials end. Refreshes begin some ten minutes before the end; a line that falls to a minute is a user who went away, or refreshes that fail.", query{picked(telemetry.MetricSTSNextExpiry), "{{instance}}"}),
		line("Credentials that are not refreshed", "s", "Until the first of the credentials end that are in use and whose refresh keeps failing. Empty is good; under five minutes is an alert.", query{picked(telemetry.MetricSTSUnrenewed), "{{instance}}"}),
	}},
	{"Audit", []chart{
		stacked(chart{kind: "timeseries", title: "Records", unit: "reqps", w: 12, h: 8, says: "Audit records by what became of them: each is written or dropped (the queue was full), which is lost. failed are those among them that a collector did not take.", queries: []query{{rate("result", telemetry.MetricAuditRecords), "{{result}}"}}}),
		{kind: "timeseries", title: "Records that wait", unit: "short", w: 12, h: 8, says: "The length of the queue. At queueSize requests wait or records are dropped, as onFull says.", queries: []query{{picked(telemetry.MetricAuditQueue), "{{instance}}"}}},
		line("Attempts at writing that failed", "short", "Per second. They are tried again, and nothing is lost while the queue has room.", query{rate("instance", telemetry.MetricAuditWriteFailures), "{{instance}}"}),
	}},
	{"Process", []chart{
		line("Memory", "bytes", "Resident memory of the process, and the part of it that is the heap in use.",
			query{picked("process_resident_memory_bytes"), "resident, {{instance}}"}, query{picked("go_memstats_heap_inuse_bytes"), "heap, {{instance}}"}),
		line("CPU", "short", "Processors in use. At the number that the container may have, requests wait.", query{rate("instance", "process_cpu_seconds_total"), "{{instance}}"}),
		line("Goroutines", "short", "They follow the open connections; a line that only grows is a leak.", query{picked("go_goroutines"), "{{instance}}"}),
		line("Open files", "short", "Connections, mostly. The limit of the process is its end.", query{picked("process_open_fds"), "open, {{instance}}"}),
		line("Reloads", "short", "Reloads of the configuration within the window, by result. After an error the configuration from before is served.", query{sum("result", "increase("+picked(telemetry.MetricConfigReloads)+"["+window+"])"), "{{result}}"}),
		{
			kind: "table", title: "What runs", w: 24, h: 6, says: "Builds, and the hash of the configuration that each process serves. Replicas of one proxy should agree.",
			queries: []query{
				{"max by (job, instance, version, commit, goversion) (" + picked(telemetry.MetricBuildInfo) + ")", ""},
				{"max by (job, instance, proxy, hash) (" + picked(telemetry.MetricConfigInfo) + ")", ""},
			},
		},
	}},
}

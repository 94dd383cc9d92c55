package observability_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// labels are those of each metric of ours, besides the ones that Prometheus adds. TestLabels holds them to what is served.
var labels = map[string][]string{
	telemetry.MetricBuildInfo:          {"commit", "goversion", "version"},
	telemetry.MetricConfigInfo:         {"hash", "proxy"},
	telemetry.MetricConfigReloads:      {"result"},
	telemetry.MetricRequests:           {"decision", "status"},
	telemetry.MetricOutcomes:           {"outcome"},
	telemetry.MetricRequestDuration:    {},
	telemetry.MetricStreamDuration:     {},
	telemetry.MetricInFlight:           {},
	telemetry.MetricOpenStreams:        {},
	telemetry.MetricTokenVerifications: {"cached", "result"},
	telemetry.MetricKeySetRefreshes:    {"result"},
	telemetry.MetricKeySetAge:          {},
	telemetry.MetricKeySetKeys:         {},
	telemetry.MetricRoleChoices:        {"reason", "role"},
	telemetry.MetricMatcherErrors:      {"mapping", "why"},
	telemetry.MetricRoleClaims:         {"state"},
	telemetry.MetricPolicyDecisions:    {"decision"},
	telemetry.MetricPolicyDuration:     {},
	telemetry.MetricPolicyErrors:       {"effect", "policy"},
	telemetry.MetricListItemsHidden:    {"method"},
	telemetry.MetricSTSCalls:           {"code"},
	telemetry.MetricSTSCallDuration:    {},
	telemetry.MetricSTSCache:           {"event"},
	telemetry.MetricSTSEntries:         {},
	telemetry.MetricSTSFlights:         {},
	telemetry.MetricSTSNextExpiry:      {},
	telemetry.MetricSTSUnrenewed:       {},
	telemetry.MetricSessionsRefused:    {},
	telemetry.MetricAuditRecords:       {"result"},
	telemetry.MetricAuditQueue:         {},
	telemetry.MetricAuditWriteFailures: {},
	telemetry.MetricHTTPDuration:       {"error_type", "http_request_method", "http_response_status_code", "url_scheme"},
	telemetry.MetricHTTPActive:         {"http_request_method", "url_scheme"},
	telemetry.MetricHTTPClientDuration: {"error_type", "http_request_method", "http_response_status_code", "server_address", "server_port"},
	telemetry.MetricMCPDuration:        {"error_type", "mcp_method_name", "network_transport", "rpc_response_status_code"},
	telemetry.MetricMCPClientDuration:  {"error_type", "mcp_method_name", "network_transport", "rpc_response_status_code"},
}

// series selects a metric's, under conditions such as `status=~"5.."`.
func series(metric string, conditions ...string) string {
	if len(conditions) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(conditions, ",") + "}"
}

// increase is by how much each series of a metric grew over a window, such as "10m" or "1d offset 30m".
func increase(window, metric string, conditions ...string) string {
	span, offset, moved := strings.Cut(window, " ")
	if moved {
		offset = " " + offset
	}
	return fmt.Sprintf("increase(%s[%s]%s)", series(metric, conditions...), span, offset)
}

// grown is by how much a metric grew over a window: one figure for each process. What Prometheus says of the process
// (job, instance, namespace and the like) stays. A series that was not there before the window counts as it is: it was
// born with what happened first, and increase sees nothing of that.
func grown(window, metric string, conditions ...string) string {
	s := series(metric, conditions...)
	return fmt.Sprintf("sum without (%s) ((%s unless %s offset %s) or %s)", strings.Join(labels[metric], ", "), s, s, window, increase(window, metric, conditions...))
}

// share is which part of a metric's growth over a window meets conditions.
func share(window, metric string, conditions ...string) string {
	return grown(window, metric, conditions...) + "\n/ " + grown(window, metric)
}

// alike are the processes that serve the same callers: those of a job. Labels that are not there count as equal.
const alike = "(cluster, namespace, job)"

// common is the share over all processes that are alike.
func common(window, metric string, conditions ...string) string {
	return fmt.Sprintf("sum by %s (%s)\n/ sum by %s (%s)", alike, increase(window, metric, conditions...), alike, increase(window, metric))
}

// happened is true of series that grew over a window, and of those that were not there before it: a counter whose label
// comes from what went wrong begins with 1, and increase sees nothing of that.
func happened(window, metric string, conditions ...string) string {
	s := series(metric, conditions...)
	return fmt.Sprintf("increase(%s[%s]) > 0\nor (%s > 0 unless %s offset %s)", s, window, s, s, window)
}

// What the dashboard shows is of the processes that were picked, over a window that fits the width of the picture.
const window = "$__rate_interval"

func picked(metric string, conditions ...string) string {
	return series(metric, slices.Concat([]string{`job=~"$job"`, `instance=~"$instance"`}, conditions)...)
}

// rate is how fast a metric of the picked processes grows, by a label, or altogether where by is "".
func rate(by, metric string, conditions ...string) string {
	return sum(by, fmt.Sprintf("rate(%s[%s])", picked(metric, conditions...), window))
}

// sum adds up series by a label, or altogether where by is "".
func sum(by, expr string) string {
	if by == "" {
		return "sum(" + expr + ")"
	}
	return fmt.Sprintf("sum by (%s) (%s)", by, expr)
}

// part is which part of a metric's growth meets conditions; 0 where no series does.
func part(metric string, conditions ...string) string { return partOf(metric, nil, conditions...) }

// partOf is which part of the growth of some series of a metric meets conditions.
func partOf(metric string, of []string, conditions ...string) string {
	return fmt.Sprintf("(%s or vector(0)) / %s", rate("", metric, conditions...), rate("", metric, of...))
}

// quantile is of a histogram of the picked processes, by a label, or altogether where by is "".
func quantile(q float64, by, metric string) string {
	return fmt.Sprintf("histogram_quantile(%g, %s)", q, rate(strings.TrimPrefix(by+", le", ", "), metric+"_bucket"))
}

package telemetry

import "strings"

// Every metric is named here and nowhere else, as Prometheus shows it; instrument gives the name that OpenTelemetry has
// for it. Labels hold values from configuration or from fixed sets, never what a client sent.
const (
	MetricBuildInfo          = "rolegate_build_info"
	MetricConfigInfo         = "rolegate_config_info"
	MetricConfigReloads      = "rolegate_config_reloads_total"
	MetricRequests           = "rolegate_requests_total"
	MetricOutcomes           = "rolegate_request_outcomes_total"
	MetricRequestDuration    = "rolegate_request_duration_seconds"
	MetricStreamDuration     = "rolegate_stream_duration_seconds"
	MetricInFlight           = "rolegate_requests_in_flight"
	MetricOpenStreams        = "rolegate_open_streams"
	MetricTokenVerifications = "rolegate_token_verifications_total"
	MetricKeySetRefreshes    = "rolegate_key_set_refreshes_total"
	MetricKeySetAge          = "rolegate_key_set_age_seconds"
	MetricKeySetKeys         = "rolegate_key_set_keys"
	MetricRoleChoices        = "rolegate_role_choices_total"
	MetricMatcherErrors      = "rolegate_role_matcher_errors_total"
	MetricRoleClaims         = "rolegate_role_claims_total"
	MetricPolicyDecisions    = "rolegate_policy_decisions_total"
	MetricPolicyDuration     = "rolegate_policy_decision_duration_seconds"
	MetricPolicyErrors       = "rolegate_policy_errors_total"
	MetricListItemsHidden    = "rolegate_list_items_hidden_total"
	MetricSTSCalls           = "rolegate_sts_calls_total"
	MetricSTSCallDuration    = "rolegate_sts_call_duration_seconds"
	MetricSTSCache           = "rolegate_sts_cache_events_total"
	MetricSTSEntries         = "rolegate_sts_cache_entries"
	MetricSTSFlights         = "rolegate_sts_flights"
	MetricSTSNextExpiry      = "rolegate_sts_next_expiry_seconds"
	MetricSTSUnrenewed       = "rolegate_sts_unrenewed_expiry_seconds"
	MetricSessionsRefused    = "rolegate_sessions_refused_total"
	MetricAuditRecords       = "rolegate_audit_records_total"
	MetricAuditQueue         = "rolegate_audit_queue_length"
	MetricAuditWriteFailures = "rolegate_audit_write_failures_total"

	// RefreshFailed is the event of MetricSTSCache that credentials which are still good could not be refreshed.
	RefreshFailed = "refresh_failed"

	// Of OpenTelemetry's semantic conventions for HTTP and for MCP.
	MetricHTTPDuration       = "http_server_request_duration_seconds"
	MetricHTTPActive         = "http_server_active_requests"
	MetricHTTPClientDuration = "http_client_request_duration_seconds"
	MetricMCPDuration        = "mcp_server_operation_duration_seconds"
	MetricMCPClientDuration  = "mcp_client_operation_duration_seconds"
)

// instrument is what OpenTelemetry calls a metric, and its unit: rolegate_sts_calls_total is rolegate.sts_calls, and
// rolegate_request_duration_seconds is rolegate.request_duration in s. The way back is that of the exporter for
// Prometheus, and of everybody who translates names as it does.
func instrument(metric string) (name, unit string) {
	switch metric {
	case MetricHTTPDuration:
		return "http.server.request.duration", "s"
	case MetricHTTPActive:
		return "http.server.active_requests", "{request}"
	case MetricHTTPClientDuration:
		return "http.client.request.duration", "s"
	case MetricMCPDuration:
		return "mcp.server.operation.duration", "s"
	case MetricMCPClientDuration:
		return "mcp.client.operation.duration", "s"
	}
	name = strings.Replace(strings.TrimSuffix(metric, "_total"), "rolegate_", "rolegate.", 1)
	if bare, ok := strings.CutSuffix(name, "_seconds"); ok {
		return bare, "s"
	}
	return name, ""
}

// The names of OpenTelemetry's semantic conventions that spans and metrics here have.
const (
	attrMethod          = "mcp.method.name"
	attrSession         = "mcp.session.id"
	attrVersion         = "mcp.protocol.version"
	attrResource        = "mcp.resource.uri"
	attrTool            = "gen_ai.tool.name"
	attrPrompt          = "gen_ai.prompt.name"
	attrOperation       = "gen_ai.operation.name"
	attrRPCID           = "jsonrpc.request.id"
	attrRPCStatus       = "rpc.response.status_code"
	attrErrorType       = "error.type"
	attrHTTPMethod      = "http.request.method"
	attrScheme          = "url.scheme"
	attrPath            = "url.path"
	attrTransport       = "network.transport"
	attrOverflow        = "otel.metric.overflow"
	attrService         = "service.name"
	attrServiceVersion  = "service.version"
	attrServiceInstance = "service.instance.id"
	attrRequestID       = "rolegate.request_id"

	other       = "_OTHER" // what is not in a fixed set
	failureTool = "tool_error"
	scope       = "github.com/rolegate/rolegate"
)

// The attributes of steps.
const (
	AttrHTTPStatus = "http.response.status_code" // of the backend's answer
	AttrServer     = "server.address"            // the backend's host
	AttrServerPort = "server.port"               // the backend's port
	AttrAWSRequest = "aws.request_id"            // of the backend's answer; at sts, of the call of STS, which all who joined its flight share
	AttrSource     = "rolegate.sts.source"       // hit, miss, joined or refused
	AttrRole       = "rolegate.role"             // ARN of the role chosen
	AttrDecision   = "rolegate.policy.decision"  // allow, deny or step_up
	AttrPolicies   = "rolegate.policy.ids"       // that determined it
)

// Every key of a log line is named here and nowhere else.
const (
	KeyAuth         = "auth"           // ok, none (not asked for), or why the token was refused
	KeyCaller       = "caller"         // the subject (sub)
	KeyIssuer       = "issuer"         // the subject's issuer
	KeyHTTPMethod   = "http_method"    // POST, GET, DELETE
	KeyPath         = "path"           // of the request
	KeyMethod       = "method"         // JSON-RPC method
	KeyTarget       = "target"         // tool, prompt or resource of the call
	KeyEra          = "era"            // legacy or modern
	KeyDecision     = "decision"       // allowed, or the kind of the refusal
	KeyRole         = "role"           // ARN of the role chosen
	KeyWhy          = "why"            // why that role
	KeyMatchErrors  = "matcher_errors" // which mappings' matchers failed on the way, and why
	KeyPolicies     = "policies"       // ids of the policies that determined the decision
	KeyPolicyErrors = "policy_errors"  // policies that could not be evaluated, and why
	KeyHidden       = "hidden"         // items of a list that the caller did not see
	KeyTools        = "tools"          // of the remote, in a list that the gateway asked for itself
	KeyPages        = "pages"          // of that list
	KeyWithheld     = "withheld"       // messages of the remote's that could not be understood and were not passed on
	KeySessionName  = "session_name"   // STS session name, as CloudTrail shows it
	KeySTS          = "sts"            // hit, miss, joined or refused
	KeyStatus       = "status"         // HTTP status of the answer
	KeyBytes        = "bytes"          // of the answer's body
	KeyDuration     = "duration_ms"    // milliseconds from first byte to last
	KeyStream       = "stream"         // true for server-sent events
	KeyRequestID    = "request_id"     // ours, also sent as X-Request-Id
	KeyAWSRequest   = "aws_request_id"
	KeyRemoteAddr   = "remote_addr" // of the connection
	KeySource       = "source"      // address of the client, behind trusted proxies
	KeyClientName   = "client_name" // what the client calls itself
	KeyTraceID      = "trace_id"
	KeyOutcome      = "outcome"       // success, denied, application_error, failure, aborted
	KeyAccessKey    = "access_key_id" // of the credentials that the call was signed with; not secret
	KeyRPCCode      = "rpc_code"      // of the JSON-RPC error that was answered with
	KeyIsError      = "is_error"      // true where a tool's result says so
	KeyError        = "error"         // kind, public words, hint and cause
	KeyHint         = "hint"          // what to look at
)

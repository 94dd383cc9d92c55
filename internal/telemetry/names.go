package telemetry

// Every metric is named here and nowhere else. Labels hold values from configuration or from fixed sets, never what a
// client sent.
const (
	MetricBuildInfo          = "rolegate_build_info"
	MetricConfigReloads      = "rolegate_config_reloads_total"
	MetricRequests           = "rolegate_requests_total"
	MetricRequestDuration    = "rolegate_request_duration_seconds"
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
	MetricSessionsRefused    = "rolegate_sessions_refused_total"
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
	KeyWithheld     = "withheld"       // messages of the remote's that could not be understood and were not passed on
	KeySessionName  = "session_name"   // STS session name, as CloudTrail shows it
	KeySTS          = "sts"            // hit, miss, joined or refused
	KeyStatus       = "status"         // HTTP status of the answer
	KeyBytes        = "bytes"          // of the answer's body
	KeyDuration     = "duration_ms"    // milliseconds from first byte to last
	KeyStream       = "stream"         // true for server-sent events
	KeyRequestID    = "request_id"     // ours, also sent as X-Request-Id
	KeyAWSRequest   = "aws_request_id"
	KeyRemoteAddr   = "remote_addr"
	KeyError        = "error" // kind, public words, hint and cause
	KeyHint         = "hint"  // what to look at
)

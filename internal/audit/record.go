package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
)

// Schema is the version of a Record's form. Within it fields may be added; none is removed, renamed or given another
// meaning.
const Schema = "rolegate.audit/v1"

// TypeDropped is the type of the record that stands for records which are missing. Settings can't exclude it.
const TypeDropped = "audit_dropped"

// TypeContinued is the type of the record that a file begins with where no other tells yet how far the chain has come.
// Settings can't exclude it.
const TypeContinued = "audit_continued"

// Outcomes of a request.
const (
	Success          = "success"           // the remote did what it was asked to, as far as its answer tells
	Denied           = "denied"            // refused here
	ApplicationError = "application_error" // the remote answered with an error, or a tool's result says isError
	Failure          = "failure"           // something does not work: here, at the provider, at STS or the remote
	Aborted          = "aborted"           // the client went away
)

// Record is what is kept of one request: an audit event in its published form, a line of JSON. The comments of its
// fields are their description in docs/reference/audit.schema.json, and in docs/audit.md.
type Record struct {
	// Schema is the version of the record's form.
	Schema string `json:"schema" const:"rolegate.audit/v1"`
	// Time is when the request arrived, in UTC.
	Time time.Time `json:"time"`
	// Type is the type of event.
	Type string `json:"type" enum:"types"`
	// Outcome is what became of the request.
	Outcome string `json:"outcome" enum:"success,denied,application_error,failure,aborted"`
	// Component is what wrote the record: the setting, or the name of the proxy.
	Component string `json:"component,omitempty"`
	// RequestID names the request. The client got it as X-Request-Id, and the log has it.
	RequestID string `json:"request_id,omitempty"`
	// TraceID is the W3C trace that the request belongs to.
	TraceID string `json:"trace_id,omitempty" pattern:"^[0-9a-f]{32}$"`
	// SpanID is the request's own span in that trace.
	SpanID string `json:"span_id,omitempty" pattern:"^[0-9a-f]{16}$"`

	// RemoteAddr is the address and port at the other end of the connection.
	RemoteAddr string `json:"remote_addr,omitempty"`
	// Source is the client's address: that of the connection, or what trusted proxies say it is.
	Source string `json:"source,omitempty"`
	// UserAgent is what the HTTP client calls itself.
	UserAgent string `json:"user_agent,omitempty"`
	// ClientName is what the MCP client calls itself, where the message tells.
	ClientName string `json:"client_name,omitempty"`
	// ClientVersion is the version that the MCP client gives.
	ClientVersion string `json:"client_version,omitempty"`
	// HTTPMethod is the request's HTTP method.
	HTTPMethod string `json:"http_method,omitempty"`
	// Path is the request's path.
	Path string `json:"path,omitempty"`

	// Auth is ok, none (nobody was asked), or why the token was refused.
	Auth string `json:"auth,omitempty"`
	// Issuer is the iss of the caller's token.
	Issuer string `json:"issuer,omitempty"`
	// Caller is the sub of the caller's token.
	Caller string `json:"caller,omitempty"`
	// Claims are the claims of the caller's token that the settings name, those that the token has.
	Claims json.RawMessage `json:"claims,omitempty" type:"object"`

	// Era is the generation of the protocol.
	Era string `json:"era,omitempty" enum:"legacy,modern"`
	// Session is a digest of the MCP session's id: the same for all requests of a session, and of no use to join it.
	Session string `json:"session,omitempty" pattern:"^[0-9a-f]{32}$"`
	// Method is the JSON-RPC method.
	Method string `json:"method,omitempty"`
	// Target is the tool, the prompt or the URI of the resource, by the remote's own name.
	Target string `json:"target,omitempty"`
	// Arguments are those of the call, where the settings ask for them, without what is redacted.
	Arguments json.RawMessage `json:"arguments,omitempty" type:"object"`
	// ArgumentsCut is the beginning of the arguments' JSON text where all of it would be too long; arguments is missing then.
	ArgumentsCut string `json:"arguments_cut,omitempty"`

	// Decision is allowed, or the kind of the refusal.
	Decision string `json:"decision,omitempty"`
	// Policies are the ids of the policies that determined the decision.
	Policies []string `json:"policies,omitempty"`
	// PolicyErrors are the policies that could not be evaluated, and why.
	PolicyErrors []string `json:"policy_errors,omitempty"`
	// Hidden is how many items of lists the caller did not see.
	Hidden int `json:"hidden,omitempty"`
	// Withheld is how many messages of the remote's were not passed on because they could not be understood.
	Withheld int `json:"withheld,omitempty"`

	// Role is the ARN of the IAM role that was chosen.
	Role string `json:"role,omitempty"`
	// Mapping is the index of the role mapping that chose it, -1 for the fallback role.
	Mapping *int `json:"mapping,omitempty"`
	// Why is why that mapping chose it.
	Why string `json:"why,omitempty"`
	// MatcherErrors are the mappings whose matcher failed on the way, and why.
	MatcherErrors []string `json:"matcher_errors,omitempty"`
	// SessionName is the STS session name, roleSessionName in CloudTrail.
	SessionName string `json:"session_name,omitempty"`
	// Region is the AWS region that the call is signed for, and whose STS lends the credentials. What a call does may be in
	// another one.
	Region string `json:"region,omitempty"`
	// STS is where the credentials come from: from memory (hit), from STS for this request (miss) or for another one
	// (joined), or that a refusal of the last seconds stands (refused).
	STS string `json:"sts,omitempty" enum:"hit,miss,joined,refused"`
	// STSRequestID is the AWS request id of the STS call that the credentials come from, requestID in CloudTrail.
	STSRequestID string `json:"sts_request_id,omitempty"`
	// AssumedRole is the ARN of the assumed role with its session name, userIdentity.arn in CloudTrail.
	AssumedRole string `json:"assumed_role,omitempty"`
	// AccessKeyID is the id of the lent credentials' access key, userIdentity.accessKeyId in CloudTrail. It is not secret.
	AccessKeyID string `json:"access_key_id,omitempty"`
	// AWSRequestID is the AWS request id of the remote's answer.
	AWSRequestID string `json:"aws_request_id,omitempty"`

	// Status is the HTTP status of the answer, 499 where the client went away before one.
	Status int `json:"status,omitempty"`
	// RPCCode is the code of the JSON-RPC error that was answered with.
	RPCCode int64 `json:"rpc_code,omitempty"`
	// IsError tells that a tool's result says isError.
	IsError bool `json:"is_error,omitempty"`
	// Response is the answer's result, or its error where there is an rpc_code, where the settings ask for it, without what
	// is redacted.
	Response json.RawMessage `json:"response,omitempty" type:"object"`
	// ResponseCut is the beginning of the response's JSON text where all of it would be too long, or did not come; response
	// is missing then.
	ResponseCut string `json:"response_cut,omitempty"`
	// Stream tells that the answer was server-sent events.
	Stream bool `json:"stream,omitempty"`
	// Bytes is how long the answer's body was.
	Bytes int64 `json:"bytes,omitempty"`
	// DurationMS is how long the request took, in milliseconds, the answer's last byte included.
	DurationMS float64 `json:"duration_ms,omitempty"`
	// Error is what went wrong: kind, words for the caller, and cause.
	Error string `json:"error,omitempty"`
	// Hint is what to look at.
	Hint string `json:"hint,omitempty"`

	// Dropped is how many records are missing at this place. Only a record of type audit_dropped has it.
	Dropped int64 `json:"dropped,omitempty"`

	// Seq is the place of the record in its chain, from 1. Chained records alone have it, prev and hash.
	Seq uint64 `json:"seq,omitempty"`
	// Prev is the hash of the record before it, 64 zeros in the first one.
	Prev string `json:"prev,omitempty" pattern:"^[0-9a-f]{64}$"`
	// Hash is the SHA-256 of the line up to and without the comma before this member.
	Hash string `json:"hash,omitempty" pattern:"^[0-9a-f]{64}$"`
}

// Outcome says what became of the request, in one word.
func (e *Event) Outcome() string {
	f := fault.Of(e.Err)
	switch {
	case f != nil && f.Kind == fault.Aborted:
		return Aborted
	case f != nil && f.Status() >= 500, f == nil && (e.Status >= 500 || e.Flaw != nil):
		return Failure
	case f != nil:
		return Denied
	case e.IsError, e.RPCCode != 0, e.Status >= 400:
		return ApplicationError
	default:
		return Success
	}
}

// Type is the type of the event.
func (e *Event) Type() string {
	c := e.Call
	if c == nil {
		return config.EventHTTP
	}
	switch c.Kind {
	case mcp.Request, mcp.Notification:
		return methodType(c.Method, c.Kind)
	case mcp.Response:
		return config.EventResponse
	case mcp.Stream:
		return config.EventStream
	case mcp.Delete:
		return config.EventSessionEnd
	default:
		return config.EventHTTP
	}
}

func methodType(method string, kind mcp.Kind) string {
	switch method {
	case "initialize", "server/discover":
		return config.EventInitialize
	case "tools/call":
		return config.EventToolCall
	case "tools/list":
		return config.EventToolsList
	case "resources/read":
		return config.EventResourceRead
	case "resources/list", "resources/templates/list":
		return config.EventResourcesList
	case "prompts/get":
		return config.EventPromptGet
	case "prompts/list":
		return config.EventPromptsList
	case "ping":
		return config.EventPing
	case "logging/setLevel":
		return config.EventLogging
	case "completion/complete":
		return config.EventCompletion
	case "subscriptions/listen":
		return config.EventStream
	case "notifications/roots/list_changed":
		return config.EventRootsListChanged
	}
	if kind == mcp.Notification {
		return config.EventNotification
	}
	return config.EventRequest
}

// Record makes the record of a request that is over.
func (e *Event) Record(o *RecordOptions) Record {
	r := Record{
		Schema: Schema, Time: e.Start, Type: e.Type(), Outcome: e.Outcome(), Component: o.component, RequestID: e.ID,
		TraceID: e.TraceID, SpanID: e.SpanID,
		RemoteAddr: e.RemoteAddr, Source: e.source(), UserAgent: bounded(e.UserAgent, textLimit),
		ClientName: bounded(e.ClientName, textLimit), ClientVersion: bounded(e.ClientVersion, textLimit),
		HTTPMethod: bounded(e.HTTPMethod, textLimit), Path: bounded(e.Path, textLimit), Auth: e.auth(),
		Decision: e.Decision(), Policies: ids(e.Policies), Hidden: e.Hidden, Withheld: e.Withheld,
		STS: string(e.STS), STSRequestID: e.STSRequestID, AssumedRole: e.AssumedRole, AccessKeyID: e.AccessKeyID,
		AWSRequestID: bounded(e.AWSRequestID, textLimit),
		Status:       e.Status, RPCCode: e.RPCCode, IsError: e.IsError, Stream: e.Stream, Bytes: e.Bytes,
		DurationMS: float64(e.End.Sub(e.Start).Microseconds()) / 1000,
	}
	if c := e.Caller; c != nil {
		r.Issuer, r.Caller, r.Claims = c.Issuer, bounded(c.Subject.ID, subjectLimit), o.pick(c.Subject.Claims)
	}
	if c := e.Call; c != nil && c.Kind != mcp.Unread {
		r.Era, r.Method, r.Target = c.Era.String(), bounded(c.Method, textLimit), bounded(c.Target, targetLimit)
	}
	r.Session = e.session()
	if e.Role.RoleARN != "" {
		r.Role, r.Mapping, r.Why, r.SessionName = e.Role.RoleARN, &e.Role.Mapping, bounded(e.Role.Reason, storyLimit), e.Grant.SessionName
		r.Region = e.Grant.Region
	}
	for _, m := range e.Role.Errors {
		r.MatcherErrors = append(r.MatcherErrors, matchError(m))
	}
	for _, p := range e.PolicyErrors {
		r.PolicyErrors = append(r.PolicyErrors, bounded(p.ID+" ("+p.Effect+"): "+p.Message, storyLimit))
	}
	if e.ArgumentsCut {
		r.ArgumentsCut = string(e.Arguments)
	} else {
		r.Arguments = e.Arguments
	}
	if e.ResponseCut {
		r.ResponseCut = string(e.Response)
	} else {
		r.Response = e.Response
	}
	r.Error, r.Hint = e.wrong()
	return r
}

// targetLimit bounds the URI of a resource; the names of tools and prompts are shorter by far.
const targetLimit = 1024

func (e *Event) session() string {
	if e.Session == "" && e.Call != nil && e.Call.Session != "" {
		return SessionDigest(e.Call.Session)
	}
	return e.Session
}

// SessionDigest names an MCP session, by the id that the client has of it, without giving the id away: the first half of
// its SHA-256.
func SessionDigest(id string) string {
	if id == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

func ids(policies []policy.Found) []string {
	if len(policies) == 0 {
		return nil
	}
	all := make([]string, len(policies))
	for i, p := range policies {
		all[i] = p.ID
	}
	return all
}

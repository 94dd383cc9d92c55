// Package audit is the visitors' book: one Event per request, filled in as the request goes through the rooms and
// closed by the door, whatever became of it; the line that it makes in the log; and the Record that it leaves in the
// Book, for years.
//
// It promises exactly one record per request, also for those that were refused, panicked or were abandoned; that what
// is handed to the Book is written once, in order, in whole lines; and that a record which could not be written is
// counted and announced. It must never hold a token, a credential or a session id, nor the arguments of a call or its
// answer unless a setting asks for them, and then without what the setting redacts.
package audit

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/internal/token"
)

// Event is the record of one request.
type Event struct {
	Start      time.Time
	ID         string // made here; the answer carries it as X-Request-Id
	HTTPMethod string
	Path       string
	RemoteAddr string // of the connection
	Source     string // address of the client, behind trusted proxies; "" where it is that of the connection
	UserAgent  string
	TraceID    string          // of the trace that the request belongs to: 32 hexadecimal digits; "" for none
	SpanID     string          // of the request's own span: 16 hexadecimal digits; "" for none
	Span       *telemetry.Span // nil where requests are not traced

	Caller *token.Caller // nil until the token was verified
	Call   *mcp.Call     // nil until the message was read
	Role   role.Choice
	Grant  sts.Grant
	STS    sts.Source

	ClientName    string // what the client calls itself
	ClientVersion string
	Session       string // digest of the MCP session's id, see SessionDigest; "": of the one that the Call has
	Arguments     []byte // JSON, redacted; nil where they are not recorded
	ArgumentsCut  bool   // Arguments is the beginning of what was sent

	AccessKeyID  string // of the credentials that the call was signed with
	AssumedRole  string // ARN of the assumed role, session name included, as STS gave it
	STSRequestID string // of the call that the credentials come from

	Judged       bool           // policy was asked
	Policies     []policy.Found // that determined the decision
	PolicyErrors []policy.Found // that could not be evaluated
	Hidden       int            // items of a list that the caller did not see
	Withheld     int            // messages that were not passed on, because they could not be understood

	Sent time.Time // when the call left for the remote, for the last time; zero where it did not

	AWSRequestID string // of the remote's answer
	RPCCode      int64  // of the JSON-RPC error that was answered with, by the remote or by us; 0 for none
	IsError      bool   // the remote answered with a tool's result that says isError
	Status       int
	Bytes        int64
	Response     []byte // JSON: the remote's result or error, redacted; nil where it is not recorded
	ResponseCut  bool   // Response is the beginning of it
	Stream       bool   // the answer was server-sent events
	Err          error
	Flaw         *fault.Error // what is wrong with an answer that was passed on as it came; nil for nothing
	End          time.Time
}

// Decision is "allowed", or the kind of the refusal.
func (e *Event) Decision() string {
	if f := fault.Of(e.Err); f != nil {
		return f.Kind.String()
	}
	return "allowed"
}

// What a client chose may take so much of a log line. A subject is kept whole: the session name of a long one is a
// hash, and the record is where the two stand side by side.
const (
	textLimit    = 256
	subjectLimit = 2048
	storyLimit   = 4096 // our own words, which may quote a client's
)

func bounded(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// auth says how the caller was authenticated, in one word or in the words of the refusal.
func (e *Event) auth() string {
	switch f := fault.Of(e.Err); {
	case e.Caller != nil:
		return "ok"
	case f != nil && f.Kind == fault.Unauthenticated:
		return f.Public
	default:
		return "none"
	}
}

// matchErrors names the matchers that failed: "mapping 1: no such key, mapping 4: wrong type".
func (e *Event) matchErrors() string {
	var all []string
	for _, m := range e.Role.Errors {
		all = append(all, matchError(m))
	}
	return strings.Join(all, ", ")
}

func matchError(m role.MatchError) string { return fmt.Sprintf("mapping %d: %s", m.Mapping, m.What) }

// PolicyIDs lists the policies that determined the decision.
func (e *Event) PolicyIDs() string { return named(e.Policies) }

// named lists policies by their ids.
func named(policies []policy.Found) string {
	if len(policies) == 0 {
		return ""
	}
	ids := make([]string, len(policies))
	for i, p := range policies {
		ids[i] = p.ID
	}
	return strings.Join(ids, ", ")
}

// failures tells of policies that could not be evaluated: "no-prod: attribute not found, ...".
func failures(policies []policy.Found) string {
	var all []string
	for _, p := range policies {
		all = append(all, p.ID+" ("+p.Effect+"): "+p.Message)
	}
	return strings.Join(all, ", ")
}

// story is the error without its hint, which has a key of its own.
func story(f *fault.Error) string {
	text := f.Kind.String() + ": " + f.Public
	if cause := f.Unwrap(); cause != nil {
		text += ": " + cause.Error()
	}
	return text
}

// wrong tells what went wrong, and what to look at; both are "" where nothing did. An answer that the remote gave and
// that was passed on as it came is told of here too.
func (e *Event) wrong() (what, hint string) {
	f := fault.Of(e.Err)
	switch {
	case f != nil:
	case e.Flaw != nil:
		f = e.Flaw
	case e.Status >= 500:
		return fmt.Sprintf("the remote MCP server answered %d, which was passed on", e.Status), "look for the aws_request_id at the remote, or at the page of its service's health"
	case e.Status == http.StatusTooManyRequests:
		return "the remote MCP server answered 429, which was passed on", "it wants fewer calls; the client may try again later"
	default:
		return "", ""
	}
	return bounded(story(f), storyLimit), bounded(cmp.Or(f.Hinted(), usualHints[f.Kind]), storyLimit)
}

// usualHints are for errors that say all there is to say in their words.
var usualHints = map[fault.Kind]string{
	fault.Internal:     "a defect of rolegate: please report it with this line",
	fault.Malformed:    hintClient,
	fault.BadMethod:    hintClient,
	fault.BadMediaType: hintClient,
	fault.TooLarge:     hintClient,
	fault.SlowClient:   hintClient,
	fault.SessionLost:  "clients initialize again by themselves; where they all do, replicas lack a common session key",
	fault.Unavailable:  "it passes by itself, or another line tells what is away",
}

const hintClient = "this is the client's to mend; source, caller and client_name tell whose"

// Level is how loud the record is: Error for what the operator must mend, Warn for refusals, Info for the rest.
func (e *Event) Level() slog.Level {
	switch e.Outcome() {
	case Failure:
		return slog.LevelError
	case Denied:
		return slog.LevelWarn
	}
	if e.Status == http.StatusTooManyRequests {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Log writes the event as one line.
func (e *Event) Log(ctx context.Context, log *slog.Logger) {
	level := e.Level()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 32)
	str := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	str(telemetry.KeyRequestID, e.ID)
	str(telemetry.KeyHTTPMethod, bounded(e.HTTPMethod, textLimit))
	str(telemetry.KeyPath, bounded(e.Path, textLimit))
	str(telemetry.KeyTraceID, e.TraceID)
	str(telemetry.KeyRemoteAddr, e.RemoteAddr)
	str(telemetry.KeySource, e.source())
	str(telemetry.KeyClientName, bounded(e.ClientName, textLimit))
	str(telemetry.KeyAuth, e.auth())
	if e.Caller != nil {
		str(telemetry.KeyCaller, bounded(e.Caller.Subject.ID, subjectLimit))
		str(telemetry.KeyIssuer, e.Caller.Issuer)
	}
	if e.Call != nil {
		str(telemetry.KeyEra, e.Call.Era.String())
		str(telemetry.KeyMethod, bounded(e.Call.Method, textLimit))
		str(telemetry.KeyTarget, bounded(e.Call.Target, textLimit))
	}
	str(telemetry.KeyOutcome, e.Outcome())
	str(telemetry.KeyDecision, e.Decision())
	str(telemetry.KeyRole, e.Role.RoleARN)
	str(telemetry.KeyWhy, e.Role.Reason)
	str(telemetry.KeyMatchErrors, e.matchErrors())
	str(telemetry.KeyPolicies, bounded(named(e.Policies), storyLimit))
	str(telemetry.KeyPolicyErrors, bounded(failures(e.PolicyErrors), storyLimit))
	str(telemetry.KeySessionName, e.Grant.SessionName)
	str(telemetry.KeySTS, string(e.STS))
	str(telemetry.KeyAccessKey, e.AccessKeyID)
	str(telemetry.KeyAWSRequest, bounded(e.AWSRequestID, textLimit))
	attrs = append(attrs, slog.Int(telemetry.KeyStatus, e.Status), slog.Int64(telemetry.KeyBytes, e.Bytes),
		slog.Float64(telemetry.KeyDuration, float64(e.End.Sub(e.Start).Microseconds())/1000))
	if e.Stream {
		attrs = append(attrs, slog.Bool(telemetry.KeyStream, true))
	}
	if e.Hidden > 0 {
		attrs = append(attrs, slog.Int(telemetry.KeyHidden, e.Hidden))
	}
	if e.Withheld > 0 {
		attrs = append(attrs, slog.Int(telemetry.KeyWithheld, e.Withheld))
	}
	if e.RPCCode != 0 {
		attrs = append(attrs, slog.Int64(telemetry.KeyRPCCode, e.RPCCode))
	}
	if e.IsError {
		attrs = append(attrs, slog.Bool(telemetry.KeyIsError, true))
	}
	what, hint := e.wrong()
	str(telemetry.KeyError, what)
	str(telemetry.KeyHint, hint)
	log.LogAttrs(ctx, level, "request", attrs...)
}

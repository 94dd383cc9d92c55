// Package fault is the one error type of rolegate: what kind of refusal it is, the words that the caller may read,
// a hint for whoever operates the gateway, and the cause.
//
// It promises that the public words and the HTTP status of an error are decided where the error is made, in one
// table, and that a cause or a hint never reaches a caller by accident: only Public is ever written to an answer.
// It must never hold a token, a credential or another caller's data in any of its parts, and it imports nothing of ours.
package fault

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind says what sort of refusal an error is. The kind alone decides the HTTP status and the default JSON-RPC code.
type Kind uint8

// The kinds, each with the HTTP status that it becomes.
const (
	Internal        Kind = iota // 500: a mistake of ours, or of a setting that only the operator can mend
	Malformed                   // 400: the request can't be understood, or breaks the protocol
	Unauthenticated             // 401: no token, or one that is no good; the client should sign in
	Denied                      // 403: known caller, refused
	NotFound                    // 404: no such endpoint or method
	SessionLost                 // 404: the MCP session is not this caller's, or is gone; the client should initialize again
	BadMethod                   // 405: HTTP method not served here
	SlowClient                  // 408: the request's body did not arrive in time
	TooLarge                    // 413: the body is over the limit
	BadMediaType                // 415: not application/json, or encoded
	TooMany                     // 429: the caller has too much open
	Aborted                     // 499: the client hung up; nobody reads the answer
	BadUpstream                 // 502: the backend, or a setting at AWS, is at fault
	Unavailable                 // 503: the identity provider, STS or the gateway itself is away for now; retry later
	UpstreamTimeout             // 504: the backend did not answer in time
	numKinds
)

// table is the only place where a kind turns into numbers.
var table = [numKinds]struct {
	name   string
	status int
	rpc    int
}{
	Internal:        {"internal", 500, -32603},
	Malformed:       {"malformed", 400, -32600},
	Unauthenticated: {"unauthenticated", 401, -32001},
	Denied:          {"denied", 403, -32003},
	NotFound:        {"not_found", 404, -32601},
	SessionLost:     {"session_lost", 404, -32001},
	BadMethod:       {"bad_method", 405, -32600},
	SlowClient:      {"slow_client", 408, -32600},
	TooLarge:        {"too_large", 413, -32600},
	BadMediaType:    {"bad_media_type", 415, -32600},
	TooMany:         {"too_many", 429, -32000},
	Aborted:         {"aborted", 499, -32000},
	BadUpstream:     {"bad_upstream", 502, -32000},
	Unavailable:     {"unavailable", 503, -32000},
	UpstreamTimeout: {"upstream_timeout", 504, -32000},
}

// String is the kind's name in logs and metric labels: lower case, with underscores.
func (k Kind) String() string { return table[k].name }

// Status is the HTTP status code that the kind becomes.
func (k Kind) Status() int { return table[k].status }

// Error is a refusal. Make one with New and add what is known:
//
//	fault.New(fault.Denied, "no role for this caller").Hint("mappings tried: %d", n).Because(err)
//
// The exported fields are what the door needs to render an answer; hint and cause are for the operator's eyes.
type Error struct {
	Kind       Kind
	Public     string        // the words that the caller reads; never a cause, a token, an internal URL
	RPC        int           // JSON-RPC error code; 0 means the kind's own
	Data       any           // JSON-RPC error.data, or nil
	Challenge  string        // RFC 6750 error code for WWW-Authenticate: invalid_token, insufficient_scope; "" for none
	Scopes     []string      // scopes to ask for, with Challenge insufficient_scope
	RetryAfter time.Duration // Retry-After, rounded up to seconds; 0 for none
	Allow      string        // Allow header, with BadMethod
	hint       string
	cause      error
}

// New makes an error of a kind with its public words.
func New(kind Kind, public string) *Error { return &Error{Kind: kind, Public: public} }

// Quote quotes what a caller sent, for words of any kind: escaped, and no more than the beginning of what is long.
func Quote(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:77], "") + "..."
	}
	return strconv.Quote(s)
}

// Hint adds what the operator should look at. It is logged, never sent.
func (e *Error) Hint(format string, args ...any) *Error {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// Because adds the cause. It is logged, never sent, and found by errors.Is and errors.As.
func (e *Error) Because(err error) *Error {
	e.cause = err
	return e
}

// Code sets the JSON-RPC error code.
func (e *Error) Code(rpc int) *Error {
	e.RPC = rpc
	return e
}

// WithData sets the JSON-RPC error.data: public, like the words.
func (e *Error) WithData(data any) *Error {
	e.Data = data
	return e
}

// Challenged sets the error code of the WWW-Authenticate header (RFC 6750, section 3.1).
func (e *Error) Challenged(code string, scopes ...string) *Error {
	e.Challenge, e.Scopes = code, scopes
	return e
}

// Later sets Retry-After.
func (e *Error) Later(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

// Status is the HTTP status code of the answer.
func (e *Error) Status() int { return e.Kind.Status() }

// RPCCode is the JSON-RPC error code of the answer.
func (e *Error) RPCCode() int {
	if e.RPC != 0 {
		return e.RPC
	}
	return table[e.Kind].rpc
}

// Hinted is the hint, "" where none was given.
func (e *Error) Hinted() string { return e.hint }

// Error is the whole story for a log: kind, public words, hint, cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	b.WriteString(": ")
	b.WriteString(e.Public)
	if e.hint != "" {
		b.WriteString(" (" + e.hint + ")")
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Of finds the Error in err's chain. An error that has none becomes an Internal one whose public words say nothing.
// Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return New(Internal, "internal error").Because(err)
}

package token

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
)

// The results of a verification: fixed words for metrics and logs, the OnVerify hook gets one of them.
const (
	ResultOK          = "ok"
	ResultMissing     = "missing"     // no bearer token was sent; Bearer only
	ResultMalformed   = "malformed"   // not a JWT in compact form, or its JSON is not strict
	ResultAlgorithm   = "algorithm"   // alg is not accepted, or does not fit the key that kid names
	ResultType        = "type"        // typ is not that of an access or id token
	ResultIssuer      = "issuer"      // iss is not the configured issuer
	ResultAudience    = "audience"    // aud does not hold the configured audience
	ResultExpired     = "expired"     // exp has passed
	ResultNotYet      = "not_yet"     // nbf is to come
	ResultClaims      = "claims"      // a claim is missing or of the wrong type
	ResultBound       = "bound"       // sender-constrained (cnf), and the binding can't be checked here
	ResultUnknownKey  = "unknown_key" // no key of the provider has this kid
	ResultSignature   = "signature"   // the signature does not verify
	ResultUnavailable = "unavailable" // the keys that would decide can't be fetched
	ResultAborted     = "aborted"     // the caller hung up while keys were fetched
	ResultOther       = "other_error" // Result of an error that is not of this package
)

const challengeInvalid = "invalid_token" // RFC 6750, section 3.1

// publicWords is what the caller reads about each result.
var publicWords = map[string]string{
	ResultMissing:     "a bearer token is required",
	ResultMalformed:   "the token is malformed",
	ResultAlgorithm:   "the token is signed with an algorithm that is not accepted",
	ResultType:        "the token is not an access token",
	ResultIssuer:      "the token is from another issuer",
	ResultAudience:    "the token is for another audience",
	ResultExpired:     "the token has expired",
	ResultNotYet:      "the token is not valid yet",
	ResultClaims:      "a claim of the token is missing or malformed",
	ResultBound:       "the token is bound to a key and can't be used as a bearer token",
	ResultUnknownKey:  "the token is signed with an unknown key",
	ResultSignature:   "the signature of the token is wrong",
	ResultUnavailable: "tokens can't be verified for now",
	ResultAborted:     "the request was cancelled",
}

// refusal is why a token is not accepted, until Verify or Bearer makes a fault of it.
type refusal struct {
	result string
	check  string        // which check refused, where the result does not say; one of the Check words
	hint   string        // for the operator; may quote the token's claims, never its text
	cause  error         // may be nil
	later  time.Duration // with ResultUnavailable
}

func refuse(result, format string, args ...any) *refusal {
	return &refusal{result: result, hint: fmt.Sprintf(format, args...)}
}

// in names the check that refused.
func (r *refusal) in(check string) *refusal {
	r.check = check
	return r
}

func (r *refusal) because(err error) *refusal {
	r.cause = err
	return r
}

func (r *refusal) after(d time.Duration) *refusal {
	r.later = d
	return r
}

// reason carries the result word in the chain of a fault, for Result to find, and the check, for Checks.
type reason struct {
	result string
	check  string // one of the Check words
	cause  error
}

func (r *reason) Error() string {
	if r.cause == nil {
		return "token: " + r.result
	}
	return "token: " + r.result + ": " + r.cause.Error()
}

func (r *reason) Unwrap() error { return r.cause }

func (r *refusal) fault() *fault.Error {
	kind, challenge := fault.Unauthenticated, challengeInvalid
	switch r.result {
	case ResultMissing:
		challenge = "" // RFC 6750, section 3.1: no error code where no token was sent
	case ResultUnavailable:
		kind, challenge = fault.Unavailable, ""
	case ResultAborted:
		kind, challenge = fault.Aborted, ""
	}
	e := fault.New(kind, publicWords[r.result]).Because(&reason{r.result, cmp.Or(r.check, checkOf[r.result]), r.cause}).Challenged(challenge).Later(r.later)
	if r.hint != "" {
		e.Hint("%s", r.hint)
	}
	return e
}

// Result is the word for what Bearer or Verify returned: ResultOK for nil, ResultOther for an error of somebody else.
func Result(err error) string {
	if err == nil {
		return ResultOK
	}
	if r, ok := errors.AsType[*reason](err); ok {
		return r.result
	}
	return ResultOther
}

// maxQuoted bounds what a hint quotes of a token's header or claims.
const maxQuoted = 128

// clip quotes s for a hint: escaped, and cut so that nobody can fill the log, or smuggle a token into it.
func clip(s string) string {
	if len(s) > maxQuoted {
		return fmt.Sprintf("%q and %d bytes more", s[:32], len(s)-32)
	}
	return fmt.Sprintf("%q", s)
}

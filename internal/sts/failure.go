package sts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

// What the caller reads. The words are the same for every role and every cause of a kind.
const (
	wordsExpired  = "the token has expired"
	wordsRejected = "AWS does not accept this token"
	wordsDenied   = "AWS does not lend the role to this caller"
	wordsUnknown  = "AWS can't verify this token: the operator has to register the identity provider"
	wordsIdP      = "AWS can't reach the identity provider for now"
	wordsThrottle = "AWS lends no more credentials for now"
	wordsAway     = "AWS STS can't be reached for now"
	wordsOdd      = "AWS STS gave an answer that can't be used"
	wordsSetting  = "AWS STS does not accept the gateway's settings"
)

// When the caller may come back.
const (
	laterAway     = 2 * time.Second
	laterThrottle = 5 * time.Second
)

// Failures that are not codes of STS. All the values of failure.code are these and the codes in the table.
const (
	codeNetwork   = "network"   // no answer
	codeTimeout   = "timeout"   // no answer in time
	codeQueue     = "queue"     // too many calls under way
	codeMalformed = "malformed" // an answer that is not AWS's
	codeServer    = "server"    // HTTP 5xx
	codeThrottle  = "Throttling"
	codeSetting   = "setting" // the call could not be made
	codePanic     = "panic"
	codeOther     = "other" // a code that is not in the table
)

// failure is a flight that brought no lease.
type failure struct {
	code       string
	fault      *fault.Error
	hold       time.Duration // how long it is remembered; 0: not at all
	ofToken    bool          // another token of the same caller may do better
	secondLook bool          // worth one more try at once
}

// answer is what may be told of STS's answer: it holds no part of a token.
type answer struct {
	code    string
	status  int
	request string
	message string
}

// Error is one line for a log.
func (a answer) Error() string {
	var b strings.Builder
	b.WriteString("STS:")
	for _, part := range []struct{ name, value string }{{"", a.code}, {"", status(a.status)}, {"request ", a.request}, {"", a.message}} {
		if part.value != "" {
			b.WriteString(" " + part.name + part.value)
		}
	}
	return b.String()
}

func status(code int) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprintf("(%d)", code)
}

// row is what becomes of a failure.
type row struct {
	code      string
	kind      fault.Kind
	words     string
	hint      string // {role} and {region} stand for what was asked
	challenge string
	later     time.Duration
	hold      time.Duration
	ofToken   bool
	second    bool
}

const (
	holdDenied  = 30 * time.Second
	holdUnknown = 10 * time.Second
	holdAway    = time.Second // and up to twice that, so that cold callers don't come back together
)

// table says what becomes of each failure. The codes of STS stand without the "Exception" that some end with. The
// errors are those of the AssumeRoleWithWebIdentity page and of "Common errors" of the STS API reference.
var table = []row{
	{
		code: "ExpiredToken", kind: fault.Unauthenticated, words: wordsExpired, challenge: "invalid_token", ofToken: true,
		hint: "STS finds the token expired",
	},
	{
		code: "IDPRejectedClaim", kind: fault.Unauthenticated, words: wordsRejected, challenge: "invalid_token", ofToken: true,
		hint: "the identity provider says that the token is not valid, or it has been revoked",
	},
	{
		code: "AccessDenied", kind: fault.Denied, words: wordsDenied, hold: holdDenied,
		hint: "the trust policy of role {role} does not let this token in: see its Principal (the OIDC provider), its conditions on aud and sub, and sts:TagSession or sts:SetSourceIdentity where the token carries tags or a source identity",
	},
	{
		code: "InvalidIdentityToken", kind: fault.BadUpstream, words: wordsUnknown, hold: holdUnknown, ofToken: true, second: true,
		hint: "IAM of the account of role {role} must have the token's issuer as an OIDC provider with its audience (its azp, where it has one) as a client id; AWS must reach the issuer's keys from the internet; and the token must be signed with RS256/384/512 or ES256/384/512",
	},
	{
		code: "IDPCommunicationError", kind: fault.Unavailable, words: wordsIdP, later: laterAway, hold: holdAway,
		hint: "AWS could not fetch the identity provider's discovery document or keys",
	},
	{
		code: codeThrottle, kind: fault.Unavailable, words: wordsThrottle, later: laterThrottle, hold: holdAway,
		hint: "STS throttles the account in {region}",
	},
	{
		code: "RegionDisabled", kind: fault.Internal, words: wordsSetting,
		hint: "region: STS is not activated in {region} for the account of role {role}",
	},
	{
		code: "ValidationError", kind: fault.Internal, words: wordsSetting,
		hint: "sessionDuration over the role's maximum, roleArn {role}, or sessionNameClaim: STS refuses the value of one of them",
	},
	{
		code: "MalformedPolicyDocument", kind: fault.Internal, words: wordsSetting,
		hint: "the session policy for role {role} is not a valid policy",
	},
	{
		code: "PackedPolicyTooLarge", kind: fault.Internal, words: wordsSetting,
		hint: "the session policy and the session tags for role {role} are too large together",
	},
	{
		code: codeServer, kind: fault.Unavailable, words: wordsAway, later: laterAway, hold: holdAway,
		hint: "STS in {region} is in trouble",
	},
	{
		code: codeNetwork, kind: fault.Unavailable, words: wordsAway, later: laterAway, hold: holdAway,
		hint: "the STS endpoint of {region} can't be reached: see DNS, HTTPS_PROXY, AWS_CA_BUNDLE, AWS_ENDPOINT_URL_STS",
	},
	{
		code: codeTimeout, kind: fault.Unavailable, words: wordsAway, later: laterAway, hold: holdAway,
		hint: "the STS endpoint of {region} did not answer in time",
	},
	{
		code: codeQueue, kind: fault.Unavailable, words: wordsAway, later: laterAway, hold: holdAway,
		hint: "too many calls of the STS endpoint of {region} are under way",
	},
	{
		code: codeMalformed, kind: fault.BadUpstream, words: wordsOdd,
		hint: "what answered for the STS endpoint of {region} is perhaps not STS: see HTTPS_PROXY, AWS_ENDPOINT_URL_STS",
	},
	{
		code: codeOther, kind: fault.Internal, words: wordsSetting,
		hint: "STS refuses the call for role {role} with a code that has no meaning here",
	},
}

// throttles are the codes for "too many calls".
var throttles = []string{
	"Throttling", "Throttled", "ThrottledRequest", "RequestThrottled", "RequestLimitExceeded", "TooManyRequests", "SlowDown",
	"LimitExceeded", "BandwidthLimitExceeded", "PriorRequestNotComplete",
}

// failed looks a code up in the table.
func failed(code string, a answer, g Grant) *failure {
	for _, r := range table {
		if r.code != code {
			continue
		}
		hint := strings.NewReplacer("{role}", g.RoleARN, "{region}", g.Region).Replace(r.hint)
		f := &failure{code: code, hold: r.hold, ofToken: r.ofToken, secondLook: r.second}
		f.fault = fault.New(r.kind, r.words).Hint("%s", hint).Later(r.later).Because(a)
		f.fault.Challenge = r.challenge
		if r.hold == holdAway {
			f.hold += time.Duration(rand.Float64() * float64(holdAway))
		}
		return f
	}
	return failed(codeOther, a, g)
}

// diagnose finds what an error of the SDK means. The error itself goes no further: it may quote the token.
func diagnose(ctx context.Context, err error, raw token.Raw, g Grant) *failure {
	a := answer{message: withhold(err.Error(), raw)}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		a.status = resp.HTTPStatusCode()
	}
	if id, ok := errors.AsType[interface {
		error
		ServiceRequestID() string
	}](err); ok && idForm.MatchString(id.ServiceRequestID()) {
		a.request = id.ServiceRequestID()
	}
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && a.status >= 300:
		a.code, a.message = withheldCode(api.ErrorCode()), withhold(api.ErrorMessage(), raw)
		return failed(normal(a.code, a.status), a, g)
	case ctx.Err() != nil || isTimeout(err):
		return failed(codeTimeout, a, g)
	case a.status == 0 || brokenOff(err):
		return failed(codeNetwork, a, g)
	}
	a.message = "" // of the SDK, about a body that it could not read
	return failed(normal("", a.status), a, g)
}

// brokenOff says whether the connection ended in the middle of the answer, in order or by a reset.
func brokenOff(err error) bool {
	_, reset := errors.AsType[*net.OpError](err)
	return reset || errors.Is(err, io.ErrUnexpectedEOF)
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// normal gives the code under which a failure stands in the table.
func normal(code string, status int) string {
	code = strings.TrimSuffix(code, "Exception")
	switch {
	case slices.Contains(throttles, code):
		return codeThrottle
	case slices.ContainsFunc(table, func(r row) bool { return r.code == code }):
		return code
	case status >= 500:
		return codeServer
	case status == http.StatusTooManyRequests:
		return codeThrottle
	case status == http.StatusRequestTimeout || code == "RequestTimeout":
		return codeTimeout
	case code == "" || code == "UnknownError":
		return codeMalformed
	}
	return codeOther
}

var (
	codeForm = regexp.MustCompile(`^[A-Z][0-9A-Za-z]{0,63}$`) // the table's own codes start small
	idForm   = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
)

// withheldCode gives a code that looks like one.
func withheldCode(code string) string {
	if codeForm.MatchString(code) {
		return code
	}
	return "OddCode"
}

// report is the error for one request: a copy, because whoever gets it may add to it.
func (f *failure) report() error {
	copied := *f.fault
	return &copied
}

func (f *failure) attrs(g Grant) []slog.Attr {
	return []slog.Attr{slog.String("role", g.RoleARN), slog.String("region", g.Region), slog.String("code", f.code), slog.String("error", f.fault.Error())}
}

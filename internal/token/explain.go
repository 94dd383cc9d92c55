package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
)

// The checks of a token, in the order in which they are made.
const (
	CheckForm      = "form"      // a JWT in compact form, whose JSON is strict
	CheckAlgorithm = "algorithm" // alg is one that is accepted
	CheckType      = "type"      // typ is that of an access or id token
	CheckIssuer    = "issuer"    // iss is the configured issuer
	CheckAudience  = "audience"  // aud holds the configured audience
	CheckTimes     = "times"     // exp, nbf, iat
	CheckBinding   = "binding"   // not sender-constrained (cnf)
	CheckUse       = "use"       // not a logout token
	CheckSubject   = "subject"   // sub
	CheckKey       = "key"       // the provider has a key for it
	CheckSignature = "signature" // that key verifies the signature
)

var checks = [...]string{
	CheckForm, CheckAlgorithm, CheckType, CheckIssuer, CheckAudience, CheckTimes, CheckBinding, CheckUse, CheckSubject, CheckKey, CheckSignature,
}

// checkOf is the check that a result is of, where the refusal does not name another.
var checkOf = map[string]string{
	ResultMissing: CheckForm, ResultMalformed: CheckForm, ResultAlgorithm: CheckAlgorithm, ResultType: CheckType, ResultIssuer: CheckIssuer,
	ResultAudience: CheckAudience, ResultExpired: CheckTimes, ResultNotYet: CheckTimes, ResultClaims: CheckSubject, ResultBound: CheckBinding,
	ResultUnknownKey: CheckKey, ResultSignature: CheckSignature, ResultUnavailable: CheckKey, ResultAborted: CheckKey,
}

// Verdicts of a Check.
const (
	Passed     = "ok"
	Failed     = "failed"
	NotChecked = "not checked" // the provider's keys could not be had, or there is no token but only claims
	Assumed    = "assumed"     // what the claims lack was filled in
	NotReached = "not reached" // a check before it did not pass
)

// Check is what became of one check of a token.
type Check struct {
	Name    string `json:"name"`             // one of the Check words
	Verdict string `json:"verdict"`          // Passed, Failed, NotChecked, Assumed or NotReached
	Detail  string `json:"detail,omitempty"` // what was compared, or why it failed; never a part of the token's text
}

// Checks tells how a token fared, check by check, from what Bearer or Verify said of it; nil err is a token that
// passed.
func (v *Verifier) Checks(raw Raw, err error) []Check {
	passed, all := v.details(raw), make([]Check, len(checks))
	failed := -1
	r, ours := errors.AsType[*reason](err)
	for i, name := range checks {
		switch {
		case ours && r.check == name:
			failed = i
			all[i] = r.asCheck(err)
		case failed >= 0 || err != nil && !ours:
			all[i] = Check{Name: name, Verdict: NotReached}
		default:
			all[i] = Check{Name: name, Verdict: Passed, Detail: passed[name]}
		}
	}
	return all
}

func (r *reason) asCheck(err error) Check {
	f := fault.Of(err)
	c := Check{Name: r.check, Verdict: Failed, Detail: f.Public}
	if hint := f.Hinted(); hint != "" {
		c.Detail += ": " + hint
	}
	if r.result == ResultUnavailable || r.result == ResultAborted {
		c.Verdict = NotChecked
		if r.cause != nil {
			c.Detail += ": " + r.cause.Error()
		}
	}
	return c
}

// details is what each check that passed was about.
func (v *Verifier) details(raw Raw) map[string]string {
	t, refused := read(raw)
	if refused != nil {
		return nil
	}
	d := map[string]string{
		CheckAlgorithm: string(t.alg), CheckIssuer: v.issuer, CheckAudience: v.audience, CheckSubject: quoteClaim(t.claims["sub"]), CheckKey: "no kid: any key that fits",
	}
	if t.kid != "" {
		d[CheckKey] = "kid " + clip(t.kid)
	}
	if exp, ok := numericDate(t.claims["exp"]); ok {
		d[CheckTimes] = "until " + exp.UTC().Format(time.RFC3339)
	}
	return d
}

// STSRefuses is the algorithm of a token that AWS STS refuses for it; "" where it takes it, or can't read the token.
func STSRefuses(raw Raw) string {
	t, refused := read(raw)
	if refused != nil || strings.HasPrefix(string(t.alg), "RS") || strings.HasPrefix(string(t.alg), "ES") {
		return ""
	}
	return string(t.alg)
}

// ClaimsOf reads claims as the payload of a token is read: one JSON object, no name twice, integers of 64 bits as int64.
func ClaimsOf(data []byte) (map[string]any, error) {
	claims, err := decodeObject(data)
	if err != nil {
		return nil, fmt.Errorf("read claims: %s", clip(err.Error()))
	}
	return claims, nil
}

// Rehearse makes a Verifier that reaches nobody, for a provider that is in memory alone, and the function that signs
// claims in its name and puts the token where a client does: it passes the checks of any other. What the claims lack of
// iss, aud and exp is filled in, and named. The key is made here and held by nothing else.
func Rehearse(o config.OIDCProvider) (*Verifier, func(claims map[string]any) (header http.Header, assumed []string, err error), error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	const kid = "rehearsal"
	set, err := json.Marshal(map[string]any{"keys": []jose.JSONWebKey{{Key: private.Public(), KeyID: kid, Algorithm: string(jose.ES256)}}})
	if err != nil {
		return nil, nil, fmt.Errorf("write key set: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: kid}}, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make signer: %w", err)
	}
	o.JWKSURL, o.CABundle = "https://rehearsal.invalid/keys", nil
	v, err := New(Options{OIDC: o, Transport: inMemory(set)})
	if err != nil {
		return nil, nil, err
	}
	return v, func(claims map[string]any) (http.Header, []string, error) { return v.sign(signer, claims) }, nil
}

// Hypothetical are the checks of a token that sign of Rehearse made: what is its own doing is said not to be checked, and
// what it filled in to be assumed.
func Hypothetical(all []Check, assumed []string) []Check {
	all = slices.Clone(all)
	for i, c := range all {
		switch c.Name {
		case CheckForm, CheckAlgorithm, CheckType, CheckKey, CheckSignature:
			if c.Verdict == Passed {
				all[i] = Check{Name: c.Name, Verdict: NotChecked, Detail: "claims alone, no token"}
			}
		}
		if claim := filled[c.Name]; claim != "" && c.Verdict == Passed && slices.Contains(assumed, claim) {
			all[i].Verdict = Assumed
		}
	}
	return all
}

// filled is the claim that is filled in for a check.
var filled = map[string]string{CheckIssuer: "iss", CheckAudience: "aud", CheckTimes: "exp"}

// inMemory answers every request with a key set.
type inMemory []byte

func (set inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(set)), ContentLength: int64(len(set)),
	}, nil
}

func (v *Verifier) sign(signer jose.Signer, claims map[string]any) (http.Header, []string, error) {
	whole := map[string]any{"iss": v.issuer, "aud": v.audience, "exp": time.Now().Add(time.Hour).Unix()}
	var assumed []string
	for _, name := range []string{"iss", "aud", "exp"} {
		if _, present := claims[name]; !present {
			assumed = append(assumed, name)
		}
	}
	maps.Copy(whole, claims)
	payload, err := json.Marshal(whole)
	if err != nil {
		return nil, nil, fmt.Errorf("write claims: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return nil, nil, fmt.Errorf("sign claims: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return nil, nil, fmt.Errorf("write token: %w", err)
	}
	return http.Header{"Authorization": {"Bearer " + text}}, assumed, nil
}

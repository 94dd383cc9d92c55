package sts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// role is a Role, ready to be assumed.
type role struct {
	arn, id, name string
	trust         policy
	max           time.Duration
}

// loan is what was lent and what only the answer needs.
type loan struct {
	Issued
	audience string
	packed   int // PackedPolicySize in percent
}

var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]*$`)
	roleARN     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
)

// Claims with which a token asks for more than the role: session tags and a source identity.
const (
	tagsClaim   = "https://aws.amazon.com/tags"
	sourceClaim = "https://aws.amazon.com/source_identity"
)

// assume judges one call. The order is STS's as far as it shows: form, token, audience, trust, duration.
func (s *Server) assume(r *http.Request, requestID string) (*loan, *refusal) {
	f := r.PostForm
	switch {
	case f.Get("Action") == "":
		return nil, refuse("MissingAction", "Missing Action")
	case f.Get("Action") != action || f.Get("Version") != version:
		return nil, refuse("InvalidAction", "Could not find operation %s for version %s", f.Get("Action"), f.Get("Version"))
	}
	seconds, no := validate(f)
	if no != nil {
		return nil, no
	}
	t, no := s.verify(r.Context(), f.Get("WebIdentityToken"))
	if no != nil {
		return nil, no
	}
	s.mu.Lock()
	ro := s.roles[f.Get("RoleArn")]
	lifetime := s.lifetime
	s.mu.Unlock()
	// A role that is not there and a role that does not trust look the same from outside.
	if ro == nil || !s.trusts(ro, t) {
		return nil, refuse("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	d := time.Duration(seconds) * time.Second
	if d > ro.max {
		return nil, refuse("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if lifetime > 0 {
		d = lifetime
	}
	return s.lend(ro, t, f, d, requestID), nil
}

// validate checks the parameters as the API reference limits them, and gives the duration in seconds.
func validate(f url.Values) (seconds int, no *refusal) {
	name, token, arn := f.Get("RoleSessionName"), f.Get("WebIdentityToken"), f.Get("RoleArn")
	switch {
	case name == "":
		return 0, invalid("roleSessionName", "Member must not be null")
	case len(name) < 2 || len(name) > 64:
		return 0, invalid("roleSessionName", "Member must have length between 2 and 64")
	case !sessionName.MatchString(name):
		return 0, invalid("roleSessionName", `Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	case token == "":
		return 0, invalid("webIdentityToken", "Member must not be null")
	case len(token) < 4 || len(token) > 20000:
		return 0, invalid("webIdentityToken", "Member must have length between 4 and 20000")
	case arn == "":
		return 0, invalid("roleArn", "Member must not be null")
	case !roleARN.MatchString(arn) || len(arn) > 2048:
		return 0, refuse("ValidationError", "%s is invalid", arn)
	}
	seconds = 3600
	if f.Has("DurationSeconds") {
		var err error
		if seconds, err = strconv.Atoi(f.Get("DurationSeconds")); err != nil {
			return 0, refuse("MalformedInput", "DurationSeconds is not a number")
		}
	}
	if seconds < 900 || seconds > 43200 {
		return 0, invalid("durationSeconds", "Member must have value between 900 and 43200")
	}
	return seconds, validatePolicies(f)
}

func validatePolicies(f url.Values) *refusal {
	size, n := len(f.Get("Policy")), 1
	for ; f.Has(policyARN(n)); n++ {
		size += len(f.Get(policyARN(n)))
	}
	switch {
	case n > 11:
		return invalid("policyArns", "Member must have length less than or equal to 10")
	case size > 2048:
		return refuse("PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space", size*100/2048)
	}
	return nil
}

func invalid(member, constraint string) *refusal {
	return refuse("ValidationError", "1 validation error detected: Value at '%s' failed to satisfy constraint: %s", member, constraint)
}

// trusts asks the trust policy for every action that the token asks for.
func (s *Server) trusts(ro *role, t *token) bool {
	actions := []string{"sts:" + action}
	if _, ok := t.claims[tagsClaim]; ok {
		actions = append(actions, "sts:TagSession")
	}
	if _, ok := t.claims[sourceClaim]; ok {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	prefix := bare(t.issuer) + ":"
	keys := map[string][]string{prefix + "aud": t.audience, prefix + "sub": {t.subject}}
	if t.azp != "" {
		keys[prefix+"oaud"] = t.rawAudience
	}
	for _, a := range actions {
		if !ro.trust.allows(request{principal: s.ProviderARN(t.issuer), action: a, keys: keys}) {
			return false
		}
	}
	return true
}

func (s *Server) lend(ro *role, t *token, f url.Values, d time.Duration, requestID string) *loan {
	l := &loan{
		Issued: Issued{
			AccessKeyID:     "ASIA" + random32(16),
			SecretAccessKey: random64(40),
			SessionToken:    "IQoJ" + random64(s.tokenSize-4),
			Expiry:          time.Now().Add(d).Truncate(time.Second),
			RoleARN:         ro.arn,
			RoleID:          ro.id,
			SessionName:     f.Get("RoleSessionName"),
			Subject:         t.subject,
			Issuer:          t.issuer,
			RequestID:       requestID,
		},
		audience: t.audience[0],
		packed:   len(f.Get("Policy")) * 100 / 2048,
	}
	l.AssumedRoleARN = "arn:" + s.partition + ":sts::" + s.account + ":assumed-role/" + ro.name + "/" + l.SessionName
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued[l.AccessKeyID] = l.Issued
	return l
}

// roleID is a stable AROA id for a role.
func roleID(arn string) string {
	sum := sha256.Sum256([]byte(arn))
	return "AROA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

func random32(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return base32.StdEncoding.EncodeToString(b)[:n]
}

func random64(n int) string {
	if n <= 0 {
		return ""
	}
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return base64.StdEncoding.EncodeToString(b)[:n]
}

// communication words an error of asking the provider; one that is a refusal already stays itself.
func communication(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return refuse("IDPCommunicationError", "An error occurred while contacting the identity provider: %s", strings.TrimSpace(err.Error()))
}

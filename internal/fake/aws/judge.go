package aws

import (
	"context"
	"crypto/hmac"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolegate/rolegate/internal/fake/sts"
)

const (
	algorithm   = "AWS4-HMAC-SHA256"
	dateLayout  = "20060102T150405Z"
	skew        = 5 * time.Minute
	codeExpired = "ExpiredTokenException"
	textExpired = "The security token included in the request is expired"
	textInvalid = "The security token included in the request is invalid."
)

// jwt looks like a token of a client: what begins with two JSON objects in base64url.
var jwt = regexp.MustCompile(`eyJ[\w-]{8,}\.eyJ[\w-]{8,}`)

// authorization is an Authorization header of SigV4, taken apart.
type authorization struct {
	accessKeyID, date, region, service string
	signedHeaders                      []string
	signature                          string
}

// judge says who signed a request, or why it is refused. The request's body has been read; its hash is in rec.
func (s *Server) judge(r *http.Request, rec *Request) (sts.Issued, *refusal) {
	auth, no := readAuthorization(r.Header.Values("Authorization"))
	if no == nil {
		s.locked(func() { rec.AccessKeyID, rec.SignedHeaders = auth.accessKeyID, auth.signedHeaders })
	}
	if leaks := leaked(r, auth); len(leaks) > 0 {
		for _, l := range leaks {
			s.violation(rec, l)
		}
		return sts.Issued{}, &refusal{http.StatusForbidden, "AccessDeniedException", "the request carries what must not reach AWS: " + strings.Join(leaks, "; ")}
	}
	if no != nil {
		return sts.Issued{}, no
	}
	at, no := checkForm(r, auth, rec.BodyHash)
	if no != nil {
		return sts.Issued{}, no
	}
	lent, no := s.checkCredentials(r, auth)
	if no != nil {
		return sts.Issued{}, no
	}
	if auth.region != s.region || auth.service != s.service {
		return sts.Issued{}, badSignature("Credential should be scoped to region '%s' and service '%s', not '%s' and '%s'", s.region, s.service, auth.region, auth.service)
	}
	if no := checkSignature(r, auth, lent, rec.BodyHash, at); no != nil {
		return sts.Issued{}, no
	}
	s.locked(func() { rec.AssumedRoleARN, rec.SessionName = lent.AssumedRoleARN, lent.SessionName })
	return lent, nil
}

// leaked lists what of the client came through: a bearer token or anything like a JWT, cookies, proxy credentials,
// and X-Amz-* headers or parameters that nobody signed.
func leaked(r *http.Request, a authorization) []string {
	var out []string
	// Which headers are signed is unknown where the Authorization header can't be read.
	legible := a.signature != "" || r.Header.Get("Authorization") == ""
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		for _, v := range values {
			switch {
			case lower == "authorization" && !strings.HasPrefix(v, algorithm):
				scheme, _, _ := strings.Cut(v, " ")
				out = append(out, "an Authorization header with scheme "+scheme)
			case lower == "x-amz-security-token": // opaque; it may look like anything
			case jwt.MatchString(v):
				out = append(out, "a JWT in header "+name)
			}
		}
		switch {
		case lower == "cookie", strings.HasPrefix(lower, "proxy-"):
			out = append(out, "header "+name)
		case strings.HasPrefix(lower, "x-amz-") && legible && !slices.Contains(a.signedHeaders, lower):
			out = append(out, "unsigned header "+name)
		}
	}
	for name, values := range r.URL.Query() {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") || lower == "access_token" || slices.ContainsFunc(values, jwt.MatchString) {
			out = append(out, "query parameter "+name)
		}
	}
	slices.Sort(out)
	return out
}

// readAuthorization takes the one Authorization header apart.
func readAuthorization(values []string) (a authorization, no *refusal) {
	incomplete := func(format string, args ...any) (authorization, *refusal) {
		return authorization{}, &refusal{http.StatusForbidden, "IncompleteSignatureException", fmt.Sprintf(format, args...)}
	}
	switch {
	case len(values) == 0 || values[0] == "":
		return a, &refusal{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	case len(values) > 1:
		return incomplete("There are %d Authorization headers", len(values))
	}
	rest, ok := strings.CutPrefix(values[0], algorithm+" ")
	if !ok {
		return incomplete("Authorization header requires the algorithm %s", algorithm)
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			f := strings.Split(value, "/")
			if len(f) != 5 || f[4] != "aws4_request" {
				return incomplete("Credential must have exactly 5 slash-delimited elements and end in aws4_request")
			}
			a.accessKeyID, a.date, a.region, a.service = f[0], f[1], f[2], f[3]
		case "SignedHeaders":
			a.signedHeaders = strings.Split(value, ";")
		case "Signature":
			a.signature = value
		default:
			return incomplete("Authorization header has an unknown parameter")
		}
	}
	if a.accessKeyID == "" || len(a.signedHeaders) == 0 || a.signature == "" {
		return incomplete("Authorization header requires Credential, SignedHeaders and Signature")
	}
	return a, nil
}

// checkForm checks what can be checked without a secret: which headers are signed, the body's hash, the date.
func checkForm(r *http.Request, a authorization, bodyHash string) (at time.Time, no *refusal) {
	must := []string{"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
	if r.Header.Get("Content-Type") != "" {
		must = append(must, "content-type")
	}
	for _, h := range must {
		if h != "host" && len(r.Header.Values(h)) != 1 {
			return at, badSignature("'%s' must be there exactly once", h)
		}
		if !slices.Contains(a.signedHeaders, h) {
			return at, badSignature("'%s' must be a signed header", h)
		}
	}
	if got := r.Header.Get("X-Amz-Content-Sha256"); got != bodyHash {
		return at, badSignature("The provided 'x-amz-content-sha256' header (%s) does not match what was computed (%s)", got, bodyHash)
	}
	at, err := time.Parse(dateLayout, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return at, badSignature("Date must be in ISO-8601 'basic format', like %s", dateLayout)
	}
	now := time.Now().UTC()
	switch {
	case !strings.HasPrefix(r.Header.Get("X-Amz-Date"), a.date+"T"):
		return at, badSignature("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
	case at.Before(now.Add(-skew)):
		return at, badSignature("Signature expired: %s is now earlier than %s (%s - 5 min.)", at.Format(dateLayout), now.Add(-skew).Format(dateLayout), now.Format(dateLayout))
	case at.After(now.Add(skew)):
		return at, badSignature("Signature not yet current: %s is still later than %s (%s + 5 min.)", at.Format(dateLayout), now.Add(skew).Format(dateLayout), now.Format(dateLayout))
	}
	return at, nil
}

func (s *Server) checkCredentials(r *http.Request, a authorization) (sts.Issued, *refusal) {
	lent, ok := s.vault.Lookup(a.accessKeyID)
	if !ok || lent.SessionToken != r.Header.Get("X-Amz-Security-Token") {
		return sts.Issued{}, &refusal{http.StatusForbidden, "UnrecognizedClientException", textInvalid}
	}
	if !time.Now().Before(lent.Expiry) {
		return sts.Issued{}, &refusal{http.StatusForbidden, codeExpired, textExpired}
	}
	return lent, nil
}

// checkSignature signs what arrived, and of its headers only those that were signed, with the AWS SDK's signer, and
// compares. The SDK never signs user-agent, x-amzn-trace-id, expect and transfer-encoding: a request that signed one
// of them is refused.
func checkSignature(r *http.Request, a authorization, lent sts.Issued, bodyHash string, at time.Time) *refusal {
	again := &http.Request{
		Method: r.Method,
		// No scheme: the signer would drop the scheme's default port, and the Host that arrived is what counts.
		URL:    &url.URL{Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Host:   r.Host,
		Header: http.Header{},
	}
	for _, h := range a.signedHeaders {
		switch h {
		case "host":
		case "content-length":
			again.ContentLength = r.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(h)] = slices.Clone(r.Header.Values(h))
		}
	}
	credentials := awssdk.Credentials{AccessKeyID: lent.AccessKeyID, SecretAccessKey: lent.SecretAccessKey, SessionToken: lent.SessionToken}
	err := v4.NewSigner().SignHTTP(context.Background(), credentials, again, bodyHash, a.service, a.region, at)
	if err != nil {
		return badSignature("sign again: %v", err)
	}
	want, no := readAuthorization(again.Header.Values("Authorization"))
	if no != nil {
		return no
	}
	if !slices.Equal(want.signedHeaders, a.signedHeaders) {
		return badSignature("SignedHeaders is %q, and of these headers arrived, in order, %q", strings.Join(a.signedHeaders, ";"), strings.Join(want.signedHeaders, ";"))
	}
	if !hmac.Equal([]byte(want.signature), []byte(a.signature)) {
		return badSignature("The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func badSignature(format string, args ...any) *refusal {
	return &refusal{http.StatusForbidden, "InvalidSignatureException", fmt.Sprintf(format, args...)}
}

package sts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

const (
	namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	version   = "2011-06-15"
	action    = "AssumeRoleWithWebIdentity"
)

// refusal is an error as STS words it.
type refusal struct {
	code    string
	message string
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code: code, message: fmt.Sprintf(format, args...)}
}

// status is the HTTP status of a code, from the API reference. What is not listed is 400.
func status(code string) int {
	switch code {
	case "AccessDenied", "RegionDisabledException", "SignatureDoesNotMatch", "InvalidClientTokenId":
		return http.StatusForbidden
	case "InternalFailure":
		return http.StatusInternalServerError
	case "ServiceUnavailable":
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

// fault tells whose fault a status says that it is.
func fault(status int) string {
	if status >= http.StatusInternalServerError {
		return "Receiver"
	}
	return "Sender"
}

type errorResponse struct {
	XMLName xml.Name `xml:"ErrorResponse"`
	Xmlns   string   `xml:"xmlns,attr"`
	Error   struct {
		Type    string
		Code    string
		Message string
	}
	RequestID string `xml:"RequestId"`
}

type successResponse struct {
	XMLName xml.Name `xml:"AssumeRoleWithWebIdentityResponse"`
	Xmlns   string   `xml:"xmlns,attr"`
	Result  struct {
		SubjectFromWebIdentityToken string
		Audience                    string
		AssumedRoleUser             struct {
			Arn           string
			AssumedRoleID string `xml:"AssumedRoleId"`
		}
		Credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      string
		}
		Provider         string
		PackedPolicySize int `xml:",omitempty"`
	} `xml:"AssumeRoleWithWebIdentityResult"`
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

// ServeHTTP answers the Query API at / and the admin endpoint (see package stage).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_admin/") {
		stage.Admin(&s.troubles, func() any { return s.Calls() }).ServeHTTP(w, r)
		return
	}
	id := stage.RequestID()
	w.Header().Set("x-amzn-RequestId", id)
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	formErr := r.ParseForm()
	n := s.begin(newCall(r, id))

	t, healed := s.troubles.Take()
	if t.Play(w, r, healed, func(t stage.Trouble) {
		if t.Code == "" {
			t.Code = "InternalFailure"
		}
		s.writeError(w, n, id, t.Status, refuse(t.Code, "%s", t.Message))
	}) {
		return
	}
	switch {
	case r.URL.Path != "/":
		s.writeError(w, n, id, http.StatusNotFound, refuse("UnknownOperationException", "there is nothing at %s", r.URL.Path))
	case r.Method != http.MethodPost:
		s.writeError(w, n, id, http.StatusMethodNotAllowed, refuse("InvalidAction", "use POST"))
	case formErr != nil:
		s.writeError(w, n, id, 0, refuse("MalformedQueryString", "The query string contains a syntax error"))
	default:
		lent, no := s.assume(r, id)
		if no != nil {
			s.writeError(w, n, id, 0, no)
			return
		}
		s.writeSuccess(w, n, lent)
	}
}

func newCall(r *http.Request, id string) Call {
	f := r.PostForm
	c := Call{
		Time: time.Now(), RequestID: id, Action: f.Get("Action"), RoleARN: f.Get("RoleArn"),
		SessionName: f.Get("RoleSessionName"), Policy: f.Get("Policy"),
		Signed: r.Header.Get("Authorization") != "", UserAgent: r.UserAgent(), Host: r.Host,
	}
	c.Duration, _ = strconv.Atoi(f.Get("DurationSeconds")) // 0 where it is absent or no number
	for n := 1; f.Has(policyARN(n)); n++ {
		c.PolicyARNs = append(c.PolicyARNs, f.Get(policyARN(n)))
	}
	if t := f.Get("WebIdentityToken"); t != "" {
		sum := sha256.Sum256([]byte(t))
		c.TokenHash = hex.EncodeToString(sum[:])
	}
	return c
}

func policyARN(n int) string { return fmt.Sprintf("PolicyArns.member.%d.arn", n) }

func (s *Server) writeError(w http.ResponseWriter, n int, id string, code int, no *refusal) {
	if code == 0 {
		code = status(no.code)
	}
	var out errorResponse
	out.Xmlns, out.RequestID = namespace, id
	out.Error.Type, out.Error.Code, out.Error.Message = fault(code), no.code, no.message
	s.end(n, no.code, code, nil)
	writeXML(w, code, out)
}

func (s *Server) writeSuccess(w http.ResponseWriter, n int, l *loan) {
	var out successResponse
	out.Xmlns, out.RequestID = namespace, l.RequestID
	res := &out.Result
	res.SubjectFromWebIdentityToken, res.Audience, res.Provider = l.Subject, l.audience, l.Issuer
	res.AssumedRoleUser.Arn, res.AssumedRoleUser.AssumedRoleID = l.AssumedRoleARN, l.RoleID+":"+l.SessionName
	res.Credentials.AccessKeyID, res.Credentials.SecretAccessKey = l.AccessKeyID, l.SecretAccessKey
	res.Credentials.SessionToken = l.SessionToken
	res.Credentials.Expiration = l.Expiry.UTC().Format(time.RFC3339)
	res.PackedPolicySize = l.packed
	s.end(n, "", http.StatusOK, &l.Issued)
	writeXML(w, http.StatusOK, out)
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "text/xml")
	b, err := xml.MarshalIndent(v, "", "  ")
	if err != nil { // the types above marshal
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that is gone misses nothing
}

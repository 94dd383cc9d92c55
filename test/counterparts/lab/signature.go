package lab

import (
	"bufio"
	"crypto/hmac"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	sigDate      = "20060102T150405Z"
	sigSkew      = 5 * time.Minute
)

// signature is an Authorization header of SigV4, taken apart.
type signature struct {
	accessKeyID, date, region, service string
	signedHeaders                      []string
	signature                          string
}

// judge says why a request is refused, nil where it is well signed. bodyHash is that of the bytes that arrived.
func (j *Judge) judge(r *http.Request, bodyHash string, rec *JudgeRequest) *refusal {
	sig, no := readSignature(r.Header.Values("Authorization"))
	if no != nil {
		return no
	}
	j.locked(func() { rec.AccessKeyID, rec.SignedHeaders = sig.accessKeyID, sig.signedHeaders })
	lent, known := j.vault.Lookup(sig.accessKeyID)
	if known {
		j.locked(func() { rec.RoleARN, rec.SessionName = lent.RoleARN, lent.SessionName })
	}
	at, no := checkForm(r, sig, bodyHash)
	if no != nil {
		return no
	}
	if sig.region != j.Region || sig.service != j.Service {
		return refuse("SignatureDoesNotMatch", "Credential should be scoped to %s and %s, not %s and %s", j.Region, j.Service, sig.region, sig.service)
	}
	if !known || lent.SessionToken != r.Header.Get("X-Amz-Security-Token") {
		return refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	if no := j.checkSignature(r, sig, lent, at); no != nil {
		return no
	}
	expired := refuse("ExpiredTokenException", "The security token included in the request is expired")
	if !time.Now().Before(lent.Expiry) {
		return expired
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.expired[sig.accessKeyID] {
		expired.expected = true
		return expired
	}
	j.lent[sig.accessKeyID] = true
	return nil
}

// readSignature takes the one Authorization header apart.
func readSignature(values []string) (s signature, no *refusal) {
	const incomplete = "IncompleteSignatureException"
	switch {
	case len(values) == 0 || values[0] == "":
		return s, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	case len(values) > 1:
		return s, refuse(incomplete, "There are %d Authorization headers", len(values))
	}
	rest, ok := strings.CutPrefix(values[0], sigAlgorithm+" ")
	if !ok {
		return s, refuse(incomplete, "The Authorization header does not name %s", sigAlgorithm)
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return s, refuse(incomplete, "Credential is not a scope of five parts")
			}
			s.accessKeyID, s.date, s.region, s.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			s.signedHeaders = strings.Split(value, ";")
		case "Signature":
			s.signature = value
		default:
			return s, refuse(incomplete, "The Authorization header has an unknown part")
		}
	}
	if s.accessKeyID == "" || len(s.signedHeaders) == 0 || s.signature == "" {
		return s, refuse(incomplete, "The Authorization header must have Credential, SignedHeaders and Signature")
	}
	return s, nil
}

// checkForm checks what needs no secret: which headers there are and are signed, the hash of the body, the date.
func checkForm(r *http.Request, s signature, bodyHash string) (at time.Time, no *refusal) {
	must := []string{"X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token"}
	if r.Header.Get("Content-Type") != "" {
		must = append(must, "Content-Type")
	}
	for _, name := range must {
		if n := len(r.Header.Values(name)); n != 1 {
			return at, refuse("IncompleteSignatureException", "%s is there %d times", name, n)
		}
	}
	for _, name := range append(must, "Host") {
		if !slices.Contains(s.signedHeaders, strings.ToLower(name)) {
			return at, refuse("SignatureDoesNotMatch", "%s is not signed", name)
		}
	}
	if got := r.Header.Get("X-Amz-Content-Sha256"); got != bodyHash {
		return at, refuse("SignatureDoesNotMatch", "x-amz-content-sha256 is %s, and the body's hash is %s", got, bodyHash)
	}
	at, err := time.Parse(sigDate, r.Header.Get("X-Amz-Date"))
	if err != nil || at.Format("20060102") != s.date {
		return at, refuse("IncompleteSignatureException", "X-Amz-Date is no date, or not that of the scope")
	}
	if off := time.Since(at); off.Abs() > sigSkew {
		return at, refuse("SignatureDoesNotMatch", "Signature expired or not yet current: %s away", off)
	}
	return at, nil
}

// checkSignature compares the signature with the one that the co-process makes of what arrived, and of its headers
// only those that were signed.
func (j *Judge) checkSignature(r *http.Request, s signature, lent sts.Issued, at time.Time) *refusal {
	again := resign{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Headers: map[string]string{},
		Region: s.region, Service: s.service, Date: at.Format(time.RFC3339),
		AccessKeyID: lent.AccessKeyID, SecretAccessKey: lent.SecretAccessKey, SessionToken: lent.SessionToken,
	}
	for _, name := range s.signedHeaders {
		switch values := r.Header.Values(name); {
		case name == "host":
			again.Headers[name] = r.Host
		case name == "content-length":
			again.Headers[name] = r.Header.Get(name)
		case len(values) > 0:
			again.Headers[name] = strings.Join(values, ",")
		}
	}
	made, err := j.signer.sign(again)
	if err != nil {
		return refuse("SignatureDoesNotMatch", "it can't be signed again: %v", err)
	}
	want, no := readSignature([]string{made})
	switch {
	case no != nil:
		return no
	case !slices.Equal(want.signedHeaders, s.signedHeaders):
		return refuse("SignatureDoesNotMatch", "SignedHeaders is %q, and of these arrived %q", s.signedHeaders, want.signedHeaders)
	case !hmac.Equal([]byte(want.signature), []byte(s.signature)):
		return refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

var looksLikeJWT = regexp.MustCompile(`eyJ[\w-]{8,}`)

// traces lists what of a client came through: its token, its cookies, its address, the credentials of its proxies.
func traces(r *http.Request) []string {
	var found []string
	for name, values := range r.Header {
		switch {
		case name == "Cookie", name == "Forwarded", strings.HasPrefix(name, "X-Forwarded-"), strings.HasPrefix(name, "Proxy-"):
			found = append(found, "header "+name+" reached it")
		}
		for _, v := range values {
			scheme, _, _ := strings.Cut(v, " ")
			switch {
			case name == "X-Amz-Security-Token": // opaque; it may look like anything
			case name == "Authorization" && strings.EqualFold(scheme, "Bearer"):
				found = append(found, "a bearer token reached it")
			case looksLikeJWT.MatchString(v):
				found = append(found, "what looks like a JWT reached it in header "+name)
			}
		}
	}
	if looksLikeJWT.MatchString(r.URL.RawQuery) {
		found = append(found, "what looks like a JWT reached it in the query")
	}
	slices.Sort(found)
	return found
}

//go:embed testdata/judge
var judgeFiles embed.FS

// resign is what the co-process is asked.
type resign struct {
	Method          string            `json:"method"`
	Path            string            `json:"path"`  // as on the wire
	Query           string            `json:"query"` // as on the wire
	Headers         map[string]string `json:"headers"`
	Region          string            `json:"region"`
	Service         string            `json:"service"`
	Date            string            `json:"date"`
	AccessKeyID     string            `json:"accessKeyID"`
	SecretAccessKey string            `json:"secretAccessKey"`
	SessionToken    string            `json:"sessionToken"`
}

// resigner is the co-process: a question on a line, an answer on a line.
type resigner struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Reader
}

func newResigner(t testing.TB) *resigner {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "sign.cjs"} {
		text, err := judgeFiles.ReadFile("testdata/judge/" + name)
		if err != nil {
			t.Fatal(err)
		}
		Write(t, dir, name, string(text))
	}
	modules := NPM(t, dir)
	cmd := exec.Command(Program(t, "node"), filepath.Join(dir, "sign.cjs"), modules)
	group(cmd)
	said := &fake.Log{}
	cmd.Env, cmd.Stderr = Environment(), said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = kill(cmd)
		_ = cmd.Wait()
		if t.Failed() && said.String() != "" {
			t.Logf("the judge's signer:\n%s", said)
		}
	})
	return &resigner{in: in, out: bufio.NewReader(out)}
}

func (s *resigner) sign(question resign) (authorization string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line, err := json.Marshal(question)
	if err != nil {
		return "", err
	}
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		return "", err
	}
	if line, err = s.out.ReadBytes('\n'); err != nil {
		return "", err
	}
	var answer struct{ Authorization, Error string }
	if err := json.Unmarshal(line, &answer); err != nil {
		return "", err
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Authorization, nil
}

package lab

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake/aws"
)

// Judge stands before a backend where AWS stands before its MCP server. It lets a request through when the signature
// is the one that AWS's signer for JavaScript makes of what arrived, and refuses it with AWS's errors otherwise.
//
// At the end of its test it fails the test for every request that it refused for its form or signature, and for every
// trace of a client that reached it: a bearer token or what looks like a JWT, cookies, and where the client came from.
type Judge struct {
	// Region and Service are what the credential scope must name; "us-east-1" and "aws-mcp" where nobody sets them
	// before the first request.
	Region, Service string

	vault   aws.Vault
	signer  *resigner
	server  *httptest.Server
	forward http.Handler // nil: passed requests are answered with an empty object

	mu         sync.Mutex
	requests   []*JudgeRequest
	violations []string
	lent       map[string]bool // access keys that were used
	expired    map[string]bool // of these, those that Expire has ended
	sessions   map[string]bool // MCP session ids that came by
	dropped    map[string]bool // of these, those that DropSessions has ended
	delay      time.Duration
	throttle   int
}

// JudgeRequest is one request that arrived, and what became of it.
type JudgeRequest struct {
	Method, Path  string
	Header        http.Header // as it arrived
	Body          []byte
	RoleARN       string // of the role that signed it; "" where the credentials are not known
	SessionName   string
	AccessKeyID   string
	Status        int    // 0 while it is being answered, or where it never was
	Code          string // AWS's error code of a refusal by the judge
	Why           string
	Started       time.Time
	Ended         time.Time // of the answer's last byte, or of the cancellation; zero while it is open
	Cancelled     bool      // the client went away before the end
	SignedHeaders []string
}

// refusal is an error in the form of AWS's JSON services.
type refusal struct {
	status    int
	code, why string
	expected  bool // somebody asked the judge for it
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{status: http.StatusForbidden, code: code, why: fmt.Sprintf(format, args...)}
}

// NewJudge starts a judge on loopback before the server at backend, a base URL; "" is no server. The vault knows the
// secrets that were lent.
func NewJudge(t testing.TB, backend string, vault aws.Vault) *Judge {
	t.Helper()
	j := &Judge{
		Region: "us-east-1", Service: "aws-mcp", vault: vault, signer: newResigner(t),
		lent: map[string]bool{}, expired: map[string]bool{}, sessions: map[string]bool{}, dropped: map[string]bool{},
	}
	if backend != "" {
		to, err := url.Parse(backend)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 128}
		t.Cleanup(transport.CloseIdleConnections)
		j.forward = &httputil.ReverseProxy{
			FlushInterval: -1,
			Transport:     transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				for name := range r.Out.Header {
					if name == "Authorization" || strings.HasPrefix(name, "X-Amz-") {
						r.Out.Header.Del(name)
					}
				}
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
				if r.Context().Err() == nil {
					w.WriteHeader(http.StatusBadGateway)
				}
			},
			ModifyResponse: func(r *http.Response) error {
				j.sawSession(r.Header.Get("Mcp-Session-Id"))
				return nil
			},
		}
	}
	j.server = httptest.NewServer(j)
	t.Cleanup(func() {
		j.server.CloseClientConnections()
		j.server.Close()
		for _, v := range j.Violations() {
			t.Error("the judge:", v)
		}
	})
	return j
}

// URL is the base URL of the judge, without a path.
func (j *Judge) URL() string { return j.server.URL }

// Expire ends all credentials that have been used so far: whoever uses them again is refused as AWS refuses them.
func (j *Judge) Expire() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key := range j.lent {
		j.expired[key] = true
	}
}

// DropSessions ends all MCP sessions seen so far: their ids are answered with 404.
func (j *Judge) DropSessions() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.sessions {
		j.dropped[id] = true
	}
}

// Delay lets every later request wait before it is forwarded.
func (j *Judge) Delay(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.delay = d
}

// Throttle answers the next n requests that are well signed with 429 and a Retry-After of one second.
func (j *Judge) Throttle(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.throttle = n
}

// Requests are all requests so far, in the order of their arrival.
func (j *Judge) Requests() []JudgeRequest {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]JudgeRequest, len(j.requests))
	for i, r := range j.requests {
		all[i] = *r
	}
	return all
}

// Violations are what the test will fail for.
func (j *Judge) Violations() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.violations)
}

// Forgive gives the violations so far and forgets them: for the test that caused them on purpose.
func (j *Judge) Forgive() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := j.violations
	j.violations = nil
	return v
}

// ServeHTTP judges and forwards.
func (j *Judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &JudgeRequest{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Started: time.Now()}
	j.locked(func() { j.requests = append(j.requests, rec) })
	out := &judged{ResponseWriter: w}
	defer func() {
		j.locked(func() { rec.Status, rec.Ended, rec.Cancelled = out.status, time.Now(), r.Context().Err() != nil })
	}()

	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	j.locked(func() { rec.Body = body })
	for _, trace := range traces(r) {
		j.violation(rec, trace)
	}
	sum := sha256.Sum256(body)
	no := j.judge(r, hex.EncodeToString(sum[:]), rec)
	if no == nil {
		no = j.trouble(r)
	}
	switch {
	case no != nil:
		j.refuse(out, rec, no)
	case j.forward != nil:
		j.forward.ServeHTTP(out, r)
	default:
		out.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(out, "{}") // a client that is gone misses nothing
	}
}

// trouble is what the test asked for: a delay, a throttled request, a session that is over.
func (j *Judge) trouble(r *http.Request) *refusal {
	j.mu.Lock()
	delay, id := j.delay, r.Header.Get("Mcp-Session-Id")
	throttled, over := j.throttle > 0, j.dropped[id]
	if throttled {
		j.throttle--
	}
	j.mu.Unlock()
	j.sawSession(id)
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
	}
	switch {
	case throttled:
		return &refusal{http.StatusTooManyRequests, "ThrottlingException", "Rate exceeded", true}
	case over:
		return &refusal{http.StatusNotFound, "ResourceNotFoundException", "Session not found", true}
	}
	return nil
}

func (j *Judge) refuse(w http.ResponseWriter, rec *JudgeRequest, no *refusal) {
	j.locked(func() { rec.Code, rec.Why = no.code, no.why })
	if !no.expected {
		j.violation(rec, no.code+": "+no.why)
	}
	b, err := json.Marshal(map[string]string{"__type": no.code, "message": no.why})
	if err != nil { // strings marshal
		b = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", no.code)
	if no.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(no.status)
	_, _ = w.Write(b) // a client that is gone misses nothing
}

func (j *Judge) violation(rec *JudgeRequest, what string) {
	j.locked(func() { j.violations = append(j.violations, rec.Method+" "+rec.Path+": "+what) })
}

func (j *Judge) sawSession(id string) {
	if id != "" {
		j.locked(func() { j.sessions[id] = true })
	}
}

func (j *Judge) locked(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

// judged notes the status of an answer.
type judged struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (w *judged) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the first status that is final.
func (w *judged) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is an answer of 200 where nobody said otherwise.
func (w *judged) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Package aws is a look-alike of the AWS MCP Server: an MCP server over both protocol eras behind a gate that verifies
// SigV4 from the wire.
//
// It promises to judge every request by recomputing its signature with the AWS SDK's own signer over the headers that
// arrived and the bytes that arrived, to refuse with AWS's error codes, to give each MCP session to one role and
// session name only, and to write down every request, and every secret of a client that leaked through, for tests to
// read. It must never answer an unsigned request: AWS's own server does for some tools, this one exists to judge.
//
// Error texts and the choice between error codes follow AWS's JSON services; no AWS account was used to compare.
package aws

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// Vault knows what was lent; *sts.Server is one.
type Vault interface {
	Lookup(accessKeyID string) (sts.Issued, bool)
}

// Options say what the server is like.
type Options struct {
	// Vault is asked for the secret of an access key. Required.
	Vault Vault
	// Region and Service are what the credential scope must name. Defaults "us-east-1" and "aws-mcp".
	Region, Service string
	// Paths are where MCP is served; "*" is any path. Default "/mcp". The target of a RedirectPath is added to them.
	Paths []string
	// Keep is how many requests are remembered, the latest. Default 10000.
	Keep int
	// MaxBody bounds request bodies, in bytes. Default 64 MiB.
	MaxBody int64
	// Configure, where it is not nil, adds to the MCP server: more tools, prompts, resources.
	Configure func(*mcp.Server)
}

// Server is the fake AWS MCP Server, an http.Handler.
type Server struct {
	vault    Vault
	region   string
	service  string
	keep     int
	maxBody  int64
	troubles stage.Troubles
	server   *stage.Server
	mcp      *mcp.Server
	stateful http.Handler // 2025-03-26 to 2025-11-25
	modern   http.Handler // 2026-07-28

	mu         sync.Mutex
	paths      []string
	requests   []*Request
	count      int
	violations []Violation
	sessions   map[string]string // MCP session id -> owner
	cancelled  int
	running    int
	dropped    chan struct{} // closed when the sessions are dropped
}

// New makes a server that does not listen: mount it.
func New(o Options) *Server {
	s := &Server{
		vault: o.Vault, region: o.Region, service: o.Service, keep: o.Keep, maxBody: o.MaxBody,
		paths: slices.Clone(o.Paths), sessions: map[string]string{}, dropped: make(chan struct{}),
	}
	if s.region == "" {
		s.region = "us-east-1"
	}
	if s.service == "" {
		s.service = "aws-mcp"
	}
	if s.keep == 0 {
		s.keep = 10000
	}
	if s.maxBody == 0 {
		s.maxBody = 64 << 20
	}
	if len(s.paths) == 0 {
		s.paths = []string{"/mcp"}
	}
	s.mcp = s.newMCP()
	if o.Configure != nil {
		o.Configure(s.mcp)
	}
	s.stateful, s.modern = s.handlers()
	return s
}

// Start makes a server and serves it on a free port of 127.0.0.1.
func Start(o Options) (*Server, error) {
	s := New(o)
	l, err := stage.Listen("", s)
	if err != nil {
		return nil, err
	}
	s.server = l
	return s, nil
}

// URL is the base address where Start serves it, without a path; "" otherwise.
func (s *Server) URL() string {
	if s.server == nil {
		return ""
	}
	return s.server.URL
}

// Close stops what Start started, cuts open streams and ends the sessions.
func (s *Server) Close() error {
	s.Heal()
	var err error
	if s.server != nil {
		err = s.server.Close()
	}
	s.DropSessions()
	return err
}

// ServeHTTP judges a request and hands it to MCP; the admin endpoint is under /_admin/ (see package stage).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_admin/") {
		s.admin().ServeHTTP(w, r)
		return
	}
	rec := s.begin(r)
	aw := newAnswer(w)
	aw.Header().Set("x-amzn-RequestId", rec.ID)
	defer func() { s.end(rec, r, aw) }()

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			s.refuse(aw, rec, &refusal{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", err.Error()})
		}
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	s.locked(func() { rec.Body, rec.BodyHash = body, hex.EncodeToString(sum[:]) })

	lent, no := s.judge(r, rec)
	if no == nil && !s.serves(r.URL.Path) {
		no = &refusal{http.StatusNotFound, "UnknownOperationException", "there is nothing at " + r.URL.Path}
	}
	if no != nil {
		s.refuse(aw, rec, no)
		return
	}
	t, healed := s.troubles.Take()
	if t.Play(aw, r, healed, func(t stage.Trouble) { s.refuse(aw, rec, troubled(t)) }) {
		return
	}
	if t.Kind == stage.Cut {
		r = aw.cutAfter(r, t.After)
	}
	s.serveMCP(aw, r, body, lent)
	aw.abortIfCut()
}

// troubled turns trouble into a refusal: InternalServerException with status 500 where it does not say.
func troubled(t stage.Trouble) *refusal {
	no := &refusal{status: t.Status, code: t.Code, message: t.Message}
	if no.status == 0 {
		no.status = map[string]int{
			"ThrottlingException": http.StatusTooManyRequests, "ExpiredTokenException": http.StatusForbidden,
			"AccessDeniedException": http.StatusForbidden, "ValidationException": http.StatusBadRequest,
			"ServiceUnavailableException": http.StatusServiceUnavailable,
		}[t.Code]
	}
	if no.status == 0 {
		no.status = http.StatusInternalServerError
	}
	if no.code == "" {
		no.code = "InternalServerException"
	}
	return no
}

// refusal is an error in the form of AWS's JSON services.
type refusal struct {
	status  int
	code    string
	message string
}

func (s *Server) refuse(w http.ResponseWriter, rec *Request, no *refusal) {
	s.locked(func() { rec.Code, rec.Why = no.code, no.message })
	b, err := json.Marshal(map[string]string{"__type": no.code, "message": no.message})
	if err != nil { // strings marshal
		b = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-amzn-ErrorType", no.code)
	w.WriteHeader(no.status)
	_, _ = w.Write(b) // a client that is gone misses nothing
}

func (s *Server) serves(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.paths, "*") || slices.Contains(s.paths, path)
}

// Fail queues trouble for the next requests that pass the gate.
func (s *Server) Fail(t stage.Trouble) { s.troubles.Add(t) }

// Throttle answers the next n requests with 429 ThrottlingException; 0 means until Heal.
func (s *Server) Throttle(n int) {
	s.Fail(stage.Trouble{Code: "ThrottlingException", Message: "Rate exceeded", Status: http.StatusTooManyRequests, Times: n})
}

// ExpireCredentials answers the next n requests with 403 ExpiredTokenException, whatever they are signed with.
func (s *Server) ExpireCredentials(n int) {
	s.Fail(stage.Trouble{Code: codeExpired, Message: textExpired, Status: http.StatusForbidden, Times: n})
}

// RedirectPath answers the next n requests with 307 to another path (and query) of this host, and serves that path.
func (s *Server) RedirectPath(target string, n int) {
	path, _, _ := strings.Cut(target, "?")
	s.mu.Lock()
	s.paths = append(s.paths, path)
	s.mu.Unlock()
	s.RedirectTo(target, n)
}

// RedirectTo answers the next n requests with 307 to any location.
func (s *Server) RedirectTo(location string, n int) {
	s.Fail(stage.Trouble{Kind: stage.Redirect, Location: location, Times: n})
}

// Heal ends all troubles; hanging requests are answered.
func (s *Server) Heal() { s.troubles.Clear() }

// admin is the admin endpoint, with one more: POST /_admin/drop-sessions.
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", stage.Admin(&s.troubles, func() any { return s.summaries() }))
	mux.HandleFunc("POST /_admin/drop-sessions", func(w http.ResponseWriter, _ *http.Request) {
		s.DropSessions()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// summary is a request as the admin endpoint tells it: no header values, no body.
type summary struct {
	Time     time.Time `json:"time"`
	ID       string    `json:"requestId"`
	Method   string    `json:"method"`
	URI      string    `json:"uri"`
	Role     string    `json:"role,omitempty"`
	Status   int       `json:"status"`
	Code     string    `json:"code,omitempty"`
	Why      string    `json:"why,omitempty"`
	BodyHash string    `json:"bodySha256"`
	Leaked   []string  `json:"violations,omitempty"`
}

func (s *Server) summaries() []summary {
	out := []summary{}
	for _, r := range s.Requests() {
		out = append(out, summary{r.Time, r.ID, r.Method, r.URI, r.AssumedRoleARN, r.Status, r.Code, r.Why, r.BodyHash, r.Violations})
	}
	return out
}

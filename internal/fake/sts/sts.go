// Package sts is a fake AWS STS: it answers AssumeRoleWithWebIdentity of the Query API in AWS's XML.
//
// It promises to judge as STS does: the token's signature against the key set of the registered provider (fetched over
// HTTP), issuer, audience and expiry, the role's trust policy, the duration and the session name; and to refuse with
// STS's own codes. What it lends it remembers, so that a fake service can verify signatures against it. It must never
// accept a token that it did not verify, nor keep one: calls remember a hash.
//
// Source of codes and rules: the AWS STS API Reference, AssumeRoleWithWebIdentity and Common Errors. The texts of
// errors are close to AWS's, not equal.
package sts

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

// Options say what the account is like.
type Options struct {
	// Account is the 12-digit account id. Default "123456789012".
	Account string
	// Partition is the ARN partition. Default "aws".
	Partition string
	// Client fetches discovery documents and key sets. Default: one with a timeout of 5 s.
	Client *http.Client
	// KeyTTL is how long a provider's keys are kept. Default 1 s. A kid that is not among them fetches anew.
	KeyTTL time.Duration
	// TokenSize is the length of session tokens in characters. Default 600; AWS allows itself 4096.
	TokenSize int
}

// Provider is an OIDC provider registered in the account.
type Provider struct {
	Issuer    string   // URL, compared exactly with "iss"
	ClientIDs []string // audiences
}

// Role is an IAM role.
type Role struct {
	Name  string // may have a path: "team/Reader"
	Trust string // trust policy, a JSON document
	// MaxDuration is the longest session. Default 1 h, at most 12 h.
	MaxDuration time.Duration
}

// Issued is what was lent to a caller.
type Issued struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Expiry          time.Time
	RoleARN         string // arn:aws:iam::123456789012:role/Name
	RoleID          string // AROA...
	SessionName     string
	AssumedRoleARN  string // arn:aws:sts::123456789012:assumed-role/Name/session
	Subject         string // "sub" of the token
	Issuer          string // "iss" of the token
	RequestID       string
}

// Call is one request as STS saw it.
type Call struct {
	Time        time.Time
	RequestID   string
	Action      string
	RoleARN     string
	SessionName string
	Duration    int    // seconds, as asked; 0 where it was not given
	Policy      string // session policy
	PolicyARNs  []string
	TokenHash   string // hex SHA-256 of WebIdentityToken
	Subject     string // of a token that was verified
	AccessKeyID string // of what was lent
	Code        string // error code, "" for success
	Status      int    // 0 where the connection was left without an answer
	Signed      bool   // the request carried an Authorization header, which this action does not want
	UserAgent   string
	Host        string
}

// Server is the fake STS, an http.Handler.
type Server struct {
	account   string
	partition string
	tokenSize int
	keys      *keyring
	troubles  stage.Troubles
	server    *stage.Server

	mu        sync.Mutex
	providers map[string]Provider // by issuer
	roles     map[string]*role    // by ARN
	issued    map[string]Issued   // by access key id
	lifetime  time.Duration       // of credentials, whatever was asked; 0 for as asked
	calls     []Call
}

// New makes a fake STS that does not listen: mount it.
func New(o Options) *Server {
	s := &Server{
		account: o.Account, partition: o.Partition, tokenSize: o.TokenSize,
		providers: map[string]Provider{}, roles: map[string]*role{}, issued: map[string]Issued{},
	}
	if s.account == "" {
		s.account = "123456789012"
	}
	if s.partition == "" {
		s.partition = "aws"
	}
	if s.tokenSize == 0 {
		s.tokenSize = 600
	}
	ttl, client := o.KeyTTL, o.Client
	if ttl == 0 {
		ttl = time.Second
	}
	if client == nil {
		client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	}
	s.keys = &keyring{client: client, ttl: ttl, sets: map[string]keySet{}}
	return s
}

// Start makes a fake STS and serves it on a free port of 127.0.0.1.
func Start(o Options) (*Server, error) {
	s := New(o)
	l, err := stage.Listen("", s)
	if err != nil {
		return nil, err
	}
	s.server = l
	return s, nil
}

// URL is where Start serves it, the value for AWS_ENDPOINT_URL_STS; "" otherwise.
func (s *Server) URL() string {
	if s.server == nil {
		return ""
	}
	return s.server.URL
}

// Close stops what Start started and lets hanging requests go.
func (s *Server) Close() error {
	s.Heal()
	s.keys.client.CloseIdleConnections()
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}

// AddProvider registers an OIDC provider, or changes the one of that issuer.
func (s *Server) AddProvider(p Provider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.providers[p.Issuer] = p
}

// RemoveProvider takes a provider's registration away.
func (s *Server) RemoveProvider(issuer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.providers, issuer)
}

// ProviderARN is the ARN that a trust policy names for an issuer.
func (s *Server) ProviderARN(issuer string) string {
	return fmt.Sprintf("arn:%s:iam::%s:oidc-provider/%s", s.partition, s.account, bare(issuer))
}

// bare is an issuer as IAM writes it: without the scheme.
func bare(issuer string) string {
	_, rest, ok := strings.Cut(issuer, "://")
	if !ok {
		return issuer
	}
	return rest
}

// AddRole creates a role, or changes the one of that name, and gives its ARN. A trust policy that can't be understood
// is an error.
func (s *Server) AddRole(r Role) (arn string, err error) {
	trust, err := parsePolicy(r.Trust)
	if err != nil {
		return "", fmt.Errorf("create role %s: %w", r.Name, err)
	}
	if r.MaxDuration == 0 {
		r.MaxDuration = time.Hour
	}
	arn = fmt.Sprintf("arn:%s:iam::%s:role/%s", s.partition, s.account, r.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[arn] = &role{arn: arn, id: roleID(arn), name: r.Name[strings.LastIndex(r.Name, "/")+1:], trust: trust, max: r.MaxDuration}
	return arn, nil
}

// RemoveRole deletes a role. What was lent for it lives on, as at AWS.
func (s *Server) RemoveRole(arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.roles, arn)
}

// SetLifetime makes credentials live for d whatever was asked, so that a test sees them expire. 0 undoes it.
func (s *Server) SetLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifetime = d
}

// Lookup gives what was lent under an access key id, whether it has expired or not.
func (s *Server) Lookup(accessKeyID string) (Issued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.issued[accessKeyID]
	return i, ok
}

// Issued gives all that was lent, in no order.
func (s *Server) Issued() []Issued {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Issued, 0, len(s.issued))
	for _, i := range s.issued {
		out = append(out, i)
	}
	return out
}

// ExpireAll ends everything that was lent, here and now: whoever holds it believes otherwise.
func (s *Server) ExpireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, i := range s.issued {
		i.Expiry = time.Now().Add(-time.Second)
		s.issued[id] = i
	}
}

// Fail queues trouble for the next calls.
func (s *Server) Fail(t stage.Trouble) { s.troubles.Add(t) }

// Throttle refuses the next n calls with Throttling; 0 means until Heal.
func (s *Server) Throttle(n int) {
	s.Fail(stage.Trouble{Code: "Throttling", Message: "Rate exceeded", Status: http.StatusBadRequest, Times: n})
}

// Heal ends all troubles; hanging requests are answered.
func (s *Server) Heal() { s.troubles.Clear() }

// Calls are the requests so far, oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Count is how many requests arrived so far.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// begin writes a call down as it arrives; the result is what end needs.
func (s *Server) begin(c Call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	return len(s.calls) - 1
}

// end fills in what became of a call.
func (s *Server) end(n int, code string, status int, lent *Issued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.calls[n]
	c.Code, c.Status = code, status
	if lent != nil {
		c.Subject, c.AccessKeyID = lent.Subject, lent.AccessKeyID
	}
}

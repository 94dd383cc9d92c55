// Package idp is a fake OIDC issuer: discovery, a key set whose keys come and go, a token endpoint for named users,
// and tokens of any shape minted in Go.
//
// It promises real signatures, a key set that matches them, counters per endpoint, and trouble on demand (away,
// silent, slow, talking nonsense, claiming another issuer). It is safe for concurrent use. It must never be trusted
// with anything: it asks nobody for a password.
package idp

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

// Claims are the claims of a token.
type Claims = map[string]any

// User is somebody who can get a token at the token endpoint.
type User struct {
	Name   string
	Claims Claims // on top of the issuer's defaults; "sub" defaults to Name
}

// Endpoint names one of the issuer's endpoints, for counters and troubles.
type Endpoint string

// The endpoints.
const (
	Discovery Endpoint = "discovery" // <issuer>/.well-known/openid-configuration, and oauth-authorization-server
	JWKS      Endpoint = "jwks"      // <issuer>/jwks
	Token     Endpoint = "token"     // POST <issuer>/token with the form user=NAME
	every     Endpoint = "every"
)

// Options say what an issuer is like.
type Options struct {
	// URL is the issuer identifier. Start fills it in; under httptest use SetURL.
	URL string
	// Audience is the default "aud" of tokens; "" for none.
	Audience string
	// Algs are the algorithms that have a key from the start; the first one signs. Default RS256.
	Algs []jose.SignatureAlgorithm
	// Lifetime is the default time from "iat" to "exp". Default 1 h.
	Lifetime time.Duration
	// Users can get tokens at the token endpoint.
	Users []User
}

// Issuer is a fake OIDC issuer and an http.Handler.
type Issuer struct {
	audience string
	lifetime time.Duration
	server   *stage.Server

	mu       sync.Mutex
	url      string
	claimed  string // issuer in the discovery document, "" for url
	users    map[string]User
	ring     []*key // published keys, oldest first
	serial   int
	counts   map[Endpoint]int
	troubles map[Endpoint]*stage.Troubles
}

// New makes an issuer that does not listen: mount it, and tell it its address with SetURL. It makes the keys, so it
// takes some 100 ms with an RSA algorithm among them.
func New(o Options) *Issuer {
	i := &Issuer{
		url: o.URL, audience: o.Audience, lifetime: o.Lifetime,
		users:  map[string]User{},
		counts: map[Endpoint]int{},
		troubles: map[Endpoint]*stage.Troubles{
			Discovery: {}, JWKS: {}, Token: {}, every: {},
		},
	}
	if i.lifetime == 0 {
		i.lifetime = time.Hour
	}
	algs := o.Algs
	if len(algs) == 0 {
		algs = []jose.SignatureAlgorithm{jose.RS256}
	}
	for _, a := range algs {
		i.Add("", a)
	}
	for _, u := range o.Users {
		i.AddUser(u)
	}
	return i
}

// Start makes an issuer and serves it on a free port of 127.0.0.1. The path of o.URL, if any, becomes the issuer's.
func Start(o Options) (*Issuer, error) {
	i := New(o)
	s, err := stage.Listen("", i)
	if err != nil {
		return nil, err
	}
	i.server = s
	var path string
	if u, err := url.Parse(o.URL); err == nil {
		path = strings.TrimSuffix(u.Path, "/")
	}
	i.SetURL(s.URL + path)
	return i, nil
}

// Close stops what Start started and lets hanging requests go.
func (i *Issuer) Close() error {
	i.Heal()
	if i.server == nil {
		return nil
	}
	return i.server.Close()
}

// URL is the issuer identifier: what tokens carry as "iss".
func (i *Issuer) URL() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.url
}

// SetURL sets the issuer identifier. The endpoints are served under its path.
func (i *Issuer) SetURL(u string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.url = u
}

// JWKSURL is the address of the key set.
func (i *Issuer) JWKSURL() string { return strings.TrimSuffix(i.URL(), "/") + "/jwks" }

// ClaimIssuer makes the discovery document name another issuer than the one that it belongs to. "" mends it.
func (i *Issuer) ClaimIssuer(issuer string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.claimed = issuer
}

// AddUser adds a user, or changes the one of that name.
func (i *Issuer) AddUser(u User) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users[u.Name] = User{Name: u.Name, Claims: maps.Clone(u.Claims)}
}

// Users gives the claims of every user by name.
func (i *Issuer) Users() map[string]Claims {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := make(map[string]Claims, len(i.users))
	for n, u := range i.users {
		out[n] = maps.Clone(u.Claims)
	}
	return out
}

// TokenFor mints a token for a user of that name; an error where there is none.
func (i *Issuer) TokenFor(user string, opts ...Option) (string, error) {
	i.mu.Lock()
	u, ok := i.users[user]
	i.mu.Unlock()
	if !ok {
		return "", fmt.Errorf("mint token: no user %q", user)
	}
	c := Claims{"sub": user}
	maps.Copy(c, u.Claims)
	return i.Mint(c, opts...), nil
}

// Fail puts trouble in front of the named endpoints; of all of them where none is named.
func (i *Issuer) Fail(t stage.Trouble, at ...Endpoint) {
	if len(at) == 0 {
		at = []Endpoint{every}
	}
	for _, e := range at {
		i.troubles[e].Add(t)
	}
}

// Heal ends all troubles, the wrong issuer included; hanging requests are answered.
func (i *Issuer) Heal() {
	for _, q := range i.troubles {
		q.Clear()
	}
	i.ClaimIssuer("")
}

// Count is how many requests reached an endpoint so far, those in trouble included.
func (i *Issuer) Count(e Endpoint) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts[e]
}

// ServeHTTP serves the three endpoints and the admin endpoint (see package stage).
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_admin/") {
		stage.Admin(i.troubles[every], i.calls).ServeHTTP(w, r)
		return
	}
	e := i.endpoint(r.URL.Path)
	if e == "" {
		http.NotFound(w, r)
		return
	}
	i.mu.Lock()
	i.counts[e]++
	i.mu.Unlock()
	if e == Token { // read before any waiting: only then a client that hangs up is noticed
		r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
		_ = r.ParseForm() // an unreadable form has no user in it
	}
	for _, q := range []*stage.Troubles{i.troubles[every], i.troubles[e]} {
		t, healed := q.Take()
		if t.Play(w, r, healed, func(t stage.Trouble) { refuse(w, t) }) {
			return
		}
	}
	switch e {
	case Token:
		i.serveToken(w, r)
	case JWKS:
		writeJSON(w, http.StatusOK, i.keySet())
	default:
		i.serveDiscovery(w)
	}
}

func (i *Issuer) calls() any {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.counts)
}

// endpoint tells which endpoint a path is, "" for none.
func (i *Issuer) endpoint(path string) Endpoint {
	u, err := url.Parse(i.URL())
	if err != nil {
		return ""
	}
	base := strings.TrimSuffix(u.Path, "/")
	switch path {
	case base + "/.well-known/openid-configuration",
		base + "/.well-known/oauth-authorization-server",
		"/.well-known/oauth-authorization-server" + base: // RFC 8414 section 3.1 puts the path last
		return Discovery
	case base + "/jwks":
		return JWKS
	case base + "/token":
		return Token
	}
	return ""
}

func (i *Issuer) serveDiscovery(w http.ResponseWriter) {
	i.mu.Lock()
	issuer, claimed := i.url, i.claimed
	var algs []string
	for _, k := range i.ring {
		algs = append(algs, string(k.alg))
	}
	i.mu.Unlock()
	base := strings.TrimSuffix(issuer, "/")
	if claimed == "" {
		claimed = issuer
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                claimed,
		"jwks_uri":                              base + "/jwks",
		"token_endpoint":                        base + "/token",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{"none"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algs,
		"claims_supported":                      []string{"iss", "sub", "aud", "exp", "iat", "groups", "org"},
	})
}

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		writeJSON(w, http.StatusMethodNotAllowed, map[string]any{"error": "invalid_request", "error_description": "use POST"})
		return
	}
	token, err := i.TokenFor(r.PostForm.Get("user"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "the form has no user=NAME of a known user"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": int(i.lifetime.Seconds()),
	})
}

func refuse(w http.ResponseWriter, t stage.Trouble) {
	status, code := t.Status, t.Code
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	if code == "" {
		code = "temporarily_unavailable"
	}
	writeJSON(w, status, map[string]any{"error": code, "error_description": t.Message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone misses nothing
}

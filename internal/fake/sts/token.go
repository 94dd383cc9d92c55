package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that STS takes. EdDSA and PS256 to 512 are not among them.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// token is a web identity token that was verified.
type token struct {
	issuer, subject, azp string
	audience             []string // what IAM calls aud: azp where there is one, else aud
	rawAudience          []string // aud itself; what IAM calls oaud
	claims               map[string]json.RawMessage
}

// verify judges a token: shape, provider, audience, signature, expiry.
func (s *Server) verify(ctx context.Context, raw string) (*token, *refusal) {
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, refuse("InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token): %v", err)
	}
	// Read first and verified below: the claims say whose key to ask for.
	t, exp, no := readClaims(jws.UnsafePayloadWithoutVerification())
	if no != nil {
		return nil, no
	}
	s.mu.Lock()
	p, ok := s.providers[t.issuer]
	s.mu.Unlock()
	if !ok {
		return nil, refuse("InvalidIdentityToken", "No OpenIDConnect provider found in your account for %s", t.issuer)
	}
	if !slices.ContainsFunc(t.audience, func(a string) bool { return slices.Contains(p.ClientIDs, a) }) {
		return nil, refuse("InvalidIdentityToken", "Incorrect token audience")
	}
	keys, err := s.keys.find(ctx, t.issuer, jws.Signatures[0].Header.KeyID)
	if err != nil {
		return nil, communication(err)
	}
	if !slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool { _, err := jws.Verify(k); return err == nil }) {
		return nil, refuse("InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	if now := time.Now().Unix(); now >= exp {
		return nil, refuse("ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %d", now, exp)
	}
	return t, nil
}

// readClaims takes the claims that STS needs. Timestamps must be whole numbers.
func readClaims(payload []byte) (t *token, exp int64, no *refusal) {
	t = &token{}
	if err := json.Unmarshal(payload, &t.claims); err != nil {
		return nil, 0, refuse("InvalidIdentityToken", "The ID Token provided is not a valid JWT")
	}
	for name, to := range map[string]*string{"iss": &t.issuer, "sub": &t.subject} {
		if json.Unmarshal(t.claims[name], to) != nil || *to == "" {
			return nil, 0, refuse("InvalidIdentityToken", "Missing a required claim: %s", name)
		}
	}
	var iat int64
	for name, to := range map[string]*int64{"exp": &exp, "iat": &iat} {
		if json.Unmarshal(t.claims[name], to) != nil {
			return nil, 0, refuse("InvalidIdentityToken", "Missing a required claim: %s", name)
		}
	}
	aud := t.claims["aud"]
	if bytes.HasPrefix(aud, []byte("[")) {
		_ = json.Unmarshal(aud, &t.rawAudience) // what is no list of strings is no audience
	} else {
		var one string
		if json.Unmarshal(aud, &one) == nil && one != "" {
			t.rawAudience = []string{one}
		}
	}
	if len(t.rawAudience) == 0 {
		return nil, 0, refuse("InvalidIdentityToken", "Missing a required claim: aud")
	}
	t.audience = t.rawAudience
	if raw, ok := t.claims["azp"]; ok && json.Unmarshal(raw, &t.azp) == nil && t.azp != "" {
		t.audience = []string{t.azp}
	}
	return t, exp, nil
}

// keySet is a provider's keys and when they were fetched.
type keySet struct {
	keys    []jose.JSONWebKey
	fetched time.Time
}

// keyring fetches providers' keys and keeps them for a short while.
type keyring struct {
	client *http.Client
	ttl    time.Duration

	mu   sync.Mutex
	sets map[string]keySet // by issuer
}

// find gives the keys that could have signed: those of that kid, all of them for a token without one.
func (k *keyring) find(ctx context.Context, issuer, kid string) ([]jose.JSONWebKey, error) {
	match := func(s keySet) []jose.JSONWebKey {
		return slices.DeleteFunc(slices.Clone(s.keys), func(j jose.JSONWebKey) bool { return kid != "" && j.KeyID != kid })
	}
	k.mu.Lock()
	set, ok := k.sets[issuer]
	k.mu.Unlock()
	if ok && time.Since(set.fetched) < k.ttl {
		if found := match(set); len(found) > 0 {
			return found, nil
		}
	}
	keys, err := k.fetch(ctx, issuer)
	if err != nil {
		return nil, err
	}
	set = keySet{keys: keys, fetched: time.Now()}
	k.mu.Lock()
	k.sets[issuer] = set
	k.mu.Unlock()
	return match(set), nil
}

func (k *keyring) fetch(ctx context.Context, issuer string) ([]jose.JSONWebKey, error) {
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &doc); err != nil {
		return nil, err
	}
	if doc.Issuer != issuer {
		return nil, refuse("InvalidIdentityToken", "The discovery document of %s names another issuer", issuer)
	}
	var set jose.JSONWebKeySet
	if err := k.get(ctx, doc.JWKSURI, &set); err != nil {
		return nil, err
	}
	return set.Keys, nil
}

func (k *keyring) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("get %q: %w", url, err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return err // names method and URL already
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	return nil
}

package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

const (
	issuer    = "https://id.test/realm"
	audience  = "https://gate.test/mcp"
	discovery = issuer + "/.well-known/openid-configuration"
	keysURL   = "https://id.test/keys"
)

// Keys are made once for all tests: the RSA ones take time.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	otherEC  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return must(private, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// provider is an identity provider in memory: an http.RoundTripper.
type provider struct {
	mu     sync.Mutex
	keys   map[string]any // kid -> public key, or a map that is the JWK itself
	issuer string         // of the discovery document
	jwks   string         // its jwks_uri
	down   error          // every request fails
	delay  time.Duration
	hang   bool                     // every request waits for the end of its context
	hangAt string                   // the requests for this URL do
	answer map[string]func() answer // by URL, instead of the usual
	hits   map[string]int
}

type answer struct {
	status   int
	body     string
	location string
}

func newProvider(keys map[string]any) *provider {
	return &provider{keys: keys, issuer: issuer, jwks: keysURL, hits: map[string]int{}, answer: map[string]func() answer{}}
}

func (p *provider) set(change func(p *provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) count(url string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits[url]
}

func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.hits[r.URL.String()]++
	delay, hang := p.delay, p.hang || p.hangAt == r.URL.String()
	p.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down != nil {
		return nil, p.down
	}
	a := p.usual(r.URL.String())
	if other, ok := p.answer[r.URL.String()]; ok {
		a = other()
	}
	h := http.Header{}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

func (p *provider) usual(url string) answer {
	switch url {
	case discovery:
		return answer{status: 200, body: toJSON(map[string]any{"issuer": p.issuer, "jwks_uri": p.jwks})}
	case p.jwks:
		return answer{status: 200, body: keySetJSON(p.keys)}
	}
	return answer{status: 404, body: "no such page"}
}

func toJSON(v any) string { return string(must(json.Marshal(v))) }

func keySetJSON(keys map[string]any) string {
	list := []any{}
	for kid, k := range keys {
		if jwk, ok := k.(map[string]any); ok {
			list = append(list, jwk)
			continue
		}
		list = append(list, jose.JSONWebKey{KeyID: kid, Key: k})
	}
	return toJSON(map[string]any{"keys": list})
}

// jwkMap is the JWK of a key, to be changed.
func jwkMap(kid string, k any, more map[string]any) map[string]any {
	var m map[string]any
	if err := json.Unmarshal(must(jose.JSONWebKey{KeyID: kid, Key: k}.MarshalJSON()), &m); err != nil {
		panic(err)
	}
	maps.Copy(m, more)
	return m
}

func options(p *provider) token.Options {
	return token.Options{OIDC: config.OIDCProvider{Issuer: issuer, Audience: audience}, Transport: p}
}

func newVerifier(t testing.TB, p *provider) *token.Verifier {
	t.Helper()
	return newVerifierWith(t, options(p))
}

func newVerifierWith(t testing.TB, o token.Options) *token.Verifier {
	t.Helper()
	v, err := token.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// claimSet is a good payload with changes; a nil value takes a claim out.
func claimSet(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": issuer, "aud": audience, "sub": "alice", "iat": now, "exp": now + 3600}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

// mint signs a token as any provider or forger would, without the library that verifies.
func mint(alg, kid string, private any, changes map[string]any) string {
	header := map[string]any{"alg": alg, "typ": "JWT"}
	if kid != "" {
		header["kid"] = kid
	}
	return compact(toJSON(header), toJSON(claimSet(changes)), alg, private)
}

func compact(header, payload, alg string, private any) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(sign(alg, private, []byte(input)))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sign(alg string, private any, input []byte) []byte {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[max(0, len(alg)-3):]]
	var digest []byte
	if hash != 0 {
		h := hash.New()
		h.Write(input)
		digest = h.Sum(nil)
	}
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			return must(rsa.SignPSS(rand.Reader, private, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, private, hash, digest))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			panic(err)
		}
		size := (private.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(private, input)
	case []byte: // HMAC secret
		mac := hmac.New(sha256.New, private)
		mac.Write(input)
		return mac.Sum(nil)
	case nil:
		return nil
	}
	panic(fmt.Sprintf("no way to sign with %T", private))
}

func verify(v *token.Verifier, text string) (*token.Caller, error) {
	return v.Verify(context.Background(), token.NewRaw(text))
}

// accept fails the test unless the token is good.
func accept(t testing.TB, v *token.Verifier, text string) *token.Caller {
	t.Helper()
	c, err := verify(v, text)
	if err != nil {
		t.Fatalf("token refused: %v", err)
	}
	return c
}

// refused fails the test unless the token is refused with the result and the status that belongs to it.
func refused(t testing.TB, v *token.Verifier, text, result string) *fault.Error {
	t.Helper()
	_, err := verify(v, text)
	return checkRefusal(t, err, result)
}

func checkRefusal(t testing.TB, err error, result string) *fault.Error {
	t.Helper()
	if got := token.Result(err); got != result {
		t.Fatalf("result %s, want %s: %v", got, result, err)
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("not a fault: %T", err)
	}
	switch result {
	case token.ResultUnavailable:
		if e.Status() != 503 || e.RetryAfter < time.Second || e.Challenge != "" {
			t.Fatalf("status %d, Retry-After %s, challenge %q; want 503, 1s or more and none", e.Status(), e.RetryAfter, e.Challenge)
		}
	case token.ResultAborted:
		if e.Kind != fault.Aborted {
			t.Fatalf("kind %s", e.Kind)
		}
	case token.ResultMissing:
		if e.Status() != 401 || e.Challenge != "" {
			t.Fatalf("status %d, challenge %q; want 401 and none", e.Status(), e.Challenge)
		}
	default:
		if e.Status() != 401 || e.Challenge != "invalid_token" {
			t.Fatalf("status %d, challenge %q; want 401 invalid_token", e.Status(), e.Challenge)
		}
	}
	return e
}

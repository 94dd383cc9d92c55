package idp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/stage"
)

var all = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

func start(t *testing.T, o idp.Options) *idp.Issuer {
	t.Helper()
	if o.Algs == nil {
		o.Algs = []jose.SignatureAlgorithm{jose.ES256}
	}
	i, err := idp.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func get(t *testing.T, url string, into any) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatalf("GET %s: %v", url, err)
		}
	}
	return resp.StatusCode
}

// verify checks a token with go-jose against the key set over HTTP, and gives its claims.
func verify(t *testing.T, i *idp.Issuer, token string) (idp.Claims, error) {
	t.Helper()
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	get(t, i.URL()+"/.well-known/openid-configuration", &doc)
	if doc.Issuer != i.URL() || doc.JWKSURI != i.JWKSURL() {
		t.Fatalf("discovery document: %+v", doc)
	}
	var set jose.JSONWebKeySet
	get(t, doc.JWKSURI, &set)
	jws, err := jose.ParseSignedCompact(token, all)
	if err != nil {
		return nil, err
	}
	for _, k := range set.Key(jws.Signatures[0].Header.KeyID) {
		if payload, err := jws.Verify(k); err == nil {
			var c idp.Claims
			return c, json.Unmarshal(payload, &c)
		}
	}
	return nil, fmt.Errorf("no key %q verifies", jws.Signatures[0].Header.KeyID)
}

func TestTokensVerifyInEveryAlgorithm(t *testing.T) {
	i := start(t, idp.Options{Audience: "somebody"})
	for _, alg := range all {
		c, err := verify(t, i, i.Mint(idp.Claims{"groups": []string{"a"}}, idp.WithAlg(alg)))
		if err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if c["iss"] != i.URL() || c["aud"] != "somebody" || c["sub"] != "user" || c["exp"].(float64)-c["iat"].(float64) != 3600 {
			t.Errorf("%s: claims %v", alg, c)
		}
	}
}

func TestOddTokens(t *testing.T) {
	i := start(t, idp.Options{})
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		claims idp.Claims
		opts   []idp.Option
		header map[string]any
		valid  bool
	}{
		"plain":          {header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": "es256-1"}, valid: true},
		"typ":            {opts: []idp.Option{idp.WithType("at+jwt")}, header: map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "es256-1"}, valid: true},
		"bare header":    {opts: []idp.Option{idp.WithType(""), idp.WithoutKID()}, header: map[string]any{"alg": "ES256"}},
		"extra header":   {opts: []idp.Option{idp.WithHeader("x", 1)}, header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": "es256-1", "x": 1.0}, valid: true},
		"unknown kid":    {opts: []idp.Option{idp.WithKID("nobody")}, header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": "nobody"}},
		"foreign key":    {opts: []idp.Option{idp.WithKey(foreign)}, header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": "es256-1"}},
		"unsigned":       {opts: []idp.Option{idp.WithAlg("none")}, header: map[string]any{"alg": "none", "typ": "JWT", "kid": "es256-1"}},
		"confused":       {opts: []idp.Option{idp.WithAlg("HS256")}, header: map[string]any{"alg": "HS256", "typ": "JWT", "kid": "es256-1"}},
		"without claims": {claims: idp.Claims{"exp": nil, "sub": nil, "iss": nil, "iat": nil}, header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": "es256-1"}, valid: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			token := i.Mint(tt.claims, tt.opts...)
			raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
			if err != nil {
				t.Fatal(err)
			}
			var header map[string]any
			if err := json.Unmarshal(raw, &header); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.header, header); d != "" {
				t.Error(d)
			}
			c, err := verify(t, i, token)
			if (err == nil) != tt.valid {
				t.Errorf("verify: %v, want valid %v", err, tt.valid)
			}
			if tt.claims != nil && len(c) != 0 {
				t.Errorf("claims %v, want none", c)
			}
		})
	}
}

func TestKeysRotate(t *testing.T) {
	i := start(t, idp.Options{})
	old := i.Mint(nil)
	second := i.Add("two", jose.ES256)
	current := i.Mint(nil)
	for name, token := range map[string]string{"old": old, "current": current} {
		if _, err := verify(t, i, token); err != nil {
			t.Errorf("%s key while they overlap: %v", name, err)
		}
	}
	i.Retire("es256-1")
	if _, err := verify(t, i, old); err == nil {
		t.Error("a retired key still verifies")
	}
	i.HardSwap(second)
	if _, err := verify(t, i, current); err == nil {
		t.Error("a token of before the swap still verifies")
	}
	if _, err := verify(t, i, i.Mint(nil)); err != nil {
		t.Errorf("after the swap: %v", err)
	}
	if d := cmp.Diff([]string{"two"}, i.KIDs()); d != "" {
		t.Error(d)
	}
}

func TestTokenEndpoint(t *testing.T) {
	i := start(t, idp.Options{URL: "/oauth2/default", Users: []idp.User{{Name: "ann", Claims: idp.Claims{"groups": []string{"s3-readers"}}}}})
	if !strings.HasSuffix(i.URL(), "/oauth2/default") {
		t.Fatalf("issuer %s has lost its path", i.URL())
	}
	for user, want := range map[string]int{"ann": 200, "mallory": 400, "": 400} {
		resp, err := http.PostForm(i.URL()+"/token", url.Values{"user": {user}})
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Token string `json:"access_token"`
		}
		err = json.NewDecoder(resp.Body).Decode(&out)
		resp.Body.Close()
		if resp.StatusCode != want || err != nil {
			t.Errorf("user %q: %d %v, want %d", user, resp.StatusCode, err, want)
		}
		if want != 200 {
			continue
		}
		c, err := verify(t, i, out.Token)
		if err != nil || c["sub"] != "ann" || c["groups"] == nil {
			t.Errorf("claims %v, %v", c, err)
		}
	}
	if got := i.Count(idp.Token); got != 3 {
		t.Errorf("%d token requests counted, want 3", got)
	}
}

func TestTroubles(t *testing.T) {
	i := idp.New(idp.Options{Algs: []jose.SignatureAlgorithm{jose.ES256}})
	srv := httptest.NewTLSServer(i)
	defer srv.Close()
	i.SetURL(srv.URL)
	fetch := func(path string) string {
		t.Helper()
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return "cut"
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, b)
	}
	i.Fail(stage.Trouble{Status: 503}, idp.JWKS)
	if got := fetch("/jwks"); !strings.HasPrefix(got, "503") {
		t.Errorf("jwks: %s", got)
	}
	if got := fetch("/.well-known/openid-configuration"); !strings.HasPrefix(got, "200") {
		t.Errorf("discovery is not in trouble, and got %s", got)
	}
	i.Heal()
	i.Fail(stage.Trouble{Kind: stage.Reset})
	if got := fetch("/.well-known/openid-configuration"); got != "no answer" {
		t.Errorf("reset: %s", got)
	}
	i.Heal()
	i.ClaimIssuer("https://another.example")
	if got := fetch("/.well-known/openid-configuration"); !strings.Contains(got, `"issuer":"https://another.example"`) {
		t.Errorf("claimed issuer: %s", got)
	}
	i.Heal()
	if got := fetch("/.well-known/openid-configuration"); !strings.Contains(got, `"issuer":"`+srv.URL) {
		t.Errorf("healed: %s", got)
	}
	if got := i.Count(idp.Discovery); got < 4 {
		t.Errorf("%d discovery requests counted, want those in trouble too", got)
	}
}

package token_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/token"
)

// Pitfall 13: the discovery document's issuer was not compared; internal URLs stood in the 401 body.
func TestTheIssuerOfTheDiscoveryDocumentIsCompared(t *testing.T) {
	for _, other := range []string{"", issuer + "/", "https://ID.test/realm", "https://evil.test/realm"} {
		t.Run(other, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider) {
				p.issuer = other
				v := newVerifier(t, p)
				e := refused(t, v, one(nil), token.ResultUnavailable)
				if got := v.Status().Trouble; got != token.TroubleIssuer {
					t.Errorf("trouble %q", got)
				}
				if strings.Contains(e.Public, "test") {
					t.Errorf("public words say where keys come from: %s", e.Public)
				}
				if n := p.count(keysURL); n != 0 {
					t.Errorf("%d fetches of the key set of another issuer", n)
				}
			})
		})
	}
}

func TestWhereTheDiscoveryDocumentIs(t *testing.T) {
	for iss, want := range map[string]string{
		"https://id.test":        "https://id.test/.well-known/openid-configuration",
		"https://id.test/":       "https://id.test/.well-known/openid-configuration",
		"https://id.test/realm":  discovery,
		"https://id.test/realm/": discovery,
	} {
		t.Run(iss, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider) {
				p.answer[want] = func() answer {
					return answer{status: 200, body: toJSON(map[string]any{"issuer": iss, "jwks_uri": keysURL})}
				}
				o := options(p)
				o.OIDC.Issuer = iss
				v := newVerifierWith(t, o)
				accept(t, v, one(map[string]any{"iss": iss}))
				if p.count(want) != 1 {
					t.Errorf("%s was not fetched", want)
				}
			})
		})
	}
}

func TestAConfiguredKeySetNeedsNoDiscovery(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		o := options(p)
		o.OIDC.JWKSURL = keysURL
		v := newVerifierWith(t, o)
		accept(t, v, one(nil))
		if n := p.count(discovery); n != 0 {
			t.Errorf("%d fetches of the discovery document", n)
		}
	})
}

func TestTroubleWithDocuments(t *testing.T) {
	doc := func(jwks string) answer {
		return answer{status: 200, body: toJSON(map[string]any{"issuer": issuer, "jwks_uri": jwks})}
	}
	for _, c := range []struct {
		name, url string
		answer    answer
		trouble   string
	}{
		{"discovery not found", discovery, answer{status: 404}, token.TroubleStatus},
		{"discovery not JSON", discovery, answer{status: 200, body: "<html>"}, token.TroubleDocument},
		{"discovery too large", discovery, answer{status: 200, body: `{"issuer":"` + strings.Repeat("x", 1<<20) + `"}`}, token.TroubleDocument},
		{"issuer twice", discovery, answer{status: 200, body: `{"issuer":"https://evil.test","issuer":"` + issuer + `","jwks_uri":"` + keysURL + `"}`}, token.TroubleDocument},
		{"issuer in another case", discovery, answer{status: 200, body: `{"Issuer":"` + issuer + `","jwks_uri":"` + keysURL + `"}`}, token.TroubleIssuer},
		{"no key set", discovery, doc(""), token.TroubleDocument},
		{"key set over http", discovery, doc("http://id.test/keys"), token.TroubleInsecure},
		{"key set in a file", discovery, doc("file:///etc/keys"), token.TroubleDocument},
		{"key set on another scheme", discovery, doc("ftp://id.test/keys"), token.TroubleInsecure},
		{"keys not found", keysURL, answer{status: 404}, token.TroubleStatus},
		{"keys not JSON", keysURL, answer{status: 200, body: "<html>"}, token.TroubleDocument},
		{"keys empty", keysURL, answer{status: 200, body: `{"keys":[]}`}, token.TroubleNoKeys},
		{"redirect to http", keysURL, answer{status: 302, location: "http://id.test/keys"}, token.TroubleInsecure},
		{"redirect to itself", keysURL, answer{status: 307, location: keysURL}, token.TroubleStatus},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *provider) {
				p.answer[c.url] = func() answer { return c.answer }
				v := newVerifier(t, p)
				refused(t, v, one(nil), token.ResultUnavailable)
				if got := v.Status().Trouble; got != c.trouble {
					t.Errorf("trouble %q, want %q", got, c.trouble)
				}
				if n := p.count("http://id.test/keys"); n != 0 {
					t.Error("fetched over http")
				}
			})
		})
	}
}

func TestRedirectsAreFollowedThreeTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		hop := func(to string) func() answer {
			return func() answer { return answer{status: 302, location: to} }
		}
		p.jwks = "https://id.test/3"
		p.answer[keysURL] = hop("https://id.test/1")
		p.answer["https://id.test/1"] = hop("https://id.test/2")
		p.answer["https://id.test/2"] = hop("https://id.test/3")
		o := options(p)
		o.OIDC.JWKSURL = keysURL
		accept(t, newVerifierWith(t, o), one(nil))

		p.set(func(p *provider) { p.answer["https://id.test/0"] = hop(keysURL) })
		o.OIDC.JWKSURL = "https://id.test/0"
		refused(t, newVerifierWith(t, o), one(nil), token.ResultUnavailable)
	})
}

func TestNoRedirectLeavesHTTPSEvenWhereHTTPIsAllowed(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.jwks = "http://id.test/keys"
		p.answer[keysURL] = func() answer { return answer{status: 302, location: p.jwks} }
		o := options(p)
		o.OIDC.JWKSURL, o.OIDC.InsecureAllowHTTP = keysURL, true
		v := newVerifierWith(t, o)
		refused(t, v, one(nil), token.ResultUnavailable)
		if got := v.Status().Trouble; got != token.TroubleInsecure {
			t.Errorf("trouble %q", got)
		}
	})
}

func TestHTTPWhereItIsAllowed(t *testing.T) {
	inBubble(t, func(t *testing.T, p *provider) {
		p.jwks = "http://id.test/keys"
		p.answer["http://id.test/.well-known/openid-configuration"] = func() answer {
			return answer{status: 200, body: toJSON(map[string]any{"issuer": "http://id.test", "jwks_uri": p.jwks})}
		}
		o := options(p)
		o.OIDC.Issuer, o.OIDC.InsecureAllowHTTP = "http://id.test", true
		accept(t, newVerifierWith(t, o), one(map[string]any{"iss": "http://id.test"}))
	})
}

func TestSettingsThatCanNotWork(t *testing.T) {
	for name, c := range map[string]struct {
		oidc config.OIDCProvider
		ca   string
	}{
		"no issuer":                    {config.OIDCProvider{Audience: audience}, ""},
		"no audience":                  {config.OIDCProvider{Issuer: issuer}, ""},
		"issuer not a URL":             {config.OIDCProvider{Issuer: "id.test", Audience: audience}, ""},
		"issuer over http":             {config.OIDCProvider{Issuer: "http://id.test", Audience: audience}, ""},
		"issuer with a query":          {config.OIDCProvider{Issuer: issuer + "?a=b", Audience: audience}, ""},
		"key set over http":            {config.OIDCProvider{Issuer: issuer, Audience: audience, JWKSURL: "http://id.test/keys"}, ""},
		"key set in a file":            {config.OIDCProvider{Issuer: issuer, Audience: audience, JWKSURL: "file:///keys", InsecureAllowHTTP: true}, ""},
		"bundle without a certificate": {config.OIDCProvider{Issuer: issuer, Audience: audience}, "hello"},
	} {
		if v, err := token.New(token.Options{OIDC: c.oidc, CABundle: []byte(c.ca)}); err == nil {
			v.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestACABundleIsTrusted(t *testing.T) {
	var own string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := keySetJSON(map[string]any{"one": p256().Public()})
		if r.URL.Path != "/keys" {
			body = toJSON(map[string]any{"issuer": own, "jwks_uri": own + "/keys"})
		}
		_, _ = io.WriteString(w, body)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // one client below does not trust it
	server.StartTLS()
	defer server.Close()
	own = server.URL
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, o := range map[string]token.Options{
		"of the options":  {CABundle: bundle},
		"of the provider": {OIDC: config.OIDCProvider{CABundle: bundle}},
	} {
		t.Run(name, func(t *testing.T) {
			o.OIDC.Issuer, o.OIDC.Audience = own, audience
			v := newVerifierWith(t, o)
			accept(t, v, one(map[string]any{"iss": own}))
		})
	}
	t.Run("not given", func(t *testing.T) {
		v := newVerifierWith(t, token.Options{OIDC: config.OIDCProvider{Issuer: own, Audience: audience}})
		refused(t, v, one(map[string]any{"iss": own}), token.ResultUnavailable)
	})
}

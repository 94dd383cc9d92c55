package token

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	maxDocument   = 1 << 20 // bytes of a discovery document or a key set
	maxRedirects  = 3
	rediscovery   = time.Hour // how long a discovered key-set URL is used while it works
	discoveryPath = "/.well-known/openid-configuration"
)

// The Trouble words: why the last fetch of the key set failed.
const (
	TroubleUnreachable = "unreachable"  // no connection, no answer in time
	TroubleStatus      = "status"       // an answer other than 200
	TroubleDocument    = "document"     // too large, not JSON, or lacking what it must have
	TroubleIssuer      = "issuer"       // the discovery document is that of another issuer
	TroubleInsecure    = "insecure_url" // http where https is required
	TroubleNoKeys      = "no_keys"      // a key set without a usable key
)

// trouble is why a fetch failed.
type trouble struct {
	word  string
	cause error
}

func (t *trouble) Error() string { return t.cause.Error() }
func (t *trouble) Unwrap() error { return t.cause }

func troubled(word, format string, args ...any) error {
	return &trouble{word, fmt.Errorf(format, args...)}
}

// troubleWord is the Trouble word of an error; "" for nil.
func troubleWord(err error) string {
	if err == nil {
		return ""
	}
	if t, ok := errors.AsType[*trouble](err); ok {
		return t.word
	}
	return TroubleUnreachable
}

var (
	errSlow    = errors.New("fetching the key set takes longer than a request waits")
	errStopped = errors.New("the verifier is closed")
)

// source fetches the key set of one issuer. One goroutine uses it.
type source struct {
	client    *http.Client
	issuer    string
	discovery string // URL of the discovery document; "" where the key set's URL is configured
	keySetURL string // configured or discovered; "" before the discovery
	insecure  bool
	found     time.Time // when keySetURL was discovered; zero: discover anew
}

func newSource(o Options) (*source, error) {
	s := &source{issuer: o.OIDC.Issuer, keySetURL: o.OIDC.JWKSURL, insecure: o.OIDC.InsecureAllowHTTP}
	start := s.keySetURL
	if start == "" {
		// OpenID Connect Discovery 1.0, section 4.1: a slash at the end of the issuer goes before the path is appended.
		s.discovery = strings.TrimSuffix(s.issuer, "/") + discoveryPath
		start = s.discovery
	}
	if err := s.checkURL(start); err != nil {
		return nil, err
	}
	if s.discovery != "" && strings.ContainsAny(s.issuer, "?#") {
		return nil, errors.New("the issuer has a query or a fragment")
	}
	transport := o.Transport
	if transport == nil {
		var err error
		if transport, err = newTransport(o.OIDC.CABundle, o.CABundle); err != nil {
			return nil, err
		}
	}
	s.client = &http.Client{Transport: transport, CheckRedirect: s.checkRedirect}
	return s, nil
}

// newTransport makes the connection to the provider: the system's authorities and the bundles are trusted, and
// HTTPS_PROXY and NO_PROXY are honoured.
func newTransport(bundles ...[]byte) (*http.Transport, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, pem := range bundles {
		if len(pem) > 0 && !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("the CA bundle holds no certificate")
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

func (s *source) close() { s.client.CloseIdleConnections() }

func (s *source) checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return troubled(TroubleDocument, "%q is not an absolute URL", text)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !s.insecure) {
		return troubled(TroubleInsecure, "%q is not an https URL", text)
	}
	return nil
}

func (s *source) checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return troubled(TroubleStatus, "more than %d redirects", maxRedirects)
	}
	if r.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
		return troubled(TroubleInsecure, "a redirect leaves https")
	}
	return s.checkURL(r.URL.String())
}

// fetch gets the key set. Its URL is discovered where it is not configured, anew every hour, and whenever it was of no
// use the last time.
func (s *source) fetch(ctx context.Context) (*keySet, error) {
	if s.discovery == "" {
		return s.keySet(ctx)
	}
	fresh := s.keySetURL != "" && time.Since(s.found) < rediscovery
	if fresh {
		set, err := s.keySet(ctx)
		if err == nil {
			return set, nil
		}
		s.found = time.Time{} // should the time be up, the next fetch begins with the discovery
		if ctx.Err() != nil {
			return nil, err
		}
	}
	keySetURL, err := s.discover(ctx)
	switch {
	case err == nil:
		s.keySetURL, s.found = keySetURL, time.Now()
	case s.keySetURL == "" || fresh || troubleWord(err) == TroubleIssuer || ctx.Err() != nil:
		return nil, err
	}
	return s.keySet(ctx)
}

// discover gives the key set's URL (OpenID Connect Discovery 1.0, section 4). The document's issuer must be the
// configured one, byte for byte (section 4.3).
func (s *source) discover(ctx context.Context) (string, error) {
	body, err := s.get(ctx, s.discovery)
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", troubled(TroubleDocument, "read discovery document %s: %w", s.discovery, err)
	}
	if doc.Issuer != s.issuer {
		return "", troubled(TroubleIssuer, "discovery document %s is of issuer %s, not of %q", s.discovery, clip(doc.Issuer), s.issuer)
	}
	if err := s.checkURL(doc.JWKSURI); err != nil {
		return "", fmt.Errorf("read jwks_uri of %s: %w", s.discovery, err)
	}
	return doc.JWKSURI, nil
}

func (s *source) keySet(ctx context.Context) (*keySet, error) {
	body, err := s.get(ctx, s.keySetURL)
	if err != nil {
		return nil, err
	}
	set, err := parseKeySet(body, time.Now())
	if err != nil {
		word := TroubleDocument
		if errors.Is(err, errNoKeys) {
			word = TroubleNoKeys
		}
		return nil, troubled(word, "use key set %s: %w", s.keySetURL, err)
	}
	return set, nil
}

func (s *source) get(ctx context.Context, where string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	r.Header.Set("User-Agent", "rolegate")
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, troubled(TroubleStatus, "fetch %s: status %d", where, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", where, err)
	}
	if len(body) > maxDocument {
		return nil, troubled(TroubleDocument, "read %s: more than %d bytes", where, maxDocument)
	}
	return body, nil
}

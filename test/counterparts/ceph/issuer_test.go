package ceph_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/internal/fake/idp"
)

// audience is the tutorial's example of one.
const audience = "toolhive-aws-proxy"

// issuer is the project's fake issuer with a key set as Ceph 16.2 reads it: RS256 alone, and each key with a certificate
// (x5c), because Ceph takes a key for the issuer's when the SHA-1 of its certificate is among the provider's thumbprints.
type issuer struct {
	*idp.Issuer
	keys map[string]*signer // by kid
}

type signer struct {
	private     *rsa.PrivateKey
	certificate *x509.Certificate
}

// newIssuer starts an issuer that publishes a key for each kid.
func newIssuer(t *testing.T, kids ...string) *issuer {
	t.Helper()
	i := &issuer{Issuer: idp.New(idp.Options{Audience: audience}), keys: map[string]*signer{}}
	set := jose.JSONWebKeySet{}
	for _, kid := range kids {
		k := newSigner(t, kid)
		i.keys[kid] = k
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: k.private.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig", Certificates: []*x509.Certificate{k.certificate},
		})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/jwks" {
			i.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(set) // a client that is gone misses nothing
	}))
	t.Cleanup(server.Close)
	i.SetURL(server.URL)
	return i
}

func newSigner(t *testing.T, name string) *signer {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{private, certificate}
}

// bare is the issuer as the tutorial writes it: without the scheme.
func (i *issuer) bare() string {
	_, bare, _ := strings.Cut(i.URL(), "://")
	return bare
}

// thumbprint is what IAM calls a thumbprint, of the certificate of a key.
func (i *issuer) thumbprint(kid string) string {
	return fmt.Sprintf("%X", sha1.Sum(i.keys[kid].certificate.Raw))
}

// token makes a token that a key of the issuer signs.
func (i *issuer) token(kid string, c idp.Claims) string {
	return i.Mint(c, idp.WithKey(i.keys[kid].private), idp.WithKID(kid))
}

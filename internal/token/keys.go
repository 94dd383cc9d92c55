package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A key verifies signatures of the algorithms that its type is for and no others, whatever a token says. Symmetric
// keys, private keys, encryption keys and weak keys do not become keys here at all.

const (
	minRSABits = 2048
	maxRSABits = 8192 // a larger one would be a way to burn our time
	maxTries   = 8    // keys that are tried for one token, where its kid does not single one out
)

type key struct {
	kid    string
	alg    jose.SignatureAlgorithm // the only one, where the key says; else ""
	public crypto.PublicKey        // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	thumb  [32]byte                // RFC 7638, SHA-256
}

// keySet is a key set as fetched once; never changed.
type keySet struct {
	keys    []*key
	ignored int
	fetched time.Time
}

// errNoKeys says that a document is a key set, or nearly one, and of no use.
var errNoKeys = errors.New("no key in the set can verify tokens")

// parseKeySet reads a JWK set (RFC 7517, section 5). Keys that can't be used are counted and skipped, as the section asks.
func parseKeySet(data []byte, now time.Time) (*keySet, error) {
	var doc struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	set := &keySet{fetched: now}
	for _, raw := range doc.Keys {
		if k, err := parseKey(raw); err == nil {
			set.keys = append(set.keys, k)
		} else {
			set.ignored++
		}
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("%w (of %d)", errNoKeys, len(doc.Keys))
	}
	return set, nil
}

// publicParts are the members of a JWK that make the public key (RFC 7518, section 6). Only these reach the library:
// a certificate that does not parse (x5c) is no reason to lose a key, and secret members have no business here.
type publicParts struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitzero"`
	X   string `json:"x,omitzero"`
	Y   string `json:"y,omitzero"`
	N   string `json:"n,omitzero"`
	E   string `json:"e,omitzero"`
}

type keyDocument struct {
	publicParts
	Kid    string         `json:"kid"`
	Use    string         `json:"use"`
	Alg    string         `json:"alg"`
	KeyOps []string       `json:"key_ops"`
	D      jsontext.Value `json:"d"`
	K      jsontext.Value `json:"k"`
}

func parseKey(raw jsontext.Value) (*key, error) {
	var doc keyDocument
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	switch {
	case doc.D != nil || doc.K != nil:
		return nil, errors.New("a secret key was published")
	case doc.Use != "" && doc.Use != "sig":
		return nil, fmt.Errorf("key is for use %q", doc.Use)
	case doc.KeyOps != nil && !slices.Contains(doc.KeyOps, "verify"):
		return nil, errors.New("key_ops lacks verify")
	}
	public, err := json.Marshal(doc.publicParts)
	if err != nil {
		return nil, fmt.Errorf("write public key: %w", err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(public); err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	k := &key{kid: doc.Kid, alg: jose.SignatureAlgorithm(doc.Alg), public: jwk.Key}
	if r, ok := k.public.(*rsa.PublicKey); ok && (r.N.BitLen() < minRSABits || r.N.BitLen() > maxRSABits || r.E < 3 || r.E%2 == 0) {
		return nil, fmt.Errorf("RSA key of %d bits", r.N.BitLen())
	}
	if !slices.ContainsFunc(accepted, k.fits) {
		return nil, errors.New("no accepted algorithm fits the key")
	}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("compute thumbprint: %w", err)
	}
	copy(k.thumb[:], sum)
	return k, nil
}

// fits says whether the key may verify signatures of an algorithm (RFC 7518, section 3.1; RFC 8725, section 3.1).
func (k *key) fits(alg jose.SignatureAlgorithm) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		switch alg {
		case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
			return true
		}
	case *ecdsa.PublicKey:
		switch public.Curve.Params().BitSize {
		case 256:
			return alg == jose.ES256
		case 384:
			return alg == jose.ES384
		case 521:
			return alg == jose.ES512
		}
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

// stsRefuses is the algorithm for which AWS STS refuses every token that the key verifies; "" where it takes some.
func (k *key) stsRefuses() string {
	if _, ok := k.public.(ed25519.PublicKey); ok {
		return string(jose.EdDSA)
	}
	if strings.HasPrefix(string(k.alg), "PS") {
		return string(k.alg)
	}
	return ""
}

// has says whether the very same key is in the set: kid, algorithm and thumbprint.
func (s *keySet) has(k *key) bool {
	return slices.ContainsFunc(s.keys, func(other *key) bool {
		return other.thumb == k.thumb && other.kid == k.kid && other.alg == k.alg
	})
}

// find gives the key that verifies the token, or the Result word for why there is none: ResultUnknownKey where no key
// has the token's kid, ResultAlgorithm where those that have it are for other algorithms, ResultSignature where those
// that fit do not verify it. A token without kid may be signed by any key that fits.
func (s *keySet) find(t *unverified) (*key, string) {
	result, tries := ResultUnknownKey, 0
	for _, k := range s.keys {
		if t.kid != "" && k.kid != t.kid {
			continue
		}
		if !k.fits(t.alg) {
			if t.kid != "" && result == ResultUnknownKey {
				result = ResultAlgorithm
			}
			continue
		}
		if tries++; tries > maxTries {
			break
		}
		if _, err := t.jws.Verify(k.public); err == nil {
			return k, ""
		}
		result = ResultSignature
	}
	return nil, result
}

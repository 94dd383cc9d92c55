package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// none is the algorithm of RFC 7519 section 6: no signature at all.
const none jose.SignatureAlgorithm = "none"

// key is a key of the issuer. A retired one is no longer in the ring.
type key struct {
	kid     string
	alg     jose.SignatureAlgorithm
	private crypto.Signer
}

// minting is what the options of one Mint add up to.
type minting struct {
	alg    jose.SignatureAlgorithm
	kid    string
	header map[string]any
	key    crypto.Signer
}

// Option changes how one token is minted.
type Option func(*minting)

// WithAlg signs with an algorithm: RS, PS or ES 256 to 512, or EdDSA, with the newest key of that algorithm (one is
// made and published where there is none; tokens minted without options are not signed with it). "none" leaves the signature out; HS256 to 512 takes the public key's PEM
// for the secret, as an attacker would who hopes for algorithm confusion.
func WithAlg(alg jose.SignatureAlgorithm) Option { return func(m *minting) { m.alg = alg } }

// WithKID signs with the published key of that id. Where there is none the header lies: it names the id, and another
// key signs.
func WithKID(kid string) Option { return func(m *minting) { m.kid = kid } }

// WithoutKID leaves "kid" out of the header.
func WithoutKID() Option { return WithHeader("kid", nil) }

// WithType sets "typ", which is "JWT" otherwise; "" leaves it out.
func WithType(typ string) Option {
	if typ == "" {
		return WithHeader("typ", nil)
	}
	return WithHeader("typ", typ)
}

// WithHeader sets a member of the header; nil leaves it out.
func WithHeader(name string, value any) Option {
	return func(m *minting) {
		if m.header == nil {
			m.header = map[string]any{}
		}
		m.header[name] = value
	}
}

// WithKey signs with a key that the issuer never published, of the kind that the algorithm needs.
func WithKey(k crypto.Signer) Option { return func(m *minting) { m.key = k } }

// Mint makes a token. Claims that are absent get the issuer's default: iss, iat (now), exp (iat and the lifetime),
// aud where the issuer has one, and sub "user". A claim that is nil is left out. Without options the newest key signs.
// It panics where the key does not fit the algorithm: that is a mistake in a test.
func (i *Issuer) Mint(c Claims, opts ...Option) string {
	var m minting
	for _, o := range opts {
		o(&m)
	}
	k := i.pick(&m)
	header := map[string]any{"alg": string(m.alg), "typ": "JWT", "kid": k.kid}
	if m.kid != "" {
		header["kid"] = m.kid
	}
	overlay(header, m.header)

	now := time.Now().Truncate(time.Second)
	claims := Claims{"iss": i.URL(), "sub": "user", "iat": now.Unix(), "exp": now.Add(i.lifetime).Unix()}
	if i.audience != "" {
		claims["aud"] = i.audience
	}
	overlay(claims, c)
	signed := segment(header) + "." + segment(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature(m.alg, k.private, []byte(signed)))
}

// overlay copies from onto to; a nil value removes.
func overlay(to, from map[string]any) {
	maps.Copy(to, from)
	maps.DeleteFunc(to, func(_ string, v any) bool { return v == nil })
}

func segment(v map[string]any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("mint token: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// pick settles algorithm and key of a minting.
func (i *Issuer) pick(m *minting) *key {
	i.mu.Lock()
	defer i.mu.Unlock()
	newest := func(ok func(*key) bool) *key {
		for _, k := range slices.Backward(i.ring) {
			if ok(k) {
				return k
			}
		}
		return nil
	}
	var k *key
	if m.kid != "" {
		k = newest(func(k *key) bool { return k.kid == m.kid && (m.alg == "" || k.alg == m.alg) })
	}
	if k == nil && m.alg != "" && m.alg != none && !symmetric(m.alg) {
		if k = newest(func(k *key) bool { return k.alg == m.alg }); k == nil && m.key == nil {
			k = i.add("", m.alg)
			i.ring = append([]*key{k}, i.ring[:len(i.ring)-1]...) // it counts as the oldest: plain tokens stay what they were
		}
	}
	if k == nil {
		k = newest(func(*key) bool { return true })
	}
	if k == nil {
		k = i.add("", jose.RS256)
	}
	if m.alg == "" {
		m.alg = k.alg
	}
	if m.key != nil {
		return &key{kid: k.kid, alg: m.alg, private: m.key}
	}
	return k
}

func symmetric(alg jose.SignatureAlgorithm) bool { return strings.HasPrefix(string(alg), "HS") }

// signature is the third part of a token, in bytes.
func signature(alg jose.SignatureAlgorithm, private crypto.Signer, signed []byte) []byte {
	if alg == none {
		return nil
	}
	var k any = private
	if symmetric(alg) {
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		if err != nil {
			panic(fmt.Sprintf("mint token: %v", err))
		}
		k = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	sig, err := sign(alg, k, signed)
	if err != nil {
		panic(fmt.Sprintf("mint token: sign with %s: %v", alg, err))
	}
	return sig
}

// Add publishes a new key and signs with it from now on; the older ones stay published. An empty kid gets one like
// "rs256-2". It gives the kid.
func (i *Issuer) Add(kid string, alg jose.SignatureAlgorithm) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.add(kid, alg).kid
}

// Retire removes a key from the key set. Tokens signed with it stay what they are.
func (i *Issuer) Retire(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ring = slices.DeleteFunc(i.ring, func(k *key) bool { return k.kid == kid })
}

// HardSwap puts a new key of the same algorithm in a key's place, under the same kid.
func (i *Issuer) HardSwap(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, k := range i.ring {
		if k.kid == kid {
			i.ring[n] = &key{kid: kid, alg: k.alg, private: generate(k.alg)}
		}
	}
}

// KIDs are the ids of the published keys, oldest first.
func (i *Issuer) KIDs() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := make([]string, len(i.ring))
	for n, k := range i.ring {
		out[n] = k.kid
	}
	return out
}

func (i *Issuer) add(kid string, alg jose.SignatureAlgorithm) *key {
	i.serial++
	if kid == "" {
		kid = fmt.Sprintf("%s-%d", strings.ToLower(string(alg)), i.serial)
	}
	k := &key{kid: kid, alg: alg, private: generate(alg)}
	i.ring = append(i.ring, k)
	return k
}

func (i *Issuer) keySet() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range i.ring {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: k.private.Public(), KeyID: k.kid, Algorithm: string(k.alg), Use: "sig",
		})
	}
	return set
}

// generate makes a private key of the kind that an algorithm needs (RFC 7518 section 3.1, RFC 8037).
func generate(alg jose.SignatureAlgorithm) crypto.Signer {
	var (
		k   crypto.Signer
		err error
	)
	switch alg {
	case jose.ES256:
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, k, err = ed25519.GenerateKey(rand.Reader)
	default:
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(fmt.Sprintf("generate %s key: %v", alg, err))
	}
	return k
}

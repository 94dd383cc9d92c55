package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // SHA-256 for crypto.Hash
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

var errKeyKind = errors.New("the key is of the wrong kind")

// sign is JWS signing (RFC 7518 section 3, RFC 8037 section 3.1) over bytes as they are. go-jose would rebuild the
// header, and a fake issuer has to be able to sign any header.
func sign(alg jose.SignatureAlgorithm, k any, signed []byte) ([]byte, error) {
	if alg == jose.EdDSA {
		p, ok := k.(ed25519.PrivateKey)
		if !ok {
			return nil, errKeyKind
		}
		return ed25519.Sign(p, signed), nil
	}
	if len(alg) != 5 {
		return nil, fmt.Errorf("unknown algorithm %q", alg)
	}
	hash, ok := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[string(alg[2:])]
	if !ok {
		return nil, fmt.Errorf("unknown algorithm %q", alg)
	}
	h := hash.New()
	h.Write(signed)
	digest := h.Sum(nil)
	switch k := k.(type) {
	case []byte:
		mac := hmac.New(hash.New, k)
		mac.Write(signed)
		return mac.Sum(nil), nil
	case *rsa.PrivateKey:
		switch alg[:2] {
		case "RS":
			return rsa.SignPKCS1v15(rand.Reader, k, hash, digest)
		case "PS":
			return rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
	case *ecdsa.PrivateKey:
		if alg[:2] != "ES" {
			return nil, errKeyKind
		}
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			return nil, err
		}
		size := (k.Curve.Params().BitSize + 7) / 8 // RFC 7518 section 3.4: both halves at full width
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		s.FillBytes(out[size:])
		return out, nil
	}
	return nil, errKeyKind
}

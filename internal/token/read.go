package token

import (
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// accepted is every algorithm that a token may be signed with. Nothing symmetric, and no "none", can ever be here:
// a provider's public key would verify what anybody signed with it.
var accepted = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512,
	jose.EdDSA,
}

// unverified is a JWT that was read strictly, and not believed yet.
type unverified struct {
	jws    *jose.JSONWebSignature
	alg    jose.SignatureAlgorithm
	kid    string // "" for none
	claims map[string]any
}

// read takes a JWT in compact form apart (RFC 7515, section 7.1; RFC 7519, section 7.2). Header parameters that name
// or hold a key (jwk, jku, x5c, x5u) are of no consequence.
func read(raw Raw) (*unverified, *refusal) {
	text := raw.Reveal()
	if len(text) > maxToken {
		return nil, refuse(ResultMalformed, "the token has %d characters; %d is the most", len(text), maxToken)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, refuse(ResultMalformed, "the token has %d parts; a signed JWT has 3, an encrypted one 5, and an opaque token 1", len(parts))
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decodeSegment(part); err != nil || len(decoded[i]) == 0 {
			return nil, refuse(ResultMalformed, "part %d of the token is empty or not base64url", i+1)
		}
	}
	t := &unverified{}
	if refused := t.readHeader(decoded[0]); refused != nil {
		return nil, refused
	}
	var err error
	if t.claims, err = decodeObject(decoded[1]); err != nil {
		return nil, refuse(ResultMalformed, "the payload of the token: %s", clip(err.Error()))
	}
	if t.jws, err = jose.ParseSignedCompact(text, accepted); err != nil {
		return nil, refuse(ResultMalformed, "the header of the token") // the cause would quote the header
	}
	return t, nil
}

func (t *unverified) readHeader(data []byte) *refusal {
	h, err := decodeObject(data)
	if err != nil {
		return refuse(ResultMalformed, "the header of the token: %s", clip(err.Error()))
	}
	alg, ok := h["alg"].(string)
	if t.alg = jose.SignatureAlgorithm(alg); !ok || !slices.Contains(accepted, t.alg) {
		return refuse(ResultAlgorithm, "alg %s", clip(alg))
	}
	if kid, present := h["kid"]; present {
		if t.kid, ok = kid.(string); !ok {
			return refuse(ResultMalformed, "kid is not a string")
		}
	}
	// RFC 7515, section 4.1.11: who does not understand an extension that is critical refuses the token. We know none.
	// An unencoded payload (b64, RFC 7797) is one, and is never that of a JWT.
	for _, name := range []string{"crit", "b64"} {
		if _, present := h[name]; present {
			return refuse(ResultMalformed, "the header parameter %s is not supported", name)
		}
	}
	if typ, present := h["typ"]; present {
		return checkType(typ)
	}
	return nil
}

// checkType refuses JWTs that are made for something else: logout tokens, DPoP proofs, request objects, events
// (RFC 8725, section 3.11; RFC 9068, section 4). Media types compare without case (RFC 7515, section 4.1.9).
func checkType(typ any) *refusal {
	s, ok := typ.(string)
	if !ok {
		return refuse(ResultMalformed, "typ is not a string")
	}
	switch strings.TrimPrefix(strings.ToLower(s), "application/") {
	case "jwt", "at+jwt":
		return nil
	}
	return refuse(ResultType, "typ %s; JWT and at+jwt are accepted", clip(s))
}

package token

import (
	"net/http"
	"strings"
)

// The length of a token, in characters: what AWS STS takes as a WebIdentityToken.
const (
	minToken = 4
	maxToken = 20_000
)

// Bearer takes the bearer token off a request's headers (RFC 6750, section 2.1): exactly one Authorization header,
// the scheme in any case, spaces, and 4 to 20000 characters of b64token.
//
// The error is fault.Unauthenticated. Its Challenge is "" where no bearer token was sent at all, or another scheme was
// used. Anything else that is wrong is invalid_token: RFC 6750 has 400 invalid_request for a malformed header, but a
// client that is told 401 signs in again with a fresh token, and one that is told 400 is stuck.
func Bearer(h http.Header) (Raw, error) {
	text, refused := bearer(h["Authorization"])
	if refused != nil {
		return Raw{}, refused.fault()
	}
	return NewRaw(text), nil
}

func bearer(headers []string) (string, *refusal) {
	if len(headers) == 0 {
		return "", refuse(ResultMissing, "no Authorization header")
	}
	if len(headers) > 1 {
		return "", refuse(ResultMalformed, "%d Authorization headers", len(headers))
	}
	scheme, text, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || len(scheme) != len("Bearer") {
		return "", refuse(ResultMissing, "the Authorization header is not of the scheme Bearer")
	}
	text = strings.TrimLeft(text, " ")
	if len(text) < minToken || len(text) > maxToken {
		return "", refuse(ResultMalformed, "the token has %d characters; %d to %d can be one", len(text), minToken, maxToken)
	}
	if !isToken68(text) {
		return "", refuse(ResultMalformed, "the token has characters that no token has")
	}
	return text, nil
}

// isToken68 says whether s is a b64token: letters, digits, -._~+/ and then only "=".
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for i := range len(body) {
		if c := body[i]; !isBase64URL(c) && c != '.' && c != '~' && c != '+' && c != '/' {
			return false
		}
	}
	return true
}

func isBase64URL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

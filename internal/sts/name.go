package sts

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

const (
	maxName   = 64 // characters of a RoleSessionName, at most
	minName   = 2
	nameBytes = 8 // of the SHA-256 that tells changed names apart
)

// SessionName makes the RoleSessionName ([\w+=,.@-]{2,64}) of a claim: a name, or a dotted path into nested claims,
// where a literal name with dots wins; "" means "sub". A value that is legal passes unchanged. Of any other, each
// illegal character becomes "-", the result is cut, and "-" and 16 hexadecimal digits of the value's SHA-256 are
// appended: the same user always has the same name, and two users don't share one. Numbers and booleans are written as
// in JSON.
//
// The error is a fault.Denied: the claim is missing, empty, or neither text nor number nor boolean.
func SessionName(claims map[string]any, claim string) (string, error) {
	claim = cmp.Or(claim, "sub")
	value, ok := token.Claim(claims, claim)
	if !ok || value == nil {
		return "", nameless(claim, "is missing")
	}
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	case int64:
		text = strconv.FormatInt(v, 10)
	case token.Number:
		text = string(v)
	default:
		return "", nameless(claim, "is a list or an object")
	}
	if text == "" {
		return "", nameless(claim, "is empty")
	}
	return legalName(text), nil
}

func nameless(claim, what string) error {
	return fault.New(fault.Denied, "this token does not say who you are to AWS").
		Hint("sessionNameClaim: claim %q %s", claim, what)
}

func legalName(text string) string {
	if minName <= len(text) && len(text) <= maxName && !strings.ContainsFunc(text, illegal) {
		return text
	}
	name := strings.Map(func(r rune) rune {
		if illegal(r) {
			return '-'
		}
		return r
	}, text)
	sum := sha256.Sum256([]byte(text))
	suffix := "-" + hex.EncodeToString(sum[:nameBytes])
	return name[:min(len(name), maxName-len(suffix))] + suffix
}

func illegal(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	switch r {
	case '_', '+', '=', ',', '.', '@', '-':
		return false
	}
	return true
}

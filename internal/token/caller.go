package token

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const redacted = "[redacted]"

// Raw is a bearer token as it travelled. Whatever prints it prints "[redacted]"; Reveal alone gives the text, and a
// test of the house lists who may call it.
//
// The text is held by a pointer because fmt can't call the methods of an unexported field: a struct that has a Raw in
// one prints an address. So == compares addresses; Equal compares texts.
type Raw struct{ text *string }

// NewRaw wraps the text of a token.
func NewRaw(text string) Raw { return Raw{&text} }

// Reveal gives the token itself.
func (r Raw) Reveal() string {
	if r.text == nil {
		return ""
	}
	return *r.text
}

// Equal says whether both are the same token.
func (r Raw) Equal(other Raw) bool { return r.Reveal() == other.Reveal() }

// Sum is the SHA-256 of the token: its name in caches, where the token itself must not stand.
func (r Raw) Sum() [32]byte {
	text := r.Reveal()
	var onStack [4096]byte // converting a string to bytes would allocate; few tokens are longer than this
	if len(text) <= len(onStack) {
		return sha256.Sum256(onStack[:copy(onStack[:], text)])
	}
	return sha256.Sum256([]byte(text))
}

// Format prints "[redacted]" for every verb, %d and %x too.
func (Raw) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String prints "[redacted]".
func (Raw) String() string { return redacted }

// GoString prints "[redacted]".
func (Raw) GoString() string { return redacted }

// LogValue logs "[redacted]".
func (Raw) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "[redacted]".
func (Raw) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText writes "[redacted]".
func (Raw) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Subject is the token that a call is made for, with the claims that were verified from that very token. Role choice,
// STS and session name all read this one value, so they can't look at two different tokens.
type Subject struct {
	ID     string         // the sub claim
	Token  Raw            // the bytes that STS gets
	Claims map[string]any // the payload: string, bool, int64, Number, nil, []any, map[string]any; never to be changed
}

// Number is a number of a token that is no integer of 64 bits, spelled as the token spells it. It is in the range of a
// float64.
type Number string

// Float is the float64 that is nearest.
func (n Number) Float() float64 {
	f, _ := strconv.ParseFloat(string(n), 64)
	return f
}

// MarshalJSON writes the number as it was.
func (n Number) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// Claim finds a claim by its name or by a dotted path into nested claims, such as "realm_access.roles". A longer
// literal name wins over a path: a claim named "realm_access.roles" comes before a member of "realm_access", and
// "https://example.com/app.roles" finds the member "roles" of the claim "https://example.com/app".
func Claim(claims map[string]any, path string) (any, bool) {
	if value, ok := claims[path]; ok {
		return value, true
	}
	for i := strings.LastIndexByte(path, '.'); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		if nested, ok := claims[path[:i]].(map[string]any); ok {
			if value, ok := Claim(nested, path[i+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
}

// Caller is a verified token.
type Caller struct {
	Issuer          string
	Subject         Subject
	Audience        []string  // aud, always as a list
	AuthorizedParty string    // azp, or else client_id, cid (Okta), appid (Entra v1); "" where the token names none
	Scopes          []string  // scope (space-separated) or scp (list or string)
	Expiry          time.Time // exp; the leeway is not in it
	memo            atomic.Pointer[memo]
}

type memo struct{ key, value any }

// Once computes, once in the life of this verified token and key, something that follows from the token alone, such
// as the choice of a role. One slot: another key replaces it. Two first calls at once may both compute.
func (c *Caller) Once(key any, compute func() any) any {
	if m := c.memo.Load(); m != nil && m.key == key {
		return m.value
	}
	v := compute()
	c.memo.Store(&memo{key, v})
	return v
}

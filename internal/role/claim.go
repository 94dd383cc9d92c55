package role

import (
	"strings"

	"github.com/rolegate/rolegate/internal/token"
)

// ClaimState says how the role claim was found in a token.
type ClaimState string

// The states of the role claim.
const (
	Unread   ClaimState = ""         // no mapping reads it
	Present  ClaimState = "present"  // a string, or a list of strings (perhaps empty)
	Missing  ClaimState = "missing"  // not in the token, or null
	Mistyped ClaimState = "mistyped" // of another type, or a list with a member that is not a string
)

// find gives the value of the role claim and says how it was found. A mistyped list is still given: its members that
// are strings count.
func find(claims map[string]any, path string) (any, ClaimState) {
	value, _ := token.Claim(claims, path)
	switch v := value.(type) {
	case nil:
		return nil, Missing
	case string:
		return v, Present
	case []any:
		for _, member := range v {
			if _, ok := member.(string); !ok {
				return v, Mistyped
			}
		}
		return v, Present
	}
	return nil, Mistyped
}

// holds says whether the value of the role claim holds what a mapping wants: a member of a list, an equal string, or a
// word of a space-separated string. Exact case.
//
// It is the same as the matcher
//
//	type(v) == list ? want in v : type(v) == string && (v == want || want in v.split(" "))
//
// in Go, which is faster and has no quoting to get wrong; a test compares the two.
func holds(value any, want string) bool {
	switch v := value.(type) {
	case []any:
		for _, member := range v {
			if s, ok := member.(string); ok && s == want {
				return true
			}
		}
	case string:
		if v == want {
			return true
		}
		for rest, more := v, true; more; {
			var word string
			word, rest, more = strings.Cut(rest, " ")
			if word == want {
				return true
			}
		}
	}
	return false
}

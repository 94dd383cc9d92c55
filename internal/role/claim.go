package role

import "strings"

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
	value, _ := lookup(claims, path)
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

// lookup finds a claim by its name or by a dotted path into nested claims, such as "realm_access.roles". A longer
// literal name wins over a path: a claim named "realm_access.roles" comes before a member of "realm_access", and
// "https://example.com/app.roles" finds the member "roles" of the claim "https://example.com/app".
func lookup(claims map[string]any, path string) (any, bool) {
	if value, ok := claims[path]; ok {
		return value, true
	}
	for i := strings.LastIndexByte(path, '.'); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		if nested, ok := claims[path[:i]].(map[string]any); ok {
			if value, ok := lookup(nested, path[i+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
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

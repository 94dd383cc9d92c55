package token

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/rolegate/rolegate/internal/fault"
)

const metadataMethods = "GET, HEAD, OPTIONS"

// Metadata serves the protected-resource metadata of a resource (RFC 9728, section 2) as JSON to GET and HEAD, from
// any origin. Scopes are what a client may ask for; offline_access never stands among them, for it is a matter between
// client and authorization server. Any other method is a *fault.Error of kind BadMethod.
func Metadata(resource string, authServers, scopes []string) func(http.ResponseWriter, *http.Request) error {
	doc, err := json.Marshal(struct {
		Resource             string   `json:"resource"`
		AuthorizationServers []string `json:"authorization_servers,omitempty"`
		BearerMethods        []string `json:"bearer_methods_supported"`
		Scopes               []string `json:"scopes_supported,omitempty"`
	}{resource, authServers, []string{"header"}, askable(scopes)})
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("X-Content-Type-Options", "nosniff")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			if err != nil { // a URL that is not UTF-8
				return fault.New(fault.Internal, "internal error").Hint("the protected-resource metadata can't be written: set resourceUrl").Because(err)
			}
			h.Set("Content-Type", "application/json")
			h.Set("Cache-Control", "public, max-age=300")
			_, _ = w.Write(doc) // net/http drops the body of an answer to HEAD
		case http.MethodOptions:
			h.Set("Access-Control-Allow-Methods", metadataMethods)
			h.Set("Access-Control-Allow-Headers", "*, Authorization") // "*" does not stand for Authorization
			h.Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
		default:
			e := fault.New(fault.BadMethod, "HTTP method not allowed here")
			e.Allow = metadataMethods
			return e
		}
		return nil
	}
}

// Challenge is the value of WWW-Authenticate for an answer that refuses a token or the lack of one (RFC 6750, section
// 3; RFC 9728, section 5.1): where the metadata is, which scopes to ask for and, where e has a Challenge, the error code and
// e's public words. Scopes of e stand before those given. A metadataURL of "" and a nil e leave out what they would say.
func Challenge(metadataURL string, scopes []string, e *fault.Error) string {
	if e != nil && len(e.Scopes) > 0 {
		scopes = e.Scopes
	}
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, fmt.Sprintf(`%s="%s"`, name, quotable(value)))
		}
	}
	if e != nil && e.Challenge != "" {
		add("error", e.Challenge)
		add("error_description", e.Public)
	}
	add("resource_metadata", metadataURL)
	add("scope", strings.Join(askable(scopes), " "))
	return strings.TrimSpace("Bearer " + strings.Join(params, ", "))
}

// askable leaves out offline_access and what is no scope (RFC 6749, section 3.3).
func askable(scopes []string) []string {
	var kept []string
	for _, s := range scopes {
		if s != "" && s != "offline_access" && s == quotable(s) && !strings.Contains(s, " ") && !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// quotable keeps to what stands in a quoted string without an escape (RFC 6750, section 3); the rest becomes "'" or "?".
func quotable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"':
			return '\''
		case c < ' ' || c > '~' || c == '\\':
			return '?'
		}
		return c
	}, s)
}

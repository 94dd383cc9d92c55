package token

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// leeway is how far the provider's clock and ours may differ.
const leeway = 60 * time.Second

// logoutEvent marks a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4), which older providers give no
// typ of its own.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// maxSeconds is the end of the year 9999: later times are not times.
const maxSeconds = 253_402_300_799

// caller checks the claims (RFC 7519, section 4.1) and says whom they describe. They are believed only once the
// signature is verified.
func (v *Verifier) caller(raw Raw, claims map[string]any, now time.Time) (*Caller, *refusal) {
	if iss, ok := claims["iss"].(string); !ok || iss != v.issuer {
		return nil, refuse(ResultIssuer, "iss of the token: %s; configured issuer: %q", quoteClaim(claims["iss"]), v.issuer)
	}
	aud, ok := stringList(claims["aud"])
	if !ok {
		return nil, refuse(ResultClaims, "aud is missing, or neither a string nor a list of strings").in(CheckAudience)
	}
	if !slices.Contains(aud, v.audience) {
		return nil, refuse(ResultAudience, "aud of the token: %s; configured audience: %q", clip(strings.Join(aud, " ")), v.audience)
	}
	expiry, refused := checkTimes(claims, now)
	if refused != nil {
		return nil, refused
	}
	if cnf := claims["cnf"]; cnf != nil {
		return nil, refuse(ResultBound, "the token has a cnf claim: DPoP or mutual TLS, whose proof can't be checked here")
	}
	if events, ok := claims["events"].(map[string]any); ok {
		if _, ok := events[logoutEvent]; ok {
			return nil, refuse(ResultType, "a logout token").in(CheckUse)
		}
	}
	sub, ok := claims["sub"].(string)
	if !ok || sub == "" {
		return nil, refuse(ResultClaims, "sub is missing or not a string").in(CheckSubject)
	}
	return &Caller{
		Issuer:          v.issuer,
		Subject:         Subject{ID: sub, Token: raw, Claims: claims},
		Audience:        aud,
		AuthorizedParty: firstString(claims, "azp", "client_id", "cid", "appid"),
		Scopes:          scopes(claims),
		Expiry:          expiry,
	}, nil
}

// checkTimes gives the expiry.
func checkTimes(claims map[string]any, now time.Time) (time.Time, *refusal) {
	exp, ok := numericDate(claims["exp"])
	if !ok {
		return time.Time{}, refuse(ResultClaims, "exp is missing or not a time").in(CheckTimes)
	}
	if iat, present := claims["iat"]; present && iat != nil {
		if _, ok := numericDate(iat); !ok {
			return time.Time{}, refuse(ResultClaims, "iat is not a time").in(CheckTimes)
		}
	}
	if !now.Before(exp.Add(leeway)) {
		return time.Time{}, refuse(ResultExpired, "expired %s ago", now.Sub(exp).Round(time.Second))
	}
	if nbf, present := claims["nbf"]; present && nbf != nil {
		from, ok := numericDate(nbf)
		if !ok {
			return time.Time{}, refuse(ResultClaims, "nbf is not a time").in(CheckTimes)
		}
		if now.Add(leeway).Before(from) {
			return time.Time{}, refuse(ResultNotYet, "valid in %s", from.Sub(now).Round(time.Second))
		}
	}
	return exp, nil
}

// numericDate reads seconds since 1970 (RFC 7519, section 2); a fraction is cut off.
func numericDate(v any) (time.Time, bool) {
	var seconds int64
	switch n := v.(type) {
	case int64:
		seconds = n
	case Number:
		f := n.Float()
		if f < 0 || f > maxSeconds {
			return time.Time{}, false
		}
		seconds = int64(f)
	default:
		return time.Time{}, false
	}
	if seconds < 0 || seconds > maxSeconds {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}

// stringList reads a string or a list of strings; false for anything else, and for an empty list.
func stringList(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			list[i] = s
		}
		return list, len(list) > 0
	}
	return nil, false
}

func firstString(claims map[string]any, names ...string) string {
	for _, name := range names {
		if s, ok := claims[name].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// scopes reads scope (RFC 8693, section 4.2) or else scp, each as a list or a string of words.
func scopes(claims map[string]any) []string {
	for _, name := range []string{"scope", "scp"} {
		if list, ok := stringList(claims[name]); ok {
			return strings.Fields(strings.Join(list, " "))
		}
	}
	return nil
}

func quoteClaim(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		return clip(v)
	}
	return fmt.Sprintf("not a string (%T)", v)
}

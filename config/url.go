package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// What URLs are made of (RFC 3986, section 2): anything else must have been percent-encoded.
var (
	urlChars  = regexp.MustCompile(`^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*$`)
	hostName  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
	plainPath = regexp.MustCompile(`^[A-Za-z0-9._~/!$&'()*+,;=:@-]*$`)
)

// parseURL reads an absolute http or https URL, and says what is wrong with it ("" for nothing): no user and password,
// no fragment, no dot segments, a host that can be dialled.
func parseURL(raw string) (u *url.URL, wrong string) {
	if !urlChars.MatchString(raw) {
		return nil, quote(raw) + " has characters that a URL can't have"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, quote(raw) + " is not a URL"
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, quote(raw) + " is not an absolute http or https URL"
	case u.User != nil: // not quoted: it may hold a password
		return nil, "has a user name or password in the URL"
	case strings.Contains(raw, "#"):
		return nil, quote(raw) + " has a fragment"
	case !validHost(u):
		return nil, quote(raw) + " has no valid host and port"
	case dotSegments(u):
		return nil, quote(raw) + " has dot segments in its path"
	}
	return u, ""
}

func validHost(u *url.URL) bool {
	if strings.HasSuffix(u.Host, ":") {
		return false
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	if strings.HasPrefix(u.Host, "[") {
		_, err := netip.ParseAddr(u.Hostname())
		return err == nil
	}
	return hostName.MatchString(u.Hostname())
}

// dotSegments finds "." and ".." in the path, however encoded: whoever normalises them sends another request than the
// one that was signed.
func dotSegments(u *url.URL) bool {
	for s := range strings.SplitSeq(strings.ToLower(u.EscapedPath()), "/") {
		if s = strings.ReplaceAll(s, "%2e", "."); s == "." || s == ".." {
			return true
		}
	}
	return false
}

// loopback tells whether a URL stays on this machine.
func loopback(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, section 6.3
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// origin is the origin of a URL as browsers write it in the Origin header (RFC 6454, section 6.2).
func origin(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" || u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

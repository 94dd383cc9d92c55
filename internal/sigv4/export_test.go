package sigv4

import (
	"net/url"
	"slices"
	"strings"
)

// Sign signs a request given as text: a raw path and query, and its headers in their order, by any name. It is the
// form in which published test vectors come; Transport itself never signs a header that it did not choose.
func Sign(c *Credentials, at, region, service string, r TextRequest) string {
	path := r.Path
	if r.Normalize {
		path = cleanPath(path)
	}
	var fields []field
	for _, h := range r.Headers {
		name, value := strings.ToLower(h[0]), trim(h[1])
		if i := slices.IndexFunc(fields, func(f field) bool { return f.name == name }); i >= 0 {
			fields[i].value += "," + value
			continue
		}
		fields = append(fields, field{name, value})
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	_, query := wireQuery(r.Query)
	return c.signingKey(at[:8], region, service).sign(at, message{r.Method, path, query, fields, r.BodyHash})
}

// TextRequest is what Sign signs.
type TextRequest struct {
	Method, Path, Query, BodyHash string
	Headers                       [][2]string
	Normalize                     bool
}

// SigningKey gives the identity of the derived key.
func SigningKey(c *Credentials, day, region, service string) any {
	return c.signingKey(day, region, service)
}

// Derived is the key that c holds now, nil for none.
func Derived(c *Credentials) any { return c.key.Load() }

// WireURL gives u as it leaves.
func WireURL(u *url.URL) (string, error) {
	w, _, err := wireURL(u)
	if err != nil {
		return "", err
	}
	return w.RequestURI(), nil
}

// Signing gives a function that signs what a POST to /mcp signs, and does nothing else.
func Signing(c *Credentials, region, service, hash, token string) func() string {
	const at = "20261121T101112Z"
	fields := []field{
		{"content-type", "application/json"},
		{"host", "aws-mcp.us-east-1.api.aws"},
		{"x-amz-content-sha256", hash},
		{"x-amz-date", at},
		{"x-amz-security-token", token},
	}
	return func() string {
		return c.signingKey(at[:8], region, service).sign(at, message{"POST", "/mcp", "", fields, hash})
	}
}

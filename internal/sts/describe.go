package sts

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/token"
)

// Request is a call of STS as it leaves, with the token struck out.
type Request struct {
	Method string  `json:"method"`
	URL    string  `json:"url"`
	Form   []Field `json:"form"` // Action and Version first, then by name
}

// Field is one name and its value.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Rehearse makes a Vault that asks nobody. Each request is made as for STS, told, and answered here: with credentials
// that are worth nothing, for as long as was asked.
func Rehearse(tell func(Request)) *Vault { return New(Options{Transport: rehearsal(tell)}) }

type rehearsal func(Request)

const secretField = "WebIdentityToken"

func (tell rehearsal) RoundTrip(r *http.Request) (*http.Response, error) {
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	told := Request{Method: r.Method, URL: r.URL.String()}
	for name, values := range form {
		if name == secretField {
			values = []string{token.Raw{}.String()}
		}
		told.Form = append(told.Form, Field{name, strings.Join(values, " ")})
	}
	first := []string{"Version", "Action"} // the later of these comes first
	slices.SortFunc(told.Form, func(a, b Field) int {
		return cmp.Or(slices.Index(first, b.Name)-slices.Index(first, a.Name), cmp.Compare(a.Name, b.Name))
	})
	tell(told)
	life, err := time.ParseDuration(form.Get("DurationSeconds") + "s")
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"text/xml"}},
		Body:   io.NopCloser(strings.NewReader(fmt.Sprintf(worthless, time.Now().Add(life).UTC().Format(time.RFC3339)))),
	}, nil
}

// worthless is a good answer of STS, with credentials of nobody's.
const worthless = `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>` +
	`<AccessKeyId>ASIAREHEARSAL</AccessKeyId><SecretAccessKey>none</SecretAccessKey><SessionToken>none</SessionToken><Expiration>%s</Expiration>` +
	`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`

// Class tells which lease a caller would get from memory: callers for whom all of these are the same share one.
func Class(c *token.Caller, g Grant) []Field {
	g.Duration = cmp.Or(g.Duration, time.Hour)
	k := keyOf(c, g)
	audience := k.audience
	if k.audiences != 1 {
		audience = fmt.Sprintf("%q", c.Audience)
	}
	tags := "none"
	if k.attributes != [len(k.attributes)]byte{} {
		tags = "SHA-256 " + hex.EncodeToString(k.attributes[:8]) + "..."
	}
	return []Field{
		{"issuer", k.issuer},
		{"subject", k.subject},
		{"audience", audience},
		{"authorized party", cmp.Or(k.party, "none")},
		{"role", k.role},
		{"session name", k.session},
		{"region", k.region},
		{"duration", k.duration.String()},
		{"session tags and source identity", tags},
	}
}

package sigv4

import (
	"encoding/json"
	"log/slog"
	"sync/atomic"
)

const redacted = "[redacted]"

// Credentials are lent AWS credentials. Only the access key id is ever shown: it names the credentials in CloudTrail
// and gives nobody access. They carry the signing key of the day, so that it is derived once, not for each request;
// hence they are passed by pointer and never copied.
type Credentials struct {
	AccessKeyID     string
	secretAccessKey secret
	sessionToken    secret
	key             atomic.Pointer[signingKey]
}

// NewCredentials wraps the three parts that STS gives. Long-lived credentials have no session token: "".
func NewCredentials(accessKeyID, secretAccessKey, sessionToken string) *Credentials {
	return &Credentials{AccessKeyID: accessKeyID, secretAccessKey: secret{&secretAccessKey}, sessionToken: secret{&sessionToken}}
}

// signingKey gives the key for a day (YYYYMMDD, UTC), region and service: the one at hand, or a new one that takes its
// place. Two requests that find none derive the same key twice, which harms nobody.
func (c *Credentials) signingKey(day, region, service string) *signingKey {
	if k := c.key.Load(); k != nil && k.day == day && k.region == region && k.service == service {
		return k
	}
	k := deriveKey(c, day, region, service)
	c.key.Store(k)
	return k
}

// String prints the access key id and "[redacted]".
func (c *Credentials) String() string {
	if c == nil {
		return "<nil>"
	}
	return "sigv4.Credentials{AccessKeyID: " + c.AccessKeyID + ", " + redacted + "}"
}

// GoString prints what String prints.
func (c *Credentials) GoString() string { return c.String() }

// LogValue logs what String prints.
func (c *Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON writes what String prints, as a string.
func (c *Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// secret is a text that prints "[redacted]". It stands behind a pointer because fmt calls no method of an unexported
// field: printing a struct that holds one by value then shows an address.
type secret struct{ text *string }

func (s secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

func (secret) String() string               { return redacted }
func (secret) GoString() string             { return redacted }
func (secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Proxy is one proxy with its references followed, its defaults filled in and its settings validated: what the
// gateway is made from. Load makes it from files, Resolve from documents.
//
// +kubebuilder:object:generate=false
type Proxy struct {
	Name, Namespace string

	// RemoteURL is where requests go: scheme, host, path and query exactly as they will be sent and signed.
	RemoteURL string
	// ResourceURL is the public URL of this proxy's MCP endpoint (RFC 9728 "resource"), its path included; "" where
	// none is given.
	ResourceURL string
	// Endpoint is the path that MCP is served on: the path of ResourceURL, "/mcp" without one.
	Endpoint string
	// Port is the port to listen on.
	Port int32

	// OIDC says whose tokens are accepted. Nil only where the document acknowledges that callers are not authenticated.
	OIDC *OIDCProvider
	// AWSSTS says how tokens become AWS credentials. Nil: requests leave unsigned.
	AWSSTS *AWSSTS
	// Authz says what callers may do. Nil: no policy decides.
	Authz *Authz
	// Tools says which tools are offered, and as what. Nil: all of them, as the remote has them.
	Tools *Tools
	// RequiredScopes are the scopes that every token must have.
	RequiredScopes []string

	// AllowedOrigins are the values of the Origin header that are let in, besides none at all.
	AllowedOrigins []string
	// CABundle is PEM: who may vouch for the remote, besides the system's authorities.
	CABundle []byte
	// SessionKey is what session ids are bound with. Empty: a key made at start, good for this process alone.
	SessionKey Secret
	Limits     Limits
	Audit      Audit
	// Telemetry says where metrics and traces go. Nil: the documents say nothing.
	Telemetry *Telemetry
	// TrustedProxies are the networks whose X-Forwarded-For is believed when a record names a source address.
	TrustedProxies []netip.Prefix
	// Console is the page that shows the life of the gateway. Nil: there is none.
	Console *Console

	places map[string]*document // by kind: where the settings were read from; nil without files
}

// OIDCProvider is an identity provider whose tokens are accepted.
//
// +kubebuilder:object:generate=false
type OIDCProvider struct {
	Issuer   string // compared byte for byte with iss and with the discovery document
	Audience string // must be one of aud
	JWKSURL  string // "": from the discovery document
	CABundle []byte // PEM, besides the system's authorities
	Scopes   []string
	// InsecureAllowHTTP lets the issuer and the key set be http:// URLs.
	InsecureAllowHTTP bool
}

// Limits bound what a slow or greedy client can hold. Zero means the default.
type Limits struct {
	// MaxBodyBytes bounds the body of a request. Default 8388608 (8 MiB). Over it: 413.
	// At least 1024.
	// +kubebuilder:validation:Minimum=1024
	// +optional
	MaxBodyBytes int64 `json:"maxBodyBytes,omitempty"`
	// MaxHeaderBytes bounds the headers of a request. Default 65536. Read at start; a change needs a restart.
	// At least 8192.
	// +kubebuilder:validation:Minimum=8192
	// +optional
	MaxHeaderBytes int32 `json:"maxHeaderBytes,omitempty"`
	// HeaderTimeout bounds how long the headers of a request may take, TLS handshake included. Default "10s". Read at start.
	// +optional
	HeaderTimeout Duration `json:"headerTimeout,omitempty"`
	// BodyTimeout bounds how long the body of a request may take. Default "30s".
	// +optional
	BodyTimeout Duration `json:"bodyTimeout,omitempty"`
	// IdleTimeout bounds how long a connection may wait for its next request. Default "2m". Read at start.
	// +optional
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// WriteTimeout bounds how long one write to a client may block: a client that stops reading is let go, a quiet
	// stream is not. Default "30s".
	// +optional
	WriteTimeout Duration `json:"writeTimeout,omitempty"`
	// ResponseTimeout bounds how long the remote may take to begin its answer. Default "5m".
	// +optional
	ResponseTimeout Duration `json:"responseTimeout,omitempty"`
	// MaxConnections bounds the open connections; more wait to be accepted. Default 10000. Read at start.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxConnections int32 `json:"maxConnections,omitempty"`
	// MaxStreamsPerCaller bounds the requests that one caller (issuer and subject) has open at once, streams included.
	// Default 100. Over it: 429.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxStreamsPerCaller int32 `json:"maxStreamsPerCaller,omitempty"`
}

// Duration is a length of time, written as Go writes it: "30s", "5m", "1h30m".
//
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
type Duration string

// Std is the duration, and 0 for one that is empty or can't be read (which Validate refuses).
func (d Duration) Std() time.Duration {
	v, err := time.ParseDuration(string(d))
	if err != nil {
		return 0
	}
	return v
}

// Secret is a secret value. Whatever prints it prints "[redacted]"; Reveal alone gives it.
//
// +kubebuilder:object:generate=false
type Secret struct{ value string }

// NewSecret wraps a secret value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal gives the value.
func (s Secret) Reveal() string { return s.value }

// String prints "[redacted]".
func (Secret) String() string { return "[redacted]" }

// GoString prints "[redacted]".
func (Secret) GoString() string { return "[redacted]" }

// LogValue logs "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON writes "[redacted]".
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

package config

import (
	"fmt"
	"strings"
)

// Console says how the page of the admin address that shows the life of the gateway is protected. A proxy whose console
// is off has none.
//
// +kubebuilder:object:generate=false
type Console struct {
	Token Secret // asked for as a bearer token; empty: nobody is asked, which is for a loopback address alone
}

// ProxyConsole is the page /console of the admin address: what the gateway does, as it does it, for operators.
type ProxyConsole struct {
	// Enabled serves the page. Read at start.
	// +optional
	Enabled bool `json:"enabled,omitempty"`
	// TokenSecretRef names a Secret with the bearer token that the page asks for: at least 32 characters, no space among
	// them. Default: none is asked for, and the admin address must be a loopback address. Read at start.
	// +optional
	TokenSecretRef *SecretKeyRef `json:"tokenSecretRef,omitempty"`
}

const minConsoleToken = 32

func (c *checker) console(p *ProxyConsole) {
	if p == nil {
		return
	}
	c.secretKey("console.tokenSecretRef", p.TokenSecretRef)
	if !p.Enabled && p.TokenSecretRef != nil {
		c.warn("console.enabled", "is not true, so there is no console", "true")
	}
}

// console is nil where the console is off. The white space that editors leave at the end of a Secret is not part of the
// token, since no header can hold it.
func (r *resolver) console(p *ProxyConsole) *Console {
	if p == nil || !p.Enabled {
		return nil
	}
	ref := p.TokenSecretRef
	if ref == nil || !goodRef(ref.Name, ref.Key) {
		return new(Console)
	}
	const field, mend = "console.tokenSecretRef", "at least 32 characters, such as those of: head -c 32 /dev/urandom | base64"
	data, err := r.from.Secret(ref.Name, ref.Key)
	if err != nil {
		r.proxy.mistake(field, err.Error(), "a bearer token there")
		return new(Console)
	}
	token := strings.TrimSpace(string(data))
	switch {
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		r.proxy.mistake(field, fmt.Sprintf("Secret %s, key %s, holds what no header can hold", ref.Name, ref.Key), mend)
	case len(token) < minConsoleToken:
		r.proxy.mistake(field, fmt.Sprintf("Secret %s, key %s, holds %d characters", ref.Name, ref.Key, len(token)), mend)
	}
	return &Console{Token: NewSecret(token)}
}

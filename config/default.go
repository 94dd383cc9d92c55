package config

import (
	"cmp"
	"encoding/json"
)

// Default fills in what the document leaves open.
func (p *RemoteProxy) Default() {
	p.ProxyPort = cmp.Or(p.ProxyPort, p.OldPort, 8080)
	p.Transport = cmp.Or(p.Transport, "streamable-http")
	p.CABundleRef.setDefaults()
	if p.OIDC != nil {
		if in := p.OIDC.Inline; in != nil {
			in.CABundleRef.setDefaults()
			p.OIDC.Scopes = firstOf(p.OIDC.Scopes, in.Scopes)
		}
		p.OIDC.Scopes = firstOf(p.OIDC.Scopes, []string{"openid"})
	}
	if p.OIDCRef != nil {
		p.OIDCRef.Scopes = firstOf(p.OIDCRef.Scopes, []string{"openid"})
	}
	if _, resource := p.resource(); len(p.AllowedOrigins) == 0 {
		if u, wrong := parseURL(resource); wrong == "" {
			p.AllowedOrigins = []string{origin(u)}
		}
	}
	if p.AuthzConfig != nil {
		p.AuthzConfig.setDefaults()
	}
	if p.Telemetry != nil && p.Telemetry.OpenTelemetry != nil {
		p.Telemetry.OpenTelemetry.setDefaults()
	}
	p.Limits.setDefaults()
	p.Audit.setDefaults()
}

func (l *Limits) setDefaults() {
	l.MaxBodyBytes = cmp.Or(l.MaxBodyBytes, 8<<20)
	l.MaxHeaderBytes = cmp.Or(l.MaxHeaderBytes, 64<<10)
	l.HeaderTimeout = cmp.Or(l.HeaderTimeout, "10s")
	l.BodyTimeout = cmp.Or(l.BodyTimeout, "30s")
	l.IdleTimeout = cmp.Or(l.IdleTimeout, "2m")
	l.WriteTimeout = cmp.Or(l.WriteTimeout, "30s")
	l.ResponseTimeout = cmp.Or(l.ResponseTimeout, "5m")
	l.MaxConnections = cmp.Or(l.MaxConnections, 10000)
	l.MaxStreamsPerCaller = cmp.Or(l.MaxStreamsPerCaller, 100)
}

// Default fills in what the document leaves open.
func (o *OIDCConfig) Default() {
	if o.Inline != nil {
		o.Inline.CABundleRef.setDefaults()
	}
}

// Default fills in what the document leaves open.
func (a *ExternalAuth) Default() {
	s := a.AWSSTS
	if s == nil {
		return
	}
	s.Service = cmp.Or(s.Service, "aws-mcp")
	s.RoleClaim = cmp.Or(s.RoleClaim, "groups")
	s.SessionNameClaim = cmp.Or(s.SessionNameClaim, "sub")
	if s.SessionDuration == nil {
		s.SessionDuration = new(int32(3600))
	}
	for i := range s.RoleMappings {
		if m := &s.RoleMappings[i]; m.Matcher != "" {
			m.OnError = cmp.Or(m.OnError, "skip")
		}
	}
}

func (r *CABundleRef) setDefaults() {
	if r != nil && r.ConfigMapRef != nil {
		r.ConfigMapRef.Key = cmp.Or(r.ConfigMapRef.Key, "ca.crt")
	}
}

func firstOf(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// clone copies a spec, so that defaults are never written into a document that others hold.
func clone[T any](v *T) *T {
	out := new(T)
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil { // a spec is plain data, whose JSON can be read
		panic("config: clone: " + err.Error())
	}
	return out
}

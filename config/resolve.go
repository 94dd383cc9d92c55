package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
)

// Sources finds what a proxy refers to, in the proxy's own namespace. An error's text is part of what the user reads:
// say what is missing and where it was looked for, never a secret.
//
// +kubebuilder:object:generate=false
type Sources struct {
	ExternalAuth    func(name string) (*ExternalAuth, error)
	OIDCConfig      func(name string) (*OIDCConfig, error)
	AuthzConfig     func(name string) (*AuthzConfig, error)
	ToolConfig      func(name string) (*ToolConfig, error)
	TelemetryConfig func(name string) (*TelemetryConfig, error) // nil: none can be referred to
	Secret          func(name, key string) ([]byte, error)
	ConfigMap       func(name, key string) ([]byte, error)
}

// Resolve makes a proxy of its spec: fills in the defaults, validates it and everything that it refers to, and follows
// the references. The proxy is nil exactly when there is a mistake. Nothing that is passed in or found is changed.
func Resolve(name, namespace string, spec *RemoteProxy, from Sources) (*Proxy, Problems) {
	p, problems := resolve(name, namespace, spec, from)
	if len(problems.Errors()) > 0 {
		return nil, problems
	}
	return p, problems
}

// resolve is Resolve, but also gives a proxy that a mistake keeps from being used.
func resolve(name, namespace string, spec *RemoteProxy, from Sources) (*Proxy, Problems) {
	spec = clone(spec)
	spec.Default()
	r := resolver{from: from, proxy: newChecker(KindProxy), auth: newChecker(KindAuth), oidc: newChecker(KindOIDC)}
	r.proxy.problems = spec.Validate()
	if !goodProxyName(name) {
		r.proxy.mistake("metadata.name", quote(name)+" is not a name", proxyNameRule)
	}
	_, remote := spec.remote()
	_, resource := spec.resource()
	p := &Proxy{
		Name: name, Namespace: namespace,
		RemoteURL:      remote,
		ResourceURL:    advertised(resource),
		Endpoint:       endpoint(resource),
		Port:           spec.ProxyPort,
		AllowedOrigins: spec.AllowedOrigins,
		CABundle:       r.bundle(r.proxy, "caBundleRef", spec.CABundleRef),
		SessionKey:     r.sessionKey(spec.SessionKeyRef),
		Limits:         spec.Limits,
		Audit:          spec.Audit,
		Telemetry:      r.telemetry(spec),
		TrustedProxies: networks(spec.TrustedProxies),
		Console:        r.console(spec.Console),
		OIDC:           r.provider(spec),
		AWSSTS:         r.awsSTS(spec),
		Authz:          r.authz(spec),
		Tools:          r.tools(spec),
		RequiredScopes: spec.RequiredScopes,
	}
	if p.OIDC != nil {
		p.OIDC.Scopes = advertisedScopes(p.OIDC.Scopes, spec.RequiredScopes)
	}
	r.together(spec, p)
	return p, slices.Concat(r.proxy.problems, r.auth.problems, r.oidc.problems, r.shared)
}

// offlineAccess asks the provider for a refresh token (OpenID Connect Core, section 11). No resource needs it, so it is
// not advertised for one.
const offlineAccess = "offline_access"

// advertisedScopes are the scopes that clients are told of: those that are configured, and those that every token must
// have.
func advertisedScopes(configured, required []string) []string {
	all := slices.Clone(configured)
	for _, s := range required {
		if s != offlineAccess && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// endpoint is the path of a public URL, "/mcp" where it has none.
func endpoint(resource string) string {
	if u, wrong := parseURL(resource); wrong == "" && u.Path != "" {
		return u.Path
	}
	return "/mcp"
}

// advertised is the public URL of the endpoint itself: what clients call is what the metadata must name (RFC 9728,
// section 3.3).
func advertised(resource string) string {
	if u, wrong := parseURL(resource); wrong == "" && u.Path == "" {
		return resource + endpoint(resource)
	}
	return resource
}

// resolver follows the references of one proxy. It has a checker for each document that a problem can be in.
type resolver struct {
	from              Sources
	proxy, auth, oidc *checker
	shared            Problems // of the other documents
}

func (r *resolver) provider(spec *RemoteProxy) *OIDCProvider {
	if o := spec.OIDC; o != nil && o.Inline != nil {
		return r.inline(r.proxy, "oidcConfig.inline", o.Inline, o.Inline.Audience, o.Scopes)
	}
	ref := spec.OIDCRef
	if ref == nil || !dnsSubdomain.MatchString(ref.Name) {
		return nil
	}
	shared, err := r.from.OIDCConfig(ref.Name)
	if err != nil {
		r.proxy.mistake("oidcConfigRef.name", err.Error(), "the name of an "+KindOIDC)
		return nil
	}
	shared = clone(shared)
	shared.Default()
	r.oidc.problems = shared.Validate()
	if shared.Inline == nil {
		return nil
	}
	return r.inline(r.oidc, "inline", shared.Inline, ref.Audience, ref.Scopes)
}

func (r *resolver) inline(c *checker, path string, in *OIDCInline, audience string, scopes []string) *OIDCProvider {
	return &OIDCProvider{
		Issuer: in.Issuer, Audience: audience, JWKSURL: in.JWKSURL, Scopes: scopes,
		CABundle:          r.bundle(c, path+".caBundleRef", in.CABundleRef),
		InsecureAllowHTTP: in.InsecureAllowHTTP,
	}
}

func (r *resolver) awsSTS(spec *RemoteProxy) *AWSSTS {
	const unsigned = "so requests leave unsigned"
	ref := spec.ExternalAuthConfigRef
	if ref == nil {
		r.proxy.warn("externalAuthConfigRef", "is missing, "+unsigned, "the name of an "+KindAuth+" of type awsSts")
		return nil
	}
	if !dnsSubdomain.MatchString(ref.Name) {
		return nil
	}
	auth, err := r.from.ExternalAuth(ref.Name)
	if err != nil {
		r.proxy.mistake("externalAuthConfigRef.name", err.Error(), "the name of an "+KindAuth)
		return nil
	}
	auth = clone(auth)
	auth.Default()
	r.auth.problems = auth.Validate()
	if auth.Type == "unauthenticated" {
		r.auth.warn("type", "is unauthenticated, "+unsigned, "awsSts for an AWS endpoint")
	}
	return auth.AWSSTS
}

// together checks what only the documents together can get wrong.
func (r *resolver) together(spec *RemoteProxy, p *Proxy) {
	r.recordsToSend(spec, p)
	if p.AWSSTS == nil {
		return
	}
	if spec.Unauthenticated != nil && spec.Unauthenticated.Acknowledge {
		r.proxy.mistake("unauthenticated", "is acknowledged, but awsSts needs the caller's token", "oidcConfig, or an external authentication of type unauthenticated")
	}
	field, raw := spec.remote()
	if u, wrong := parseURL(raw); wrong == "" {
		for label := range strings.SplitSeq(strings.ToLower(u.Hostname()), ".") {
			if partitionOf(label) != "" && label != p.AWSSTS.Region {
				r.proxy.warn(field, fmt.Sprintf("is in %s, but awsSts.region, which is signed for, is %s", label, quote(p.AWSSTS.Region)), "one region")
			}
		}
	}
	if p.OIDC == nil {
		return
	}
	u, wrong := parseURL(p.OIDC.Issuer)
	if wrong == "" && !loopback(u) && (u.Port() != "" || u.Scheme == "http" && p.OIDC.InsecureAllowHTTP) {
		c, field := r.proxy, "oidcConfig.inline.issuer"
		if spec.OIDCRef != nil {
			c, field = r.oidc, "inline.issuer"
		}
		c.warn(field, "can't be registered with AWS IAM, so STS would refuse its tokens", "an https issuer without a port")
	}
}

// bundle reads the PEM certificates that a reference names; nil for no reference.
func (r *resolver) bundle(c *checker, path string, ref *CABundleRef) []byte {
	if ref == nil || ref.ConfigMapRef == nil || !goodRef(ref.ConfigMapRef.Name, ref.ConfigMapRef.Key) {
		return nil
	}
	data, err := r.from.ConfigMap(ref.ConfigMapRef.Name, ref.ConfigMapRef.Key)
	if err != nil {
		c.mistake(path+".configMapRef", err.Error(), "PEM certificates there")
		return nil
	}
	if wrong := certificates(data); wrong != "" {
		c.mistake(path+".configMapRef", fmt.Sprintf("ConfigMap %s, key %s, %s", ref.ConfigMapRef.Name, ref.ConfigMapRef.Key, wrong), "PEM certificates there")
	}
	return data
}

// certificates says what is wrong with a CA bundle, "" for nothing.
func certificates(data []byte) string {
	n := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "holds a certificate that can't be read"
		}
		n++
	}
	if n == 0 {
		return "holds no certificate"
	}
	return ""
}

func (r *resolver) sessionKey(ref *SecretKeyRef) Secret {
	if ref == nil || !goodRef(ref.Name, ref.Key) {
		return Secret{}
	}
	data, err := r.from.Secret(ref.Name, ref.Key)
	if err != nil {
		r.proxy.mistake("sessionKeyRef", err.Error(), "a key of at least 32 random bytes there")
		return Secret{}
	}
	if n := len(data); n < 32 {
		r.proxy.mistake("sessionKeyRef", fmt.Sprintf("Secret %s, key %s, holds %d bytes", ref.Name, ref.Key, n), "at least 32 random bytes")
	}
	return NewSecret(string(data))
}

// goodRef tells whether a reference passed validation, and so may be followed.
func goodRef(name, key string) bool {
	c := newChecker("")
	c.objectName("", name)
	c.valueKey("", key)
	return len(c.problems) == 0
}

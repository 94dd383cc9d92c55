package config

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Validate checks what the spec itself says, with its defaults filled in. What it refers to is Resolve's to check.
func (p *RemoteProxy) Validate() Problems {
	c := newChecker(KindProxy)
	c.inspect(reflect.ValueOf(p), "")
	c.remoteURL(p)
	c.port(p)
	switch p.Transport {
	case "streamable-http":
	case "sse":
		c.mistake("transport", "sse is refused: MCP has retired it", "streamable-http")
	case "stdio":
		c.mistake("transport", "stdio is refused: a remote is reached over HTTP", "streamable-http")
	default:
		c.mistake("transport", quote(p.Transport)+" is not known", "streamable-http")
	}
	c.incoming(p)
	c.resourceURL(p)
	c.origins(p.AllowedOrigins)
	c.caBundle("caBundleRef", p.CABundleRef)
	c.secretKey("sessionKeyRef", p.SessionKeyRef)
	if p.ExternalAuthConfigRef != nil {
		c.objectName("externalAuthConfigRef.name", p.ExternalAuthConfigRef.Name)
	}
	c.requiredScopes(p)
	c.authz(p)
	c.tools(p)
	c.limits(&p.Limits)
	c.audit(&p.Audit)
	c.telemetry(p)
	c.trustedProxies(p.TrustedProxies)
	c.console(p.Console)
	return c.problems
}

func (c *checker) remoteURL(p *RemoteProxy) {
	const example = "the MCP endpoint to forward to, such as https://aws-mcp.us-east-1.api.aws/mcp"
	field, raw := p.remote()
	if raw == "" {
		c.mistake(field, "is missing", example)
		return
	}
	if p.RemoteURL != "" && p.OldRemoteURL != "" && p.RemoteURL != p.OldRemoteURL {
		c.mistake("remoteURL", "is not what remoteUrl says", "one of the two spellings")
	}
	u, wrong := parseURL(raw)
	switch {
	case wrong != "":
		c.mistake(field, wrong, example)
	case u.Scheme == "http" && !loopback(u) && !p.AllowInsecureRemote:
		c.mistake(field, quote(raw)+" would send signed requests in the clear", "https, or allowInsecureRemote: true")
	}
}

func (c *checker) port(p *RemoteProxy) {
	field := "proxyPort"
	if p.OldPort != 0 {
		if p.OldPort != p.ProxyPort {
			c.mistake("port", fmt.Sprintf("is %d, but proxyPort is %d", p.OldPort, p.ProxyPort), "proxyPort alone")
		}
		c.warn("port", "is the older spelling", "proxyPort")
		field = "port"
	}
	if p.ProxyPort < 1 || p.ProxyPort > 65535 {
		c.mistake(field, fmt.Sprintf("%d is not a port", p.ProxyPort), "1 to 65535")
	}
}

// incoming checks who is let in. A proxy that asks nobody must say so in so many words.
func (c *checker) incoming(p *RemoteProxy) {
	open := p.Unauthenticated != nil && p.Unauthenticated.Acknowledge
	switch {
	case p.OIDC != nil && p.OIDCRef != nil:
		c.mistake("oidcConfigRef", "is set, and so is oidcConfig", "one of them")
	case open && (p.OIDC != nil || p.OIDCRef != nil):
		c.mistake("unauthenticated", "is acknowledged, but callers are asked for tokens", "remove it, or remove the oidcConfig")
	case !open && p.OIDC == nil && p.OIDCRef == nil:
		c.mistake("oidcConfig", "is missing, so anybody would be let in", "oidcConfig or oidcConfigRef; for an open proxy, unauthenticated: {acknowledge: true}")
	}
	if p.OIDC != nil {
		c.oidc(p.OIDC)
	}
	if r := p.OIDCRef; r != nil {
		c.objectName("oidcConfigRef.name", r.Name)
		c.audience("oidcConfigRef.audience", r.Audience)
		c.scopes("oidcConfigRef.scopes", r.Scopes)
	}
}

func (c *checker) requiredScopes(p *RemoteProxy) {
	if len(p.RequiredScopes) > 0 && p.Unauthenticated != nil && p.Unauthenticated.Acknowledge {
		c.mistake("requiredScopes", "are set, but nobody is asked for a token", "oidcConfig, or no requiredScopes")
	}
	c.scopes("requiredScopes", p.RequiredScopes)
	if i := slices.Index(p.RequiredScopes, offlineAccess); i >= 0 {
		c.warn(fmt.Sprintf("requiredScopes[%d]", i), "is not advertised, so clients can't know that they need it", "a scope that says what a token may do")
	}
}

func (c *checker) oidc(o *OIDC) {
	c.block(o.Type, "inline", "inline", "Kubernetes service account tokens and ConfigMaps are not read by this version", map[string]bool{
		"inline": o.Inline != nil, "kubernetes": o.Kubernetes != nil, "configMap": o.ConfigMap != nil,
	}, "oidcConfig")
	c.scopes("oidcConfig.scopes", o.Scopes)
	if in := o.Inline; in != nil {
		c.provider("oidcConfig.inline", in)
		c.audience("oidcConfig.inline.audience", in.Audience)
		if len(in.Scopes) > 0 && !slices.Equal(in.Scopes, o.Scopes) {
			c.mistake("oidcConfig.inline.scopes", "is not what oidcConfig.scopes says", "oidcConfig.scopes alone")
		}
	}
}

// Validate checks what the spec itself says, with its defaults filled in.
func (o *OIDCConfig) Validate() Problems {
	c := newChecker(KindOIDC)
	c.inspect(reflect.ValueOf(o), "")
	c.block(o.Type, "inline", "inline", "Kubernetes service account tokens are not verified by this version", map[string]bool{
		"inline": o.Inline != nil, "kubernetesServiceAccount": o.KubernetesServiceAccount != nil,
	}, "")
	if in := o.Inline; in != nil {
		c.provider("inline", in)
		if in.Audience != "" {
			c.mistake("inline.audience", "is each proxy's own", "remove it here, and set oidcConfigRef.audience of the proxies")
		}
		if len(in.Scopes) > 0 {
			c.mistake("inline.scopes", "are each proxy's own", "remove them here, and set oidcConfigRef.scopes of the proxies")
		}
	}
	return c.problems
}

// Validate checks what the spec itself says, with its defaults filled in.
func (a *ExternalAuth) Validate() Problems {
	c := newChecker(KindAuth)
	c.inspect(reflect.ValueOf(a), "")
	blocks := map[string]bool{
		"awsSts": a.AWSSTS != nil, "tokenExchange": a.TokenExchange != nil, "headerInjection": a.HeaderInjection != nil,
		"bearerToken": a.BearerToken != nil, "embeddedAuthServer": a.EmbeddedAuthServer != nil,
		"upstreamInject": a.UpstreamInject != nil, "obo": a.OBO != nil, "xaa": a.XAA != nil, "unauthenticated": false,
	}
	c.block(a.Type, "awsSts", "awsSts, or unauthenticated for a remote that wants nothing",
		"this version can't satisfy a remote in that way, and would forward requests that it refuses", blocks, "")
	if a.AWSSTS != nil {
		c.awsSTS(a.AWSSTS)
	}
	return c.problems
}

// block checks a type field and the blocks that it chooses from: the one that it names is set, and no other. Only the
// type known is acted on, besides unauthenticated, which has no block; the other types of the API are refused.
func (c *checker) block(typ, known, right, refusal string, set map[string]bool, path string) {
	_, ofAPI := set[typ]
	switch {
	case typ == "":
		c.mistake(join(path, "type"), "is missing", right)
	case !ofAPI:
		c.mistake(join(path, "type"), quote(typ)+" is not known", right)
	case typ == known && !set[known]:
		c.mistake(join(path, known), "is missing, but type is "+typ, "the block "+known)
	case typ != known && typ != "unauthenticated":
		c.mistake(join(path, "type"), typ+" is refused: "+refusal, right)
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] && ofAPI && name != typ {
			c.mistake(join(path, name), "is set, but type is "+typ, "the block that type names alone")
		}
	}
}

// provider checks the settings of an OpenID Connect provider.
func (c *checker) provider(path string, in *OIDCInline) {
	if in.Issuer == "" {
		c.mistake(path+".issuer", "is missing", "the provider's issuer, as its tokens have it in iss")
	} else if u := c.secureURL(path+".issuer", in.Issuer, in.InsecureAllowHTTP); u != nil && (u.RawQuery != "" || u.ForceQuery) {
		c.mistake(path+".issuer", quote(in.Issuer)+" has a query", "an issuer without one (OpenID Connect Discovery, section 3)")
	}
	if in.JWKSURL != "" {
		c.secureURL(path+".jwksUrl", in.JWKSURL, in.InsecureAllowHTTP)
	}
	c.caBundle(path+".caBundleRef", in.CABundleRef)
}

// secureURL checks a URL that keys are trusted from; nil where it is no good.
func (c *checker) secureURL(field, raw string, allowHTTP bool) *url.URL {
	u, wrong := parseURL(raw)
	switch {
	case wrong != "":
		c.mistake(field, wrong, "an https URL")
		return nil
	case u.Scheme == "http" && !allowHTTP:
		c.mistake(field, quote(raw)+" is not https", "https; for tests, insecureAllowHTTP: true")
		return nil
	case u.Scheme == "http" && !loopback(u):
		c.warn(field, "is http: whoever can change that traffic can sign tokens", "https")
	}
	return u
}

func (c *checker) resourceURL(p *RemoteProxy) {
	if p.OIDC == nil && p.OIDCRef == nil {
		return
	}
	const example = "the URL that clients use, such as https://mcp.example.com/mcp"
	field, raw := p.resource()
	if raw == "" {
		c.warn(field, "is missing, so clients can't discover where to sign in", example)
		return
	}
	u, wrong := parseURL(raw)
	switch {
	case wrong != "":
		c.mistake(field, wrong, example)
	case u.RawQuery != "" || u.ForceQuery:
		c.mistake(field, quote(raw)+" has a query", example)
	case !plainPath.MatchString(u.EscapedPath()):
		c.mistake(field, quote(raw)+" has a percent-encoded path", example)
	case strings.HasPrefix(u.Path, "/.well-known/"):
		c.mistake(field, quote(raw)+" is where the metadata is served", example)
	case u.Path == "":
		c.warn(field, "has no path, yet MCP is served on /mcp", raw+"/mcp")
	}
	if u != nil && u.Scheme == "http" && !loopback(u) {
		c.warn(field, "is http: tokens would cross the network in the clear", "https")
	}
}

func (c *checker) origins(all []string) {
	if len(all) > 64 {
		c.mistake("allowedOrigins", fmt.Sprintf("has %d origins", len(all)), "at most 64")
	}
	for i, o := range all {
		field := fmt.Sprintf("allowedOrigins[%d]", i)
		const right = "scheme://host[:port], as browsers send it"
		if o == "*" || o == "null" {
			c.mistake(field, quote(o)+" would let any page call", right)
		} else if u, wrong := parseURL(o); wrong != "" {
			c.mistake(field, wrong, right)
		} else if want := origin(u); o != want {
			c.mistake(field, quote(o)+" is not an origin", want)
		}
	}
}

func (c *checker) audience(field, value string) {
	if value == "" {
		c.mistake(field, "is missing, so tokens for anything else would pass", "the audience in your tokens' aud")
	}
}

// RFC 6749, section 3.3: a scope is printable ASCII without space, quote and backslash.
var scopeForm = regexp.MustCompile(`^[!#-\[\]-~]+$`)

func (c *checker) scopes(field string, scopes []string) {
	for i, s := range scopes {
		if !scopeForm.MatchString(s) {
			c.mistake(fmt.Sprintf("%s[%d]", field, i), quote(s)+" is not a scope", "one scope an item, without spaces and quotes")
		}
	}
}

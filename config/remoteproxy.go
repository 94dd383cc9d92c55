package config

// RemoteProxy is the spec of an MCPRemoteProxy: where requests go, whose tokens let them in, and what satisfies the
// remote.
//
// +kubebuilder:validation:XValidation:rule="has(self.remoteUrl) || has(self.remoteURL)",message="remoteUrl is required"
// +kubebuilder:validation:XValidation:rule="!(has(self.oidcConfig) && has(self.oidcConfigRef))",message="only one of oidcConfig and oidcConfigRef may be set"
// +kubebuilder:validation:XValidation:rule="!(has(self.authzConfig) && has(self.authzConfigRef))",message="only one of authzConfig and authzConfigRef may be set"
// +kubebuilder:validation:XValidation:rule="!(has(self.telemetry) && has(self.telemetryConfigRef))",message="only one of telemetry and telemetryConfigRef may be set"
// +kubebuilder:validation:XValidation:rule="has(self.oidcConfig) || has(self.oidcConfigRef) || (has(self.unauthenticated) && self.unauthenticated.acknowledge)",message="oidcConfig or oidcConfigRef is required, unless unauthenticated.acknowledge is true"
type RemoteProxy struct {
	// RemoteURL is the MCP endpoint that requests are forwarded to, such as "https://aws-mcp.us-east-1.api.aws/mcp".
	// Its path and query are sent, and signed, as written. Required, in this spelling or as remoteURL.
	// +kubebuilder:validation:Pattern=`^https?://`
	// +optional
	RemoteURL string `json:"remoteUrl,omitempty"`
	// OldRemoteURL is the older spelling of remoteUrl, just as good.
	// +kubebuilder:validation:Pattern=`^https?://`
	// +optional
	OldRemoteURL string `json:"remoteURL,omitempty"`
	// AllowInsecureRemote lets the remote be an http:// URL on a host other than this machine: calls, answers and
	// signed headers then cross the network in the clear.
	// +optional
	AllowInsecureRemote bool `json:"allowInsecureRemote,omitempty"`
	// CABundleRef names the certificates that may vouch for the remote, besides the system's authorities.
	// +optional
	CABundleRef *CABundleRef `json:"caBundleRef,omitempty"`
	// ProxyPort is the port to listen on. Default 8080.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	ProxyPort int32 `json:"proxyPort,omitempty"`
	// OldPort is the older spelling of proxyPort; a warning says so.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	OldPort int32 `json:"port,omitempty"`
	// Transport is the MCP transport. Default "streamable-http", the only one: MCP has retired sse.
	// +kubebuilder:validation:Enum=streamable-http
	// +kubebuilder:default=streamable-http
	// +optional
	Transport string `json:"transport,omitempty"`

	// OIDC says whose tokens are accepted. Either this or oidcConfigRef is required, unless unauthenticated is
	// acknowledged.
	// +optional
	OIDC *OIDC `json:"oidcConfig,omitempty"`
	// OIDCRef names an MCPOIDCConfig of the same namespace that says whose tokens are accepted.
	// +optional
	OIDCRef *OIDCRef `json:"oidcConfigRef,omitempty"`
	// Unauthenticated admits that nobody is asked for a token. It can't be combined with awsSts.
	// +optional
	Unauthenticated *Unauthenticated `json:"unauthenticated,omitempty"`
	// RequiredScopes are the scopes that every token must have. They are advertised to clients too, beside the scopes of
	// oidcConfig or oidcConfigRef, except offline_access. Default: none.
	// +listType=atomic
	// +optional
	RequiredScopes []string `json:"requiredScopes,omitempty"`
	// AuthzConfig says what callers may do. Default: whatever the remote lets them; no policy decides.
	// +optional
	AuthzConfig *ProxyAuthz `json:"authzConfig,omitempty"`
	// AuthzConfigRef names an MCPAuthzConfig of the same namespace that says what callers may do.
	// +optional
	AuthzConfigRef *Ref `json:"authzConfigRef,omitempty"`
	// ToolConfigRef names an MCPToolConfig of the same namespace that says which tools are offered, and as what.
	// Default: all of them, as the remote has them.
	// +optional
	ToolConfigRef *Ref `json:"toolConfigRef,omitempty"`
	// Tools are the names of the tools that are offered: the toolsFilter of older documents. With toolConfigRef it has no
	// effect, and a warning says so.
	// +listType=atomic
	// +optional
	Tools []string `json:"tools,omitempty"`
	// ExternalAuthConfigRef names the MCPExternalAuthConfig of the same namespace that satisfies the remote. Without
	// one, requests leave unsigned and a warning says so.
	// +optional
	ExternalAuthConfigRef *Ref `json:"externalAuthConfigRef,omitempty"`
	// AllowedOrigins are the values of the Origin header that are let in, besides no Origin at all; such as
	// "https://app.example.com". Default: the origin of resourceUrl.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +optional
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
	// SessionKeyRef names a Secret of at least 32 bytes that session ids are bound with. Replicas must share it.
	// Default: a key made at start, good for one process and lost with it.
	// +optional
	SessionKeyRef *SecretKeyRef `json:"sessionKeyRef,omitempty"`
	// Limits bound what a slow or greedy client can hold.
	// +optional
	Limits Limits `json:"limits,omitzero"`
	// Audit says what is written down about requests.
	// +optional
	Audit Audit `json:"audit,omitzero"`
	// TrustedProxies are the networks of the proxies in front of this one, such as "10.0.0.0/8". Where a request comes
	// from one of them, the source address of its audit record is taken from X-Forwarded-For, up to the first address
	// that is not in one of them. Default: none, and X-Forwarded-For is not believed.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// Console is the page of the admin address that shows what the gateway does. Default: there is none.
	// +optional
	Console *ProxyConsole `json:"console,omitempty"`

	// AllowPrivateEndpoint changes nothing: where the remote may live is decided by who writes remoteUrl.
	// +optional
	AllowPrivateEndpoint bool `json:"allowPrivateEndpoint,omitempty"`
	// TrustProxyHeaders is about X-Forwarded-*, which changes no URL here.
	// +optional
	TrustProxyHeaders bool `json:"trustProxyHeaders,omitempty" inert:"the URLs that clients see come from resourceUrl, and X-Forwarded-For is believed only from trustedProxies, for the audit record"`
	// Telemetry says where metrics and traces go. Default: metrics are served on the admin address, and what is sent
	// is up to the environment variables OTEL_*. Read at start.
	// +optional
	Telemetry *ProxyTelemetry `json:"telemetry,omitempty"`
	// TelemetryConfigRef names an MCPTelemetryConfig of the same namespace that says where metrics and traces go.
	// +optional
	TelemetryConfigRef *TelemetryRef `json:"telemetryConfigRef,omitempty"`

	// HeaderForward adds headers to what the remote gets.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	HeaderForward *Opaque `json:"headerForward,omitempty" refused:"this version adds no headers, so the remote would miss them"`
	// AuthServerRef names an embedded authorization server.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	AuthServerRef *Opaque `json:"authServerRef,omitempty" refused:"this version has no authorization server, so nobody could sign in there"`
	// EndpointPrefix is a path prefix for SSE endpoint URLs.
	// +optional
	EndpointPrefix string `json:"endpointPrefix,omitempty" refused:"it belongs to the retired sse transport, and the path that MCP is served on is that of resourceUrl"`
}

// Cluster holds the settings of an MCPRemoteProxy that describe its pods and its Service. Files may hold them; only
// the operator acts on them.
//
// +kubebuilder:object:generate=false
type Cluster struct {
	// Resources are the pod's requests and limits.
	Resources *Opaque `json:"resources,omitempty"`
	// PodTemplateSpec is laid over the pod that the operator makes; the container is named toolhive.
	PodTemplateSpec *Opaque `json:"podTemplateSpec,omitempty"`
	// ResourceOverrides sets labels and annotations of the Deployment and the Service.
	ResourceOverrides *Opaque `json:"resourceOverrides,omitempty"`
	// Replicas is the number of pods.
	Replicas *Opaque `json:"replicas,omitempty"`
	// ServiceAccount is the pod's service account.
	ServiceAccount *Opaque `json:"serviceAccount,omitempty"`
	// GroupRef names the MCPGroup that the proxy belongs to.
	GroupRef *Opaque `json:"groupRef,omitempty"`
	// SessionAffinity is the Service's session affinity.
	SessionAffinity *Opaque `json:"sessionAffinity,omitempty"`
	// SessionStorage is not needed: any replica that has the key of sessionKeyRef can judge a session id.
	SessionStorage *Opaque `json:"sessionStorage,omitempty"`
}

// Unauthenticated admits, in so many words, that a proxy asks nobody for a token.
type Unauthenticated struct {
	// Acknowledge must be true: whoever reaches the port gets what the remote gives. Required.
	Acknowledge bool `json:"acknowledge"`
}

// remote is the remote's URL and the spelling that it was given in.
func (p *RemoteProxy) remote() (field, value string) {
	if p.RemoteURL == "" && p.OldRemoteURL != "" {
		return "remoteURL", p.OldRemoteURL
	}
	return "remoteUrl", p.RemoteURL
}

// resource is the public URL of the proxy and the field that it was given in.
func (p *RemoteProxy) resource() (field, value string) {
	if p.OIDCRef != nil {
		return "oidcConfigRef.resourceUrl", p.OIDCRef.ResourceURL
	}
	if p.OIDC != nil {
		return "oidcConfig.resourceUrl", p.OIDC.ResourceURL
	}
	return "oidcConfig.resourceUrl", ""
}

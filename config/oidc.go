package config

// OIDC says whose tokens are accepted, within the proxy's own document.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'inline' || has(self.inline)",message="inline is required with type inline"
type OIDC struct {
	// Type says where the provider's settings are: "inline". The others of this API (kubernetes, configMap) are
	// refused. Required.
	// +kubebuilder:validation:Enum=kubernetes;configMap;inline
	Type string `json:"type"`
	// ResourceURL is the public URL of this proxy's MCP endpoint (RFC 9728 "resource"), such as
	// "https://mcp.example.com/mcp". Its path is where MCP is served; without a path that is "/mcp". Without a
	// resourceUrl clients can't discover where to sign in, and a warning says so.
	// +optional
	ResourceURL string `json:"resourceUrl,omitempty"`
	// Scopes are advertised to clients (RFC 9728 "scopes_supported"). Default ["openid"].
	// +listType=atomic
	// +optional
	Scopes []string `json:"scopes,omitempty"`
	// Inline holds the provider's settings.
	// +optional
	Inline *OIDCInline `json:"inline,omitempty"`
	// Kubernetes accepts service account tokens of a cluster. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Kubernetes *Opaque `json:"kubernetes,omitempty"`
	// ConfigMap names a ConfigMap with the provider's settings. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	ConfigMap *Opaque `json:"configMap,omitempty"`
}

// OIDCInline describes an OpenID Connect provider.
type OIDCInline struct {
	// Issuer is the provider's issuer identifier, an https URL such as "https://login.example.com/realms/main". It is
	// compared byte for byte with the token's iss and with the discovery document, a slash at the end included. Required.
	Issuer string `json:"issuer"`
	// Audience must be one of the token's aud. Required here with oidcConfig; with oidcConfigRef it stands there.
	// +optional
	Audience string `json:"audience,omitempty"`
	// JWKSURL is where the provider's keys are. Default: jwks_uri of the discovery document.
	// +optional
	JWKSURL string `json:"jwksUrl,omitempty"`
	// CABundleRef names the certificates that may vouch for the provider, besides the system's authorities.
	// +optional
	CABundleRef *CABundleRef `json:"caBundleRef,omitempty"`
	// InsecureAllowHTTP lets the issuer and the key set be http:// URLs. Whoever can change that traffic can sign
	// tokens, so it is for tests.
	// +optional
	InsecureAllowHTTP bool `json:"insecureAllowHTTP,omitempty"`
	// Scopes is where older documents put oidcConfig.scopes; only one of the two may be set.
	// +listType=atomic
	// +optional
	Scopes []string `json:"scopes,omitempty"`
	// JWKSAllowPrivateIP changes nothing: where the provider may live is decided by who writes the issuer.
	// +optional
	JWKSAllowPrivateIP bool `json:"jwksAllowPrivateIP,omitempty"`
	// ProtectedResourceAllowPrivateIP changes nothing, as jwksAllowPrivateIP.
	// +optional
	ProtectedResourceAllowPrivateIP bool `json:"protectedResourceAllowPrivateIP,omitempty"`
	// ClientID is a client's name at the provider.
	// +optional
	ClientID string `json:"clientId,omitempty" inert:"tokens are verified with the provider's keys, for which no client is needed"`
	// ClientSecretRef names the client's secret.
	// +optional
	ClientSecretRef *SecretKeyRef `json:"clientSecretRef,omitempty" inert:"tokens are verified with the provider's keys, for which no client is needed"`
	// IntrospectionURL is the provider's token introspection endpoint (RFC 7662).
	// +optional
	IntrospectionURL string `json:"introspectionUrl,omitempty" refused:"tokens are JWTs that are verified here, and a revocation that introspection would show goes unseen"`
	// ClientSecret is a client's secret in clear text.
	// +optional
	ClientSecret string `json:"clientSecret,omitempty" refused:"a secret must not stand in a document, and verifying tokens needs none"`
	// JWKSAuthTokenPath is a file with a token for fetching the keys.
	// +optional
	JWKSAuthTokenPath string `json:"jwksAuthTokenPath,omitempty" refused:"this version fetches keys without a token, which a provider that wants one would not answer"`
	// ThvCABundlePath is a file with certificates.
	// +optional
	ThvCABundlePath string `json:"thvCABundlePath,omitempty" refused:"certificates are read from a ConfigMap: use caBundleRef"`
}

// OIDCRef names an MCPOIDCConfig, and says what is this proxy's own.
type OIDCRef struct {
	// Name is the name of an MCPOIDCConfig of the same namespace. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Audience must be one of the token's aud, and is best different for each proxy: a token for one should not open
	// another. Required.
	// +kubebuilder:validation:MinLength=1
	Audience string `json:"audience"`
	// Scopes are advertised to clients (RFC 9728 "scopes_supported"). Default ["openid"].
	// +listType=atomic
	// +optional
	Scopes []string `json:"scopes,omitempty"`
	// ResourceURL is the public URL of this proxy's MCP endpoint, as oidcConfig.resourceUrl.
	// +optional
	ResourceURL string `json:"resourceUrl,omitempty"`
}

// OIDCConfig is the spec of an MCPOIDCConfig: a provider that several proxies share.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'inline' || has(self.inline)",message="inline is required with type inline"
type OIDCConfig struct {
	// Type says where the provider's settings are: "inline". The other of this API (kubernetesServiceAccount) is
	// refused. Required.
	// +kubebuilder:validation:Enum=kubernetesServiceAccount;inline
	Type string `json:"type"`
	// Inline holds the provider's settings. Audience and scopes are not set here but where a proxy refers to it.
	// +optional
	Inline *OIDCInline `json:"inline,omitempty"`
	// KubernetesServiceAccount accepts service account tokens of a cluster. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	KubernetesServiceAccount *Opaque `json:"kubernetesServiceAccount,omitempty"`
}

// Ref names a document of the same namespace.
type Ref struct {
	// Name is the document's metadata.name. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// SecretKeyRef names one value in a Secret of the same namespace. In files it is read from
// <refs>/secrets/<name>/<key>.
type SecretKeyRef struct {
	// Name is the Secret's name. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Key is the key within the Secret. Required.
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key"`
}

// CABundleRef names PEM certificates.
type CABundleRef struct {
	// ConfigMapRef names the ConfigMap that holds them. Required.
	ConfigMapRef *ConfigMapKeyRef `json:"configMapRef,omitempty"`
}

// ConfigMapKeyRef names one value in a ConfigMap of the same namespace. In files it is read from
// <refs>/configmaps/<name>/<key>.
type ConfigMapKeyRef struct {
	// Name is the ConfigMap's name. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Key is the key within the ConfigMap. Default "ca.crt".
	// +kubebuilder:default=ca.crt
	// +optional
	Key string `json:"key,omitempty"`
	// Optional says that the ConfigMap may be missing.
	// +optional
	Optional bool `json:"optional,omitempty" refused:"without the certificates that it names, the connection would fail or trust the wrong ones"`
}

package config

// ExternalAuth is the spec of an MCPExternalAuthConfig: what satisfies the remote. Exactly the block that type names
// is set.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'awsSts' ? has(self.awsSts) : !has(self.awsSts)",message="awsSts is set exactly when type is awsSts"
type ExternalAuth struct {
	// Type is "awsSts", or "unauthenticated" for a remote that wants nothing. The others of this API are refused.
	// Required.
	// +kubebuilder:validation:Enum=tokenExchange;headerInjection;bearerToken;unauthenticated;embeddedAuthServer;awsSts;upstreamInject;obo;xaa
	Type string `json:"type"`
	// AWSSTS exchanges the caller's token for AWS credentials and signs with them.
	// +optional
	AWSSTS *AWSSTS `json:"awsSts,omitempty"`
	// TokenExchange exchanges the caller's token for another one (RFC 8693). Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	TokenExchange *Opaque `json:"tokenExchange,omitempty"`
	// HeaderInjection adds a header from a Secret. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	HeaderInjection *Opaque `json:"headerInjection,omitempty"`
	// BearerToken sends a bearer token from a Secret. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	BearerToken *Opaque `json:"bearerToken,omitempty"`
	// EmbeddedAuthServer is an authorization server of the proxy's own. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	EmbeddedAuthServer *Opaque `json:"embeddedAuthServer,omitempty"`
	// UpstreamInject sends a token of an upstream provider. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	UpstreamInject *Opaque `json:"upstreamInject,omitempty"`
	// OBO gets a token on behalf of the caller. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	OBO *Opaque `json:"obo,omitempty"`
	// XAA gets a token by cross-application access. Refused with its type.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	XAA *Opaque `json:"xaa,omitempty"`
}

// AWSSTS exchanges the caller's token for AWS credentials (sts:AssumeRoleWithWebIdentity) and signs with them.
//
// +kubebuilder:validation:XValidation:rule="has(self.fallbackRoleArn) || (has(self.roleMappings) && size(self.roleMappings) > 0)",message="at least one of fallbackRoleArn and roleMappings is required"
type AWSSTS struct {
	// Region is the AWS region of the STS endpoint and of the signature, such as "us-east-1". It should be the region
	// of the remote's endpoint. Required.
	// +kubebuilder:validation:Pattern=`^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$`
	Region string `json:"region"`
	// Service is the service name in the signature. Default "aws-mcp".
	// +kubebuilder:default=aws-mcp
	// +optional
	Service string `json:"service,omitempty"`
	// FallbackRoleArn is the role of callers that no mapping matches. Without it they are refused with 403.
	// +optional
	FallbackRoleArn string `json:"fallbackRoleArn,omitempty"`
	// RoleMappings map claims to roles. The lowest priority is tried first; the first that matches wins.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +optional
	RoleMappings []RoleMapping `json:"roleMappings,omitempty"`
	// RoleClaim is the claim whose values the mappings' claim fields are compared with: a name, or a dotted path into
	// nested claims such as "realm_access.roles". A claim literally named with dots wins over the path. Default "groups".
	// +kubebuilder:default=groups
	// +optional
	RoleClaim string `json:"roleClaim,omitempty"`
	// SessionDuration is the lifetime of the credentials in seconds, 900 to 43200 (and at most the role's own maximum).
	// Default 3600.
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=900
	// +kubebuilder:validation:Maximum=43200
	// +optional
	SessionDuration *int32 `json:"sessionDuration,omitempty"`
	// SessionNameClaim is the claim that names the STS session, and so the user in CloudTrail. Default "sub".
	// +kubebuilder:default=sub
	// +optional
	SessionNameClaim string `json:"sessionNameClaim,omitempty"`
	// SubjectProviderName picks the token of an upstream provider.
	// +optional
	SubjectProviderName string `json:"subjectProviderName,omitempty" refused:"this version knows one token, the caller's own, and STS gets that one"`
}

// RoleMapping maps callers to a role, by a value of the role claim or by an expression.
//
// +kubebuilder:validation:XValidation:rule="has(self.claim) != has(self.matcher)",message="exactly one of claim and matcher is required"
type RoleMapping struct {
	// Claim is the value to look for in the role claim: it matches a member of a list, an equal string, or a word of a
	// space-separated string. Exact case.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Claim string `json:"claim,omitempty"`
	// Matcher is a CEL expression over claims (a map) that is true where the mapping applies, such as
	// `"admins" in claims["groups"] && claims["org"] == "engineering"`.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Matcher string `json:"matcher,omitempty" inspect:"-"`
	// RoleArn is the IAM role to assume, such as "arn:aws:iam::123456789012:role/Admin". Required.
	RoleArn string `json:"roleArn"`
	// Priority orders the mappings: lower first, unset last, the document's order breaks ties.
	// +optional
	Priority *int32 `json:"priority,omitempty"`
	// OnError says what a matcher that fails (a missing claim, a wrong type, too much work) does: "skip" goes on with
	// the next mapping, "deny" refuses the caller. Only with matcher. Default "skip".
	// +kubebuilder:validation:Enum=skip;deny
	// +optional
	OnError string `json:"onError,omitempty"`
}

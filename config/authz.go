package config

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// ProxyAuthz says what callers may do, within the proxy's own document: Cedar policies, and how claims become groups.
// With policies, what none of them permits is refused.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'inline' ? has(self.inline) && !has(self.configMap) : has(self.configMap) && !has(self.inline)",message="exactly the block that type names is set"
type ProxyAuthz struct {
	// Type says where the policies are: "inline" or "configMap". Required.
	// +kubebuilder:validation:Enum=inline;configMap
	Type string `json:"type"`
	// Inline holds the policies.
	// +optional
	Inline *AuthzInline `json:"inline,omitempty"`
	// ConfigMap names the ConfigMap that holds them, in a document of type cedarv1.
	// +optional
	ConfigMap *AuthzConfigMap `json:"configMap,omitempty"`
	// GroupClaimName is the claim whose values are the caller's groups: a name, or a dotted path into nested claims.
	// A token without it, and any without this setting, has those of the first of groups, roles and cognito:groups that
	// it holds. Default: none; with type configMap, what is said there.
	// +optional
	GroupClaimName string `json:"groupClaimName,omitempty"`
	// RoleClaimName is a claim whose values are groups too. Default: none; with type configMap, what is said there.
	// +optional
	RoleClaimName string `json:"roleClaimName,omitempty"`
	// GroupEntityType is the Cedar type of groups. Default "THVGroup" (with type configMap: what is said there).
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +optional
	GroupEntityType string `json:"groupEntityType,omitempty"`
	// MultiValuedClaims are the claims that policies see as a set, claimset_<name>, and as a string of words, claim_<name>.
	// Default: none; with type configMap, what is said there.
	// +listType=atomic
	// +optional
	MultiValuedClaims []string `json:"multiValuedClaims,omitempty"`
	// Schema is "strict" where policies are checked against the vocabulary that they are evaluated with, so that a
	// misspelled attribute or action is a mistake. Default: unchecked; with type configMap, what is said there.
	// +kubebuilder:validation:Enum=strict
	// +optional
	Schema string `json:"schema,omitempty"`
}

// AuthzInline holds policies.
type AuthzInline struct {
	// Policies are Cedar texts, at least one; each may hold several policies. Required.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	Policies []string `json:"policies" inspect:"-"`
	// EntitiesJSON is a list of Cedar entities in JSON, such as the groups that a group is in.
	// +optional
	EntitiesJSON string `json:"entitiesJson,omitempty" inspect:"-"`
	// PrimaryUpstreamProvider picks the token whose claims policies see.
	// +optional
	PrimaryUpstreamProvider string `json:"primaryUpstreamProvider,omitempty" inert:"this version knows one token, the caller's own, and policies see its claims"`
}

// AuthzConfigMap names a document of policies in a ConfigMap of the same namespace. In files it is read from
// <refs>/configmaps/<name>/<key>. What is set in authzConfig itself wins over it.
type AuthzConfigMap struct {
	// Name is the ConfigMap's name. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Key is the key within the ConfigMap. Default "authz.json".
	// +kubebuilder:default=authz.json
	// +optional
	Key string `json:"key,omitempty"`
}

// AuthzConfig is the spec of an MCPAuthzConfig: what callers may do, shared by several proxies.
type AuthzConfig struct {
	// Type is "cedarv1". The other of this API (httpv1) is refused. Required.
	// +kubebuilder:validation:Enum=cedarv1;httpv1
	Type string `json:"type"`
	// Config holds the policies. Required.
	// +optional
	Config *Cedar `json:"config,omitempty"`
}

// AuthzDocument is the document that authzConfig.configMap names: YAML or JSON.
//
// +kubebuilder:object:generate=false
type AuthzDocument struct {
	// Version is the version of the format, in quotes or as a number. Default "1.0".
	Version FormatVersion `json:"version,omitempty"`
	// Type is "cedarv1". Required.
	Type string `json:"type"`
	// Cedar holds the policies. Required.
	Cedar *Cedar `json:"cedar,omitempty"`
}

// FormatVersion is the version of a document's format, such as "1.0". A YAML number is read as the text that it is
// written with.
//
// +kubebuilder:object:generate=false
type FormatVersion string

// Cedar holds Cedar policies, and how claims become groups.
type Cedar struct {
	// Policies are Cedar texts, at least one; each may hold several policies. Required.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	Policies []string `json:"policies" inspect:"-"`
	// EntitiesJSON is a list of Cedar entities in JSON, such as the groups that a group is in.
	// +optional
	EntitiesJSON string `json:"entities_json,omitempty" inspect:"-"`
	// GroupClaimName is the claim whose values are the caller's groups: a name, or a dotted path into nested claims.
	// A token without it, and any without this setting, has those of the first of groups, roles and cognito:groups that
	// it holds. Default: none.
	// +optional
	GroupClaimName string `json:"group_claim_name,omitempty"`
	// RoleClaimName is a claim whose values are groups too. Default: none.
	// +optional
	RoleClaimName string `json:"role_claim_name,omitempty"`
	// GroupEntityType is the Cedar type of groups. Default "THVGroup".
	// +kubebuilder:default=THVGroup
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +optional
	GroupEntityType string `json:"group_entity_type,omitempty"`
	// MultiValuedClaims are the claims that policies see as a set, claimset_<name>, and as a string of words, claim_<name>.
	// +listType=atomic
	// +optional
	MultiValuedClaims []string `json:"multi_valued_claims,omitempty"`
	// PrimaryUpstreamProvider picks the token whose claims policies see.
	// +optional
	PrimaryUpstreamProvider string `json:"primary_upstream_provider,omitempty" inert:"this version knows one token, the caller's own, and policies see its claims"`
	// Schema is "strict" where policies are checked against the vocabulary that they are evaluated with, so that a
	// misspelled attribute or action is a mistake. Default: unchecked.
	// +kubebuilder:validation:Enum=strict
	// +optional
	Schema string `json:"schema,omitempty"`
}

const groupEntityType = "THVGroup"

func (a *ProxyAuthz) setDefaults() {
	if a.Type != "configMap" { // there the document's comes first
		a.GroupEntityType = cmp.Or(a.GroupEntityType, groupEntityType)
	}
	if a.ConfigMap != nil {
		a.ConfigMap.Key = cmp.Or(a.ConfigMap.Key, "authz.json")
	}
}

// Default fills in what the document leaves open.
func (a *AuthzConfig) Default() { a.Config.setDefaults() }

func (s *Cedar) setDefaults() {
	if s != nil {
		s.GroupEntityType = cmp.Or(s.GroupEntityType, groupEntityType)
	}
}

// authz checks what a proxy says about policies.
func (c *checker) authz(p *RemoteProxy) {
	field := "authzConfig"
	if ref := p.AuthzConfigRef; ref != nil {
		field = "authzConfigRef"
		c.objectName("authzConfigRef.name", ref.Name)
		if p.AuthzConfig != nil {
			c.mistake("authzConfigRef", "is set, and so is authzConfig", "one of them")
		}
	}
	if p.AuthzConfig == nil && p.AuthzConfigRef == nil {
		return
	}
	if p.OIDC == nil && p.OIDCRef == nil {
		c.warn(field, `decides about callers that are not authenticated: all of them are Client::"", without claims`, "oidcConfig")
	}
	if a := p.AuthzConfig; a != nil {
		c.proxyAuthz(a)
	}
}

func (c *checker) proxyAuthz(a *ProxyAuthz) {
	known := "inline" // and configMap, but block knows one
	if a.Type == "configMap" {
		known = a.Type
	}
	c.block(a.Type, known, "inline or configMap", "", map[string]bool{"inline": a.Inline != nil, "configMap": a.ConfigMap != nil}, "authzConfig")
	if in := a.Inline; in != nil {
		c.policies("authzConfig.inline.policies", in.Policies)
	}
	if m := a.ConfigMap; m != nil {
		c.objectName("authzConfig.configMap.name", m.Name)
		c.valueKey("authzConfig.configMap.key", m.Key)
	}
	c.groupEntityType("authzConfig.groupEntityType", a.GroupEntityType)
	c.claimNames("authzConfig.multiValuedClaims", a.MultiValuedClaims)
	c.schema("authzConfig.schema", a.Schema)
}

// Validate checks what the spec itself says, with its defaults filled in.
func (a *AuthzConfig) Validate() Problems {
	c := newChecker(KindAuthz)
	c.inspect(reflect.ValueOf(a), "")
	if c.cedarType(a.Type) {
		c.cedar("config", a.Config)
	}
	return c.problems
}

// cedarType checks the type of a document, and tells whether it is read.
func (c *checker) cedarType(typ string) bool {
	switch typ {
	case "cedarv1":
		return true
	case "":
		c.mistake("type", "is missing", "cedarv1")
		return true
	case "httpv1":
		c.mistake("type", "httpv1 is refused: this version decides by policies that it has, and asks no server", "cedarv1")
	default:
		c.mistake("type", quote(typ)+" is not known", "cedarv1")
	}
	return false
}

func (c *checker) cedar(path string, s *Cedar) {
	if s == nil {
		c.mistake(path, "is missing", "the block "+path+", with policies")
		return
	}
	c.policies(path+".policies", s.Policies)
	c.groupEntityType(path+".group_entity_type", s.GroupEntityType)
	c.claimNames(path+".multi_valued_claims", s.MultiValuedClaims)
	c.schema(path+".schema", s.Schema)
}

func (c *checker) policies(path string, policies []string) {
	if len(policies) == 0 {
		c.mistake(path, "is missing or empty, so everything would be refused", "at least one Cedar policy")
	}
	for i, text := range policies {
		if strings.TrimSpace(text) == "" {
			c.mistake(fmt.Sprintf("%s[%d]", path, i), "is empty", "a Cedar policy")
		}
	}
}

var cedarName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (c *checker) groupEntityType(field, name string) {
	switch name {
	case "Client", "Action", "Tool", "Prompt", "Resource", "MCP", "FeatureType":
		c.mistake(field, quote(name)+" is the type of something else", "a type of its own for groups, such as "+groupEntityType)
		return
	}
	if name != "" && !cedarName.MatchString(name) {
		c.mistake(field, quote(name)+" is not an entity type", "letters, digits and underscores, no digit first, such as "+groupEntityType)
	}
}

func (c *checker) claimNames(field string, names []string) {
	for i, name := range names {
		if name == "" {
			c.mistake(fmt.Sprintf("%s[%d]", field, i), "is empty", "the name of a claim")
		}
	}
}

func (c *checker) schema(field, value string) {
	if value != "" && value != "strict" {
		c.mistake(field, quote(value)+" is not known", "strict, or no schema")
	}
}

// Package config is the schema of rolegate: the documents that describe a proxy, their defaults, and what makes one
// valid. The same types are the files that rolegate run reads and the specs of the Kubernetes objects, so a field, its
// doc comment, its default and its rules exist once.
//
// Load reads files; Resolve turns typed documents into a Proxy and knows nothing of files. Both go through the same
// Default and Validate, so what one accepts the other accepts.
//
// It promises that every mistake is reported at once, with its place and its mend, and that a document which can't be
// fully understood is refused. It must never do I/O beyond reading the named files and references, and it imports
// nothing of ours.
//
// Two struct tags beside json say what this version makes of a setting that it does not act on. A field with
// refused:"why" is a mistake when it is set; one with inert:"why" is a warning. The reason is one sentence, part of
// what the user reads.
//
// +kubebuilder:object:generate=true
package config

// The API that the documents belong to. Every kind is accepted in both versions: one schema for all of them.
const (
	Group         = "toolhive.stacklok.dev"
	Alpha         = Group + "/v1alpha1"
	Beta          = Group + "/v1beta1"
	KindProxy     = "MCPRemoteProxy"        // a RemoteProxy
	KindAuth      = "MCPExternalAuthConfig" // an ExternalAuth
	KindOIDC      = "MCPOIDCConfig"         // an OIDCConfig
	KindAuthz     = "MCPAuthzConfig"        // an AuthzConfig
	KindTools     = "MCPToolConfig"         // a ToolConfig
	KindTelemetry = "MCPTelemetryConfig"    // a TelemetryConfig
)

// Opaque is a setting whose content is not read here: any YAML. It keeps the JSON that it came from.
//
// +kubebuilder:validation:Type=object
type Opaque struct {
	raw []byte
}

// MarshalJSON writes what was read.
func (o Opaque) MarshalJSON() ([]byte, error) {
	if len(o.raw) == 0 {
		return []byte("{}"), nil
	}
	return o.raw, nil
}

// UnmarshalJSON keeps any JSON value.
func (o *Opaque) UnmarshalJSON(b []byte) error {
	o.raw = append([]byte(nil), b...)
	return nil
}

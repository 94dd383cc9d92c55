package mcp

import "slices"

// The protocol revisions that the gateway can read (specification, "Versioning and Compatibility").
const (
	Version20250326 = "2025-03-26"
	Version20250618 = "2025-06-18"
	Version20251125 = "2025-11-25"
	Version20260728 = "2026-07-28"
)

var supported = []string{Version20260728, Version20251125, Version20250618, Version20250326}

// SupportedVersions lists the protocol revisions that the gateway reads, newest first. The list is the caller's own.
func SupportedVersions() []string { return slices.Clone(supported) }

// Header names in Go's canonical form, so that they can index an http.Header.
const (
	HeaderVersion   = "Mcp-Protocol-Version"
	HeaderSession   = "Mcp-Session-Id"
	HeaderMethod    = "Mcp-Method"
	HeaderName      = "Mcp-Name"
	HeaderLastEvent = "Last-Event-Id"
	// ParamPrefix begins the headers that mirror tool arguments (2026-07-28, "Custom Headers from Tool Parameters").
	ParamPrefix = "Mcp-Param-"
)

// JSON-RPC error codes (JSON-RPC 2.0, section 5.1; MCP 2026-07-28, "Error Codes").
const (
	CodeParse              = -32700 // not JSON
	CodeInvalidRequest     = -32600 // JSON, but no message of the protocol
	CodeMethodNotFound     = -32601
	CodeInvalidParams      = -32602
	CodeInternal           = -32603
	CodeHeaderMismatch     = -32020 // a header is missing, malformed, or not what the body says; no data
	CodeMissingCapability  = -32021 // data: requiredCapabilities; the backend's to say
	CodeUnsupportedVersion = -32022 // data: UnsupportedVersion
)

// UnsupportedVersion is the data of an error with CodeUnsupportedVersion.
type UnsupportedVersion struct {
	Supported []string `json:"supported"`
	Requested string   `json:"requested"`
}

// Methods that rooms of the gateway name.
const (
	MethodInitialize    = "initialize"
	MethodDiscover      = "server/discover"
	MethodPing          = "ping"
	MethodToolsCall     = "tools/call"
	MethodToolsList     = "tools/list"
	MethodPromptsGet    = "prompts/get"
	MethodPromptsList   = "prompts/list"
	MethodResourcesRead = "resources/read"
	MethodResourcesList = "resources/list"
	MethodTemplatesList = "resources/templates/list"
	MethodSubscribe     = "resources/subscribe"
	MethodUnsubscribe   = "resources/unsubscribe"
	MethodListen        = "subscriptions/listen"
	MethodComplete      = "completion/complete"
	MethodSetLevel      = "logging/setLevel"
	MethodInitialized   = "notifications/initialized"
	MethodCancelled     = "notifications/cancelled"
	MethodProgress      = "notifications/progress"
	MethodRootsChanged  = "notifications/roots/list_changed"
	MethodTasksGet      = "tasks/get"
	MethodTasksResult   = "tasks/result"
	MethodTasksUpdate   = "tasks/update"
	MethodTasksCancel   = "tasks/cancel"
)

// Members of params._meta: the protocol version that a request claims, and what the client calls itself.
const (
	metaVersion    = "io.modelcontextprotocol/protocolVersion"
	metaClientInfo = "io.modelcontextprotocol/clientInfo"
)

// method is what the reader knows about one JSON-RPC method.
type method struct {
	name       string // the constant, so that reading a known method allocates nothing
	mirror     field  // the member of params that Mcp-Name repeats; noField for none
	target     bool   // mirror is Call.Target, and must be there
	needHeader bool   // Mcp-Name is required on modern requests
}

// methods holds what is known; a method that is not here is read all the same, and has no target. Task ids are
// compared with Mcp-Name where a client sends it, but are no target: they name nothing that policy speaks of.
var methods = func(list ...method) map[string]method {
	m := make(map[string]method, len(list))
	for _, x := range list {
		m[x.name] = x
	}
	return m
}(
	method{MethodToolsCall, paramName, true, true},
	method{MethodPromptsGet, paramName, true, true},
	method{MethodResourcesRead, paramURI, true, true},
	method{MethodSubscribe, paramURI, true, false},
	method{MethodUnsubscribe, paramURI, true, false},
	method{MethodTasksGet, paramTaskID, false, false},
	method{MethodTasksResult, paramTaskID, false, false},
	method{MethodTasksUpdate, paramTaskID, false, false},
	method{MethodTasksCancel, paramTaskID, false, false},
	method{name: MethodInitialize},
	method{name: MethodDiscover},
	method{name: MethodPing},
	method{name: MethodToolsList},
	method{name: MethodPromptsList},
	method{name: MethodResourcesList},
	method{name: MethodTemplatesList},
	method{name: MethodListen},
	method{name: MethodComplete},
	method{name: MethodSetLevel},
	method{name: MethodInitialized},
	method{name: MethodCancelled},
	method{name: MethodProgress},
	method{name: MethodRootsChanged},
)

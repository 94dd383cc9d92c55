package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The types of audit events. They are named after what happens, by the names that documents already use.
const (
	EventInitialize       = "mcp_initialize"
	EventToolCall         = "mcp_tool_call"
	EventToolsList        = "mcp_tools_list"
	EventResourceRead     = "mcp_resource_read"
	EventResourcesList    = "mcp_resources_list"
	EventPromptGet        = "mcp_prompt_get"
	EventPromptsList      = "mcp_prompts_list"
	EventNotification     = "mcp_notification"
	EventRootsListChanged = "mcp_roots_list_changed"
	EventPing             = "mcp_ping"
	EventLogging          = "mcp_logging"
	EventCompletion       = "mcp_completion"
	EventRequest          = "mcp_request"
	EventResponse         = "mcp_response"
	EventStream           = "sse_connection"
	EventSessionEnd       = "mcp_session_end"
	EventHTTP             = "http_request"
)

// EventTypes are all types of audit events that settings can name.
func EventTypes() []string {
	return []string{
		EventInitialize, EventToolCall, EventToolsList, EventResourceRead, EventResourcesList, EventPromptGet,
		EventPromptsList, EventNotification, EventRootsListChanged, EventPing, EventLogging, EventCompletion,
		EventRequest, EventResponse, EventStream, EventSessionEnd, EventHTTP,
	}
}

// What audit.onFull may say.
const (
	OnFullBlock = "block"
	OnFullDrop  = "drop"
)

// Audit says what is written down about requests: one record for each, in the form that docs/reference/audit.schema.json
// describes.
type Audit struct {
	// Enabled turns audit records on. Read at start.
	// +optional
	Enabled bool `json:"enabled,omitempty"`
	// Component is what the records name as their source. Default: the name of the proxy.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Component string `json:"component,omitempty"`
	// EventTypes are the types of events that are recorded, such as "mcp_tool_call". Default: all of them.
	// +listType=set
	// +optional
	EventTypes []string `json:"eventTypes,omitempty"`
	// ExcludeEventTypes are types of events that are not recorded, even where eventTypes names them. Default: none.
	// +listType=set
	// +optional
	ExcludeEventTypes []string `json:"excludeEventTypes,omitempty"`
	// IncludeRequestData records the arguments of tools and prompts too. What redactKeys covers is replaced, and what is
	// longer than maxDataSize is cut.
	// +optional
	IncludeRequestData bool `json:"includeRequestData,omitempty"`
	// IncludeResponseData records what the remote answered with too: the result or the error, as the client gets it. What
	// redactKeys covers is replaced, and what is longer than maxDataSize is cut. A text within it is not looked into, even
	// if it is JSON itself.
	// +optional
	IncludeResponseData bool `json:"includeResponseData,omitempty"`
	// MaxDataSize is how many bytes of arguments a record holds at most, and of a response, up to 1048576. Default 1024.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1048576
	// +optional
	MaxDataSize int32 `json:"maxDataSize,omitempty"`
	// RedactKeys are names in arguments and responses, at any depth, whose values are replaced by "[redacted]". A name is
	// covered if it has the words of a key in a row, whatever their case and what joins them: api_key covers apiKey and
	// X-API-Key.
	// They come on top of a list of usual names (password, secret, token, authorization, cookie, api_key and the like).
	// Default: none.
	// +listType=set
	// +optional
	RedactKeys []string `json:"redactKeys,omitempty"`
	// Claims are the claims of the caller's token that a record holds, by name or dotted path, such as "email". Default:
	// none.
	// +listType=set
	// +optional
	Claims []string `json:"claims,omitempty"`
	// LogFile is the file that records are appended to, a line each. It is readable for its owner alone. Default:
	// standard output. Read at start.
	// +optional
	LogFile string `json:"logFile,omitempty"`
	// OnFull says what happens to requests when the records that wait to be written are as many as queueSize: "block" has
	// requests wait for room, 10 seconds at most, "drop" has none of them wait. A record that found no room is missing, and
	// a later one tells how many are. Default "block". Read at start.
	// +kubebuilder:validation:Enum=block;drop
	// +optional
	OnFull string `json:"onFull,omitempty"`
	// QueueSize is how many records may wait to be written, 16 to 1000000. Default 4096. Read at start.
	// +kubebuilder:validation:Minimum=16
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	QueueSize int32 `json:"queueSize,omitempty"`
	// TamperEvident links each record to the one before it by a hash, so that "rolegate audit verify" sees records that
	// were changed, removed or moved. Read at start.
	// +optional
	TamperEvident bool `json:"tamperEvident,omitempty"`
}

func (a *Audit) setDefaults() {
	a.MaxDataSize = cmp.Or(a.MaxDataSize, 1024)
	a.OnFull = cmp.Or(a.OnFull, OnFullBlock)
	a.QueueSize = cmp.Or(a.QueueSize, 4096)
}

func (c *checker) audit(a *Audit) {
	if len(a.Component) > 128 {
		c.mistake("audit.component", fmt.Sprintf("has %d bytes", len(a.Component)), "at most 128")
	}
	c.eventTypes("audit.eventTypes", a.EventTypes)
	c.eventTypes("audit.excludeEventTypes", a.ExcludeEventTypes)
	for _, list := range []struct {
		name, right string
		values      []string
	}{
		{"audit.redactKeys", "the name of an argument", a.RedactKeys},
		{"audit.claims", "the name of a claim", a.Claims},
	} {
		for i, v := range list.values {
			if v == "" {
				c.mistake(fmt.Sprintf("%s[%d]", list.name, i), "is empty", list.right)
			}
		}
	}
	for _, n := range []struct {
		name            string
		value, min, max int32
	}{
		{"maxDataSize", a.MaxDataSize, 1, 1 << 20},
		{"queueSize", a.QueueSize, 16, 1_000_000},
	} {
		if n.value < n.min || n.value > n.max {
			c.mistake("audit."+n.name, fmt.Sprintf("is %d", n.value), fmt.Sprintf("%d to %d", n.min, n.max))
		}
	}
	if a.OnFull != OnFullBlock && a.OnFull != OnFullDrop {
		c.mistake("audit.onFull", quote(a.OnFull)+" is not known", OnFullBlock+" or "+OnFullDrop)
	}
	if strings.HasSuffix(a.LogFile, "/") {
		c.mistake("audit.logFile", quote(a.LogFile)+" is a folder", "the name of a file")
	}
	c.auditWithoutEffect(a)
}

// auditWithoutEffect warns of settings that change nothing, or less than they seem to.
func (c *checker) auditWithoutEffect(a *Audit) {
	if !a.Enabled && (a.Component != "" || a.LogFile != "" || a.IncludeRequestData || a.IncludeResponseData || a.TamperEvident || len(a.EventTypes)+len(a.ExcludeEventTypes)+len(a.RedactKeys)+len(a.Claims) > 0) {
		c.warn("audit.enabled", "is not true, so nothing is recorded and the other settings have no effect", "true")
	}
	if !a.IncludeRequestData && !a.IncludeResponseData && len(a.RedactKeys) > 0 {
		c.warn("audit.redactKeys", "has no effect: neither arguments nor answers are recorded", "includeRequestData: true, or no redactKeys")
	}
	if a.Enabled && a.TamperEvident && a.LogFile == "" {
		c.warn("audit.tamperEvident", "begins a new chain at every start, because standard output can't be read back", "a logFile")
	}
}

func (c *checker) eventTypes(field string, types []string) {
	known := EventTypes()
	for i, t := range types {
		if slices.Contains(known, t) {
			continue
		}
		mend := "one of " + strings.Join(known, ", ")
		if near := nearest(t, known); near != "" {
			mend = "did you mean " + near + "?"
		}
		c.mistake(fmt.Sprintf("%s[%d]", field, i), quote(t)+" is not a type of event", mend)
	}
}

// trustedProxies checks the networks whose X-Forwarded-For is believed.
func (c *checker) trustedProxies(all []string) {
	if len(all) > 64 {
		c.mistake("trustedProxies", fmt.Sprintf("has %d networks", len(all)), "at most 64")
	}
	for i, text := range all {
		field := fmt.Sprintf("trustedProxies[%d]", i)
		if _, wrong, mend := parseNetwork(text); wrong != "" {
			c.mistake(field, wrong, mend)
		}
	}
}

// parseNetwork reads a network in CIDR notation (RFC 4632, RFC 4291 section 2.3), or says what is wrong with it and what
// would be right.
func parseNetwork(text string) (n netip.Prefix, wrong, mend string) {
	const right = "a network such as 10.0.0.0/8 or fd00::/8"
	n, err := netip.ParsePrefix(text)
	if err != nil {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			return n, quote(text) + " is an address", netip.PrefixFrom(a, a.BitLen()).String()
		}
		return n, quote(text) + " is not a network", right
	}
	switch {
	case n.Addr().Is4In6():
		return n, quote(text) + " is an IPv4 network in IPv6 notation", "the IPv4 network"
	case n != n.Masked():
		return n, quote(text) + " has bits set beyond its length", n.Masked().String()
	case n.Bits() == 0:
		return n, quote(text) + " would believe anybody", "the networks of your own proxies"
	}
	return n, "", ""
}

// networks are the networks of a list that was validated; what is not one is left out.
func networks(all []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range all {
		if n, wrong, _ := parseNetwork(text); wrong == "" {
			out = append(out, n)
		}
	}
	return out
}

package audit

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// RecordOptions are what the settings say about the contents of records. They are made once for a configuration and
// never changed; a nil one records nothing.
type RecordOptions struct {
	component string
	only      []string // types of events; empty: all
	never     []string
	claims    []string
	arguments bool
	responses bool
	most      int // bytes of arguments, and of a response
	redact    redactions
	trusted   []netip.Prefix
}

// NewRecordOptions reads the settings of a proxy. It is nil where records are not turned on.
func NewRecordOptions(p *config.Proxy) *RecordOptions {
	a := &p.Audit
	if !a.Enabled {
		return nil
	}
	return &RecordOptions{
		component: cmp.Or(a.Component, p.Name),
		only:      a.EventTypes,
		never:     a.ExcludeEventTypes,
		claims:    a.Claims,
		arguments: a.IncludeRequestData,
		responses: a.IncludeResponseData,
		most:      int(a.MaxDataSize),
		redact:    newRedactions(a.RedactKeys),
		trusted:   p.TrustedProxies,
	}
}

// Wants tells whether events of a type are recorded.
func (o *RecordOptions) Wants(eventType string) bool {
	return o != nil && (len(o.only) == 0 || slices.Contains(o.only, eventType)) && !slices.Contains(o.never, eventType)
}

// Arrived notes where a request comes from.
func (o *RecordOptions) Arrived(e *Event, r *http.Request) {
	if o == nil {
		return
	}
	e.UserAgent = r.UserAgent()
	e.Source = source(r.RemoteAddr, r.Header["X-Forwarded-For"], o.trusted)
}

// Read notes what the message tells, while its bytes are there: to be called after mcp.Read, before the Call is released.
func (o *RecordOptions) Read(e *Event) {
	if o == nil || e.Call == nil || len(e.Call.Params) == 0 {
		return
	}
	e.ClientName, e.ClientVersion = e.Call.Client()
	if o.arguments {
		e.Arguments, e.ArgumentsCut = o.argumentsOf(e.Call)
	}
}

// Lent notes the credentials that a call is signed with.
func (e *Event) Lent(l *sts.Lease) {
	e.AssumedRole, e.STSRequestID = l.AssumedRoleARN, l.RequestID
	if l.Credentials != nil {
		e.AccessKeyID = l.Credentials.AccessKeyID
	}
}

// claimLimit bounds one claim, as JSON.
const claimLimit = 2048

// pick gives the chosen claims as a JSON object; nil where the token has none of them.
func (o *RecordOptions) pick(claims map[string]any) json.RawMessage {
	var out []byte
	for i, name := range o.claims {
		value, ok := token.Claim(claims, name)
		if !ok || slices.Contains(o.claims[:i], name) {
			continue
		}
		out = append(out, "{,"[min(len(out), 1)])
		out = append(quoted(out, name), ':')
		out = appendClaim(out, value)
	}
	if len(out) == 0 {
		return nil
	}
	return append(out, '}')
}

// appendClaim appends a claim's value. One that is too long is cut, and becomes a string if it was none.
func appendClaim(b []byte, value any) []byte {
	if s, ok := value.(string); ok {
		return quoted(b, bounded(s, claimLimit))
	}
	encoded, err := json.Marshal(value)
	if err != nil { // claims were read from JSON
		return append(b, "null"...)
	}
	if len(encoded) > claimLimit {
		return quoted(b, bounded(string(encoded), claimLimit))
	}
	return append(b, encoded...)
}

// source is the client's address, or "" where the connection's own is not one. X-Forwarded-For is read from its end: what
// a proxy in a trusted network appended is believed, up to the first address that is not in one. What stands before it
// the client may have made up.
func source(remote string, forwarded []string, trusted []netip.Prefix) string {
	if at := strings.LastIndexByte(remote, ':'); len(forwarded) == 0 && at > 0 && dotted(remote[:at]) {
		return remote[:at] // as net/http writes it
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	at := peer.Addr().Unmap().WithZone("")
	for i := len(forwarded) - 1; i >= 0; i-- {
		rest := forwarded[i]
		for more := true; more; {
			if !within(trusted, at) {
				return at.String()
			}
			var hop string
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, hop = rest[:cut], rest[cut+1:]
			} else {
				hop, more = rest, false
			}
			next, ok := address(strings.TrimSpace(hop))
			if !ok { // what it says is not known, and neither is who said what stands before it
				return at.String()
			}
			at = next
		}
	}
	return at.String()
}

// dotted tells whether the text of an address is that of IPv4.
func dotted(host string) bool {
	return !strings.ContainsFunc(host, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
}

// address reads one element of X-Forwarded-For: an address, some proxies add a port.
func address(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), true
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// source is the client's address: what Arrived found, or else that of the connection.
func (e *Event) source() string {
	if e.Source != "" {
		return e.Source
	}
	if ap, err := netip.ParseAddrPort(e.RemoteAddr); err == nil {
		return ap.Addr().Unmap().WithZone("").String()
	}
	return ""
}

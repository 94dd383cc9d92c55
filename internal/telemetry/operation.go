package telemetry

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// The metrics of OpenTelemetry's semantic conventions: of HTTP (stable, http.server.active_requests in development) and
// of MCP (in development), with the buckets that the conventions advise. To its callers rolegate is a server, to the
// remote a client.
var (
	httpBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	mcpBuckets  = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300}
)

// httpMethods are those that the conventions know: RFC 9110 and PATCH.
var httpMethods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// mcpMethods are the methods of MCP, of every version, that a client or a server may send.
var mcpMethods = map[string]bool{
	"completion/complete": true, "elicitation/create": true, "initialize": true, "logging/setLevel": true,
	"notifications/cancelled": true, "notifications/elicitation/complete": true, "notifications/initialized": true,
	"notifications/message": true, "notifications/progress": true, "notifications/prompts/list_changed": true,
	"notifications/resources/list_changed": true, "notifications/resources/updated": true,
	"notifications/roots/list_changed": true, "notifications/tasks/status": true, "notifications/tools/list_changed": true,
	"ping": true, "prompts/get": true, "prompts/list": true, "resources/list": true, "resources/read": true,
	"resources/subscribe": true, "resources/templates/list": true, "resources/unsubscribe": true, "roots/list": true,
	"sampling/createMessage": true, "server/discover": true, "subscriptions/listen": true, "tasks/cancel": true,
	"tasks/get": true, "tasks/list": true, "tasks/result": true, "tasks/update": true, "tools/call": true, "tools/list": true,
}

// rpcCodes are the error codes of JSON-RPC and of MCP. Remotes may make up others.
var rpcCodes = []int64{-32700, -32600, -32601, -32602, -32603, -32000, -32001, -32002, -32003, -32004, -32020, -32021, -32022, -32042, -32800}

// Ending is what became of a request.
type Ending struct {
	Status    int    // of HTTP
	Kind      string // of the gateway's refusal, such as "denied"; "" for none
	Public    string // the words of that refusal which the caller read
	Code      int64  // of the JSON-RPC error in the answer, the gateway's or the remote's; 0 for none
	ToolError bool   // the result says isError
	Broken    bool   // the answer broke off, on whichever side; Kind says why
}

// failure is error.type as MCP has it: the kind of our refusal, the code of the remote's error, or tool_error; "" where
// nothing failed.
func (e Ending) failure() string {
	switch {
	case e.Kind != "":
		return e.Kind
	case e.ToolError:
		return failureTool
	case e.Code != 0:
		return e.code()
	case e.Status >= 500:
		return strconv.Itoa(e.Status)
	}
	return ""
}

// httpFailure is error.type as HTTP's conventions have it for servers: an answer of 5xx, or one that broke off. What an
// answer of 200 says within, and what a client did wrong, is none.
func (e Ending) httpFailure() string {
	switch {
	case e.Status < 500 && !e.Broken:
		return ""
	case e.Kind != "":
		return e.Kind
	}
	return strconv.Itoa(e.Status)
}

// code is the JSON-RPC error that was answered, as a label: _OTHER where it is not a known one, "" for none.
func (e Ending) code() string {
	switch {
	case e.Code == 0:
		return ""
	case slices.Contains(rpcCodes, e.Code):
		return strconv.FormatInt(e.Code, 10)
	}
	return other
}

// Operation is a request that was answered, as the semantic conventions see it.
type Operation struct {
	Ending
	HTTPMethod string
	TLS        bool
	Method     string        // of JSON-RPC; "" where the request has none, or it was not read
	Listening  bool          // a stream that waits for news, whose duration says nothing
	Duration   time.Duration // from first byte to last
	Remote     time.Duration // of it, from when the call left for the remote until its answer had gone to the caller; 0 where it did not leave
}

// Operated counts a request for the semantic conventions' metrics. A method of HTTP or of MCP that is not a known one
// is _OTHER there.
func (m *Metrics) Operated(o Operation) {
	if o.Listening {
		return
	}
	m.http.record(o.Duration.Seconds(), httpKey{oneOf(o.HTTPMethod), o.Status, o.TLS, o.httpFailure()})
	if o.Method == "" {
		return
	}
	key := mcpKey{knownMethod(o.Method), o.failure(), o.code()}
	m.mcp.record(o.Duration.Seconds(), key)
	if o.Remote > 0 {
		m.mcpClient.record(o.Remote.Seconds(), key)
	}
}

// Exchange is one attempt at sending a call to the remote, redirects and repetitions each by itself.
type Exchange struct {
	HTTPMethod string
	Server     *url.URL      // whose scheme, host and port are of the configuration
	Status     int           // of the answer; 0 for none
	Kind       string        // of the failure to get one; "" for none
	Duration   time.Duration // until the answer's headers were there, or were given up; its body is not in it
}

// Failure is error.type as HTTP's conventions have it for clients: why there was no answer, or its status of 4xx or
// 5xx; "" where nothing failed.
func (e Exchange) Failure() string {
	if e.Kind == "" && e.Status >= 400 {
		return strconv.Itoa(e.Status)
	}
	return e.Kind
}

// Exchanged counts an attempt at sending a call to the remote.
func (m *Metrics) Exchanged(e Exchange) {
	m.httpClient.record(e.Duration.Seconds(), exchangeKey{oneOf(e.HTTPMethod), e.Server.Scheme, e.Server.Host, e.Status, e.Kind})
}

func oneOf(httpMethod string) string {
	if slices.Contains(httpMethods, httpMethod) {
		return httpMethod
	}
	return other
}

func knownMethod(method string) string {
	if mcpMethods[method] {
		return method
	}
	return other
}

type httpKey struct {
	method  string
	status  int
	tls     bool
	failure string
}

func (k httpKey) attributes() []attribute.KeyValue {
	attrs := []attribute.KeyValue{attribute.String(attrHTTPMethod, k.method), attribute.Int(AttrHTTPStatus, k.status), attribute.String(attrScheme, scheme(k.tls))}
	return failed(attrs, k.failure)
}

func scheme(tls bool) string {
	if tls {
		return "https"
	}
	return "http"
}

type activeKey struct {
	method string
	tls    bool
}

func (k activeKey) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String(attrHTTPMethod, k.method), attribute.String(attrScheme, scheme(k.tls))}
}

type exchangeKey struct {
	method, scheme, host string
	status               int
	kind                 string
}

func (k exchangeKey) attributes() []attribute.KeyValue {
	server := url.URL{Scheme: k.scheme, Host: k.host}
	attrs := []attribute.KeyValue{
		attribute.String(attrHTTPMethod, k.method), attribute.String(AttrServer, server.Hostname()), attribute.Int(AttrServerPort, Port(&server)),
	}
	if k.status != 0 {
		attrs = append(attrs, attribute.Int(AttrHTTPStatus, k.status))
	}
	return failed(attrs, Exchange{Status: k.status, Kind: k.kind}.Failure())
}

// Port is the port that a URL of http or https leads to.
func Port(u *url.URL) int {
	switch port := u.Port(); {
	case port != "":
		n, _ := strconv.Atoi(port) // a URL was parsed with it
		return n
	case u.Scheme == "https":
		return 443
	default:
		return 80
	}
}

type mcpKey struct{ method, failure, code string }

func (k mcpKey) attributes() []attribute.KeyValue {
	attrs := []attribute.KeyValue{attribute.String(attrMethod, k.method), attribute.String(attrTransport, "tcp")}
	if k.code != "" {
		attrs = append(attrs, attribute.String(attrRPCStatus, k.code))
	}
	return failed(attrs, k.failure)
}

// failed adds error.type where something failed.
func failed(attrs []attribute.KeyValue, failure string) []attribute.KeyValue {
	if failure == "" {
		return attrs
	}
	return append(attrs, attribute.String(attrErrorType, failure))
}

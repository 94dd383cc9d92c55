package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Telemetry is where metrics, traces and audit records go, as the documents have it.
//
// +kubebuilder:object:generate=false
type Telemetry struct {
	// Export is what is sent to a collector. Nil: the documents don't say, and the environment decides (OTEL_*).
	Export *Export
	// Prometheus says whether /metrics is served on the admin address.
	Prometheus bool
}

// Export is what is sent to a collector by OTLP over HTTP.
//
// +kubebuilder:object:generate=false
type Export struct {
	Enabled                bool   // false: nothing is sent, whatever the environment says
	Endpoint               string // base URL with its scheme; "": what the environment names, or nothing is sent
	Headers                map[string]Secret
	CABundle               []byte // PEM, besides the system's authorities
	ServiceName            string // "": from the environment, else the proxy's name
	ResourceAttributes     map[string]string
	Traces, Metrics, Audit bool
	SamplingRate           *float64 // of traces without a parent, 0 to 1; nil: from the environment, else DefaultSamplingRate
}

// DefaultSamplingRate is the share of traces that are recorded where nothing says otherwise.
const DefaultSamplingRate = 0.05

// ProxyTelemetry says where metrics and traces go, within the proxy's own document.
type ProxyTelemetry struct {
	// OpenTelemetry says what is sent to a collector. Default: what the environment variables OTEL_* say.
	// +optional
	OpenTelemetry *OpenTelemetry `json:"openTelemetry,omitempty"`
	// Prometheus is about metrics that are scraped.
	// +optional
	Prometheus *Prometheus `json:"prometheus,omitempty"`
}

// TelemetryConfig is the spec of an MCPTelemetryConfig: where metrics and traces of several proxies go.
type TelemetryConfig struct {
	// OpenTelemetry says what is sent to a collector. Default: what the environment variables OTEL_* say.
	// +optional
	OpenTelemetry *SharedOpenTelemetry `json:"openTelemetry,omitempty"`
	// Prometheus is about metrics that are scraped.
	// +optional
	Prometheus *Prometheus `json:"prometheus,omitempty"`
}

// TelemetryRef names an MCPTelemetryConfig of the same namespace.
type TelemetryRef struct {
	// Name is its name. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// ServiceName is what this proxy is called (service.name). Default: the name of the proxy.
	// +optional
	ServiceName string `json:"serviceName,omitempty"`
}

// OpenTelemetry is what one proxy sends to a collector. What is set here wins over the environment variables OTEL_*, and
// those fill in what is left open.
type OpenTelemetry struct {
	OTLP `json:",inline"`
	// Headers are sent with every export, as "name=value". A secret does not belong here: see sensitiveHeaders of an
	// MCPTelemetryConfig.
	// +listType=atomic
	// +optional
	Headers []string `json:"headers,omitempty"`
	// ServiceName is what this proxy is called (service.name). Default: the name of the proxy.
	// +optional
	ServiceName string `json:"serviceName,omitempty"`
}

// SharedOpenTelemetry is what several proxies send to a collector. What is set here wins over the environment variables
// OTEL_*, and those fill in what is left open.
//
// +kubebuilder:validation:XValidation:rule="!has(self.headers) || !has(self.sensitiveHeaders) || self.sensitiveHeaders.all(h, !(h.name in self.headers))",message="a header is in headers or in sensitiveHeaders"
type SharedOpenTelemetry struct {
	OTLP `json:",inline"`
	// Headers are sent with every export, by name.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
	// SensitiveHeaders are sent with every export too; their values stand in Secrets.
	// +listType=map
	// +listMapKey=name
	// +optional
	SensitiveHeaders []SensitiveHeader `json:"sensitiveHeaders,omitempty"`
}

// OTLP is what is sent to a collector: OTLP over HTTP, in protobuf.
type OTLP struct {
	// Enabled turns sending on. Where it is off nothing is sent, whatever the environment says. Read at start, as the
	// other settings of telemetry are.
	// +optional
	Enabled bool `json:"enabled,omitempty"`
	// Endpoint is where to: host:port, or a URL that /v1/traces, /v1/metrics and /v1/logs are added to. Default: what
	// OTEL_EXPORTER_OTLP_ENDPOINT names; without either nothing is sent.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
	// Insecure means http, in the clear, rather than https.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
	// CABundleRef names the certificates that may vouch for the endpoint, besides the system's authorities.
	// +optional
	CABundleRef *CABundleRef `json:"caBundleRef,omitempty"`
	// ResourceAttributes are added to all that is sent, such as deployment.environment.name.
	// +optional
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
	// Tracing is about traces.
	// +optional
	Tracing *TracingExport `json:"tracing,omitempty"`
	// Metrics is about metrics.
	// +optional
	Metrics *SignalExport `json:"metrics,omitempty"`
	// Logs is about audit records, as log records of OpenTelemetry. They are sent besides being written where audit says.
	// +optional
	Logs *SignalExport `json:"logs,omitempty"`
	// UseLegacyAttributes is about names of attributes that came before the semantic conventions.
	// +optional
	UseLegacyAttributes bool `json:"useLegacyAttributes,omitempty" inert:"attributes here have the names of the semantic conventions alone"`
}

// TracingExport says whether traces are sent, and how many.
type TracingExport struct {
	// Enabled has them sent.
	// +optional
	Enabled bool `json:"enabled,omitempty"`
	// SamplingRate is the share of requests that are traced, from "0" to "1", of those whose client has not decided it.
	// Default: what OTEL_TRACES_SAMPLER says, else "0.05".
	// +kubebuilder:validation:Pattern=`^(0(\.[0-9]+)?|1(\.0+)?)$`
	// +optional
	SamplingRate string `json:"samplingRate,omitempty"`
}

// SignalExport says whether metrics, or audit records, are sent.
type SignalExport struct {
	// Enabled has them sent.
	// +optional
	Enabled bool `json:"enabled,omitempty"`
}

// Prometheus is about metrics that are scraped.
type Prometheus struct {
	// Enabled says whether /metrics is served, on the admin address. Default: true.
	// +optional
	Enabled *bool `json:"enabled,omitempty"`
}

// SensitiveHeader is a header whose value stands in a Secret.
type SensitiveHeader struct {
	// Name is the header's name. Required.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// SecretKeyRef names the value. Required.
	SecretKeyRef SecretKeyRef `json:"secretKeyRef"`
}

func (o *OTLP) setDefaults() { o.CABundleRef.setDefaults() }

// Default fills in what the document leaves open.
func (t *TelemetryConfig) Default() {
	if t.OpenTelemetry != nil {
		t.OpenTelemetry.setDefaults()
	}
}

// Validate checks what the spec itself says, with its defaults filled in.
func (t *TelemetryConfig) Validate() Problems {
	c := newChecker(KindTelemetry)
	c.inspect(reflect.ValueOf(t), "")
	o := t.OpenTelemetry
	if o == nil {
		return c.problems
	}
	c.otlp("openTelemetry", &o.OTLP)
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		c.header(join("openTelemetry.headers", pathName(name)), name, o.Headers[name])
	}
	for i, h := range o.SensitiveHeaders {
		field := fmt.Sprintf("openTelemetry.sensitiveHeaders[%d]", i)
		c.headerName(field+".name", h.Name)
		c.secretKey(field+".secretKeyRef", &h.SecretKeyRef)
		for name := range o.Headers {
			if strings.EqualFold(name, h.Name) {
				c.mistake(field+".name", quote(h.Name)+" is in headers too", "it in one of them")
			}
		}
	}
	return c.problems
}

// telemetry checks what a proxy says about telemetry.
func (c *checker) telemetry(p *RemoteProxy) {
	if ref := p.TelemetryConfigRef; ref != nil {
		c.objectName("telemetryConfigRef.name", ref.Name)
		if p.Telemetry != nil {
			c.mistake("telemetryConfigRef", "is set, and so is telemetry", "one of them")
		}
	}
	if p.Telemetry == nil || p.Telemetry.OpenTelemetry == nil {
		return
	}
	o := p.Telemetry.OpenTelemetry
	c.otlp("telemetry.openTelemetry", &o.OTLP)
	seen := map[string]bool{}
	for i, line := range o.Headers {
		field := fmt.Sprintf("telemetry.openTelemetry.headers[%d]", i)
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			c.mistake(field, "has no =", "name=value")
			continue
		}
		c.header(field, name, value)
		if seen[strings.ToLower(name)] {
			c.mistake(field, quote(name)+" is there twice", "one of them")
		}
		seen[strings.ToLower(name)] = true
	}
}

var rateForm = regexp.MustCompile(`^(0(\.[0-9]+)?|1(\.0+)?)$`)

func (c *checker) otlp(path string, o *OTLP) {
	c.endpoint(path, o)
	c.caBundle(path+".caBundleRef", o.CABundleRef)
	if t := o.Tracing; t != nil && t.SamplingRate != "" && !rateForm.MatchString(t.SamplingRate) {
		c.mistake(path+".tracing.samplingRate", quote(t.SamplingRate)+" is not a share", `a number from "0" to "1", such as "0.05"`)
	}
	for _, name := range slices.Sorted(maps.Keys(o.ResourceAttributes)) {
		field := join(path+".resourceAttributes", pathName(name))
		switch name {
		case "":
			c.mistake(field, "has no name", "the name of an attribute")
		case "service.name":
			c.mistake(field, "is each proxy's own", "serviceName")
		}
	}
	traces, metrics, records := o.signals()
	switch sends := traces || metrics || records; {
	case o.Enabled && !sends:
		c.warn(path, "is enabled, but neither tracing, metrics nor logs are, so nothing is sent", "enabled: true in those that should be")
	case !o.Enabled && (sends || o.Endpoint != ""):
		c.warn(path, "is not enabled, so nothing is sent", "enabled: true")
	}
}

// signals are those that are sent where sending is on.
func (o *OTLP) signals() (traces, metrics, audit bool) {
	return o.Tracing != nil && o.Tracing.Enabled, o.Metrics != nil && o.Metrics.Enabled, o.Logs != nil && o.Logs.Enabled
}

// endpoint checks where telemetry is sent. It says who did what, so it crosses no network in the clear by accident.
func (c *checker) endpoint(path string, o *OTLP) {
	const right = "host:port, or a URL such as https://collector.example.com:4318"
	if o.Insecure && o.CABundleRef != nil {
		c.mistake(path+".caBundleRef", "is set, but insecure means that there is no TLS", "one of them")
	}
	if o.Endpoint == "" {
		return
	}
	field := path + ".endpoint"
	u, wrong := parseURL(o.url())
	switch {
	case wrong != "":
		c.mistake(field, strings.Replace(wrong, quote(o.url()), quote(o.Endpoint), 1), right)
		return
	case u.RawQuery != "" || u.ForceQuery:
		c.mistake(field, quote(o.Endpoint)+" has a query", right)
	case u.Scheme == "https" && o.Insecure:
		c.mistake(path+".insecure", "is true, but the endpoint is an https URL", "one of them")
	case u.Scheme == "http" && !o.Insecure && !loopback(u):
		c.mistake(field, quote(o.Endpoint)+" would be sent to in the clear", "https, or insecure: true")
	}
	if u.Port() == "4317" {
		c.warn(field, "has the port of OTLP over gRPC, which is not spoken here", "OTLP over HTTP, whose port is 4318")
	}
}

// url is the endpoint with its scheme; "" where there is none.
func (o *OTLP) url() string {
	switch {
	case o.Endpoint == "" || strings.Contains(o.Endpoint, "://"):
		return o.Endpoint
	case o.Insecure:
		return "http://" + o.Endpoint
	}
	return "https://" + o.Endpoint
}

// RFC 9110, section 5.6.2: what the name of a header is made of. Values are visible ASCII and spaces here.
var (
	headerName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	headerValue = regexp.MustCompile(`^[ -~]*$`)
)

func (c *checker) headerName(field, name string) {
	if !headerName.MatchString(name) {
		c.mistake(field, quote(name)+" is not the name of a header", "letters, digits and hyphens")
	}
}

// header checks one whose value stands in the document. The value is not repeated: it may be a secret.
func (c *checker) header(field, name, value string) {
	c.headerName(field, name)
	if !headerValue.MatchString(value) {
		c.mistake(field, "has a value that a header can't have", "printable ASCII")
	}
	if strings.EqualFold(name, "Authorization") || strings.Contains(strings.ToLower(name), "key") || strings.Contains(strings.ToLower(name), "token") {
		c.warn(field, "looks like a credential, and stands in a document", "sensitiveHeaders of an "+KindTelemetry+", which name a Secret")
	}
}

// telemetry follows what a proxy says about telemetry; nil where it says nothing.
func (r *resolver) telemetry(spec *RemoteProxy) *Telemetry {
	if t := spec.Telemetry; t != nil {
		out := &Telemetry{Prometheus: t.Prometheus.on()}
		if o := t.OpenTelemetry; o != nil {
			out.Export = r.export(r.proxy, "telemetry.openTelemetry", &o.OTLP, o.ServiceName)
			for _, line := range o.Headers {
				name, value, _ := strings.Cut(line, "=")
				out.Export.Headers[name] = NewSecret(value)
			}
		}
		return out
	}
	ref := spec.TelemetryConfigRef
	if ref == nil || !dnsSubdomain.MatchString(ref.Name) {
		return nil
	}
	if r.from.TelemetryConfig == nil {
		r.proxy.mistake("telemetryConfigRef.name", "no "+KindTelemetry+" can be looked up here", "telemetry")
		return nil
	}
	shared, err := r.from.TelemetryConfig(ref.Name)
	if err != nil {
		r.proxy.mistake("telemetryConfigRef.name", err.Error(), "the name of an "+KindTelemetry)
		return nil
	}
	return r.sharedTelemetry(clone(shared), ref)
}

// recordsToSend warns where audit records are to be sent, and there are none.
func (r *resolver) recordsToSend(spec *RemoteProxy, p *Proxy) {
	if p.Telemetry == nil || p.Telemetry.Export == nil || !p.Telemetry.Export.Enabled || !p.Telemetry.Export.Audit || p.Audit.Enabled {
		return
	}
	field, what := "telemetry.openTelemetry.logs.enabled", "is true"
	if spec.Telemetry == nil {
		field, what = "telemetryConfigRef", "names an "+KindTelemetry+" whose openTelemetry.logs.enabled is true"
	}
	r.proxy.warn(field, what+", but audit.enabled is not, so there are no audit records to send", "audit: {enabled: true}")
}

func (r *resolver) sharedTelemetry(t *TelemetryConfig, ref *TelemetryRef) *Telemetry {
	t.Default()
	c := newChecker(KindTelemetry)
	c.problems = t.Validate()
	defer func() { r.shared = append(r.shared, c.problems...) }()
	out := &Telemetry{Prometheus: t.Prometheus.on()}
	o := t.OpenTelemetry
	if o == nil {
		return out
	}
	out.Export = r.export(c, "openTelemetry", &o.OTLP, ref.ServiceName)
	for name, value := range o.Headers {
		out.Export.Headers[name] = NewSecret(value)
	}
	for i, h := range o.SensitiveHeaders {
		if !goodRef(h.SecretKeyRef.Name, h.SecretKeyRef.Key) {
			continue
		}
		field := fmt.Sprintf("openTelemetry.sensitiveHeaders[%d].secretKeyRef", i)
		data, err := r.from.Secret(h.SecretKeyRef.Name, h.SecretKeyRef.Key)
		value := strings.TrimSpace(string(data))
		switch {
		case err != nil:
			c.mistake(field, err.Error(), "the value of the header there")
		case !headerValue.MatchString(value):
			c.mistake(field, fmt.Sprintf("Secret %s, key %s, holds what a header can't have", h.SecretKeyRef.Name, h.SecretKeyRef.Key), "printable ASCII")
		}
		out.Export.Headers[h.Name] = NewSecret(value)
	}
	return out
}

func (r *resolver) export(c *checker, path string, o *OTLP, service string) *Export {
	out := &Export{
		Enabled: o.Enabled, Endpoint: o.url(), Headers: map[string]Secret{}, ServiceName: service, ResourceAttributes: o.ResourceAttributes,
		CABundle: r.bundle(c, path+".caBundleRef", o.CABundleRef),
	}
	out.Traces, out.Metrics, out.Audit = o.signals()
	if t := o.Tracing; t != nil && t.SamplingRate != "" {
		if rate, err := strconv.ParseFloat(t.SamplingRate, 64); err == nil { // Validate tells of another
			out.SamplingRate = &rate
		}
	}
	return out
}

func (p *Prometheus) on() bool { return p == nil || *cmp.Or(p.Enabled, new(true)) }

// SignalURL is where one signal is sent: "traces", "metrics" or "logs". It is "" where the documents name no endpoint.
func (e *Export) SignalURL(signal string) string {
	if e == nil || e.Endpoint == "" {
		return ""
	}
	u, err := url.Parse(e.Endpoint)
	if err != nil { // Validate has read it
		return ""
	}
	return u.JoinPath("v1", signal).String()
}

// Hash tells configurations apart: 16 hex digits that are the same for proxies with the same settings. Secrets have no
// part in it, so that it can be shown.
func (p *Proxy) Hash() string {
	b, err := json.Marshal(p)
	if err != nil { // a proxy is plain data
		panic("config: hash: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

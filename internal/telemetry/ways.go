package telemetry

import (
	"net/url"
	"strconv"
	"strings"
)

// AuditRecords is the Signal of audit records.
const AuditRecords = "audit_records"

// Way is where a signal is sent, as it can be shown to anybody: headers, user names, paths and queries are left out.
type Way struct {
	Signal string // traces, metrics or AuditRecords
	To     string // scheme, host and port
}

// way tells of a target.
func (to target) way(signal string) Way {
	shown := signal
	if signal == logs {
		shown = AuditRecords
	}
	u, err := url.Parse(to.url)
	if err != nil { // it was read before
		return Way{Signal: shown}
	}
	return Way{shown, u.Scheme + "://" + u.Host}
}

// sampling says which traces are recorded of those whose client has not decided it: a share from 0 to 1, or the sampler
// that the environment names, which samplerCanBeRead has read.
func (o Options) sampling() string {
	if rate, ok := o.rate(); ok {
		return strconv.FormatFloat(rate, 'g', -1, 64)
	}
	sampler, share := strings.ToLower(environment("OTEL_TRACES_SAMPLER")), environment("OTEL_TRACES_SAMPLER_ARG")
	switch {
	case sampler == "":
		return "parentbased_always_on" // what OpenTelemetry does by itself
	case strings.HasSuffix(sampler, "traceidratio") && share != "":
		return sampler + " " + share
	}
	return sampler
}

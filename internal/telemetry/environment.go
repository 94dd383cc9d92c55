package telemetry

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The variables that say where telemetry goes are read here, and the exporters are told. By themselves they would pass
// over what they can't read, and send to localhost or trust whom nobody named.

// environment is the value of a variable; OpenTelemetry takes an empty one for none.
func environment(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// setting is a variable for one signal, and where there is none the one for all; both "" without either.
func setting(signal, name string) (variable, value string) {
	const all = "OTEL_EXPORTER_OTLP_"
	for _, variable = range []string{all + strings.ToUpper(signal) + "_" + name, all + name} {
		if value = environment(variable); value != "" {
			return variable, value
		}
	}
	return "", ""
}

// unfit is the mistake of a variable. Values may hold secrets, so none is repeated that is not a word of a fixed set.
func unfit(variable, what, right string) error {
	return fmt.Errorf("%s %s; it wants %s", variable, what, right)
}

// overGRPC says which protocol is spoken to an endpoint of the environment.
func overGRPC(signal string) (bool, error) {
	switch variable, protocol := setting(signal, "PROTOCOL"); protocol {
	case "grpc":
		return true, nil
	case "", "http/protobuf":
		return false, nil
	default:
		return false, unfit(variable, fmt.Sprintf("is %.32q, which is not spoken here", protocol), "http/protobuf or grpc")
	}
}

// endpoint is where the environment has a signal sent, as a URL with its path; "" for nowhere.
func endpoint(signal string, grpc bool) (string, error) {
	variable, raw := setting(signal, "ENDPOINT")
	if raw == "" {
		return "", nil
	}
	right := "a URL such as http://collector.example.com:4318"
	if grpc {
		if right += ", or host:port"; !strings.Contains(raw, "://") {
			scheme := "https://"
			if _, insecure := setting(signal, "INSECURE"); strings.EqualFold(insecure, "true") {
				scheme = "http://"
			}
			raw = scheme + raw
		}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.HasSuffix(u.Host, ":"):
		return "", unfit(variable, "is no URL of http or https with a host", right)
	case u.User != nil:
		return "", unfit(variable, "has a user name or password in it", right+"; what proves who sends goes into OTEL_EXPORTER_OTLP_HEADERS")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", unfit(variable, "has a query or a fragment", right)
	case variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
		u = u.JoinPath("v1", signal)
	default:
		u.Path = cmp.Or(u.Path, "/") // as it is, and no path is the root
	}
	return u.String(), nil
}

// trust is how TLS is spoken with a collector: the authorities are those of the documents' bundle, besides the system's,
// else those of the environment alone, else the system's. It is nil where nothing is set.
func trust(signal string, bundle []byte) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(bundle) > 0 {
		if c.RootCAs, _ = x509.SystemCertPool(); c.RootCAs == nil {
			c.RootCAs = x509.NewCertPool()
		}
		c.RootCAs.AppendCertsFromPEM(bundle) // which was checked with the documents
	} else if variable, file := setting(signal, "CERTIFICATE"); file != "" {
		authorities, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, unfit(variable, "names a file that holds no certificate", "certificates in PEM")
		}
	}
	_, certificate := setting(signal, "CLIENT_CERTIFICATE")
	_, key := setting(signal, "CLIENT_KEY")
	if certificate != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, for %s: %w", signal, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if c.RootCAs == nil && c.Certificates == nil {
		return nil, nil
	}
	return c, nil
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, section 5.6.2

// headersCanBeRead checks the headers of the environment, whose values the exporters' own complaints would repeat.
func headersCanBeRead(signal string) error {
	variable, all := setting(signal, "HEADERS")
	if all == "" {
		return nil
	}
	for i, header := range strings.Split(all, ",") {
		name, value, ok := strings.Cut(header, "=")
		if _, err := url.PathUnescape(value); !ok || err != nil || !headerName.MatchString(strings.TrimSpace(name)) {
			return unfit(variable, fmt.Sprintf("can't be read at its entry %d", i+1), "name=value,name=value with values in percent-encoding")
		}
	}
	return nil
}

// samplers are the values of OTEL_TRACES_SAMPLER that are known here.
var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// samplerCanBeRead checks what the environment says about sampling, where that is asked.
func (o Options) samplerCanBeRead() error {
	sampler := strings.ToLower(environment("OTEL_TRACES_SAMPLER"))
	if _, said := o.rate(); said || sampler == "" {
		return nil
	}
	if !slices.Contains(samplers, sampler) {
		return unfit("OTEL_TRACES_SAMPLER", "is not the name of a sampler", "one of "+strings.Join(samplers, ", "))
	}
	arg := environment("OTEL_TRACES_SAMPLER_ARG")
	if arg == "" || !strings.HasSuffix(sampler, "traceidratio") {
		return nil
	}
	if share, err := strconv.ParseFloat(arg, 64); err != nil || math.IsNaN(share) || share < 0 || share > 1 {
		return unfit("OTEL_TRACES_SAMPLER_ARG", "is not a share", "a number from 0 to 1")
	}
	return nil
}

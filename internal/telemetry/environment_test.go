package telemetry_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// TestWhatTheEnvironmentMeansIsNotGuessed: a variable that can't be read stops the start, and is named without its
// value, which may be a secret. What does not count is not looked at.
func TestWhatTheEnvironmentMeansIsNotGuessed(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		all    = "OTEL_EXPORTER_OTLP_"
		secure = "https://collector.invalid:4318"
	)
	documents := &config.Telemetry{Export: &config.Export{Enabled: true, Endpoint: "http://127.0.0.1:1", Traces: true, SamplingRate: rate(0)}}
	for _, c := range []struct {
		name   string
		env    map[string]string // without OTEL_
		config *config.Telemetry
		wrong  string // a variable; "" for none
	}{
		{"no scheme", map[string]string{all + "ENDPOINT": "127.0.0.1:14318"}, nil, all + "ENDPOINT"},
		{"no scheme, and a name", map[string]string{all + "ENDPOINT": "hidden:4318"}, nil, all + "ENDPOINT"},
		{"no scheme and no port", map[string]string{all + "ENDPOINT": "hidden"}, nil, all + "ENDPOINT"},
		{"another scheme", map[string]string{all + "ENDPOINT": "ftp://hidden"}, nil, all + "ENDPOINT"},
		{"no host", map[string]string{all + "ENDPOINT": "http://:4318"}, nil, all + "ENDPOINT"},
		{"no port after the colon", map[string]string{all + "ENDPOINT": "http://hidden:"}, nil, all + "ENDPOINT"},
		{"a password", map[string]string{all + "ENDPOINT": "https://me:hidden@collector"}, nil, all + "ENDPOINT"},
		{"a query", map[string]string{all + "ENDPOINT": "https://collector/?hidden"}, nil, all + "ENDPOINT"},
		{"no URL at all", map[string]string{all + "ENDPOINT": "http://hidden%zz"}, nil, all + "ENDPOINT"},
		{"one signal's", map[string]string{all + "TRACES_ENDPOINT": "hidden:4318"}, nil, all + "TRACES_ENDPOINT"},
		{"a path for gRPC", map[string]string{all + "ENDPOINT": "unix:/hidden", all + "PROTOCOL": "grpc"}, nil, all + "ENDPOINT"},
		{"host and port for gRPC", map[string]string{all + "ENDPOINT": "127.0.0.1:1", all + "PROTOCOL": "grpc"}, nil, ""},
		{"a protocol", map[string]string{all + "ENDPOINT": secure, all + "PROTOCOL": "http/xml"}, nil, all + "PROTOCOL"},
		{"a certificate that is not there", map[string]string{all + "ENDPOINT": secure, all + "CERTIFICATE": dir + "/none"}, nil, all + "CERTIFICATE"},
		{"a certificate that is none", map[string]string{all + "ENDPOINT": secure, all + "METRICS_CERTIFICATE": empty}, nil, all + "METRICS_CERTIFICATE"},
		{"a certificate in the clear", map[string]string{all + "ENDPOINT": "http://127.0.0.1:1", all + "CERTIFICATE": dir + "/none"}, nil, ""},
		{"half a pair", map[string]string{all + "ENDPOINT": secure, all + "CLIENT_CERTIFICATE": empty}, nil, all + "CLIENT_KEY"},
		{"headers without a name", map[string]string{all + "ENDPOINT": secure, all + "HEADERS": "a=b,hidden"}, nil, all + "HEADERS"},
		{"headers that are not encoded", map[string]string{all + "ENDPOINT": secure, all + "HEADERS": "a=hidden%zz"}, nil, all + "HEADERS"},
		{"a sampler", map[string]string{all + "ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "hidden"}, nil, "OTEL_TRACES_SAMPLER"},
		{"a share", map[string]string{all + "ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5"}, nil, "OTEL_TRACES_SAMPLER_ARG"},
		{"a share that nobody asks for", map[string]string{all + "ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "1.5"}, nil, ""},
		{"nothing is sent", map[string]string{all + "ENDPOINT": "hidden", "OTEL_SDK_DISABLED": "true"}, nil, ""},
		{"the documents say it", map[string]string{all + "ENDPOINT": "hidden", "OTEL_TRACES_SAMPLER": "hidden"}, documents, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			log := &fake.Log{}
			p, err := telemetry.Open(t.Context(), telemetry.Options{Proxy: "aws", Config: c.config, Log: slog.New(slog.NewJSONHandler(log, nil))})
			switch {
			case c.wrong == "" && err != nil:
				t.Error(err)
			case c.wrong != "" && err == nil:
				t.Errorf("it began, and sends to %v", p.Ways)
			case c.wrong != "" && !strings.Contains(err.Error(), c.wrong+" ") && !strings.Contains(err.Error(), c.wrong+":") && !strings.Contains(err.Error(), c.wrong+","):
				t.Errorf("%v, which does not name %s", err, c.wrong)
			}
			if said := log.String(); err != nil && strings.Contains(err.Error(), "hidden") || strings.Contains(said, "hidden") && c.config == nil {
				t.Errorf("a value is repeated: %v %s", err, said)
			}
		})
	}
}

// TestTheLibrariesComplainInTheLog: not on standard error, past its format, and without the values.
func TestTheLibrariesComplainInTheLog(t *testing.T) {
	clean(t)
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "hidden")
	written := standardError(t, func() {
		log := &fake.Log{}
		p := open(t, telemetry.Options{Config: everything(r.URL), Log: slog.New(slog.NewJSONHandler(log, nil))})
		end(t, p)
		if said := messages(t, log); !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, ": OpenTelemetry") }) {
			t.Errorf("nothing is said: %q", said)
		}
	})
	if written != "" {
		t.Errorf("on standard error: %s", written)
	}
}

// standardError is what is written there meanwhile. The libraries' own logger holds the file that was there when the
// process began, so its descriptor is what counts.
func standardError(t *testing.T, do func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := *os.Stderr
	*os.Stderr = *w
	do()
	*os.Stderr = old
	_ = w.Close()
	var all bytes.Buffer
	_, _ = all.ReadFrom(r)
	return all.String()
}

// TestTrustIsWhatWasNamed: the authorities of the environment count alone, over both protocols' TLS; those of the
// documents come on top of the system's; and the client's own certificate is shown either way.
func TestTrustIsWhatWasNamed(t *testing.T) {
	clean(t)
	certificate, key := selfSigned(t)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	shown := make(chan int, 8)
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		shown <- len(req.TLS.PeerCertificates)
		r.ServeHTTP(w, req)
	}))
	r.Server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	r.StartTLS()
	t.Cleanup(r.Close)
	bundle, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", key)
	documents := everything(r.URL)
	documents.Export.CABundle, documents.Export.Metrics, documents.Export.Audit = bundle, false, false
	for name, o := range map[string]telemetry.Options{"documents": {Config: documents}, "environment": {}} {
		if o.Config == nil {
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", r.URL+"/v1/traces")
			t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate)
		}
		r.spans = nil
		p := open(t, o)
		p.Tracing.Begin(time.Now(), telemetry.Remote{}).End(time.Now(), telemetry.Request{Method: "ping"}, telemetry.Ending{})
		end(t, p)
		if len(r.spans) != 1 || len(shown) != 1 || <-shown != 1 {
			t.Errorf("%s: %d spans came, with %d certificates", name, len(r.spans), len(shown))
		}
	}
}

// selfSigned makes a certificate for loopback, and its key: files of PEM.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	c, k, err := stage.Certificate(1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"tls.crt": c, "tls.key": k} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
}

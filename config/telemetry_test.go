package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
)

const telemetryProxy = `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: aws}
spec:
  remoteUrl: https://mcp.example.com/mcp
  unauthenticated: {acknowledge: true}
`

// loadText loads one document, with a Secret otel/key in reach.
func loadText(t *testing.T, text string) *config.Proxy {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "proxy.yaml"), []byte(text))
	writeFile(t, filepath.Join(dir, "refs/secrets/otel/key"), []byte("hunter2\n"))
	p, problems := config.Load([]string{filepath.Join(dir, "proxy.yaml")}, config.LoadOptions{Refs: filepath.Join(dir, "refs")})
	if p == nil {
		t.Fatal(problems)
	}
	return p
}

func TestTelemetryIsResolved(t *testing.T) {
	object := "---\napiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPTelemetryConfig\nmetadata: {name: otel}\nspec: "
	off := 0.25
	for _, c := range []struct {
		name, text string
		want       *config.Telemetry
	}{
		{"nothing is said", "", nil},
		{"an empty block", "  telemetry: {}\n", &config.Telemetry{Prometheus: true}},
		{"not scraped", "  telemetry: {prometheus: {enabled: false}}\n", &config.Telemetry{}},
		{
			"its own",
			"  telemetry: {openTelemetry: {enabled: true, endpoint: \"collector:4318\", insecure: true, serviceName: mine, headers: [\"a=b=c\"], tracing: {enabled: true, samplingRate: \"0.25\"}}}\n",
			&config.Telemetry{Prometheus: true, Export: &config.Export{
				Enabled: true, Endpoint: "http://collector:4318", ServiceName: "mine", Headers: map[string]config.Secret{"a": config.NewSecret("b=c")},
				Traces: true, SamplingRate: &off,
			}},
		},
		{
			"shared",
			"  telemetryConfigRef: {name: otel, serviceName: mine}\n" + object + "{openTelemetry: {enabled: true, endpoint: \"https://c.example.com/otel\", headers: {a: b}, sensitiveHeaders: [{name: k, secretKeyRef: {name: otel, key: key}}], resourceAttributes: {a: b}, metrics: {enabled: true}, logs: {enabled: true}}}\n",
			&config.Telemetry{Prometheus: true, Export: &config.Export{
				Enabled: true, Endpoint: "https://c.example.com/otel", ServiceName: "mine", ResourceAttributes: map[string]string{"a": "b"}, Metrics: true, Audit: true,
				Headers: map[string]config.Secret{"a": config.NewSecret("b"), "k": config.NewSecret("hunter2")},
			}},
		},
		{"a bare name is https", "  telemetry: {openTelemetry: {endpoint: collector}}\n", &config.Telemetry{
			Prometheus: true, Export: &config.Export{Endpoint: "https://collector", Headers: map[string]config.Secret{}},
		}},
	} {
		got := loadText(t, telemetryProxy+c.text).Telemetry
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(config.Secret{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestSignalURL(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                              "",
		"https://c.example.com":         "https://c.example.com/v1/traces",
		"http://localhost:4318/":        "http://localhost:4318/v1/traces",
		"https://c.example.com/a/otel/": "https://c.example.com/a/otel/v1/traces",
	} {
		if got := (&config.Export{Endpoint: endpoint}).SignalURL("traces"); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
	if (*config.Export)(nil).SignalURL("traces") != "" {
		t.Error("an endpoint out of nothing")
	}
}

func TestHashTellsConfigurationsApart(t *testing.T) {
	hash := loadText(t, telemetryProxy).Hash()
	if len(hash) != 16 || hash != loadText(t, telemetryProxy).Hash() {
		t.Errorf("%s is not the hash of the same settings", hash)
	}
	other := loadText(t, strings.Replace(telemetryProxy, "example.com", "example.org", 1))
	if other.Hash() == hash {
		t.Error("another remote, and the same hash")
	}
	secret := *other
	secret.SessionKey = config.NewSecret("x")
	if secret.Hash() != other.Hash() {
		t.Error("a secret can be guessed from the hash")
	}
}

package telemetry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// TestWays: what is said of where telemetry goes is where it goes, and holds nothing that may be secret.
func TestWays(t *testing.T) {
	both := func(to string) []telemetry.Way { return []telemetry.Way{{"metrics", to}, {"traces", to}} }
	rate := 0.25
	for _, tc := range []struct {
		name     string
		env      map[string]string
		config   *config.Telemetry
		want     []telemetry.Way
		sampling string
	}{
		{name: "nowhere"},
		{
			name:   "the documents",
			config: &config.Telemetry{Export: &config.Export{Enabled: true, Endpoint: "https://collector.example.com:4318/base", Traces: true, Audit: true, SamplingRate: &rate}},
			want:   []telemetry.Way{{"traces", "https://collector.example.com:4318"}, {telemetry.AuditRecords, "https://collector.example.com:4318"}}, sampling: "0.25",
		},
		{
			name:   "the documents, with the share that is the default",
			config: &config.Telemetry{Export: &config.Export{Enabled: true, Endpoint: "http://localhost:4318", Traces: true}},
			want:   []telemetry.Way{{"traces", "http://localhost:4318"}}, sampling: "0.05",
		},
		{
			name: "the environment",
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example.com/hidden"},
			want: both("https://collector.example.com"), sampling: "parentbased_always_on",
		},
		{
			name: "the environment, with a sampler, over gRPC, in the clear",
			env: map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_INSECURE": "true",
				"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5",
			},
			want: both("http://collector:4317"), sampling: "traceidratio 0.5",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clean(t)
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			p := open(t, telemetry.Options{Config: tc.config})
			if diff := cmp.Diff(tc.want, p.Ways); diff != "" {
				t.Errorf("ways (-want +got):\n%s", diff)
			}
			if p.Sampling != tc.sampling {
				t.Errorf("sampling %q, want %q", p.Sampling, tc.sampling)
			}
		})
	}
}

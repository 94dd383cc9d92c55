package observability_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the dashboard, the alert rules and their tests anew")

const (
	dashboardFile = "rolegate-dashboard.json"
	rulesFile     = "rolegate-alerts.yaml"
	examplesFile  = "rolegate-alerts.test.yaml"
)

// TestReference: the files are what this package makes. With -update they are written anew.
func TestReference(t *testing.T) {
	for name, want := range map[string][]byte{
		dashboardFile: dashboardJSON(t),
		rulesFile:     rulesYAML(),
		examplesFile:  examplesYAML(),
	} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale; go test ./deploy/observability -update writes it anew (-want +got):\n%s", name, diff)
		}
	}
}

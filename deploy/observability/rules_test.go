package observability_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const generated = "# Written by \"go test ./deploy/observability -update\". Do not edit.\n"

// rulesYAML is a rule file for Prometheus.
func rulesYAML() []byte {
	var b bytes.Buffer
	b.WriteString(generated + "groups:\n  - name: rolegate\n    rules:\n")
	for _, a := range alerts {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: |-\n%s\n        for: %s\n", a.name, indent(a.expr, 10), a.hold)
		fmt.Fprintf(&b, "        labels:\n          severity: %s\n        annotations:\n", a.severity)
		for _, note := range a.notes() {
			fmt.Fprintf(&b, "          %s: %s\n", note.name, quoted(note.text))
		}
	}
	return b.Bytes()
}

// examplesYAML is a file for "promtool test rules".
func examplesYAML() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%srule_files: [%s]\nevaluation_interval: 1m\ntests:\n", generated, rulesFile)
	for _, a := range alerts {
		for _, e := range a.cases {
			fmt.Fprintf(&b, "  - name: %s\n    interval: 1m\n    input_series:\n", quoted(a.name+": "+e.story))
			for _, in := range e.input {
				fmt.Fprintf(&b, "      - series: %s\n        values: %s\n", quoted(in.series), quoted(in.values))
			}
			b.WriteString("    alert_rule_test:\n")
			if e.early != "" {
				fmt.Fprintf(&b, "      - eval_time: %s\n        alertname: %s\n        exp_alerts: []\n", e.early, a.name)
			}
			fmt.Fprintf(&b, "      - eval_time: %s\n        alertname: %s\n", e.at, a.name)
			if e.fires == nil {
				b.WriteString("        exp_alerts: []\n")
				continue
			}
			fmt.Fprintf(&b, "        exp_alerts:\n          - exp_labels:\n              severity: %s\n", a.severity)
			for _, name := range slices.Sorted(maps.Keys(e.fires)) {
				fmt.Fprintf(&b, "              %s: %s\n", name, quoted(e.fires[name]))
			}
			b.WriteString("            exp_annotations:\n")
			for _, note := range a.notes() {
				fmt.Fprintf(&b, "              %s: %s\n", note.name, quoted(expanded(note.text, e)))
			}
		}
	}
	return b.Bytes()
}

// note is an annotation.
type note struct{ name, text string }

func (a alert) notes() []note {
	return []note{{"summary", a.summary}, {"description", a.description}, {"runbook_url", runbook + "#" + strings.ToLower(a.name)}}
}

var placeholder = regexp.MustCompile(`\{\{ \$(?:labels\.(\w+)|(value) \| humanize\w+) \}\}`)

// expanded is what Prometheus makes of an annotation.
func expanded(text string, e example) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if label := placeholder.FindStringSubmatch(p)[1]; label != "" {
			return e.fires[label]
		}
		return e.figure
	})
}

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(text, "\n", "\n"+pad)
}

// quoted is a string of YAML on one line.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// TestEveryAlertIsShown: firing and silent, and as something to act on.
func TestEveryAlertIsShown(t *testing.T) {
	names := map[string]bool{}
	for _, a := range alerts {
		fires, silent, early := 0, 0, a.hold == "0m"
		for _, e := range a.cases {
			if e.fires == nil {
				silent++
				continue
			}
			fires++
			early = early || e.early != ""
			if strings.Contains(a.summary+a.description, "$value") != (e.figure != "") {
				t.Errorf("%s: %s: the figure is %q", a.name, e.story, e.figure)
			}
			for _, note := range a.notes() {
				if text := expanded(note.text, e); strings.Contains(text, "{{") || strings.Contains(text, "  ") {
					t.Errorf("%s: %s: %s", a.name, note.name, text)
				}
			}
		}
		if fires == 0 || silent == 0 || !early {
			t.Errorf("%s is shown firing %d times and silent %d times; before its time: %t", a.name, fires, silent, early)
		}
		if names[a.name] || !strings.HasPrefix(a.name, "Rolegate") || a.severity != critical && a.severity != warning || a.hold == "" {
			t.Errorf("%s, %s, for %q", a.name, a.severity, a.hold)
		}
		names[a.name] = true
		if !strings.Contains(a.description, "ook at ") {
			t.Errorf("%s does not say what to look at", a.name)
		}
	}
}

// TestFilesAreYAML: a reader of YAML finds in the files what went into them.
func TestFilesAreYAML(t *testing.T) {
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(rulesYAML(), &rules); err != nil {
		t.Fatal(err)
	}
	for i, a := range alerts {
		r := rules.Groups[0].Rules[i]
		if r.Alert != a.name || r.Expr != a.expr || r.For != a.hold || r.Labels["severity"] != a.severity {
			t.Errorf("%s became %+v", a.name, r)
		}
		for _, note := range a.notes() {
			if r.Annotations[note.name] != note.text {
				t.Errorf("%s: %s became %q", a.name, note.name, r.Annotations[note.name])
			}
		}
	}
	var examples struct{ Tests []map[string]any }
	if err := yaml.Unmarshal(examplesYAML(), &examples); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, a := range alerts {
		n += len(a.cases)
	}
	if len(examples.Tests) != n {
		t.Errorf("%d tests, want %d", len(examples.Tests), n)
	}
}

// TestRunbook: every alert has its entry in docs/operations.md, under the heading that its link leads to, and every
// entry there is an alert's.
func TestRunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(page), "\n## When an alert fires\n")
	if !ok {
		t.Fatal("docs/operations.md has no section about alerts")
	}
	section, _, _ := strings.Cut(after, "\n## ")
	entries := map[string]string{}
	for _, entry := range strings.Split("\n"+section, "\n### ")[1:] {
		heading, text, _ := strings.Cut(entry, "\n")
		entries[heading] = strings.TrimSpace(text)
	}
	for _, a := range alerts {
		if len(entries[a.name]) < 100 {
			t.Errorf("docs/operations.md does not say what to do about %s", a.name)
		}
		delete(entries, a.name)
	}
	for heading := range entries {
		t.Errorf("docs/operations.md has an entry for %s, which is no alert", heading)
	}
}

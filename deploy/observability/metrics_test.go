package observability_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// served are the labels of each metric, as a process serves them that has seen everything once.
func served() map[string][]string {
	m := telemetry.NewMetrics("v1", "abc")
	m.Began("POST", false)
	m.StreamOpened()
	m.Answered("allowed", "200", false, time.Millisecond)
	m.Answered("allowed", "200", true, time.Hour)
	m.Ended("success")
	m.Operated(telemetry.Operation{HTTPMethod: "POST", Method: "tools/call", Remote: time.Second, Ending: telemetry.Ending{Status: 503, Kind: "unavailable", Code: -32000}})
	m.Exchanged(telemetry.Exchange{HTTPMethod: "POST", Server: &url.URL{Scheme: "https", Host: "aws-mcp.us-east-1.api.aws"}, Status: 503})
	m.Verified("ok", true)
	m.Refreshed(errors.New("away"))
	m.Reloaded(nil)
	m.RoleChosen("arn", "fallback", "missing")
	m.MatcherFailed(1, "no such key")
	m.PolicyDecided("deny", time.Microsecond)
	m.PolicyFailed("policies[0]", "permit")
	m.ItemsHidden("tools/list", 3)
	m.STSCalled("ok", time.Millisecond)
	m.STSCached("hit")
	m.SessionRefused()
	m.Configured("aws", "0123")
	m.WatchAudit(func() telemetry.AuditFigures { return telemetry.AuditFigures{} })
	for _, name := range []string{
		telemetry.MetricKeySetAge, telemetry.MetricKeySetKeys, telemetry.MetricSTSEntries, telemetry.MetricSTSFlights, telemetry.MetricSTSNextExpiry, telemetry.MetricSTSUnrenewed,
	} {
		m.Gauge(name, "A gauge.", func() float64 { return 1 })
	}
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	found := map[string][]string{}
	for _, line := range regexp.MustCompile(`(?m)^(\w+?)(?:_bucket|_count|_sum)?(?:\{(.*)\})? \S+$`).FindAllStringSubmatch(w.Body.String(), -1) {
		names := []string{}
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(line[2], -1) {
			if label[1] != "le" {
				names = append(names, label[1])
			}
		}
		slices.Sort(names)
		found[line[1]] = names
	}
	return found
}

// TestLabels: the labels that the expressions are made with are those that are served.
func TestLabels(t *testing.T) {
	got := served()
	for name := range got {
		if _, ours := labels[name]; !ours {
			delete(got, name) // of the Go runtime and the process
		}
	}
	if diff := cmp.Diff(labels, got); diff != "" {
		t.Errorf("labels (-in expr_test.go +served):\n%s", diff)
	}
}

// names are those in internal/telemetry/names.go.
func names(t *testing.T) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../internal/telemetry/names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Metric") {
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[name] = true
		}
		return true
	})
	return found
}

// TestNames: every metric of ours in the files is one in names.go, and every one in names.go is on the dashboard.
func TestNames(t *testing.T) {
	known := names(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(labels))); diff != "" {
		t.Fatalf("metrics (-names.go +expr_test.go):\n%s", diff)
	}
	metric := regexp.MustCompile(`\b(?:rolegate|http_(?:server|client)|mcp_(?:server|client))_[a-z_]+[a-z]`)
	histogram := regexp.MustCompile(`_(?:bucket|count|sum)$`)
	shown := map[string]bool{telemetry.MetricHTTPDuration: true, telemetry.MetricHTTPActive: true} // they say what rolegate's own say
	for _, file := range []string{dashboardFile, rulesFile, examplesFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(text), -1) {
			if !known[name] {
				name = histogram.ReplaceAllString(name, "")
			}
			if !known[name] {
				t.Errorf("%s names %s, which names.go does not have", file, name)
			}
			shown[name] = shown[name] || file == dashboardFile
		}
	}
	for name := range known {
		if !shown[name] {
			t.Errorf("%s is not on the dashboard", name)
		}
	}
}

// expressions are those of the alerts and of the dashboard, by where they stand.
func expressions() map[string]string {
	all := map[string]string{}
	for _, a := range alerts {
		all["alert "+a.name] = a.expr
	}
	for _, r := range rows {
		for _, c := range r.charts {
			for _, q := range c.queries {
				all["panel "+c.title+": "+q.legend] = q.expr
			}
		}
	}
	return all
}

var (
	selector  = regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	condition = regexp.MustCompile(`(\w+)(=|!=|=~|!~)"([^"]*)"`)
	grouping  = regexp.MustCompile(`\b(?:by|on|without|group_left) \(([^)]*)\)`)
)

// fromPrometheus are labels that a metric gets when it is scraped, the last two of them in some places, and the one of
// buckets.
var fromPrometheus = []string{"job", "instance", "le", "namespace", "cluster"}

// TestExpressions: what they select and group by exists.
func TestExpressions(t *testing.T) {
	written := literals(t)
	for place, expr := range expressions() {
		groups := slices.Clone(fromPrometheus)
		for name, has := range labels {
			if strings.Contains(expr, name) {
				groups = append(groups, has...)
			}
		}
		for _, s := range selector.FindAllStringSubmatch(expr, -1) {
			name := s[1]
			if labels[name] == nil {
				name = regexp.MustCompile(`_(?:bucket|count|sum)$`).ReplaceAllString(name, "")
			}
			for _, c := range condition.FindAllStringSubmatch(s[2], -1) {
				if has, ours := labels[name]; ours && !slices.Contains(has, c[1]) && !slices.Contains(fromPrometheus, c[1]) {
					t.Errorf("%s: %s has no label %s", place, name, c[1])
				}
				for value := range strings.SplitSeq(c[3], "|") {
					if labels[name] != nil && c[1] != "status" && !strings.HasPrefix(value, "$") && value != "" && !written[value] {
						t.Errorf("%s: nothing gives %s the value %q", place, c[1], value)
					}
				}
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(g[1], ", ") {
				if label != "" && !slices.Contains(groups, label) && !slices.Contains([]string{"alertname", "severity"}, label) {
					t.Errorf("%s: nothing in it has a label %s", place, label)
				}
			}
		}
	}
}

// literals are the strings in the code of the product.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir("../../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.Contains(filepath.ToSlash(path), "internal/fake") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					found[s] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

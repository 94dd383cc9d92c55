package telemetry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

func scrape(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// TestEveryMetricIsServed: each name in names.go stands for something that can be scraped.
func TestEveryMetricIsServed(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	m.Began()
	m.StreamOpened()
	m.Answered("allowed", "200", false, time.Millisecond)
	m.Verified("ok", true)
	m.Refreshed(nil)
	m.Reloaded(nil)
	m.RoleChosen("arn", "fallback", "missing")
	m.MatcherFailed(1, "no such key")
	m.STSCalled("ok", time.Millisecond)
	m.STSCached("hit")
	m.SessionRefused()
	for _, name := range []string{telemetry.MetricKeySetAge, telemetry.MetricKeySetKeys, telemetry.MetricSTSEntries} {
		m.Gauge(name, "A gauge.", func() float64 { return 1 })
	}
	text := scrape(m)
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, `"rolegate_`) {
			name, _ := strconv.Unquote(lit.Value)
			names++
			if !strings.Contains(text, "# TYPE "+name+" ") {
				t.Errorf("%s is not served", name)
			}
		}
		return true
	})
	if names == 0 {
		t.Fatal("no names found")
	}
}

func TestUnreadRoleClaimIsNotCounted(t *testing.T) {
	m := telemetry.NewMetrics("v1", "abc")
	m.RoleChosen("arn", "mapping", "")
	if strings.Contains(scrape(m), telemetry.MetricRoleClaims+"{") {
		t.Error("a claim that nothing reads was counted")
	}
}

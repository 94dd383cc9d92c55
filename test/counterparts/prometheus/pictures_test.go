package prometheus_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

const pictures = "../../../deploy/observability"

// TestAlertsFireAndAreSilent: promtool finds the rules right, and each does in its examples what it should.
func TestAlertsFireAndAreSilent(t *testing.T) {
	lab.Need(t)
	promtool := filepath.Join(lab.Debs(t, "prometheus"), "usr/bin/promtool")
	for _, args := range [][]string{{"check", "rules", "rolegate-alerts.yaml"}, {"test", "rules", "rolegate-alerts.test.yaml"}} {
		said, err := lab.Output(t, pictures, 2*lab.Patience, nil, promtool, args...)
		if err != nil || !strings.Contains(said, "SUCCESS") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}

// TestPicturesOfARealProcess: Prometheus loads the rules, scrapes a gateway that works, and evaluates every rule without
// an error or an alert. Every query of the dashboard is one that it understands, and shows something wherever the
// process serves the metrics that it asks for. Then something goes wrong, and an alert fires.
func TestPicturesOfARealProcess(t *testing.T) {
	lab.Need(t)
	w, err := fake.NewWorld(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	g := lab.Serve(t, w.Documents(), "", w.Env())
	user := w.Token(w.UserNames()[0])
	base := watch(t, g)
	lab.Eventually(t, "the first scrape", func() bool { return ask(t, base, "up") == "1" })
	for range 10 { // while scrapes go on, so that there are rates
		for _, token := range []string{user, user, ""} {
			_ = post(t, g, token)
		}
		time.Sleep(300 * time.Millisecond)
	}
	lab.Eventually(t, "all has been scraped", func() bool {
		return ask(t, base, "sum("+telemetry.MetricRequests+")") == "30" && ask(t, base, `sum(increase(`+telemetry.MetricRequests+`[30s])) > bool 0`) == "1"
	})
	for _, metric := range []string{telemetry.MetricBuildInfo, telemetry.MetricKeySetAge, telemetry.MetricTokenVerifications, telemetry.MetricRoleChoices, telemetry.MetricSTSCalls} {
		if got := ask(t, base, "count(count by (instance) ("+metric+"))"); got != "1" {
			t.Errorf("%s processes have %s", got, metric)
		}
	}
	evaluated(t, base)
	page := get(t, g.Admin+"/metrics")
	empty := 0
	for title, expr := range queries(t) {
		if results(t, base, expr) > 0 {
			continue
		}
		if empty++; shows(expr, page) {
			t.Errorf("%s is empty: %s", title, expr)
		} else {
			t.Logf("%s is empty: the process serves nothing of it", title)
		}
	}
	if empty > 12 {
		t.Errorf("%d queries show nothing", empty)
	}

	lab.Write(t, g.Dir, "documents.yaml", "a mistake")
	if err := g.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, "the refused reload is told", func() bool {
		return ask(t, base, `ALERTS{alertname="RolegateReloadRefused",alertstate="firing"}`) == "1"
	})
}

// watch starts Prometheus with the rules, and lets it scrape the gateway.
func watch(t *testing.T, g *lab.Gate) (base string) {
	t.Helper()
	root, dir := lab.Debs(t, "prometheus"), t.TempDir()
	rules, err := filepath.Abs(filepath.Join(pictures, "rolegate-alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file := lab.Write(t, dir, "prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: rolegate
    static_configs: [{targets: [%q]}]
`, rules, strings.TrimPrefix(g.Admin, "http://")))
	address := fmt.Sprintf("127.0.0.1:%d", lab.Port(t))
	lab.Start(t, lab.Command{
		Name: filepath.Join(root, "usr/bin/prometheus"), Dir: dir, Ready: ready("http://" + address + "/-/ready"),
		Args: []string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
			"--web.console.libraries=" + dir, "--web.console.templates=" + dir,
		},
	})
	return "http://" + address
}

// evaluated waits until every rule was, and expects that none failed and no alert fires.
func evaluated(t *testing.T, base string) {
	t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, State, Health, LastError string }
			}
		}
	}
	lab.Eventually(t, "the rules are evaluated", func() bool {
		if err := json.Unmarshal([]byte(get(t, base+"/api/v1/rules")), &answer); err != nil {
			t.Fatal(err)
		}
		for _, group := range answer.Data.Groups {
			for _, r := range group.Rules {
				if r.Health == "unknown" {
					return false
				}
			}
		}
		return len(answer.Data.Groups) == 1
	})
	rules := answer.Data.Groups[0].Rules
	if len(rules) < 10 {
		t.Errorf("%d rules", len(rules))
	}
	for _, r := range rules {
		if r.Health != "ok" || r.State != "inactive" {
			t.Errorf("%s: %s, %s %s", r.Name, r.State, r.Health, r.LastError)
		}
	}
}

// queries are those of the dashboard, by the title of their panel, with Grafana's variables filled in.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(pictures, "rolegate-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "30s", "$job", ".*", "$instance", ".*")
	found := map[string]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			found[p.Title+" "+q.RefID] = fill.Replace(q.Expr)
		}
	}
	if len(found) < 40 {
		t.Errorf("%d queries", len(found))
	}
	return found
}

// results is how many series a query gives.
func results(t *testing.T, base, expr string) int {
	t.Helper()
	resp, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Status != "success" {
		t.Errorf("Prometheus does not understand %s: %s", expr, answer.Error)
	}
	return len(answer.Data.Result)
}

var selected = regexp.MustCompile(`(\w+)\{([^}]*)\}`)

// shows says whether a page of metrics has all series that a query selects.
func shows(expr, page string) bool {
	for _, s := range selected.FindAllStringSubmatch(expr, -1) {
		line := regexp.QuoteMeta(s[1]) + `(?:\{[^}]*)?`
		for c := range strings.SplitSeq(s[2], ",") {
			name, value, ok := strings.Cut(c, "=")
			switch {
			case name == "job" || name == "instance":
			case !ok || strings.HasSuffix(name, "!"): // it leaves some out
				return false
			default:
				line += `[{,]` + name + `="` + strings.Trim(value, `~"`) + `"[^}]*`
			}
		}
		if !regexp.MustCompile(`(?m)^` + line + `\}? `).MatchString(page) {
			return false
		}
	}
	return true
}

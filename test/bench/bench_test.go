package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		row  Row
		want string // of the verdict: reached, and the text
	}{
		{"a ratio, by rounds and not by medians", Row{Key: "cpu1k", Rolegate: []float64{10, 100, 30}, Bare: []float64{20, 101, 20}}, "true reached"},
		{"a ratio above", Row{Key: "cpu1k", Rolegate: []float64{11, 12, 13}, Bare: []float64{10, 10, 10}}, "false missed by 0.20 x"},
		{"the stretch", Row{Key: "cpu1k", Rolegate: []float64{7}, Bare: []float64{10}}, "true stretch reached"},
		{"no later than bare", Row{Key: "event-p50", Unit: "us", Rolegate: []float64{5, 7, 9}, Bare: []float64{5, 8, 8}}, "true reached"},
		{"later than bare", Row{Key: "event-p50", Unit: "us", Rolegate: []float64{6, 7, 9}, Bare: []float64{5, 8, 8}}, "false missed by 1 us"},
		{"a bound", Row{Key: "stream", Unit: "KiB", Rolegate: []float64{30, 24, 23}}, "true reached"},
		{"above a bound", Row{Key: "stream", Unit: "KiB", Rolegate: []float64{30, 26.5, 23}}, "false missed by 2.50 KiB"},
		{"an exact number", Row{Key: "sts-many", Rolegate: []float64{1000}}, "true reached"},
		{"one off", Row{Key: "sts-many", Rolegate: []float64{1000, 1001, 1000}}, "false missed with 1001"},
		{"no goal", Row{Key: "p50", Rolegate: []float64{1}}, "false "},
	} {
		v := c.row.Judge()
		if got := strings.Join([]string{map[bool]string{true: "true", false: "false"}[v.Reached], v.Text}, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if _, has := goals[c.row.Key]; has != (v.Goal != "") {
			t.Errorf("%s: goal %q", c.name, v.Goal)
		}
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1", 1000: "1000", 0.123: "0.12", 12.34: "12.3", 1234.5: "1234", -0.5: "-0.50", 2e6: "2000000"} {
		if got := figure(v); got != want {
			t.Errorf("%g is written %s, want %s", v, got, want)
		}
	}
	if got := spread([]float64{3, 1, 2}); got != "2 (1 to 3)" {
		t.Errorf("spread %q", got)
	}
}

// TestTurnsAreFair: in each round both proxies have as many turns, and neither always goes first.
func TestTurnsAreFair(t *testing.T) {
	if d := cmp.Diff([]string{nameRolegate, nameBare, nameBare, nameRolegate}, turns(0, 2)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{nameBare, nameRolegate, nameRolegate, nameBare}, turns(1, 2)); d != "" {
		t.Error(d)
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(""); err != nil || len(all) != len(measures) {
		t.Errorf("%v, %v", all, err)
	}
	if some, err := choose("streams,cpu1k"); err != nil || !cmp.Equal(some, []string{"streams", "cpu1k"}) {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := choose("cpu1k,nonsense"); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("%v", err)
	}
}

// TestCalls: a call has as many bytes as it says.
func TestCalls(t *testing.T) {
	for _, size := range []int{1 << 10, 100 << 10} {
		for name, body := range map[string]string{"legacy": callBody(size), "modern": modernBody(size)} {
			if len(body) != size {
				t.Errorf("%s: %d bytes, want %d", name, len(body), size)
			}
		}
	}
}

func someReport() report {
	r := report{Conditions: conditions{Date: "2026-01-02", Commit: "abc", Rounds: 3}}
	r.add(
		Row{Key: "cpu1k", Section: "cpu", What: "CPU <1 KiB>", Backend: "plaintext", Unit: "ms", Rolegate: []float64{20, 22, 24}, Bare: []float64{10, 10, 10}},
		Row{Key: "cpu100k", Section: "cpu", What: "CPU of 100 KiB", Backend: "TLS", Unit: "ms", Rolegate: []float64{99, 50, 60}, Bare: []float64{10, 100, 100}},
		Row{Key: "sts-one", Section: "sts", What: "STS calls", Unit: "calls", Rolegate: []float64{1}},
		Row{Key: "p50", Section: "latency", What: "added latency", Unit: "us", Rolegate: []float64{-1, 2, 3}, Bare: []float64{1, 1, -1}},
	)
	return r
}

func TestPage(t *testing.T) {
	page, err := someReport().markdown("## Where the time goes\n\nIn the kernel.\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Of 3 goals, 2 were reached.",
		"| CPU <1 KiB> | plaintext | 2.20 x bare | at most 1.00 x bare (stretch 0.75) | by 1.20 x |\n",
		"| CPU of 100 KiB | TLS | 60 (50 to 99) ms | 100 (10 to 100) ms | 0.60 (0.50 to 9.90) | at most 1.20 x bare | reached |",
		"| STS calls |  | 1 calls |  |  | exactly 1 | reached |",
		"| added latency |  | 2 (-1 to 3) us | 1 (-1 to 1) us |  |  |  |",
		"| commit | abc |", "## Where the time goes\n\nIn the kernel.\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not hold %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "## Idle streams") {
		t.Error("the page has a section of what was not measured")
	}
}

func TestEverySectionIsMeasured(t *testing.T) {
	known := map[string]bool{}
	for _, s := range sections {
		known[s.name] = true
	}
	for _, m := range measures {
		if !known[m.section] {
			t.Errorf("%s belongs to section %q, which the page does not have", m.name, m.section)
		}
	}
}

func TestChart(t *testing.T) {
	chart := someReport().chart()
	d := xml.NewDecoder(strings.NewReader(chart))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, chart)
		}
	}
	for _, want := range []string{"CPU &lt;1 KiB&gt;", "2.20 x  missed", "0.60 x  reached", `class="over" x="350"`, "prefers-color-scheme: dark"} {
		if !strings.Contains(chart, want) {
			t.Errorf("the chart does not hold %q:\n%s", want, chart)
		}
	}
	if strings.Contains(chart, "added latency") {
		t.Error("the chart has a row that has no ratio")
	}
}

func TestReportOnDisk(t *testing.T) {
	want, file := someReport(), filepath.Join(t.TempDir(), "report.json")
	if err := want.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Rows, got.Rows); d != "" {
		t.Error(d)
	}
	var table bytes.Buffer
	got.table(&table)
	if !strings.Contains(table.String(), "missed by 1.20 x") {
		t.Error(table.String())
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(file); err == nil {
		t.Error("half a report was read")
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what a run found, and under which conditions.
type report struct {
	Conditions conditions
	Rows       []Row
}

// conditions are what figures depend on.
type conditions struct {
	Date      string
	Took      string
	Commit    string
	Go        string
	Kernel    string
	Processor string
	Cores     int
	Memory    string
	Load      string // average of the machine before the run
	Rounds    int
	Quick     bool
	start     time.Time
}

func newReport(ctx context.Context, rounds int, quick bool) report {
	now := time.Now()
	commit := output(ctx, "git", "rev-parse", "--short=12", "HEAD")
	if output(ctx, "git", "status", "--porcelain", "--untracked-files=no") != "" {
		commit += ", changed since"
	}
	return report{Conditions: conditions{
		Date: now.UTC().Format("2006-01-02"), Commit: commit, Go: runtime.Version(),
		Kernel:    strings.Join(strings.Fields(runtime.GOOS+" "+firstLine("/proc/sys/kernel/osrelease")+" "+runtime.GOARCH), " "),
		Processor: lineOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: lineOf("/proc/meminfo", "MemTotal"),
		Load: firstLine("/proc/loadavg"), Rounds: rounds, Quick: quick, start: now,
	}}
}

// output is what a command prints, "" where it can't.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func firstLine(file string) string {
	text, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// lineOf is the value of the first line of a file that is called name.
func lineOf(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r *report) add(rows ...Row) { r.Rows = append(r.Rows, rows...) }

func (r *report) finish() {
	r.Conditions.Took = time.Since(r.Conditions.start).Round(time.Second).String()
}

func readReport(file string) (r report, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", file, err)
	}
	return r, nil
}

func (r report) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// cells are a row as text: what, backend, rolegate, bare, ratio, goal, verdict.
func (r Row) cells() []string {
	v := r.Judge()
	return []string{r.What, r.Backend, spread(r.Rolegate) + " " + r.Unit, withUnit(spread(r.Bare), r.Unit), spread(r.Ratio()), v.Goal, v.Text}
}

func withUnit(text, unit string) string {
	if text == "" {
		return ""
	}
	return text + " " + unit
}

func (r report) table(to io.Writer) {
	c := r.Conditions
	_, _ = fmt.Fprintf(to, "\n%d rounds, %s, %s, %d x %s, commit %s\n\n", c.Rounds, c.Go, c.Kernel, c.Cores, c.Processor, c.Commit)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "what\tbackend\trolegate\tbare\tratio\tgoal\t")
	for _, row := range r.Rows {
		_, _ = fmt.Fprintln(w, strings.Join(row.cells(), "\t"))
	}
	_ = w.Flush()
	_, _ = fmt.Fprintln(to, "\nMedians of the rounds, and from where to where they lie. A ratio is that to the bare proxy, taken in each round.")
}

// progress tells a row's last round.
func (b *bench) progress(r Row) {
	last := func(values []float64) string {
		if len(values) == 0 {
			return "-"
		}
		return figure(values[len(values)-1])
	}
	b.say("%s: %s (%s), round %d of %d: rolegate %s %s, %s %s, ratio %s", time.Now().Format(time.TimeOnly),
		r.What, r.Backend, len(r.Rolegate), b.rounds, last(r.Rolegate), r.Unit, r.than(), last(r.Bare), last(r.Ratio()))
}

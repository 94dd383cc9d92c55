// Command bench measures rolegate against a bare httputil.ReverseProxy: processor time, latency, memory, and how often
// STS is called. `go run ./test/bench` does all of it.
//
// It promises that both proxies do the same work in the same minutes: each round starts both anew and goes from one to
// the other and back, and what counts is the ratio within a round. rolegate is the real binary with the documents of the
// tutorial and everything on; the bare proxy verifies and signs nothing. The load is an open loop. Nothing leaves the
// machine. It must never write down a figure that it did not measure in that run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

// roleBackend is what this program is started as a second time, with CERTIFICATE KEY behind it: the backend, in a process
// of its own.
const roleBackend = "role-backend"

func main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 3 && args[0] == roleBackend:
		err = serveBackend(args[1], args[2], os.Stdout, os.Stdin)
	default:
		err = command(args)
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measures are what can be measured, in the order in which it is done.
var measures = []struct {
	name    string
	section string // of the page
	of      func(*bench) error
}{
	{"cpu1k", "cpu", func(b *bench) error { return b.cpu(cpuCase{key: "cpu1k", size: 1 << 10}) }},
	{"cpu1k-tls", "cpu", func(b *bench) error { return b.cpu(cpuCase{key: "cpu1k-tls", size: 1 << 10, secure: true}) }},
	{"cpu1k-light", "cpu", func(b *bench) error { return b.cpu(cpuCase{key: "cpu1k-light", size: 1 << 10, light: true}) }},
	{"cpu1k-modern", "cpu", func(b *bench) error { return b.cpu(cpuCase{key: "cpu1k-modern", size: 1 << 10, modern: true}) }},
	{"cpu100k", "cpu", func(b *bench) error { return b.cpu(cpuCase{key: "cpu100k", size: 100 << 10}) }},
	{"cpu100k-tls", "cpu", func(b *bench) error { return b.cpu(cpuCase{key: "cpu100k-tls", size: 100 << 10, secure: true}) }},
	{"sight", "sight", (*bench).sight},
	{"latency", "latency", func(b *bench) error { return b.latency(false) }},
	{"latency-tls", "latency", func(b *bench) error { return b.latency(true) }},
	{"events", "events", func(b *bench) error { return b.events(false) }},
	{"events-tls", "events", func(b *bench) error { return b.events(true) }},
	{"streams", "streams", func(b *bench) error { return b.streams(false) }},
	{"streams-tls", "streams", func(b *bench) error { return b.streams(true) }},
	{"start", "start", (*bench).starting},
	{"sts", "sts", (*bench).vault},
	{"refresh", "sts", (*bench).refresh},
	{"crowd", "crowd", (*bench).crowd},
}

func command(args []string) error {
	var b bench
	var only, jsonFile, from string
	var page bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&b.rounds, "rounds", 5, "`number` of rounds")
	f.BoolVar(&b.quick, "quick", false, "a fraction of the load: to see that it works, not for figures")
	f.StringVar(&only, "only", "", "`names` of what is measured, with commas between; all of it without")
	f.StringVar(&jsonFile, "json", "", "write the results to a `file`")
	f.StringVar(&from, "from", "", "measure nothing, and take the results from a `file` that -json wrote")
	f.StringVar(&b.profile, "profile", "", "write a CPU profile of the last rolegate that was started to a `file`, and one of the bare proxy to the same with .bare behind it")
	f.BoolVar(&page, "page", false, "write docs/performance.md and docs/performance.svg")
	f.Usage = func() {
		_, _ = fmt.Fprintln(f.Output(), "Bench measures rolegate against a bare reverse proxy.\n\n  go run ./test/bench [flags]\n\nWhat it measures:", strings.Join(names(), ", "))
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if b.rounds < 1 || f.NArg() > 0 {
		return fmt.Errorf("usage: at least one round, and no arguments but flags")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.ctx = ctx
	if from != "" {
		b.report, err = readReport(from)
	} else {
		err = b.run(chosen)
	}
	if err != nil {
		return err
	}
	b.report.table(os.Stdout)
	if jsonFile != "" {
		err = b.report.write(jsonFile)
	}
	if page {
		err = errors.Join(err, b.report.page())
	}
	return err
}

func names() []string {
	var all []string
	for _, m := range measures {
		all = append(all, m.name)
	}
	return all
}

// choose reads -only.
func choose(only string) ([]string, error) {
	if only == "" {
		return names(), nil
	}
	chosen := strings.Split(only, ",")
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("nothing is called %q; it is one of %s", name, strings.Join(names(), ", "))
		}
	}
	return chosen, nil
}

// bench is one run.
type bench struct {
	*stand
	ctx     context.Context
	rounds  int
	quick   bool
	profile string // file, "" for none
	report  report
}

func (b *bench) run(chosen []string) (err error) {
	debug.SetGCPercent(400) // this process is the load: it should rather take memory than processor time
	b.say("building rolegate, starting backend, provider and STS")
	if b.stand, err = newStand(b.ctx, b.profile); err != nil {
		return err
	}
	defer b.close()
	b.report = newReport(b.ctx, b.rounds, b.quick)
	for _, m := range measures {
		if !slices.Contains(chosen, m.name) {
			continue
		}
		from := len(b.report.Rows)
		if err := m.of(b); err != nil {
			return fmt.Errorf("measure %s: %w", m.name, errors.Join(err, b.ctx.Err()))
		}
		for i := range b.report.Rows[from:] {
			b.report.Rows[from+i].Section = m.section
		}
	}
	b.report.finish()
	return nil
}

// say tells how far it is.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// few gives a number, or its fraction in a quick run.
func (b *bench) few(n, quick int) int {
	if b.quick {
		return quick
	}
	return n
}

func backendName(secure bool) string {
	if secure {
		return "TLS"
	}
	return "plaintext"
}

// turns is the order in which the two proxies are measured in a round: there and back, and the next time the other way
// around, so that whatever changes slowly meets both alike.
func turns(round, pairs int) []string {
	var order []string
	for i := range pairs {
		if (round+i)%2 == 0 {
			order = append(order, nameRolegate, nameBare)
		} else {
			order = append(order, nameBare, nameRolegate)
		}
	}
	return order
}

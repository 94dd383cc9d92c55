package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/rolegate/rolegate/test/bench/load"
)

//go:embed page.md.tmpl
var pageText string

// notes is what people wrote about the figures; it goes into the page as it is.
//
//go:embed notes.md
var notes string

// sections are the parts of the page, in their order.
var sections = []struct{ name, title, about string }{
	{"cpu", "CPU", "Processor time of the proxy process, from its own clock, for a fixed number of calls over 4 connections that are always busy. The case with a rate has pauses: most of its figure is falling asleep and waking up."},
	{"sight", "Seeing everything", "rolegate against itself: under rolegate, with records in a file, a trace of every twentieth call and metrics sent to a collector every second, and the console; under bare, the same rolegate without any of these. Both log each call. The second row has ten policies besides, two of which read the call's arguments. Processor time of the process from the first call to when all is sent."},
	{"latency", "Latency", "What a proxy adds to the time of a 1 KiB call: the percentile through it less that of calls to the backend itself in the same round. Open loop: each call's time is fixed beforehand, and its latency counts from then."},
	{"events", "Events", "20 streams a second, each a call that is answered with 20 events, one every 10 ms. The delay is from the backend's stamp in an event to its arrival. The bare proxy breaks some streams off: when the answer begins, its server closes the request's body, and where its transport was about to look for the body's end, that is an error which closes the connection."},
	{"streams", "Idle streams", "1000 streams of 100 users, quiet for five seconds. Growth of the proxy's resident set; nobody asks for a collection."},
	{"start", "Start", "From exec to the first 200 of `/readyz`, the provider's keys fetched; for the bare proxy, to its first connection. Memory is the resident set two seconds later, before any call."},
	{"sts", "Calls of STS", "Counted at STS. For the refreshes, credentials live so briefly that they are refreshed during the run, and STS takes a second: who waits for it is seen."},
	{"crowd", "A crowd in little memory", "2000 users under `GOMEMLIMIT=128MiB`: each one's first call, ten more each, and five more each beside a stream open for every user; 500 calls a second. Measured once."},
}

type miss struct{ What, Backend, Figure, Goal, Text string }

type sectionOfPage struct {
	Title, About string
	Rows         []string // of a Markdown table
}

// page writes docs/performance.md and docs/performance.svg.
func (r report) page() error {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find module: %w", err)
	}
	docs := filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "docs")
	text, err := r.markdown(notes)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(docs, "performance.md"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(docs, "performance.svg"), []byte(r.chart()), 0o644),
	)
}

// markdown is the page.
func (r report) markdown(notes string) (string, error) {
	page := struct {
		Summary  string
		Missed   []miss
		C        conditions
		Sections []sectionOfPage
		Notes    string
	}{C: r.Conditions, Notes: strings.TrimSpace(notes)}
	judged := 0
	for _, row := range r.Rows {
		v := row.Judge()
		if v.Goal == "" {
			continue
		}
		if judged++; !v.Reached {
			page.Missed = append(page.Missed, miss{row.What, row.Backend, row.headline(), v.Goal, strings.TrimPrefix(v.Text, "missed ")})
		}
	}
	page.Summary = fmt.Sprintf("Of %d goals, %d were reached.", judged, judged-len(page.Missed))
	for _, s := range sections {
		part := sectionOfPage{Title: s.title, About: s.about}
		for _, row := range r.Rows {
			if row.Section == s.name {
				part.Rows = append(part.Rows, "| "+strings.Join(row.cells(), " | ")+" |")
			}
		}
		if len(part.Rows) > 0 {
			page.Sections = append(page.Sections, part)
		}
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, page)
	return out.String(), err
}

// headline is the one figure that a row's goal is about.
func (r Row) headline() string {
	median := figure(load.Spreading(r.Rolegate).Median) + " " + r.Unit
	switch goals[r.Key].Sense {
	case RatioAtMost:
		return figure(load.Spreading(r.Ratio()).Median) + " x " + r.than()
	case NotAboveBare:
		return median + "; bare " + figure(load.Spreading(r.Bare).Median) + " " + r.Unit
	default:
		return median
	}
}

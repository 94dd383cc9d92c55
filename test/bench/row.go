package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/rolegate/rolegate/test/bench/load"
)

// Row is one figure of both proxies, in every round.
type Row struct {
	Key      string    // names the row; goals are found by it
	Section  string    // of the page
	What     string    // what was measured
	Backend  string    // "plaintext" or "TLS"; "" where it makes no difference
	Unit     string    // of the figures
	Rolegate []float64 // by round
	Bare     []float64 // by round; none where the bare proxy has no such figure
	Than     string    // what Bare is of, where that is not the bare proxy
}

// Ratio is that of rolegate to the bare proxy, by round; none where a figure is not positive.
func (r Row) Ratio() []float64 { return load.Ratios(r.Rolegate, r.Bare) }

// Excess is what rolegate has more than the bare proxy, by round.
func (r Row) Excess() []float64 {
	var excess []float64
	for i := range min(len(r.Rolegate), len(r.Bare)) {
		excess = append(excess, r.Rolegate[i]-r.Bare[i])
	}
	return excess
}

func (r Row) than() string { return cmp.Or(r.Than, nameBare) }

// Sense says how a goal is read.
type Sense int

// The senses of a goal.
const (
	RatioAtMost  Sense = iota // the median of the rounds' ratios to the bare proxy
	NotAboveBare              // the median of the rounds' differences to the bare proxy
	AtMost                    // the median
	Exactly                   // the figure of every round
)

// Goal is what a row should come to.
type Goal struct {
	Sense   Sense
	Bound   float64 // of no meaning for NotAboveBare
	Stretch float64 // what would be better still; 0 for nothing
}

// goals are those of the rows, by key. A row without one is told for its own sake.
var goals = map[string]Goal{
	"cpu1k":         {RatioAtMost, 1.0, 0.75},
	"cpu1k-tls":     {RatioAtMost, 1.0, 0.75},
	"cpu1k-modern":  {RatioAtMost, 1.0, 0.75},
	"cpu100k":       {RatioAtMost, 1.2, 0},
	"cpu100k-tls":   {RatioAtMost, 1.2, 0},
	"sight":         {RatioAtMost, 1.15, 0},
	"p99":           {NotAboveBare, 0, 0},
	"p99-tls":       {NotAboveBare, 0, 0},
	"event-p50":     {NotAboveBare, 0, 0},
	"event-p50-tls": {NotAboveBare, 0, 0},
	"event-p99":     {NotAboveBare, 0, 0},
	"event-p99-tls": {NotAboveBare, 0, 0},
	"first":         {NotAboveBare, 0, 0},
	"first-tls":     {NotAboveBare, 0, 0},
	"cut":           {Exactly, 0, 0},
	"cut-tls":       {Exactly, 0, 0},
	"stream":        {AtMost, 24, 0},
	"stream-tls":    {AtMost, 24, 0},
	"idle":          {AtMost, 25, 0},
	"ready":         {AtMost, 100, 0},
	"sts-one":       {Exactly, 1, 0},
	"sts-many":      {Exactly, 1000, 0},
	"sts-first":     {Exactly, 1, 0},
	"refresh-waits": {Exactly, 0, 0},
	"many-sts":      {Exactly, 2000, 0},
	"many-errors":   {Exactly, 0, 0},
	"many-rss":      {AtMost, 128, 0},
}

// Verdict is how a row does against its goal.
type Verdict struct {
	Goal    string // in words, "" for none
	Reached bool
	Text    string // "reached", or by how much not
}

// Judge holds a row against its goal.
func (r Row) Judge() Verdict {
	g, ok := goals[r.Key]
	if !ok {
		return Verdict{}
	}
	switch g.Sense {
	case RatioAtMost:
		v := Verdict{Goal: fmt.Sprintf("at most %.2f x %s", g.Bound, r.than())}
		if g.Stretch > 0 {
			v.Goal += fmt.Sprintf(" (stretch %.2f)", g.Stretch)
		}
		ratio := load.Spreading(r.Ratio()).Median
		v.judge(ratio <= g.Bound, "by %.2f x", max(ratio-g.Bound, 0.01))
		if g.Stretch > 0 && ratio <= g.Stretch {
			v.Text = "stretch reached"
		}
		return v
	case NotAboveBare:
		v := Verdict{Goal: "not above bare"}
		excess := load.Spreading(r.Excess()).Median
		v.judge(excess <= 0, "by %s "+r.Unit, figure(excess))
		return v
	case AtMost:
		v := Verdict{Goal: fmt.Sprintf("at most %g %s", g.Bound, r.Unit)}
		median := load.Spreading(r.Rolegate).Median
		v.judge(median <= g.Bound, "by %s "+r.Unit, figure(median-g.Bound))
		return v
	default:
		v := Verdict{Goal: fmt.Sprintf("exactly %g", g.Bound)}
		worst := slices.MaxFunc(r.Rolegate, func(a, b float64) int { return int(math.Abs(a-g.Bound) - math.Abs(b-g.Bound)) })
		v.judge(worst == g.Bound, "with %s", figure(worst))
		return v
	}
}

func (v *Verdict) judge(reached bool, missed string, by any) {
	v.Reached, v.Text = reached, "reached"
	if !reached {
		v.Text = "missed " + fmt.Sprintf(missed, by)
	}
}

// figure writes a number with as many digits as it is worth.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e6, a >= 1000:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// spread writes where values lie: the median, and from where to where where they differ.
func spread(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	s := load.Spreading(values)
	if s.Min == s.Max {
		return figure(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", figure(s.Median), figure(s.Min), figure(s.Max))
}

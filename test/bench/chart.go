package main

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/test/bench/load"
)

// charted are the rows of the chart, by key, in its order.
var charted = []string{
	"cpu1k", "cpu1k-tls", "cpu1k-light", "cpu1k-modern", "cpu100k", "cpu100k-tls", "p50", "p50-tls", "p99", "p99-tls",
	"first", "first-tls", "event-p50", "event-p50-tls", "event-p99", "event-p99-tls", "stream", "stream-tls",
}

// The measures of the chart, in its own units.
const (
	chartWidth = 960
	chartTop   = 74
	chartRow   = 30
	chartLeft  = 350 // where the bars begin
	chartRight = 800 // where the axis ends
	chartMost  = 2.0 // the ratio there; what is longer is cut, and its figure says so
)

const chartStyle = `<style>
 .bg{fill:#fff} .bar{fill:#0969da} .over{fill:#bc4c00} .t{font-size:13px;fill:#1f2328} .h{font-size:16px;font-weight:600;fill:#1f2328} .s{font-size:12px;fill:#57606a}
 .one{stroke:#57606a;stroke-width:1.5;stroke-dasharray:4 3} .goal{stroke:#1f2328;stroke-width:3} .whisker{stroke:#1f2328;stroke-width:1.5}
 @media (prefers-color-scheme: dark){.bg{fill:#0d1117}.bar{fill:#58a6ff}.over{fill:#db6d28}.t,.h{fill:#e6edf3}.s{fill:#9da7b1}.one{stroke:#9da7b1}.goal{stroke:#e6edf3}.whisker{stroke:#e6edf3}}
</style>
`

// chart draws the ratios to the bare proxy: a bar for the median, a whisker from the smallest to the largest, a mark for
// the goal.
func (r report) chart() string {
	var rows []Row
	for _, key := range charted {
		if i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Key == key && len(row.Ratio()) > 0 }); i >= 0 {
			rows = append(rows, r.Rows[i])
		}
	}
	bottom := chartTop + len(rows)*chartRow
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="t d" font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">
<title id="t">rolegate as a ratio to a bare reverse proxy</title><desc id="d">%s</desc>
`, chartWidth, bottom+44, html.EscapeString(inWords(rows)))
	b.WriteString(chartStyle)
	fmt.Fprintf(&b, `<rect class="bg" width="%d" height="%d" rx="8"/>
<text class="h" x="20" y="30">rolegate as a ratio to a bare reverse proxy</text>
<text class="s" x="20" y="50">shorter is better; the thin line is from the smallest to the largest round, the thick mark is the goal; orange misses it</text>
`, chartWidth, bottom+44)
	fmt.Fprintf(&b, `<line class="one" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="s" x="%.1f" y="%d" text-anchor="middle">1.0: the bare proxy</text>
`, at(1), chartTop-8, at(1), bottom+8, at(1), bottom+26)
	for i, row := range rows {
		chartBar(&b, row, chartTop+i*chartRow)
	}
	for _, v := range []float64{0, 0.5, 1.5, chartMost} {
		fmt.Fprintf(&b, `<text class="s" x="%.1f" y="%d" text-anchor="middle">%.1f</text>
`, at(v), bottom+26, v)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// at is where a ratio lies on the axis.
func at(ratio float64) float64 {
	return chartLeft + min(max(ratio, 0), chartMost)/chartMost*(chartRight-chartLeft)
}

func chartBar(b *strings.Builder, row Row, y int) {
	s, v := load.Spreading(row.Ratio()), row.Judge()
	class := "bar"
	if v.Goal != "" && !v.Reached {
		class = "over"
	}
	label := row.What
	if row.Backend == "TLS" {
		label += ", TLS"
	}
	fmt.Fprintf(b, `<text class="t" x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="16" rx="2"/>
`, chartLeft-12, y+17, html.EscapeString(label), class, chartLeft, y+4, max(at(s.Median)-chartLeft, 1))
	fmt.Fprintf(b, `<line class="whisker" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, at(s.Min), y+12, at(s.Max), y+12)
	if bound, ok := row.boundAsRatio(); ok {
		fmt.Fprintf(b, `<line class="goal" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, at(bound), y, at(bound), y+24)
	}
	fmt.Fprintf(b, `<text class="t" x="%d" y="%d">%s</text>
`, chartRight+16, y+17, html.EscapeString(strings.TrimSpace(fmt.Sprintf("%s x  %s", figure(s.Median), strings.SplitN(v.Text, " by ", 2)[0]))))
}

// boundAsRatio is where a row's goal lies among ratios to the bare proxy.
func (r Row) boundAsRatio() (float64, bool) {
	g, ok := goals[r.Key]
	switch {
	case !ok:
		return 0, false
	case g.Sense == RatioAtMost:
		return g.Bound, true
	case g.Sense == NotAboveBare:
		return 1, true
	case g.Sense == AtMost && len(r.Bare) > 0:
		return g.Bound / load.Spreading(r.Bare).Median, true
	default:
		return 0, false
	}
}

// inWords is the chart for who can't see it.
func inWords(rows []Row) string {
	var all []string
	for _, row := range rows {
		all = append(all, fmt.Sprintf("%s %s: %s times the bare proxy", row.What, row.Backend, figure(load.Spreading(row.Ratio()).Median)))
	}
	return strings.Join(all, "; ") + "."
}

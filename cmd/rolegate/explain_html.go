package main

import (
	_ "embed"
	"html/template"
	"io"

	"github.com/rolegate/rolegate/internal/gateway"
)

//go:embed explain.html
var explainPage string

// writeHTML writes one page that needs nothing else: no script, no font, no image.
func writeHTML(out io.Writer, e *gateway.Explanation) error {
	t, err := template.New("explain").Parse(explainPage)
	if err != nil {
		return err
	}
	all := chaptersOf(e)
	return t.Execute(out, struct {
		Title, Outcome, Tone string
		First                chapter
		Rest                 []chapter
	}{e.Proxy, e.Outcome, tones[e.Outcome], all[0], all[1:]})
}

package observability_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestStructure: the dashboard in the file is one that Grafana shows as it was meant.
func TestStructure(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID           string
		SchemaVersion int
		Panels        []panel
		Templating    struct {
			List []struct{ Name string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "rolegate" || d.SchemaVersion != schemaVersion || len(d.Panels) < 30 {
		t.Errorf("uid %s, schema %d, %d panels", d.UID, d.SchemaVersion, len(d.Panels))
	}
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	titles := map[string]bool{}
	below := 0
	for _, p := range d.Panels {
		if p.ID < 1 || ids[p.ID] {
			t.Errorf("%s: id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > gridWidth || g.Y < 0 {
			t.Errorf("%s is placed at %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			if g.Y < below {
				t.Errorf("the row %s begins among the panels of the one before", p.Title)
			}
			continue
		}
		below = max(below, g.Y+g.H)
		p.check(t, variables)
		if key := p.Type + p.Title; titles[key] {
			t.Errorf("two panels are called %s", p.Title)
		} else {
			titles[key] = true
		}
	}
}

var used = regexp.MustCompile(`\$\{?(\w+)`)

func (p panel) check(t *testing.T, variables map[string]bool) {
	t.Helper()
	if !slices.Contains([]string{"timeseries", "stat", "table", "text"}, p.Type) || p.Title == "" || p.Options == nil {
		t.Errorf("%s: %s", p.Title, p.Type)
	}
	if p.Type == "text" {
		return
	}
	if len(p.Description) < 20 || !strings.HasSuffix(p.Description, ".") {
		t.Errorf("%s is not described: %q", p.Title, p.Description)
	}
	if p.Datasource["uid"] != "${datasource}" || p.FieldConfig == nil || len(p.Targets) == 0 {
		t.Errorf("%s: %v, %v, %d queries", p.Title, p.Datasource, p.FieldConfig, len(p.Targets))
	}
	refs := map[any]bool{}
	for _, q := range p.Targets {
		expr, _ := q["expr"].(string)
		if expr == "" || refs[q["refId"]] {
			t.Errorf("%s: query %v is %q", p.Title, q["refId"], expr)
		}
		refs[q["refId"]] = true
		if strings.Count(expr, "(") != strings.Count(expr, ")") {
			t.Errorf("%s: %s", p.Title, expr)
		}
		for _, name := range used.FindAllStringSubmatch(expr, -1) {
			if !variables[name[1]] {
				t.Errorf("%s: there is no variable %s", p.Title, name[1])
			}
		}
	}
}

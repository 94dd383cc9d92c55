package observability_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// The classic model of dashboards: what Grafana 12.0 writes, and what later ones read.
const (
	schemaVersion = 41
	gridWidth     = 24
)

// row is a heading of the dashboard with what stands under it.
type row struct {
	title  string
	charts []chart
}

// chart is a panel.
type chart struct {
	kind        string // timeseries, stat, table or text
	title, says string // says is in plain words what it shows, and when to worry
	w, h        int    // in units of the grid; 0: 8 by 8
	unit        string // Grafana's name of it
	text        string // of a text
	stacked     bool
	steps       []step // from where on a figure is worth a look, or bad
	queries     []query
}

type query struct{ expr, legend string }

type step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// steps are green below the first figure, orange from there and red from the second.
func steps(orange, red float64) []step {
	return []step{{"green", nil}, {"orange", &orange}, {"red", &red}}
}

type object = map[string]any

var datasource = object{"type": "prometheus", "uid": "${datasource}"}

type grid struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type panel struct {
	ID              int      `json:"id"`
	Type            string   `json:"type"`
	Title           string   `json:"title"`
	Description     string   `json:"description,omitempty"`
	GridPos         grid     `json:"gridPos"`
	Datasource      object   `json:"datasource,omitempty"`
	Collapsed       *bool    `json:"collapsed,omitempty"` // of a row
	Panels          *[]panel `json:"panels,omitempty"`    // of a row that is collapsed
	FieldConfig     object   `json:"fieldConfig,omitempty"`
	Options         object   `json:"options,omitempty"`
	Targets         []object `json:"targets,omitempty"`
	Transformations []object `json:"transformations,omitempty"`
}

// dashboardJSON is a dashboard for Grafana.
func dashboardJSON(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(object{
		"annotations": object{"list": []object{{
			"builtIn": 1, "datasource": object{"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
			"iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
		}}},
		"description": "What rolegate does: requests, the remote, sign-in, roles and policy, STS, audit, the process. Written by \"go test ./deploy/observability -update\".",
		"editable":    true, "fiscalYearStartMonth": 0, "graphTooltip": 1, "id": nil, "liveNow": false, "preload": false,
		"links":         []object{{"title": "When an alert fires", "type": "link", "url": runbook + "#when-an-alert-fires", "icon": "doc", "targetBlank": true, "asDropdown": false, "includeVars": false, "keepTime": false, "tags": []string{}, "tooltip": ""}},
		"panels":        panels(),
		"refresh":       "30s",
		"schemaVersion": schemaVersion,
		"tags":          []string{"rolegate", "mcp"},
		"templating":    object{"list": variables},
		"time":          object{"from": "now-3h", "to": "now"},
		"timepicker":    object{},
		"timezone":      "browser",
		"title":         "rolegate",
		"uid":           "rolegate",
		"version":       1,
		"weekStart":     "",
	}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// panels places the charts: from left to right, and under each other where there is no more room.
func panels() []panel {
	var all []panel
	y := 0
	for _, r := range rows {
		no := false
		all = append(all, panel{ID: len(all) + 1, Type: "row", Title: r.title, GridPos: grid{1, gridWidth, 0, y}, Collapsed: &no, Panels: &[]panel{}})
		y++
		x, high := 0, 0
		for _, c := range r.charts {
			p := c.panel(len(all) + 1)
			if x+p.GridPos.W > gridWidth {
				x, y, high = 0, y+high, 0
			}
			p.GridPos.X, p.GridPos.Y = x, y
			x, high = x+p.GridPos.W, max(high, p.GridPos.H)
			all = append(all, p)
		}
		y += high
	}
	return all
}

func (c chart) panel(id int) panel {
	p := panel{ID: id, Type: c.kind, Title: c.title, Description: c.says, GridPos: grid{W: 8, H: 8}}
	if c.w != 0 {
		p.GridPos.W, p.GridPos.H = c.w, c.h
	}
	if c.kind == "text" {
		p.Options = object{"mode": "markdown", "content": c.text, "code": object{"language": "plaintext", "showLineNumbers": false, "showMiniMap": false}}
		return p
	}
	p.Datasource = datasource
	for i, q := range c.queries {
		target := object{
			"refId": string(rune('A' + i)), "datasource": datasource, "editorMode": "code", "expr": q.expr,
			"legendFormat": q.legend, "range": true, "instant": false,
		}
		if c.kind == "table" {
			target["format"], target["range"], target["instant"] = "table", false, true
		}
		p.Targets = append(p.Targets, target)
	}
	defaults := object{"unit": c.unit, "mappings": []object{}, "color": object{"mode": "palette-classic"}, "thresholds": object{"mode": "absolute", "steps": []step{{"green", nil}}}}
	if c.steps != nil {
		defaults["thresholds"] = object{"mode": "absolute", "steps": c.steps}
	}
	p.FieldConfig = object{"defaults": defaults, "overrides": []object{}}
	switch c.kind {
	case "timeseries":
		c.timeseries(&p, defaults)
	case "stat":
		defaults["color"] = object{"mode": "thresholds"}
		p.Options = object{
			"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
			"percentChangeColorMode": "standard", "showPercentChange": false, "wideLayout": true,
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	case "table":
		c.table(&p, defaults)
	default:
		panic("no panel of kind " + c.kind)
	}
	return p
}

func (c chart) timeseries(p *panel, defaults object) {
	stacking, fill, marks := "none", 10, "off"
	if c.stacked {
		stacking, fill = "normal", 40
	}
	if c.steps != nil {
		marks = "dashed"
	}
	if c.steps == nil { // else it is the age of the keys, which may be -1
		defaults["min"] = 0
	}
	defaults["custom"] = object{
		"axisBorderShow": false, "axisCenteredZero": false, "axisColorMode": "text", "axisLabel": "", "axisPlacement": "auto",
		"barAlignment": 0, "drawStyle": "line", "fillOpacity": fill, "gradientMode": "none",
		"hideFrom": object{"legend": false, "tooltip": false, "viz": false}, "insertNulls": false, "lineInterpolation": "linear", "lineWidth": 1,
		"pointSize": 5, "scaleDistribution": object{"type": "linear"}, "showPoints": "never", "spanNulls": false,
		"stacking": object{"group": "A", "mode": stacking}, "thresholdsStyle": object{"mode": marks},
	}
	p.Options = object{
		"legend":  object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"hideZeros": false, "mode": "multi", "sort": "desc"},
	}
}

func (c chart) table(p *panel, defaults object) {
	defaults["custom"] = object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false}
	p.Options = object{"cellHeight": "sm", "frameIndex": 0, "showHeader": true}
	hidden := object{"Time": true, "Value": true}
	if len(c.queries) > 1 {
		p.Transformations = append(p.Transformations, object{"id": "merge", "options": object{}})
		for i := range c.queries {
			hidden[fmt.Sprintf("Value #%c", 'A'+i)] = true
		}
	}
	p.Transformations = append(p.Transformations, object{"id": "organize", "options": object{
		"excludeByName": hidden, "includeByName": object{}, "indexByName": object{}, "renameByName": object{},
	}})
}

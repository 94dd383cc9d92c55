package mcp_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// looseAnswer is an answer as encoding/json reads it into structs: names in any case, the last of equals wins.
type looseAnswer struct {
	Method string
	Result *struct {
		Tools, Prompts    []looseItem
		Resources         []looseItem
		ResourceTemplates []looseItem
		CacheScope        json.RawMessage
	}
}

type looseItem struct{ Name, URI, URITemplate any }

// listKeys are the lists of a result, and the member that each names its items by.
var listKeys = map[string]string{"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}

// rawList is a list as members finds it; nil if it is no array.
func rawList(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// FuzzListFilter: every item that goes out was shown by the Judge, every item that it shows is there byte for byte
// and in order, and no reader, whichever of equal names it takes and in whatever case, finds another.
func FuzzListFilter(f *testing.F) {
	tool := `{"name":"a","description":"d","inputSchema":{"$ref":"#"},"annotations":{"readOnlyHint":true}}`
	for _, members := range []string{
		`"tools":[` + tool + `,{"name":"x"}, ` + tool + `],"nextCursor":"c","ttlMs":5`, `"tools":[{"name":"x"} , {"name":"x"}]`, `"tools":[]`,
		`"cacheScope":"public","prompts":[{"name":"x"},{"name":"b"}]`, `"resources":[{"uri":"a:b"},{"uri":"x:b"},1]`,
		`"resourceTemplates":[{"uriTemplate":"x{y}"},{"uriTemplate":"{y}"}],"cacheScope":1`, `"tools":[{"name":"a","Name":"x"}]`,
		`"tools":[],"Tools":[{"name":"x"}]`, `"tool` + "\u017f" + `":[{"name":"x"}]`, `"tools":[{"name":"a","n\u0061me":"x"}]`, `"tools":[{"name":"x\u0000"}]`,
		`"tools":[{"name":"a","annotations":{"ReadOnlyHint":true}}]`, `"tools":{"a":[]}`, `"t\u006fols":[{"name":"\u0078"}]`, `"a":[{"name":"x"}]`,
	} {
		for _, method := range []string{"", mcp.MethodToolsList, mcp.MethodTemplatesList, mcp.MethodInitialize} {
			f.Add([]byte(result(members)), method, true)
		}
		f.Add([]byte(result(members)), mcp.MethodToolsCall, false)
	}
	for _, method := range []string{mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead, mcp.MethodComplete} {
		f.Add([]byte(result(`"tools":[{"name":"a"},{"name":"x"}]`)), method, true)
		f.Add([]byte(result(`"contents":[{"tools":[{"name":"x"}],"a":1,"a":"\ud800"}]`)), method, false)
	}
	f.Add([]byte(`{"id":1,"result":{},"Result":{"tools":[{"name":"x"}]}}`), "", false)
	f.Add([]byte(`[`+result(`"tools":[{"name":"x"}]`)+`]`), "", false)
	f.Add([]byte(notice), "", true)
	f.Fuzz(func(t *testing.T, in []byte, method string, modern bool) {
		var judged []mcp.Item
		told := 0
		filter := mcp.ListFilter{Method: method, Modern: modern, OnChanged: func() { told++ }, Judge: func(it *mcp.Item) bool {
			judged = append(judged, *it)
			return shown(it)
		}}
		sent := bytes.Clone(in)
		out, err := filter.Message(in)
		if !bytes.Equal(sent, in) {
			t.Fatal("the message was written to")
		}
		if err != nil {
			if out != nil || judged != nil || told != 0 {
				t.Errorf("refused, but %q, %d judged, told %d times", out, len(judged), told)
			}
			return
		}
		if !json.Valid(in) || !json.Valid(out) {
			t.Fatalf("%q became %q, which is no JSON", in, out)
		}
		sameBesides(t, in, out)
		switch method {
		case mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead, mcp.MethodComplete:
			if !bytes.Equal(in, out) {
				t.Errorf("%q became %q", in, out)
			}
			noList(t, out)
		}
		wantShown(t, in, out, judged, filter.Shown)
		notVisible(t, out, modern)
	})
}

// sameBesides checks that every member but the lists and cacheScope is as it was sent.
func sameBesides(t *testing.T, in, out []byte) {
	before, after := members(in, true), members(out, true)
	for name, raw := range before {
		if name != "result" && !bytes.Equal(raw, after[name]) {
			t.Errorf("%q: %s became %s", name, raw, after[name])
		}
	}
	from, to := members(before["result"], true), members(after["result"], true)
	for name, raw := range from {
		if _, filtered := listKeys[name]; !filtered && name != "cacheScope" && !bytes.Equal(raw, to[name]) {
			t.Errorf("%q of the result: %s became %s", name, raw, to[name])
		}
	}
	for name := range to {
		if _, there := from[name]; !there && name != "cacheScope" {
			t.Errorf("%q of the result was added", name)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d members became %d", len(before), len(after))
	}
}

// wantShown checks that the lists of out hold just the items that were judged and shown, byte for byte and in order.
func wantShown(t *testing.T, in, out []byte, judged []mcp.Item, count int) {
	var want, got, sent []string
	for _, it := range judged {
		if shown(&it) {
			want = append(want, string(it.Raw))
		}
	}
	collect := func(raw []byte) (all []string) {
		d := json.NewDecoder(bytes.NewReader(members(raw, true)["result"]))
		if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
			return nil
		}
		for d.More() {
			name, _ := d.Token()
			var v json.RawMessage
			if d.Decode(&v) != nil {
				return all
			}
			if _, list := listKeys[name.(string)]; list {
				for _, item := range rawList(v) {
					all = append(all, string(item))
				}
			}
		}
		return all
	}
	got, sent = collect(out), collect(in)
	if !slices.Equal(got, want) || count != len(want) {
		t.Errorf("the client reads %q, shown were %q (%d counted)", got, want, count)
	}
	i := 0
	for _, item := range sent { // what was shown is among what was sent, in order
		if i < len(got) && item == got[i] {
			i++
		}
	}
	if i != len(got) {
		t.Errorf("the client reads %q, the remote sent %q", got, sent)
	}
}

// noList checks that no reader finds a list.
func noList(t *testing.T, out []byte) {
	for _, first := range []bool{true, false} {
		for name := range members(members(out, first)["result"], first) {
			if listKeys[name] != "" {
				t.Errorf("a reader finds %s in %q", name, out)
			}
		}
	}
	var loose looseAnswer
	_ = json.Unmarshal(out, &loose) // of what is wrong in part, the rest is read
	if r := loose.Result; r != nil && (r.Tools != nil || r.Prompts != nil || r.Resources != nil || r.ResourceTemplates != nil) {
		t.Errorf("a reader without case finds %+v", r)
	}
}

// notVisible checks that no reader finds an item that is hidden, by its own reading of what names it.
func notVisible(t *testing.T, out []byte, modern bool) {
	hidden := func(v any) bool {
		s, ok := v.(string)
		return !ok || s == "" || strings.HasPrefix(s, "x") || strings.ContainsFunc(s, isControl)
	}
	for _, first := range []bool{true, false} {
		r := members(members(out, first)["result"], first)
		lists := 0
		for list, key := range listKeys {
			if r[list] == nil {
				continue
			}
			lists++
			for _, item := range rawList(r[list]) {
				var name any
				if _ = json.Unmarshal(members(item, first)[key], &name); hidden(name) {
					t.Errorf("a reader finds %s in %s", item, list)
				}
			}
		}
		if scope := r["cacheScope"]; lists > 0 && (scope != nil || modern) && !sameText(scope, "private") {
			t.Errorf("cacheScope is %s", scope)
		}
	}
	var loose looseAnswer
	if json.Unmarshal(out, &loose) != nil || loose.Result == nil {
		return
	}
	for _, list := range [][]looseItem{loose.Result.Tools, loose.Result.Prompts} {
		for _, it := range list {
			if hidden(it.Name) {
				t.Errorf("a reader without case finds %q", it.Name)
			}
		}
	}
	for _, it := range loose.Result.Resources {
		if hidden(it.URI) {
			t.Errorf("a reader without case finds %q", it.URI)
		}
	}
	for _, it := range loose.Result.ResourceTemplates {
		if hidden(it.URITemplate) {
			t.Errorf("a reader without case finds %q", it.URITemplate)
		}
	}
}

func sameText(raw json.RawMessage, want string) bool {
	var s string
	return json.Unmarshal(raw, &s) == nil && s == want
}

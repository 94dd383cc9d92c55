package mcp_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

func isControl(r rune) bool { return unicode.IsControl(r) }

// decode is an object as an independent decoder finds it.
func decode(tb testing.TB, raw []byte) map[string]any {
	tb.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		tb.Fatalf("%v in %q", err, raw)
	}
	return m
}

// shown is a Judge that hides what begins with x.
func shown(it *mcp.Item) bool { return !strings.HasPrefix(it.Target, "x") }

func result(members string) string { return `{"jsonrpc":"2.0","id":1,"result":{` + members + `}}` }

func TestFilteredLists(t *testing.T) {
	tests := []struct {
		name, method, in, want string // "": as it was
		shown, hidden          int
	}{
		{"nothing hidden", mcp.MethodToolsList, `"tools":[ {"name":"a"} , {"name":"b"} ] , "nextCursor":"c"`, "", 2, 0},
		{"the first", mcp.MethodToolsList, `"tools":[ {"name":"x"} , {"name":"b"},{"name":"c"}]`, `"tools":[ {"name":"b"},{"name":"c"}]`, 2, 1},
		{"the last", mcp.MethodToolsList, "\"tools\":[\n {\"name\":\"a\"},\n {\"name\":\"x\"}\n]", "\"tools\":[\n {\"name\":\"a\"}\n]", 1, 1},
		{"the middle", mcp.MethodToolsList, `"tools":[{"name":"a"}, {"name":"x"} ,{"name":"x2"},  {"name":"c"}]`, `"tools":[{"name":"a"},  {"name":"c"}]`, 2, 2},
		{"all", mcp.MethodToolsList, `"tools":[ {"name":"x"}, {"name":"x"} ]`, `"tools":[]`, 0, 2},
		{"the only one", mcp.MethodToolsList, `"tools":[{"name":"x"}]`, `"tools":[]`, 0, 1},
		{"none", mcp.MethodToolsList, `"tools":[ ]`, "", 0, 0},
		{"prompts", mcp.MethodPromptsList, `"prompts":[{"name":"x"},{"name":"b"}]`, `"prompts":[{"name":"b"}]`, 1, 1},
		{"resources by URI", mcp.MethodResourcesList, `"resources":[{"name":"x","uri":"a"},{"name":"a","uri":"x:1"}]`, `"resources":[{"name":"x","uri":"a"}]`, 1, 1},
		{
			"templates by URI template", mcp.MethodTemplatesList,
			`"resourceTemplates":[{"name":"x","uriTemplate":"a{b}"},{"name":"a","uri":"a","uriTemplate":"x{b}"}]`,
			`"resourceTemplates":[{"name":"x","uriTemplate":"a{b}"}]`, 1, 1,
		},
		{"another list beside it", mcp.MethodToolsList, `"prompts":[{"name":"x"}],"tools":[{"name":"x"}]`, `"prompts":[],"tools":[]`, 0, 2},
		{"the answer to another method", mcp.MethodInitialize, `"tools":[{"name":"x"}]`, `"tools":[]`, 0, 1},
		{"a stream that a GET opened", "", `"resourceTemplates":[{"uriTemplate":"x"}]`, `"resourceTemplates":[]`, 0, 1},
		{
			"a tool's own result", mcp.MethodToolsCall,
			`"content":[{"a":1,"a":2}],"content":"\ud800","CacheScope":1,"structuredContent":{"tools":[{"name":"x"}],"tools":1}`, "", 0, 0,
		},
		{"a prompt's own result", mcp.MethodPromptsGet, `"messages":[{"prompts":7}],"tool":1`, "", 0, 0},
		{"a resource's own result", mcp.MethodResourcesRead, `"contents":[{"resources":[{"uri":"x"}]}],"cacheScope":"public"`, "", 0, 0},
		{"a completion's own result", mcp.MethodComplete, `"completion":{"values":["tools"]}`, "", 0, 0},
		{"names in escapes", mcp.MethodToolsList, `"t\u006fols":[{"n\u0061me":"\u0078"},{"name":"\u0061"}]`, `"t\u006fols":[{"name":"\u0061"}]`, 1, 1},
		{
			"odd items", mcp.MethodToolsList,
			`"tools":[1,null,"a",["a"],{},{"name":1},{"name":null},{"name":""},{"name":"a\u0000"},{"name":"a\u0085"},{"title":"a"},{"uri":"a"},{"name":"ok"}]`,
			`"tools":[{"name":"ok"}]`, 1, 12,
		},
		{
			"items that two readers could understand differently", mcp.MethodToolsList,
			`"tools":[{"name":"a","Name":"b"},{"name":"a","URI":"b"},{"NAME":"a"},{"name":"a","uritemplate":"b"},{"name":"a","name\u0000":"b"},` +
				`{"name":"a","Annotations":{}},{"name":"a","annotations":{"ReadOnlyHint":true}},{"name":"a","annotation` + "\u017f" + `":{}}]`,
			`"tools":[]`, 0, 8,
		},
		{
			"hints that are no booleans", mcp.MethodToolsList,
			`"tools":[{"name":"a","annotations":{"readOnlyHint":"true"}},{"name":"b","annotations":{"openWorldHint":null}},{"name":"c","annotations":1},` +
				`{"name":"d","annotations":null},{"name":"e","annotations":{"title":"t","destructiveHint":false}}]`,
			`"tools":[{"name":"b","annotations":{"openWorldHint":null}},{"name":"d","annotations":null},{"name":"e","annotations":{"title":"t","destructiveHint":false}}]`, 3, 2,
		},
		{"a name that is too long for a call", mcp.MethodToolsList, `"tools":[{"name":"` + strings.Repeat("a", 8<<10+1) + `"}]`, `"tools":[]`, 0, 1},
		{"cacheScope before the list", mcp.MethodToolsList, `"cacheScope":"public","tools":[{"name":"x"}]`, `"cacheScope":"private","tools":[]`, 0, 1},
		{"cacheScope after the list", mcp.MethodToolsList, `"tools":[{"name":"a"}],"cacheScope":"public"`, `"tools":[{"name":"a"}],"cacheScope":"private"`, 1, 0},
		{"cacheScope between lists", "", `"tools":[{"name":"x"}],"cacheScope":{},"prompts":[{"name":"x"}]`, `"tools":[],"cacheScope":"private","prompts":[]`, 0, 2},
		{"cacheScope is private", mcp.MethodToolsList, `"tools":[],"cacheScope":"priv\u0061te"`, "", 0, 0},
		{"cacheScope of no list", mcp.MethodDiscover, `"cacheScope":"public"`, "", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, want := result(tt.in), result(tt.want)
			if tt.want == "" {
				want = in
			}
			f := mcp.ListFilter{Judge: shown, Method: tt.method}
			got, err := f.Message([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, string(got)); d != "" {
				t.Error(d)
			}
			if f.Shown != tt.shown || f.Hidden != tt.hidden {
				t.Errorf("%d shown, %d hidden; want %d, %d", f.Shown, f.Hidden, tt.shown, tt.hidden)
			}
		})
	}
}

func TestModernListsArePrivate(t *testing.T) {
	for in, want := range map[string]string{
		result(`"tools":[{"name":"a"}]`):                        result(`"cacheScope":"private","tools":[{"name":"a"}]`),
		result(`"tools":[{"name":"x"}],"ttlMs":1`):              result(`"cacheScope":"private","tools":[],"ttlMs":1`),
		result(` "tools":[],"cacheScope":"private"`):            result(` "tools":[],"cacheScope":"private"`),
		result(`"tools":[],"cacheScope":"public"`):              result(`"tools":[],"cacheScope":"private"`),
		result(`"resultType":"complete","capabilities":{}`):     result(`"resultType":"complete","capabilities":{}`),
		result(`"resources":[],"resultType":"complete","a":[]`): result(`"cacheScope":"private","resources":[],"resultType":"complete","a":[]`),
	} {
		f := mcp.ListFilter{Judge: shown, Modern: true}
		if got, err := f.Message([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s became %s (%v), want %s", in, got, err, want)
		}
	}
}

// TestFilteredListsKeepTheirBytes: what is not hidden is not rebuilt, so nothing that we do not know of is lost.
func TestFilteredListsKeepTheirBytes(t *testing.T) {
	a := `{ "name":"a" , "title":"\u0041" ,"inputSchema":{"$ref":"#/$defs/x","$schema":"s","properties":{"n":{"const":1.0e+2}}},"_meta":{"b":[1,2]},"future":null}`
	b := `{"icons":[{"src":"data:,"}],"execution":{"taskSupport":"optional"},"name":"b","n":12345678901234567890}`
	in := `{"result":{"resultType":"complete","ttlMs":300000 ,"_meta":{"k":"v"},"tools":[` + a + `,{"name":"x"},` + b +
		`],"nextCursor":"bmV4dA==","unknown":{"deep":[[]]} , "cacheScope":"private"},"id":"i\u0064","jsonrpc":"2.0","extra":1.50}` + "\n"
	f := mcp.ListFilter{Judge: shown, Method: mcp.MethodToolsList, Modern: true}
	got, err := f.Message([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(in, `,{"name":"x"}`, "", 1); string(got) != want {
		t.Error(cmp.Diff(want, string(got)))
	}
}

// TestNoListPassesUnfiltered: each of these once made a filter give up and pass the list on.
func TestNoListPassesUnfiltered(t *testing.T) {
	list := `"tools":[{"name":"x"}]`
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(result(list)))
	_ = w.Close()
	for name, in := range map[string]string{
		"gzip":                         packed.String(),
		"a batch":                      `[` + result(list) + `]`,
		"data after the message":       result(list) + `{}`,
		"a byte order mark":            "\ufeff" + result(list),
		"not UTF-8":                    result(list + `,"a":"` + "\xff" + `"`),
		"two lists of one name":        result(`"tools":[],` + list),
		"two results":                  `{"id":1,"result":{},"result":{` + list + `}}`,
		"two results, one escaped":     `{"id":1,"result":{},"r\u0065sult":{` + list + `}}`,
		"a result in another case":     `{"id":1,"result":{},"Result":{` + list + `}}`,
		"only in another case":         `{"id":1,"error":{},"RESULT":{` + list + `}}`,
		"a long s":                     `{"id":1,"error":{},"re` + "\u017f" + `ult":{` + list + `}}`,
		"a result before NUL":          `{"id":1,"error":{},"result\u0000":{` + list + `}}`,
		"a list in another case":       result(`"tools":[],"Tools":[{"name":"x"}]`),
		"a list before NUL":            result(`"tools":[],"tools\u0000":[{"name":"x"}]`),
		"cacheScope in another case":   result(list + `,"CacheScope":"public"`),
		"no list":                      result(``),
		"another list":                 result(`"prompts":[]`),
		"a list that is an object":     result(`"tools":{"a":{"name":"x"}}`),
		"a list that is null":          result(`"tools":null`),
		"another that is no array":     result(list + `,"prompts":{}`),
		"a result that is an array":    `{"id":1,"result":[{"tools":[{"name":"x"}]}]}`,
		"a result that is null":        `{"id":1,"result":null}`,
		"a request with a result":      `{"id":1,"method":"ping","result":{` + list + `}}`,
		"no message":                   `{"jsonrpc":"2.0","id":1,` + list + `}`,
		"no object":                    `"tools"`,
		"nothing":                      ` `,
		"half of a message":            result(list)[:40],
		"nested too deeply":            result(list + `,"a":` + deep),
		"half of a surrogate pair":     result(list + `,"a":"\ud800"`),
		"a repeated name":              result(list + `,"a":{"b":1,"b":2}`),
		"a comma too many":             result(`"tools":[{"name":"x"},]`),
		"a comma too few in a message": `{"id":1 "result":{"tools":[]}}`,
		"a word that is no value":      `{"method":tru,"result":{"tools":[]}}`,
		"a comma too few":              result(`"tools":[{"name":"x"}{"name":"x"}]`),
	} {
		f := mcp.ListFilter{Judge: func(*mcp.Item) bool { t.Errorf("%s: an item was judged", name); return true }, Method: mcp.MethodToolsList}
		got, err := f.Message([]byte(in))
		if err == nil || got != nil {
			t.Errorf("%s passes: %q", name, got)
			continue
		}
		if e := asFault(t, err); e.Kind != fault.BadUpstream || strings.Contains(e.Public, "x\"") {
			t.Errorf("%s: %v", name, e)
		}
		if _, err := f.Body(200, []byte(in)); err == nil {
			t.Errorf("%s passes as a body", name)
		}
		if _, _, _, err := mcp.Tools([]byte(in)); err == nil {
			t.Errorf("%s is read as a list of tools", name)
		}
	}
}

// TestAnAmbiguousItemIsHiddenAlone: one odd tool takes no other with it, and none of it is judged or shown.
func TestAnAmbiguousItemIsHiddenAlone(t *testing.T) {
	for _, odd := range []string{
		`{"name":"a","name":"x"}`, `{"name":"a","n\u0061me":"x"}`, `{"name":"a","inputSchema":{"b":1,"b":2}}`, `{"name":"a","description":"\ud800"}`,
		`{"name":"a","annotations":{"readOnlyHint":true,"readOnlyHint":false}}`, `{"name":"a","x":{"\udc00":1}}`, `{"name":"a","x":[{"b":1,"b":2}]}`,
	} {
		f := mcp.ListFilter{Judge: shown, Method: mcp.MethodToolsList}
		got, err := f.Message([]byte(result(`"tools":[{"name":"b"},` + odd + `,{"name":"c"}]`)))
		if want := result(`"tools":[{"name":"b"},{"name":"c"}]`); err != nil || string(got) != want || f.Shown != 2 || f.Hidden != 1 {
			t.Errorf("%s: %s, %v; %d shown, %d hidden", odd, got, err, f.Shown, f.Hidden)
		}
		tools, _, _, err := mcp.Tools([]byte(result(`"tools":[{"name":"b"},` + odd + `]`)))
		if err != nil || len(tools) != 2 || tools[0].Odd || !tools[1].Odd {
			t.Errorf("%s: %+v, %v", odd, tools, err)
		}
	}
}

// TestToolsOfOneNameAreAnnotatedAlike, or not shown.
func TestToolsOfOneNameAreAnnotatedAlike(t *testing.T) {
	const harmful, plain = `{"name":"a","annotations":{"destructiveHint":true}}`, `{"name":"a","annotations":{}}`
	for in, want := range map[string]string{
		harmful + `,` + plain + `,{"name":"b"}`:                        `{"name":"b"}`,
		plain + `,{"name":"b"},` + harmful + `,{"n\u0061me":"\u0061"}`: `{"name":"b"}`,
		plain + `,{"name":"a","Name":"x"}`:                             ``,
		harmful + `,` + harmful:                                        harmful + `,` + harmful,
	} {
		f := mcp.ListFilter{Judge: shown, Method: mcp.MethodToolsList}
		if got, err := f.Message([]byte(result(`"tools":[` + in + `]`))); err != nil || string(got) != result(`"tools":[`+want+`]`) {
			t.Errorf("%s becomes %s (%v), want %s", in, got, err, want)
		}
	}
}

// TestAListIsNobodysOwnResult: an answer may come to another request than the one that it is due to, so what is a list
// to any reader is withheld from those that have none.
func TestAListIsNobodysOwnResult(t *testing.T) {
	for _, members := range []string{
		`"tools":[{"name":"a"},{"name":"x"}]`, `"content":[],"tools":[]`, `"prompts":null`, `"resources":[{"uri":"x"}]`, `"resourceTemplates":{}`,
		`"t\u006fols":[{"name":"x"}]`, `"Tools":[{"name":"x"}]`, `"tool` + "\u017f" + `":[{"name":"x"}]`, `"tools\u0000":[{"name":"x"}]`, `"tools":[],"tools":[{"name":"x"}]`,
	} {
		for _, method := range []string{mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead, mcp.MethodComplete} {
			f := mcp.ListFilter{Judge: func(*mcp.Item) bool { t.Errorf("%s is judged", members); return true }, Method: method}
			if got, err := f.Message([]byte(result(members))); err == nil || got != nil {
				t.Errorf("%s: %s passes: %q", method, members, got)
			}
			if got, err := stream(&f, strings.NewReader("id: 7\ndata: "+result(members)+"\n\n")); err != nil || got != "id: 7\n\n" || f.Withheld != 1 {
				t.Errorf("%s: %s passes in a stream: %q (%v)", method, members, got, err)
			}
			if got, err := f.Body(200, []byte(result(members))); err == nil {
				t.Errorf("%s: %s passes as a body: %q", method, members, got)
			}
		}
	}
}

func TestOtherMessagesPass(t *testing.T) {
	for _, in := range []string{
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"tools":[{"name":"x"}]}}`,
		`{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{"tools":[{"name":"x"}]}}`,
		`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`,
	} {
		for _, method := range []string{mcp.MethodToolsList, mcp.MethodToolsCall, ""} {
			f := mcp.ListFilter{Judge: shown, Method: method, Modern: true, OnChanged: func() { t.Errorf("%s is taken for a change", in) }}
			if got, err := f.Message([]byte(in)); err != nil || string(got) != in {
				t.Errorf("%q: %s became %s (%v)", method, in, got, err)
			}
		}
	}
}

func TestChangedToolsAreTold(t *testing.T) {
	for _, in := range []string{
		`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`,
		`{"params":{"_meta":{}},"method":"notifications\/tools/list_change\u0064","jsonrpc":"2.0"}`,
	} {
		told := 0
		f := mcp.ListFilter{Judge: shown, OnChanged: func() { told++ }}
		if got, err := f.Message([]byte(in)); err != nil || string(got) != in || told != 1 {
			t.Errorf("%s became %s (%v), told %d times", in, got, err, told)
		}
		f.OnChanged = nil
		if _, err := f.Message([]byte(in)); err != nil {
			t.Error(err)
		}
	}
}

func TestJudgeSeesTheItem(t *testing.T) {
	yes, no := true, false
	tool := `{"name":"\u0061b","annotations":{"title":"t","readOnlyHint":true,"destructiveHint":false,"x":1}}`
	in := result(`"tools":[` + tool + `],"prompts":[{"name":"p"}],"resources":[{"uri":"a:b","annotations":{"priority":1}}],"resourceTemplates":[{"uriTemplate":"a:{b}"}]`)
	want := []mcp.Item{
		{Method: mcp.MethodToolsCall, Target: "ab", Raw: []byte(tool), Hints: mcp.Hints{ReadOnly: &yes, Destructive: &no}},
		{Method: mcp.MethodPromptsGet, Target: "p", Raw: []byte(`{"name":"p"}`)},
		{Method: mcp.MethodResourcesRead, Target: "a:b", Raw: []byte(`{"uri":"a:b","annotations":{"priority":1}}`)},
		{Method: mcp.MethodResourcesRead, Target: "a:{b}", Raw: []byte(`{"uriTemplate":"a:{b}"}`)},
	}
	var got []mcp.Item
	f := mcp.ListFilter{Judge: func(it *mcp.Item) bool { got = append(got, *it); return true }}
	if _, err := f.Message([]byte(in)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRenamedItems(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"name and description", `{"a":1,"name":"t","description":"old","b":2}`, `{"a":1,"name":"new \"n\"","description":"new d","b":2}`},
		{"description first", `{"description":{"old":1} , "name" : "t"}`, `{"description":"new d" , "name" : "new \"n\""}`},
		{"no description", `{ "name" : "t" }`, `{ "name" : "new \"n\"","description":"new d" }`},
		{"a second description", `{"name":"t","Description":"other"}`, ``},
	}
	for _, tt := range tests {
		f := mcp.ListFilter{Method: mcp.MethodToolsList, Judge: func(it *mcp.Item) bool {
			if it.Target == "t" {
				it.Rename, it.Describe = `new "n"`, "new d"
			}
			return it.Target != "x"
		}}
		got, err := f.Message([]byte(result(`"tools":[{"name":"x"},` + tt.in + `,{"name":"x"}]`)))
		if want := result(`"tools":[` + tt.want + `]`); err != nil || string(got) != want {
			t.Errorf("%s: %s (%v), want %s", tt.name, got, err, want)
		}
	}
	describe := mcp.ListFilter{Judge: func(it *mcp.Item) bool { it.Describe = "d"; return true }}
	got, err := describe.Message([]byte(result(`"resources":[{"uri":"a:b","size":1},{"uri":"a:c","name":"n"}]`)))
	if want := result(`"resources":[{"uri":"a:b","description":"d","size":1},{"uri":"a:c","name":"n","description":"d"}]`); err != nil || string(got) != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	keep := mcp.ListFilter{Judge: func(*mcp.Item) bool { return true }}
	in := result(`"tools":[{"name":"t","Description":"passes where nobody replaces it"}]`)
	if got, err := keep.Message([]byte(in)); err != nil || string(got) != in {
		t.Errorf("%s (%v)", got, err)
	}
}

func TestBody(t *testing.T) {
	list := result(`"tools":[{"name":"x"}]`)
	const same = "same"
	tests := []struct {
		name   string
		status int
		in     string
		want   string // "": an error
	}{
		{"a list", 200, list, result(`"tools":[]`)},
		{"a list with a status of failure", 500, list, result(`"tools":[]`)},
		{"no body", 202, "", same},
		{"no body with a list's status", 200, "", same},
		{"a JSON-RPC error", 400, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no result"}}`, same},
		{"an error of something before the remote", 403, `{"message":"Forbidden"}`, same},
		{"a page", 502, "<html>no results</html>", same},
		{"words", 404, "no result\n", same},
		{"an object that speaks of results", 404, `{"Error":"no \"result\"", "details":{"result":1}}`, same},
		{"a list of errors", 400, `[{"error":{}}]`, same},
		{"broken JSON", 500, `{"error":`, same},
		{"a batch", 400, `[` + list + `]`, ""},
		{"a result in another case", 400, strings.Replace(list, "result", "Result", 1), ""},
		{"a result in escapes, twice", 400, strings.Replace(list, `"result"`, `"r\u0065sult":{},"re\u0073ult"`, 1), ""},
		{"a result in escapes", 400, strings.Replace(list, "result", `r\u0065sult`, 1), `{"jsonrpc":"2.0","id":1,"r\u0065sult":{"tools":[]}}`},
		{"a list and more", 400, list + "{}", ""},
		{"a list after a byte order mark", 400, "\ufeff" + list, ""},
		{"UTF-16", 400, "\x00{" + strings.Join(strings.Split(list[1:], ""), "\x00"), ""},
		{"not UTF-8", 400, "\x1f\x8b", ""},
		{"a page with the status of success", 200, "<html></html>", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := mcp.ListFilter{Judge: shown, Method: mcp.MethodToolsList}
			got, err := f.Body(tt.status, []byte(tt.in))
			want := tt.want
			if want == same {
				want = tt.in
			}
			if (err != nil) != (tt.want == "") || string(got) != want {
				t.Errorf("%q (%v), want %q", got, err, want)
			}
		})
	}
}

// TestBodyWithoutAnAnswer: what nobody waits for may say anything but a result.
func TestBodyWithoutAnAnswer(t *testing.T) {
	list := result(`"tools":[{"name":"x"}]`)
	for _, method := range []string{mcp.MethodInitialized, mcp.MethodPing, ""} {
		for in, want := range map[string]string{
			"": "", "Accepted": "Accepted", "{}": "{}", "null": "null", `{"ok":true}`: `{"ok":true}`, `{"result":"ok"}`: `{"result":"ok"}`,
			list: result(`"tools":[]`), "[" + list + "]": "!", strings.Replace(list, "r", "R", 2): "!",
		} {
			for status, unasked := range map[int]bool{200: true, 202: false} {
				f := mcp.ListFilter{Judge: shown, Method: method, Unasked: unasked}
				if got, err := f.Body(status, []byte(in)); want == "!" && err == nil || want != "!" && (err != nil || string(got) != want) {
					t.Errorf("%q, %d: %q became %q (%v), want %q", method, status, in, got, err, want)
				}
			}
			f := mcp.ListFilter{Judge: shown, Method: method}
			if got, err := f.Body(200, []byte(in)); err == nil && in != "" && in[0] != '{' {
				t.Errorf("%q: %q became %q although an answer is due", method, in, got)
			}
		}
	}
}

func TestTools(t *testing.T) {
	yes := true
	in := `{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"\u0063","ttlMs":1500,"tools":[{"name":"a","annotations":{"openWorldHint":true}},{"name":1},{"name":"b"},` +
		`{"name":"\u0063","annotations":{"openWorldHint":"true"}},{"name":"d","annotations":[]},{"name":"e","annotations":{"OpenWorldHint":true,"readOnlyHint":true}},7]}}`
	items, next, ttl, err := mcp.Tools([]byte(in))
	want := []mcp.Item{
		{Method: mcp.MethodToolsCall, Target: "a", Raw: []byte(`{"name":"a","annotations":{"openWorldHint":true}}`), Hints: mcp.Hints{OpenWorld: &yes}},
		{Method: mcp.MethodToolsCall, Raw: []byte(`{"name":1}`), Odd: true},
		{Method: mcp.MethodToolsCall, Target: "b", Raw: []byte(`{"name":"b"}`)},
		{Method: mcp.MethodToolsCall, Target: "c", Raw: []byte(`{"name":"\u0063","annotations":{"openWorldHint":"true"}}`), Odd: true},
		{Method: mcp.MethodToolsCall, Target: "d", Raw: []byte(`{"name":"d","annotations":[]}`), Odd: true},
		{Method: mcp.MethodToolsCall, Target: "e", Raw: []byte(`{"name":"e","annotations":{"OpenWorldHint":true,"readOnlyHint":true}}`), Odd: true},
		{Method: mcp.MethodToolsCall, Raw: []byte(`7`), Odd: true},
	}
	if d := cmp.Diff(want, items); d != "" || next != "c" || ttl != 1500*time.Millisecond || err != nil {
		t.Errorf("%s, next %q, ttl %v, %v", d, next, ttl, err)
	}
	for raw, want := range map[string]time.Duration{
		"0": 0, "-1": 0, "1e3": 0, "1.0": 0, `"5"`: 0, "null": -1, "7": 7 * time.Millisecond,
		"9223372036854775807": 9223372036854 * time.Millisecond, "99999999999999999999": 9223372036854 * time.Millisecond, "-99999999999999999999": 0,
	} {
		if _, next, ttl, err := mcp.Tools([]byte(result(`"tools":[],"nextCursor":null,"ttlMs":` + raw))); ttl != want || next != "" || err != nil {
			t.Errorf("ttlMs %s is %v, want %v (next %q, %v)", raw, ttl, want, next, err)
		}
	}
	if _, _, ttl, err := mcp.Tools([]byte(result(`"tools":[]`))); ttl >= 0 || err != nil {
		t.Errorf("without ttlMs: %v, %v", ttl, err)
	}
	for _, in := range []string{result(`"tools":[],"nextCursor":1`), `{"id":1,"error":{}}`, `{"method":"notifications/tools/list_changed"}`} {
		if _, _, _, err := mcp.Tools([]byte(in)); err == nil {
			t.Errorf("%s is read as a list of tools", in)
		}
	}
}

func TestListMethod(t *testing.T) {
	for method, want := range map[string]bool{
		mcp.MethodToolsList: true, mcp.MethodPromptsList: true, mcp.MethodResourcesList: true, mcp.MethodTemplatesList: true,
		mcp.MethodToolsCall: false, "": false, "tools/List": false,
	} {
		if mcp.ListMethod(method) != want {
			t.Errorf("%q: %v", method, !want)
		}
	}
}

package mcp_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

var understood = []struct {
	name    string
	body    string
	headers []string
	want    mcp.Call
}{
	{
		name:    "a legacy tool call",
		body:    ` {"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"t","arguments":{"name":"x","uri":1}}} `,
		headers: []string{"Mcp-Protocol-Version: 2025-06-18", "Mcp-Session-Id: s!~1"},
		want: mcp.Call{
			Kind: mcp.Request, Method: "tools/call", Target: "t", ID: []byte(`"a-1"`), Version: "2025-06-18",
			Session: "s!~1", Params: []byte(`{"name":"t","arguments":{"name":"x","uri":1}}`),
		},
	}, {
		name:    "a modern tool call, its session id ignored",
		body:    modern("tools/call", `"name":"t"`),
		headers: []string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: t", "Mcp-Session-Id: a b"},
		want: mcp.Call{
			Era: mcp.Modern, Kind: mcp.Request, Method: "tools/call", Target: "t", ID: []byte("7"), Version: "2026-07-28",
			Params: []byte(`{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
				`"io.modelcontextprotocol/clientCapabilities":{}}}`),
		},
	}, {
		name: "initialize, without a version header",
		body: `{"method":"initialize","params":{"protocolVersion":"2025-11-25","_meta":{}},"id":0,"jsonrpc":"2.0"}`,
		want: mcp.Call{
			Kind: mcp.Request, Method: "initialize", ID: []byte("0"),
			Params: []byte(`{"protocolVersion":"2025-11-25","_meta":{}}`),
		},
	}, {
		name: "a notification",
		body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		want: mcp.Call{Kind: mcp.Notification, Method: "notifications/initialized"},
	}, {
		name:    "a modern notification has no metadata to agree with",
		body:    `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		headers: []string{"Mcp-Protocol-Version: 2026-07-28"},
		want: mcp.Call{
			Era: mcp.Modern, Kind: mcp.Notification, Method: "notifications/cancelled", Version: "2026-07-28",
			Params: []byte(`{"requestId":1}`),
		},
	}, {
		name: "a response",
		body: `{"jsonrpc":"2.0","id":-12,"result":{"method":"x"}}`,
		want: mcp.Call{Kind: mcp.Response, ID: []byte("-12")},
	}, {
		name: "an error response",
		body: `{"jsonrpc":"2.0","id":"","error":{"code":1,"message":"m"}}`,
		want: mcp.Call{Kind: mcp.Response, ID: []byte(`""`)},
	}, {
		name: "names and values with escapes",
		body: `{"\u006asonrpc":"2\u002e0","\u0069d":"\ud83d\ude00","metho\u0064":"prompts\/get","params":{"n\u0061me":"\u00e9\ud83d\uDE00"}}`,
		want: mcp.Call{
			Kind: mcp.Request, Method: "prompts/get", Target: "é😀", ID: []byte(`"\ud83d\ude00"`),
			Params: []byte(`{"n\u0061me":"\u00e9\ud83d\uDE00"}`),
		},
	}, {
		name: "a resource",
		body: `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:\/\/\/a\u00e9","name":3}}`,
		want: mcp.Call{
			Kind: mcp.Request, Method: "resources/read", Target: "file:///aé", ID: []byte("1"),
			Params: []byte(`{"uri":"file:\/\/\/a\u00e9","name":3}`),
		},
	}, {
		name: "an unknown method has no target",
		body: `{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"name":"n"}}`,
		want: mcp.Call{Kind: mcp.Request, Method: "x/y", ID: []byte("1"), Params: []byte(`{"name":"n"}`)},
	}, {
		name: "case is free inside arguments and _meta, and in names that are not the protocol's",
		body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","x":1,"params":{"name":"n","X":{"ID":1},"arguments":{"Name":1,"NAME":2},"_meta":{"Name":1}}}`,
		want: mcp.Call{
			Kind: mcp.Request, Method: "tools/call", Target: "n", ID: []byte("1"),
			Params: []byte(`{"name":"n","X":{"ID":1},"arguments":{"Name":1,"NAME":2},"_meta":{"Name":1}}`),
		},
	},
}

func TestReadUnderstands(t *testing.T) {
	for _, tt := range understood {
		t.Run(tt.name, func(t *testing.T) {
			c, err := read(t, post(tt.body, tt.headers...), mcp.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(tt.body))
			tt.want.Hash, tt.want.Body = hex.EncodeToString(sum[:]), []byte(tt.body)
			if diff := cmp.Diff(&tt.want, c, cmpopts.IgnoreUnexported(mcp.Call{})); diff != "" {
				t.Errorf("call (-want +got):\n%s", diff)
			}
		})
	}
}

const parse, invalid, params = mcp.CodeParse, mcp.CodeInvalidRequest, mcp.CodeInvalidParams

// toolCall is a request of the legacy era.
func toolCall(params string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":` + params + `}`
}

// refusals name every way in which a message is no message, or could be two.
var refusals = []struct {
	name string
	body string
	code int
	id   string // that the refusal must know; "" for none
}{
	{"nothing", ``, parse, ""},
	{"spaces", "  \n", parse, ""},
	{"no JSON", `hello`, parse, ""},
	{"a byte order mark", "\ufeff" + toolCall(`{"name":"t"}`), parse, ""},
	{"a string that is not UTF-8", toolCall(`{"name":"t","x":"` + "\xff" + `"}`), parse, ""},
	{"an overlong encoding", toolCall(`{"name":"t","x":"` + "\xc0\xaf" + `"}`), parse, ""},
	{"an encoded surrogate", toolCall(`{"name":"t","x":"` + "\xed\xa0\x80" + `"}`), parse, ""},
	{"a second message", toolCall(`{"name":"t"}`) + `{}`, parse, ""},
	{"data after the message", toolCall(`{"name":"t"}`) + `x`, parse, ""},
	{"an early end", `{"jsonrpc":"2.0","id":7,"method":"ping"`, parse, ""},
	{"a raw control character", toolCall("{\"name\":\"a\tb\"}"), parse, ""},
	{"an unknown escape", toolCall(`{"name":"\x41"}`), parse, ""},
	{"a comma too many", `{"jsonrpc":"2.0","id":7,"method":"ping",}`, parse, ""},
	{"a comment", `{"jsonrpc":"2.0",/**/"id":7,"method":"ping"}`, parse, ""},
	{"a leading zero", `{"jsonrpc":"2.0","id":07,"method":"ping"}`, parse, ""},
	{"NaN", `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, parse, ""},
	{"65 levels", toolCall(`{"name":"t","a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`), invalid, ""},
	{"a batch", `[` + toolCall(`{"name":"t"}`) + `]`, invalid, ""},
	{"an empty batch", ` []`, invalid, ""},
	{"a string", `"ping"`, invalid, ""},
	{"null", `null`, invalid, ""},
	{"an empty object", `{}`, invalid, ""},
	{"no jsonrpc", `{"id":7,"method":"ping"}`, invalid, "7"},
	{"another jsonrpc", `{"jsonrpc":"1.0","id":7,"method":"ping"}`, invalid, "7"},
	{"jsonrpc as a number", `{"jsonrpc":2.0,"id":7,"method":"ping"}`, invalid, "7"},
	{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, invalid, ""},
	{"id a fraction", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, invalid, ""},
	{"id with an exponent", `{"jsonrpc":"2.0","id":1e2,"method":"ping"}`, invalid, ""},
	{"id an object", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, invalid, ""},
	{"id a boolean", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, invalid, ""},
	{"a very long id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 1<<10) + `","method":"ping"}`, invalid, ""},
	{"id twice", `{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}`, invalid, ""},
	{"id twice, once escaped", `{"jsonrpc":"2.0","id":7,"\u0069d":8,"method":"ping"}`, invalid, ""},
	{"id and ID", `{"jsonrpc":"2.0","id":7,"ID":8,"method":"ping"}`, invalid, ""},
	{"id and dotless id", `{"jsonrpc":"2.0","id":7,"ıd":8,"method":"ping"}`, invalid, ""},
	{"method twice", `{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}`, invalid, "7"},
	{"params twice", `{"jsonrpc":"2.0","id":7,"method":"ping","params":{},"params":{}}`, invalid, "7"},
	{"a name twice in arguments", toolCall(`{"name":"t","arguments":{"a":1,"b":2,"a":3}}`), invalid, "7"},
	{"a name twice, once escaped", toolCall(`{"name":"t","arguments":{"a":1,"\u0061":3}}`), invalid, "7"},
	{"the empty name twice", toolCall(`{"name":"t","arguments":{"":1,"":3}}`), invalid, "7"},
	{"a name twice, deep", toolCall(`{"name":"t","arguments":[[{"x":[{"a":1,"a":1}]}]]}`), invalid, "7"},
	{"half a surrogate pair", toolCall(`{"name":"t","arguments":{"a":"\ud800"}}`), invalid, "7"},
	{"a pair the wrong way round", toolCall(`{"name":"t","arguments":{"a":"\udc00\ud800"}}`), invalid, "7"},
	{"half a pair in a name", toolCall(`{"name":"t","arguments":{"\ud800":1}}`), invalid, "7"},
	{"Method", `{"jsonrpc":"2.0","id":7,"method":"ping","Method":"tools/call"}`, invalid, "7"},
	{"METHOD alone", `{"jsonrpc":"2.0","id":7,"METHOD":"ping"}`, invalid, "7"},
	{"Params", `{"jsonrpc":"2.0","id":7,"method":"ping","Params":{}}`, invalid, "7"},
	{"paramſ", `{"jsonrpc":"2.0","id":7,"method":"ping","paramſ":{}}`, invalid, "7"},
	{"jſonrpc, escaped", `{"jsonrpc":"2.0","id":7,"method":"ping","j\u017fonrpc":"2.0"}`, invalid, "7"},
	{"Result", `{"jsonrpc":"2.0","id":7,"method":"ping","Result":{}}`, invalid, "7"},
	{"NAME beside name", toolCall(`{"name":"t","NAME":"u"}`), invalid, "7"},
	{"Uri", `{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"Uri":"x"}}`, invalid, "7"},
	{"taſkId", toolCall(`{"name":"t","ta\u017fkId":1}`), invalid, "7"},
	{"tasK with the Kelvin sign", toolCall(`{"name":"t","tas\u212a":{}}`), invalid, "7"},
	{"_META", toolCall(`{"name":"t","_META":{}}`), invalid, "7"},
	{"Arguments", toolCall(`{"name":"t","Arguments":{}}`), invalid, "7"},
	{"id and id with NUL", `{"jsonrpc":"2.0","id":7,"id\u0000":8,"method":"ping"}`, invalid, ""},
	{"name and name with NUL", toolCall(`{"name":"t","name\u0000x":"u"}`), invalid, "7"},
	{"a very long name in params is no protocol name", toolCall(`{"` + strings.Repeat("K", 100) + `":1}`), params, "7"},
	{"params a list", toolCall(`["t"]`), invalid, "7"},
	{"params null", toolCall(`null`), invalid, "7"},
	{"params a string", toolCall(`"t"`), invalid, "7"},
	{"method empty", `{"jsonrpc":"2.0","id":7,"method":""}`, invalid, "7"},
	{"method a number", `{"jsonrpc":"2.0","id":7,"method":1}`, invalid, "7"},
	{"method null", `{"jsonrpc":"2.0","id":7,"method":null}`, invalid, "7"},
	{"method with NUL", `{"jsonrpc":"2.0","id":7,"method":"ping\u0000"}`, invalid, "7"},
	{"method with a C1 control", `{"jsonrpc":"2.0","id":7,"method":"ping\u0085"}`, invalid, "7"},
	{"method too long", `{"jsonrpc":"2.0","id":7,"method":"` + strings.Repeat("m", 257) + `"}`, invalid, "7"},
	{"request and response", `{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}`, invalid, "7"},
	{"result and error", `{"jsonrpc":"2.0","id":7,"result":{},"error":{}}`, invalid, "7"},
	{"a response without id", `{"jsonrpc":"2.0","result":{}}`, invalid, ""},
	{"a response with params", `{"jsonrpc":"2.0","id":7,"result":{},"params":{}}`, invalid, "7"},
	{"an id alone", `{"jsonrpc":"2.0","id":7}`, invalid, "7"},
	{"a tool without params", `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`, params, "7"},
	{"a tool without name", toolCall(`{"arguments":{"name":"t"}}`), params, "7"},
	{"a tool named by a number", toolCall(`{"name":1}`), params, "7"},
	{"a tool with an empty name", toolCall(`{"name":""}`), params, "7"},
	{"a tool name with a line feed", toolCall(`{"name":"a\nb"}`), params, "7"},
	{"a tool name with NUL", toolCall(`{"name":"a\u0000"}`), params, "7"},
	{"a tool name too long", toolCall(`{"name":"` + strings.Repeat("t", 8<<10+1) + `"}`), params, "7"},
	{"a tool call as a notification, without name", `{"jsonrpc":"2.0","method":"tools/call","params":{}}`, params, ""},
	{"a prompt without name", `{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"uri":"x"}}`, params, "7"},
	{"a resource without uri", `{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"name":"x"}}`, params, "7"},
	{"a subscription to null", `{"jsonrpc":"2.0","id":7,"method":"resources/subscribe","params":{"uri":null}}`, params, "7"},
	{"an end of subscription to a list", `{"jsonrpc":"2.0","id":7,"method":"resources/unsubscribe","params":{"uri":["x"]}}`, params, "7"},
	{"a protocol version that is a number", toolCall(`{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":1}}`), params, "7"},
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			c, err := read(t, post(tt.body), mcp.Limits{})
			if err == nil {
				t.Fatalf("accepted as %+v", c)
			}
			e := asFault(t, err)
			if e.Kind != fault.Malformed || e.Status() != 400 || e.RPCCode() != tt.code {
				t.Errorf("got %v, %d, %d; want malformed, 400, %d", e, e.Status(), e.RPCCode(), tt.code)
			}
			if string(c.ID) != tt.id {
				t.Errorf("id %q, want %q", c.ID, tt.id)
			}
		})
	}
}

// TestReadDepth holds the bound on both sides.
// 2026-07-28 removed these methods, and their errors are the remote's to give.
func TestReadLeavesRemovedMethodsToTheRemote(t *testing.T) {
	for _, method := range []string{"resources/subscribe", "resources/unsubscribe"} {
		body := modern(method, "")
		c, err := read(t, post(body, "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: "+method), mcp.Limits{})
		if err != nil || c.Target != "" || c.Method != method {
			t.Errorf("%s: %q about %q, %v", method, c.Method, c.Target, err)
		}
		if _, err := read(t, post(body), mcp.Limits{}); err == nil {
			t.Errorf("%s: a version that no header repeats is believed", method)
		}
		legacy := `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{}}`
		if _, err := read(t, post(legacy, "Mcp-Protocol-Version: 2025-11-25"), mcp.Limits{}); err == nil {
			t.Errorf("%s: no uri is accepted in the legacy era", method)
		}
	}
}

func TestReadDepth(t *testing.T) {
	for depth, want := range map[int]bool{64: true, 65: false} {
		nest := depth - 2 // the message and its params
		body := `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":` + strings.Repeat("[", nest) + strings.Repeat("]", nest) + `}}`
		if _, err := read(t, post(body), mcp.Limits{}); (err == nil) != want {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

// TestReadDecoys: a denied tool can't be called through a key that another reader takes for the name.
func TestReadDecoys(t *testing.T) {
	decoys := []string{
		`"name":"allowed","name":"denied"`, `"name":"denied","name":"allowed"`,
		`"name":"allowed","Name":"denied"`, `"Name":"denied","name":"allowed"`,
		`"name":"allowed","NAME":"denied"`, `"name":"allowed","n\u0061me":"denied"`,
		`"name":"allowed","n\u0041me":"denied"`, `"name":"allowed","\u004eame":"denied"`,
	}
	for _, decoy := range decoys {
		for _, body := range []string{
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + decoy + `}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed"},"Params":{` + decoy + `}}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"allowed"},"param\u017f":{"name":"denied"}}`,
		} {
			if c, err := read(t, post(body), mcp.Limits{}); err == nil {
				t.Errorf("%s: accepted, target %q", body, c.Target)
			}
		}
	}
}

// TestReadManyNames: a repeated name is found in objects of every size, wherever the two stand.
func TestReadManyNames(t *testing.T) {
	for _, n := range []int{2, 3, 15, 16, 17, 18, 100, 5000} {
		var names []string
		for i := range n {
			names = append(names, strings.Repeat("k", i%7)+string(rune('a'+i%26))+strings.Repeat("z", i/26))
		}
		body := func() string {
			return `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":{"` + strings.Join(names, `":{},"`) + `":[]}}}`
		}
		if _, err := read(t, post(body()), mcp.Limits{}); err != nil {
			t.Errorf("%d names: %v", n, err)
		}
		names[n-1] = names[0]
		if _, err := read(t, post(body()), mcp.Limits{}); err == nil {
			t.Errorf("%d names, the first also the last: accepted", n)
		}
	}
}

func TestReadMethods(t *testing.T) {
	tests := []struct {
		name, method, version string
		kind                  mcp.Kind
		allow                 string // of the refusal
	}{
		{"a stream", "GET", "2025-11-25", mcp.Stream, ""},
		{"a stream without version", "GET", "", mcp.Stream, ""},
		{"the end of a session", "DELETE", "2025-03-26", mcp.Delete, ""},
		{"no stream in the modern era", "GET", "2026-07-28", mcp.Unread, "POST"},
		{"no session in the modern era", "DELETE", "2026-07-28", mcp.Unread, "POST"},
		{"PUT", "PUT", "", mcp.Unread, "GET, POST, DELETE"},
		{"HEAD", "HEAD", "2025-11-25", mcp.Unread, "GET, POST, DELETE"},
		{"PUT in the modern era", "PUT", "2026-07-28", mcp.Unread, "POST"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.kind.String(), func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/mcp", http.NoBody)
			r.Header.Set(mcp.HeaderSession, "s-1")
			if tt.version != "" {
				r.Header.Set(mcp.HeaderVersion, tt.version)
			}
			c, err := read(t, r, mcp.Limits{})
			if c.Kind != tt.kind {
				t.Errorf("kind %v, want %v", c.Kind, tt.kind)
			}
			if tt.allow == "" {
				empty := sha256.Sum256(nil)
				if err != nil || c.Session != "s-1" || c.Hash != hex.EncodeToString(empty[:]) || len(c.Body) != 0 {
					t.Errorf("call %+v, error %v", c, err)
				}
				if b, _ := io.ReadAll(c.Open()); len(b) != 0 {
					t.Errorf("body %q", b)
				}
				return
			}
			if e := asFault(t, err); e.Kind != fault.BadMethod || e.Allow != tt.allow {
				t.Errorf("%v, Allow %q; want Allow %q", e, e.Allow, tt.allow)
			}
		})
	}
}

func TestReadMediaType(t *testing.T) {
	tests := []struct {
		name    string
		headers http.Header
		good    bool
	}{
		{"plain", http.Header{"Content-Type": {"application/json"}}, true},
		{"utf-8", http.Header{"Content-Type": {"Application/JSON; Charset=UTF-8"}}, true},
		{"utf-8, quoted", http.Header{"Content-Type": {`application/json;charset="utf-8"`}}, true},
		{"another parameter", http.Header{"Content-Type": {"application/json; profile=x"}}, true},
		{"identity", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}}, true},
		{"none", http.Header{}, false},
		{"empty", http.Header{"Content-Type": {""}}, false},
		{"text", http.Header{"Content-Type": {"text/plain"}}, false},
		{"a suffix", http.Header{"Content-Type": {"application/mcp+json"}}, false},
		{"a form, as a page can send it across origins", http.Header{"Content-Type": {"text/plain; application/json"}}, false},
		{"two values", http.Header{"Content-Type": {"application/json", "application/json"}}, false},
		{"a list", http.Header{"Content-Type": {"application/json, text/plain"}}, false},
		{"utf-16", http.Header{"Content-Type": {"application/json; charset=utf-16"}}, false},
		{"two charsets", http.Header{"Content-Type": {"application/json; charset=utf-8; charset=utf-16"}}, false},
		{"gzip", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, false},
		{"a list of encodings", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity, gzip"}}, false},
		{"a second encoding", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity", "br"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
			r.Header = tt.headers
			_, err := read(t, r, mcp.Limits{})
			if tt.good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := asFault(t, err); e.Kind != fault.BadMediaType {
				t.Error(e)
			}
		})
	}
}

package mcp_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// guarded is what passes a Guard of in, which arrives in pieces of those lengths, less one; all at once where there are
// none.
func guarded(in string, lengths []byte) (passed string, w *mcp.Watcher) {
	w = mcp.NewWatcher(false)
	w.Guard()
	if len(lengths) == 0 {
		if w.Write([]byte(in)); w.Refusal() != nil {
			return "", w
		}
		return in, w
	}
	r, p := &pieces{in: in, lengths: lengths}, make([]byte, 256)
	for {
		n, err := r.Read(p)
		if errors.Is(err, io.EOF) {
			return passed, w
		}
		if w.Write(p[:n]); w.Refusal() != nil {
			return passed, w
		}
		passed += string(p[:n])
		clear(p)
	}
}

func TestGuard(t *testing.T) {
	const all = "all"
	long := strings.Repeat("n", 200)
	for name, tt := range map[string]struct {
		in     string
		passes string // byte by byte
	}{
		"a result":                      {result(`"content":[{"type":"text","text":"{\"tools\":[]}"}],"isError":false`), all},
		"lists deeper down":             {result(`"structuredContent":{"tools":[{"name":"x"}],"result":{"tools":[]}},"content":[{"tools":[]}]`), all},
		"what is ambiguous":             {result(`"content":[],"content":{"a":1,"a":"\ud800"},"cacheScope":1,"CacheScope":2`), all},
		"a list of an error":            {`{"id":1,"error":{"code":1,"tools":[],"data":{"result":{"tools":[]}}}}`, all},
		"a list of the message":         {`{"id":1,"tools":[],"params":{"result":{"tools":[]}},"result":null}`, all},
		"a result that is a list":       {`{"id":1,"result":[{"tools":[]}]}`, all},
		"names that are alike":          {result(`"tool":1,"toolss":1,"resource":1,"results":1,"prompts2":{},"_meta":{"tools":1}`), all},
		"long names":                    {result(`"` + long + `":1,"` + long + `-2":[]`), all},
		"nothing":                       {"", all},
		"space":                         {" \n", all},
		"an end that is missing":        {`{"id":1,"result":{"content":[`, all},
		"tools":                         {`{"result":{"tools":[]}}`, `{"result":{"tools`},
		"prompts":                       {`{"result":{"content":[], "prompts" : 1}}`, `{"result":{"content":[], "prompts`},
		"resources":                     {`{"result":{"content":{"a":{}},"resources":[]}}`, `{"result":{"content":{"a":{}},"resources`},
		"resourceTemplates":             {`{"result":{"resourceTemplates":[]}}`, `{"result":{"resourceTemplates`},
		"of the second result":          {`{"result":{},"result":{"tools":[]}}`, `{"result":{},"result":{"tools`},
		"of an escaped result":          {`{"res\u0075lt":{"tools":[]}}`, `{"res\u0075lt":{"tools`},
		"escapes":                       {`{"result":{"\u0074ool\u0073":[]}}`, `{"result":{"\u0074ool\u0073`},
		"nothing but escapes":           {`{"result":{"\u0072\u0065\u0073ource\u0054\u0065\u006d\u0070\u006c\u0061\u0074\u0065\u0073":[]}}`, `{"result":{"\u0072\u0065\u0073ource\u0054\u0065\u006d\u0070\u006c\u0061\u0074\u0065\u0073`},
		"another case":                  {`{"result":{"TOOLS":[]}}`, `{"result":{"TOOLS`},
		"a long s":                      {`{"result":{"tool` + "\u017f" + `":[]}}`, `{"result":{"tool` + "\u017f"},
		"before NUL":                    {`{"result":{"tools\u0000` + long + `":[]}}`, `{"result":{"tools\u0000` + long},
		"DEL":                           {`{"result":{"tools` + "\x7f" + `":[]}}`, `{"result":{"tools` + "\x7f"},
		"not UTF-8":                     {`{"result":{"tool` + "\xff" + `s":[]}}`, `{"result":{"tool` + "\xff" + `s`},
		"half of a surrogate pair":      {`{"result":{"tool\ud800s":[]}}`, `{"result":{"tool\ud800s`},
		"a result in another case":      {`{"id":1,"Result":{"tools":[]}}`, `{"id":1,"Result`},
		"a result before NUL":           {`{"id":1,"result\u0000":{"tools":[]}}`, `{"id":1,"result\u0000`},
		"a batch":                       {`[{"result":{"tools":[]}}]`, ``},
		"a byte order mark":             {"\ufeff{}", ""},
		"words":                         {"data: {}", ""},
		"UTF-16":                        {"\x00{\x00}", ""},
		"no JSON":                       {`{"id":1,"result":{tools:[]}}`, `{"id":1,"result":{`},
		"more after the message":        {`{"id":1}` + "\n" + `{"result":{"tools":[]}}`, `{"id":1}` + "\n"},
		"a comment":                     {`{"id":1,/*"*/"result":{}}`, `{"id":1,`},
		"nested too deeply to be known": {`{"result":` + strings.Repeat("[", 300), `{"result":` + strings.Repeat("[", 255)},
	} {
		t.Run(name, func(t *testing.T) {
			want, refused := tt.passes, tt.passes != all
			if !refused {
				want = tt.in
			}
			passed, w := guarded(tt.in, []byte{0})
			if passed != want || (w.Refusal() != nil) != refused {
				t.Errorf("%q passes (%v), want %q", passed, w.Refusal(), want)
			}
			if passed, w = guarded(tt.in, nil); (passed == tt.in) == refused || (w.Refusal() != nil) != refused {
				t.Errorf("in one piece %q passes (%v)", passed, w.Refusal())
			}
			if refused && asFault(t, w.Refusal()).Kind != fault.BadUpstream {
				t.Error(w.Refusal())
			}
		})
	}
}

// TestGuardLeavesTheWatcher: what else a Watcher does it does with a Guard too.
func TestGuardLeavesTheWatcher(t *testing.T) {
	in := `{"id":1,"result":{"content":[{"a":"\u00e9"}],"isError":true}}`
	w := mcp.NewWatcher(false)
	w.Guard()
	w.Keep([]byte("1"), 1000)
	for i := range in {
		w.Write([]byte(in[i : i+1]))
	}
	if got := string(w.Response()); w.Outcome().Kind != mcp.OutcomeToolError || !strings.HasPrefix(got, `{"content":[{"a":"\u00e9"}],"isError":true}`) {
		t.Errorf("%v, %q", w.Outcome(), got)
	}
	unguarded := mcp.NewWatcher(false)
	if unguarded.Write([]byte(result(`"tools":[]`))); unguarded.Refusal() != nil {
		t.Error(unguarded.Refusal())
	}
}

// FuzzGuard: in whatever pieces an answer arrives, the same is refused; in what passes no reader finds a list; and what
// is refused is no JSON, or has a name that is none of the protocol's or a list's.
func FuzzGuard(f *testing.F) {
	for _, in := range []string{
		result(`"content":[{"type":"text","text":"a\"b"}],"isError":true`), result(`"content":[],"tools":[{"name":"x"}]`), result(`"TOOLS":[{"name":"x"}]`),
		result(`"t\u006fols":[]`), result(`"structuredContent":{"tools":[{"name":"x"}]}`), `{"Result":{"tools":[{"name":"x"}]}}`, `{"result":{},"r\u0065sult":{"prompts":[]}}`,
		`{"id":1,"error":{"code":-1,"message":"m"}}`, `[` + result(`"tools":[]`) + `]`, result(``) + result(`"tools":[]`), `{"result":[{"tools":[]}]}`, `{"result":{"tools\u0000":[]}}`,
	} {
		f.Add(in, []byte{})
		f.Add(in, []byte{0})
		f.Add(in, []byte{3, 0, 17})
	}
	f.Fuzz(func(t *testing.T, in string, lengths []byte) {
		_, whole := guarded(in, nil)
		passed, parts := guarded(in, lengths)
		if (whole.Refusal() == nil) != (parts.Refusal() == nil) {
			t.Errorf("%v, in pieces %v", whole.Refusal(), parts.Refusal())
		}
		if !strings.HasPrefix(in, passed) || parts.Refusal() == nil && passed != in {
			t.Errorf("%q passes of %q", passed, in)
		}
		for _, end := range []string{"", "]}}", "}]}}", `"}]}}`} { // what somebody makes of a beginning
			if msg := []byte(passed + end); json.Valid(msg) {
				noList(t, msg)
			}
		}
		if whole.Refusal() != nil && json.Valid([]byte(in)) && nesting([]byte(in)) <= 256 && strings.TrimLeft(in, " \t\r\n")[0] == '{' && !hasDoubtfulName([]byte(in)) {
			t.Errorf("%q is refused: %v", in, whole.Refusal())
		}
	})
}

// hasDoubtfulName says whether a message has a name that is a list's, or could be that or the result's to somebody.
func hasDoubtfulName(msg []byte) (doubtful bool) {
	odd := func(name string) bool {
		return strings.ContainsFunc(name, func(r rune) bool { return isControl(r) || r == '\ufffd' }) || strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) || len(name) > 20
	}
	eachMember(msg, func(name string, value json.RawMessage) {
		doubtful = doubtful || odd(name) || name != "result" && strings.EqualFold(name, "result")
		if name != "result" {
			return
		}
		eachMember(value, func(name string, _ json.RawMessage) {
			doubtful = doubtful || odd(name)
			for list := range listKeys {
				doubtful = doubtful || strings.EqualFold(name, list)
			}
		})
	})
	return doubtful
}

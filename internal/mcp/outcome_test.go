package mcp_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/rolegate/rolegate/internal/mcp"
)

// The outcomes that tests want.
var (
	unknown    = mcp.Outcome{}
	success    = mcp.Outcome{Kind: mcp.OutcomeResult}
	toolFailed = mcp.Outcome{Kind: mcp.OutcomeToolError}
	noCode     = mcp.Outcome{Kind: mcp.OutcomeError}
	internal   = mcp.Outcome{Kind: mcp.OutcomeError, Code: -32603}
)

const internalError = `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"boom"}}`

// failed is the outcome of an error with that code.
func failed(code int64) mcp.Outcome { return mcp.Outcome{Kind: mcp.OutcomeError, Code: code} }

// inError is an answer with that error, and inCode one with that code.
func inError(value string) string { return `{"jsonrpc":"2.0","id":1,"error":` + value + `}` }
func inCode(value string) string  { return inError(`{"message":"m","code":` + value + `}`) }

var outcomes = []struct {
	name, body string
	want       mcp.Outcome
}{
	{"result", result(`"content":[]`), success},
	{"result of no object", `{"id":1,"result":null}`, success},
	{"result in an array", `{"id":1,"result":[{"isError":true}]}`, success},
	{"isError false", result(`"isError":false`), success},
	{"isError in words", result(`"isError":"true"`), success},
	{"isError null", result(`"isError":null`), success},
	{"isError", result(`"content":[{"type":"text","text":"no"}],"isError":true`), toolFailed},
	{"isError first", result(`"isError":true,"content":[]`), toolFailed},
	{"isError and space", " {\r\n\t\"result\" :\t{ \"isError\" : true\n}\r\n} \n", toolFailed},
	{"error", internalError, internal},
	{"error without an id", `{"error":{"code":-32603}}`, internal},
	{"code zero", inCode(`0`), noCode},
	{"code minus zero", inCode(`-0`), noCode},
	{"code of AWS", inCode(`403`), failed(403)},
	{"code of one digit", inCode(`7`), failed(7)},
	{"largest code", inCode(`9223372036854775807`), failed(9223372036854775807)},
	{"smallest code", inCode(`-9223372036854775808`), failed(-9223372036854775808)},
	{"code too large", inCode(`9223372036854775808`), noCode},
	{"code too small", inCode(`-9223372036854775809`), noCode},
	{"code far too large", inCode(`100000000000000000000000000000`), noCode},
	{"code of text", inCode(`"-32603"`), noCode},
	{"code of text, then a number", inError(`{"code":"x","data":5}`), noCode},
	{"code with a fraction", inCode(`-32603.0`), noCode},
	{"code with an exponent", inCode(`1e3`), noCode},
	{"code that is null", inCode(`null`), noCode},
	{"code that is deeper", inError(`{"data":{"code":5},"code":-32603}`), internal},
	{"code in code", inError(`{"code":{"code":5}}`), noCode},
	{"code in an array", inError(`{"code":[5]}`), noCode},
	{"no code", inError(`{"message":"m"}`), noCode},
	{"error of text", inError(`"boom"`), noCode},
	{"error in an array", inError(`[{"code":5}]`), noCode},
	{"error false", inError(`false`), noCode},
	{"error null", `{"id":1,"result":{},"error":null}`, success},
	{"only error null", inError(`null`), unknown},
	{"neither", `{"jsonrpc":"2.0","id":1}`, unknown},
	{"notification", notice, unknown},
	{"request", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, unknown},
	{"request with a result", `{"method":"ping","result":{}}`, unknown},
	{"request with isError", `{"method":"ping","result":{"isError":true}}`, toolFailed},
	{"request with an error", `{"method":"ping","error":{"code":-32603}}`, internal},
	{"error in the params", `{"method":"x","params":{"error":{"code":1},"result":{"isError":true}}}`, unknown},
	{"result after params", `{"params":{"isError":true,"code":1},"result":{}}`, success},

	{"error in a text", result(`"content":[{"type":"text","text":"{\"error\":{\"code\":-1},\"isError\":true}"}]`), success},
	{"quotes and backslashes", result(`"a":"\\","b":"\"isError\":true","c":"\\\"","isError":true`), toolFailed},
	{"error in the result", result(`"error":{"code":-1},"isErro":true,"isErrors":true,"IsError":true`), success},
	{"isError deeper", result(`"structuredContent":{"isError":true,"result":{"isError":true}}`), success},
	{"isError in the message", `{"isError":true,"result":{}}`, success},
	{"isError in the error", inError(`{"isError":true,"code":-32603}`), internal},
	{"code in the result", result(`"code":5`), success},
	{"isError in an odd member", `{"results":{"isError":true},"result":{}}`, success},
	{"names of other cases", `{"Error":{"code":1},"ERROR":1,"result":{}}`, success},
	{"names with more before", `{"xerror":{"code":1},"\u0000error":1,"result":{}}`, success},
	{"names with a mark before", `{"\u0000\u0000\u0001error":1,"\u0001isError":1,"result":{"\u0001isError":true,"\u0000\u0001isError":true}}`, success},
	{"names with more behind", `{"error\u0000":1,"error ":1,"errorerrorerror":1,"result":{}}`, success},

	{"names with escapes", `{"\u0065rror":{"\u0063od\u0065":-32603}}`, internal},
	{"names with large escapes", `{"\u0072esult":{"\u0069s\u0045rror":true}}`, toolFailed},
	{"escapes of other letters", `{"\u0165rror":1,"\ud83d\ude00error":1,"err\/or":1,"resul\u0074":{}}`, success},
	{"escapes in long names", `{"a long name \u0065rror\n":{"code":1},"result":{}}`, success},

	{"error, then result", `{"error":{"code":-32603},"result":{}}`, internal},
	{"result, then error", `{"result":{"isError":true},"error":{"code":-32603}}`, internal},
	{"error twice", `{"error":{"code":-32603},"error":{"code":1}}`, internal},
	{"error, then null", `{"error":{"code":-32603},"error":null}`, internal},
	{"null, then error", `{"error":null,"error":{"code":-32603}}`, internal},
	{"result twice", `{"result":{"isError":true},"result":{}}`, toolFailed},
	{"result twice, the other way", `{"result":{},"result":{"isError":true}}`, toolFailed},
	{"isError twice", result(`"isError":true,"isError":false`), toolFailed},
	{"code twice", inError(`{"code":"x","code":-32603,"code":1}`), internal},

	{"nothing", ``, unknown},
	{"space", " \n", unknown},
	{"HTML", `<html><body>502</body></html>`, unknown},
	{"text", `"result"`, unknown},
	{"number", `5`, unknown},
	{"null", `null`, unknown},
	{"batch", `[{"id":1,"result":{}}]`, unknown},
	{"event in a body", "data: {\"result\":{}}\n\n", unknown},
	{"byte order mark", "\ufeff" + `{"result":{}}`, unknown},
	{"two messages", `{"result":{}}{"result":{}}`, unknown},
	{"data after it", `{"result":{}}x`, unknown},
	{"empty object", `{}`, unknown},
	{"no value", `{"result":}`, unknown},
	{"no colon", `{"result"{}}`, unknown},
	{"no comma", `{"id":1"result":{}}`, unknown},
	{"no name", `{"result":{},}`, unknown},
	{"no item", `{"result":[1,]}`, unknown},
	{"comma first", `{,"result":{}}`, unknown},
	{"two commas", `{"result":[1,,2]}`, unknown},
	{"name without quotes", `{result:{}}`, unknown},
	{"name in single quotes", `{'result':{}}`, unknown},
	{"wrong ends", `{"result":[}]`, unknown},
	{"wrong end deeper", `{"result":{"a":[1}}}`, unknown},
	{"no word", `{"result":tru}`, unknown},
	{"word too long", `{"result":nulll}`, unknown},
	{"word in capitals", `{"result":{"isError":True}}`, unknown},
	{"NaN", `{"result":NaN}`, unknown},
	{"number with a zero first", `{"result":01}`, unknown},
	{"number without digits", `{"result":-}`, unknown},
	{"number that ends with a point", `{"result":1.}`, unknown},
	{"number without an exponent", `{"result":1e+}`, unknown},
	{"number with two signs", `{"result":--1}`, unknown},
	{"number with a plus", `{"result":+1}`, unknown},
	{"numbers", `{"result":[0,-0,1,-12,1.50,0.5,1e5,1E+05,-1.25e-10,10]}`, success},
	{"hexadecimal number", `{"result":0x10}`, unknown},
	{"unknown escape", `{"result":"\x"}`, unknown},
	{"bad digits", `{"result":"\u12g4"}`, unknown},
	{"few digits", `{"result":"\u12"}`, unknown},
	{"bad digits in a name", `{"\u00zz":1,"result":{}}`, unknown},
	{"unknown escape in a name", `{"\a":1,"result":{}}`, unknown},
	{"control character", "{\"result\":\"a\tb\"}", unknown},
	{"control character in a name", "{\"re\nsult\":1,\"result\":{}}", unknown},
	{"every escape", `{"result":"\"\\\/\b\f\n\r\t\u00e9\uABCD"}`, success},
	{"deep", `{"result":` + strings.Repeat(`[{"a":`, 127) + `[1]` + strings.Repeat(`}]`, 127) + `}`, success},
	{"too deep", `{"result":` + strings.Repeat(`[{"a":`, 127) + `[[1]]` + strings.Repeat(`}]`, 127) + `}`, unknown},
	{"deep, and wrong", `{"result":` + strings.Repeat(`[{"a":`, 127) + `[1]` + strings.Repeat(`]}`, 127) + `}`, unknown},
}

func TestOutcome(t *testing.T) {
	for _, test := range outcomes {
		t.Run(test.name, func(t *testing.T) {
			if got := readOutcome([]byte(test.body)); got != test.want {
				t.Errorf("encoding/json finds %+v, want %+v", got, test.want)
			}
			inEveryPieces(t, false, test.body, test.want)
			// In a stream, with one line for each of the data's own lines.
			data := strings.NewReplacer("\r\n", "\r\ndata: ", "\n", "\ndata: ").Replace(test.body)
			inEveryPieces(t, true, "event: message\nid: 1\ndata: "+data+"\n\n", test.want)
		})
	}
}

// inEveryPieces gives in to Watchers whole, byte by byte, in two pieces cut at every place and, if it is short, in
// three. No part of it that is not the whole may be a success.
func inEveryPieces(t *testing.T, stream bool, in string, want mcp.Outcome) {
	t.Helper()
	for i := range len(in) + 1 {
		w := mcp.NewWatcher(stream)
		w.Write([]byte(in[:i]))
		if got := w.Outcome(); !stream && got != unknown && strings.TrimSpace(in[i:]) != "" && want != unknown {
			t.Fatalf("%q without %q: %+v", in[:i], in[i:], got)
		}
		if w.Write([]byte(in[i:])); w.Outcome() != want {
			t.Fatalf("%q, then %q: %+v, want %+v", in[:i], in[i:], w.Outcome(), want)
		}
		if len(in) > 150 {
			continue
		}
		for j := range len(in) - i {
			w := mcp.NewWatcher(stream)
			w.Write([]byte(in[:i]))
			w.Write([]byte(in[i : i+j]))
			if w.Write([]byte(in[i+j:])); w.Outcome() != want {
				t.Fatalf("%q, %q, %q: %+v, want %+v", in[:i], in[i:i+j], in[i+j:], w.Outcome(), want)
			}
		}
	}
	if got := watch(stream, in, []byte{0}); got != want {
		t.Fatalf("%q byte by byte: %+v, want %+v", in, got, want)
	}
}

const (
	progress = "event: message\ndata: " + `{"method":"notifications/progress","params":{"error":{"code":1},"isError":true}}` + "\n\n"
	okEvent  = `data: {"id":1,"result":{"content":[]}}` + "\n\n"
	noEvent  = `data: {"id":1,"result":{"isError":true}}` + "\n\n"
	badEvent = "data: " + internalError + "\n\n"
)

var streamOutcomes = []struct {
	name, events string
	want         mcp.Outcome
}{
	{"nothing", "", unknown},
	{"only notifications", progress + progress, unknown},
	{"a request of the server", `data: {"id":9,"method":"elicitation/create","params":{}}` + "\n\n", unknown},
	{"result", okEvent, success},
	{"progress, then result", progress + progress + okEvent, success},
	{"progress, then isError", progress + noEvent, toolFailed},
	{"progress, then error", progress + badEvent, internal},
	{"result, then more", okEvent + progress, success},
	{"comments", ": hello\n\n:\n" + badEvent + ": bye\n\n", internal},
	{"first event without data", "id: 5\nretry: 10\ndata:\n\n" + okEvent, success},
	{"event of another name", "event: other\n" + badEvent, internal},
	{"resumed, worst last", okEvent + noEvent + badEvent, internal},
	{"resumed, worst first", badEvent + noEvent + okEvent, internal},
	{"resumed, two errors", badEvent + "data: " + inCode("5") + "\n\n" + okEvent, internal},
	{"resumed, tool error between", okEvent + noEvent + okEvent, toolFailed},
	{"garbage, then result", "data: {\n\n" + okEvent, success},
	{"garbage after the result", okEvent + "data: }\n\n", success},
	{"only garbage", "data: {\"result\":\n\n", unknown},
	{"not ended", strings.TrimSuffix(okEvent, "\n"), unknown},
	{"error not ended", okEvent + strings.TrimSuffix(badEvent, "\n"), success},
	{"CR", "id: 1\rdata: " + internalError + "\r\r", internal},
	{"CRLF", "id: 1\r\ndata: " + internalError + "\r\n\r\n", internal},
	{"ends mixed", "data: {\rdata: \"error\":\r\ndata: {\ndata: \"code\":\r\ndata:-32603\rdata: }}\n\r", internal},
	{"CR, then LF, is one end", "data: {\r\ndata: \"result\":1}\r\n\n", success},
	{"no space", "data:" + internalError + "\n\n", internal},
	{"two spaces", "data:  " + internalError + "\n\n", internal},
	{"lines of data", "data: {\"result\"\ndata\ndata:\nid: 3\ndata: :{\"isError\": true\ndata: }}\n\n", toolFailed},
	{"a word in two lines", "data: {\"result\":tr\ndata: ue}\n\n", unknown},
	{"a string in two lines", "data: {\"result\":\"a\ndata: b\"}\n\n", unknown},
	{"a number in two lines", "data: {\"error\":{\"code\":-326\ndata: 03}}\n\n", unknown},
	{"byte order mark", "\ufeff" + badEvent, internal},
	{"byte order mark, then an empty line", "\ufeff\n" + badEvent, internal},
	{"byte order mark later", okEvent + "\ufeff" + badEvent, success},
	{"half of a byte order mark", "\xef\xbb" + badEvent, unknown},
	{"other fields", "Data: " + internalError + "\ndat: {\ndatas: {\n data: {\ndat\nda\n" + okEvent, success},
	{"comment of data", ":data: " + internalError + "\n" + okEvent, success},
	{"JSON without events", internalError + "\n\n", unknown},
}

func TestStreamOutcome(t *testing.T) {
	for _, test := range streamOutcomes {
		t.Run(test.name, func(t *testing.T) {
			if got := readStreamOutcome(test.events); got != test.want {
				t.Errorf("read naively %+v, want %+v", got, test.want)
			}
			inEveryPieces(t, true, test.events, test.want)
		})
	}
}

// TestOutcomeOfLargeAnswers: what matters stands behind more than any buffer or counter holds.
func TestOutcomeOfLargeAnswers(t *testing.T) {
	for _, test := range []struct {
		name, fill string
		size       int
	}{
		{"text", strings.Repeat(`\"isError\":true, `, 1<<11) + strings.Repeat("x", 1<<16), 300 << 20},
		{"objects", `"},"` + strings.Repeat(`":[{"error":{"code":1},"isError":true}],"`, 1<<11) + `":{"":"`, 20 << 20},
	} {
		if raceDetector {
			test.size /= 20
		}
		for _, stream := range []bool{false, true} {
			w := mcp.NewWatcher(stream)
			if stream {
				w.Write([]byte("data: "))
			}
			w.Write([]byte(`{"id":1,"result":{"structuredContent":{"a":"`))
			fill := []byte(test.fill)
			for size := 0; size < test.size; size += len(fill) {
				w.Write(fill)
			}
			w.Write([]byte(`"},"isError":true}`))
			if got := w.Outcome(); got != unknown {
				t.Errorf("%s, stream %t: %+v before the end", test.name, stream, got)
			}
			if w.Write([]byte("}\n\n")); w.Outcome() != toolFailed {
				t.Errorf("%s, stream %t: %+v", test.name, stream, w.Outcome())
			}
		}
	}
}

// TestOutcomeOfListsInAnyPieces cuts long answers at random.
func TestOutcomeOfListsInAnyPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	list := string(manyTools(100, 7))
	for _, test := range []struct {
		in   string
		want mcp.Outcome
	}{
		{list, success},
		{list[:len(list)-1] + `,"error":{"code":-32603}}`, internal},
		{list[:len(list)-2] + `,"isError":true}}`, toolFailed},
		{list[:len(list)-2], unknown},
		{strings.Replace(list, `"default":null`, `"default":nul`, 1), unknown},
	} {
		for i := range 18 {
			lengths := make([]byte, 50)
			for j := range lengths {
				lengths[j] = byte(rnd.IntN(1 << (i % 9)))
			}
			if got := watch(false, test.in, lengths); got != test.want {
				t.Errorf("body: %+v, want %+v", got, test.want)
			}
			if got := watch(true, progress+"data: "+test.in+"\r\n\r\n", lengths); got != test.want {
				t.Errorf("stream: %+v, want %+v", got, test.want)
			}
		}
	}
}

// TestTheResponseCounts: with Keep the outcome of a stream is that of the message which answers the request.
func TestTheResponseCounts(t *testing.T) {
	const (
		foreign  = `data: {"jsonrpc":"2.0","id":99,"error":{"code":-1,"message":""}}` + "\n\n"
		nobodys  = `data: {"jsonrpc":"2.0","id":null,"error":{"code":-2,"message":""}}` + "\n\n"
		asks     = `data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}` + "\n\n"
		answer   = `data: {"jsonrpc":"2.0","id":1,"result":{"isError":true}}` + "\n\n"
		numbered = "id: 7\ndata:\n\n"
		later    = "retry: 100\n\n"
	)
	for _, c := range []struct {
		stream    string
		want      mcp.OutcomeKind
		resumable bool
	}{
		{foreign + answer, mcp.OutcomeToolError, false},
		{answer + foreign, mcp.OutcomeToolError, false},
		{foreign + nobodys + asks, mcp.OutcomeUnknown, false},
		{numbered + asks, mcp.OutcomeUnknown, true},
		{"\ufeff" + later, mcp.OutcomeUnknown, true},
		{": id: 7\nevent: id\ndata: id: 7\n\n", mcp.OutcomeUnknown, false},
	} {
		for _, size := range []int{1, 7, 4096} {
			w := mcp.NewWatcher(true)
			w.Keep([]byte("1"), 0)
			for piece := range slices.Chunk([]byte(c.stream), size) {
				w.Write(piece)
			}
			if got := w.Outcome(); got.Kind != c.want || w.Resumable() != c.resumable || w.Response() != nil {
				t.Errorf("%q in pieces of %d: %v, resumable %t, response %q", c.stream, size, got, w.Resumable(), w.Response())
			}
		}
	}
	w := mcp.NewWatcher(false)
	w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`))
	if w.Blind(); !w.Blinded() || w.Outcome().Kind != mcp.OutcomeUnknown {
		t.Error("a blind watcher tells what it saw")
	}
}

func TestWatcherIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(mcp.Watcher{}); size >= 200 {
		t.Errorf("%d bytes", size)
	}
	body := manyTools(10, 3)
	events := []byte(progress + fmt.Sprintf("data: %s\n\n", bytes.ReplaceAll(body, []byte(","), []byte(",\ndata: "))))
	w, s := mcp.NewWatcher(false), mcp.NewWatcher(true)
	if n := testing.AllocsPerRun(100, func() {
		w.Write(body)
		s.Write(events[:1000])
		s.Write(events[1000:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s.Outcome() != success {
		t.Errorf("%+v", s.Outcome())
	}
}

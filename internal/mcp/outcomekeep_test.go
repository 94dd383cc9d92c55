package mcp_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// keep gives in to a Watcher that keeps most bytes of the response to the request id, in pieces as watch does.
func keep(stream bool, in, id string, most int, lengths []byte) []byte {
	w := mcp.NewWatcher(stream)
	w.Keep([]byte(id), most)
	if len(lengths) == 0 {
		lengths = []byte{255}
	}
	feed(w, in, lengths)
	return w.Response()
}

func TestKeep(t *testing.T) {
	const huge = 1 << 20
	for _, test := range []struct {
		name, in, id string
		most         int
		want         string // what the response begins with; "" for none
	}{
		{"result", `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, `1`, huge, `{"content":[]}`},
		{"space", "{\"result\"\n : \t{ \"a\" : 1 } }\n", `1`, huge, `{ "a" : 1 }`},
		{"error", `{"id":1,"error":{"code":-1,"message":"no","data":{"a":1}}}`, `1`, huge, `{"code":-1,"message":"no","data":{"a":1}}`},
		{"error before a result", `{"error":{"code":-1},"result":{}}`, `1`, huge, `{"code":-1}`},
		{"error after a result", `{"result":{},"error":{"code":-1}}`, `1`, huge, `{"code":-1}`},
		{"error that is null", `{"result":{"a":1},"error":null}`, `1`, huge, `{"a":1}`},
		{"result twice", `{"result":{"a":1},"result":{"b":1}}`, `1`, huge, `{"b":1}`},
		{"name with an escape", `{"r\u0065sult":{"a":1}}`, `1`, huge, `{"a":1}`},
		{"result in other members", `{"params":{"result":{"a":1}},"result":{"result":{"b":1}}}`, `1`, huge, `{"result":{"b":1}}`},
		{"result of no object", `{"result":["a"]}`, `1`, huge, ""},
		{"the beginning", `{"result":{"a":"bcdefghijk"}}`, `1`, 8, `{"a":"b`},
		{"a body that is cut off", `{"result":{"a":"bcd`, `1`, huge, `{"a":"bcd`},
		{"no JSON behind it", `{"result":{"a":1}}x`, `1`, huge, ""},
		{"a request", `{"method":"x","result":{"a":1}}`, `1`, huge, ""},
		{"neither", `{"id":1}`, `1`, huge, ""},

		{"stream", "data: " + notice + "\n\ndata: {\"id\":1,\"result\":{\"a\":1}}\n\n", `1`, huge, `{"a":1}`},
		{"event without an end", `data: {"id":1,"result":{"a":1}}` + "\n", `1`, huge, ""},
		{"data in lines", "data: {\"id\":1,\ndata: \"result\":{\ndata: \"a\":1}}\n\n", `1`, huge, "{\n\"a\":1}"},
		{"id behind", `data: {"result":{"a":1},"id":1}` + "\n\n", `1`, huge, `{"a":1}`},
		{"another id", `data: {"id":2,"result":{"a":1}}` + "\n\n", `1`, huge, ""},
		{"another id first", `data: {"id":2,"result":{"a":1}}` + "\n\ndata: {\"id\":1,\"result\":{\"b\":1}}\n\n", `1`, huge, `{"b":1}`},
		{"twice", `data: {"id":1,"result":{"a":1}}` + "\n\ndata: {\"id\":1,\"result\":{\"b\":1}}\n\n", `1`, huge, `{"a":1}`},
		{"no id", `data: {"result":{"a":1}}` + "\n\n", `1`, huge, ""},
		{"text for a number", `data: {"id":"1","result":{"a":1}}` + "\n\n", `1`, huge, `{"a":1}`},
		{"another spelling of a number", `data: {"id": 1.0 ,"result":{"a":1}}` + "\n\n", `1`, huge, `{"a":1}`},
		{"another spelling of a text", `data: {"id":"\u0061\"b","result":{"a":1}}` + "\n\n", `"a\"\u0062"`, huge, `{"a":1}`},
		{"a server's request with this id", `data: {"id":1,"method":"sampling/createMessage","result":{"a":1}}` + "\n\n", `1`, huge, ""},
		{"error in a stream", `data: {"id":"x","error":{"code":5}}` + "\n\n", `"x"`, huge, `{"code":5}`},
	} {
		stream := strings.HasPrefix(test.in, "data:")
		for _, lengths := range [][]byte{nil, {0}, {2, 0, 5}} {
			got := keep(stream, test.in, test.id, test.most, lengths)
			if test.want == "" && got != nil || !strings.HasPrefix(string(got), test.want) || len(got) > test.most {
				t.Errorf("%s, in pieces %v: %q, want %q", test.name, lengths, got, test.want)
			}
		}
	}
	w := mcp.NewWatcher(false)
	w.Write([]byte(`{"result":{"a":1}}`))
	if got := w.Response(); got != nil {
		t.Errorf("kept though nobody asked: %q", got)
	}
}

// readResponse is the response of one message as encoding/json reads it; nil for none, and for one that is no object.
func readResponse(msg []byte) (response, id json.RawMessage, ok bool) {
	outcome, method := readOutcome(msg), false
	var result, failure json.RawMessage
	eachMember(msg, func(name string, value json.RawMessage) {
		switch name {
		case "method":
			method = true
		case "id":
			id = value
		case "result":
			result = value
		case "error":
			failure = value
		}
	})
	if response = result; outcome.Kind == mcp.OutcomeError {
		response = failure
	}
	if len(response) == 0 || response[0] != '{' {
		response = nil
	}
	return response, id, outcome.Kind != mcp.OutcomeUnknown && !method
}

// one says whether a client may take an id for 1.
func one(id json.RawMessage) bool {
	text := string(id)
	if len(id) > 0 && id[0] == '"' && json.Unmarshal(id, &text) != nil || text == "" || strings.ContainsAny(text[:1], "[{") {
		return false
	}
	n, err := strconv.ParseFloat(text, 64)
	return err == nil && n == 1
}

// sameResponse holds what is kept against what encoding/json reads.
func sameResponse(t *testing.T, in string, lengths []byte) {
	t.Helper()
	const most = 1 << 20
	body, _, ok := readResponse([]byte(in))
	var streamed json.RawMessage
	events, _ := naive(in)
	for _, e := range events {
		if response, id, ok := readResponse([]byte(strings.Join(e.data, "\n"))); ok && one(id) {
			streamed = response
			break
		}
	}
	for _, lengths := range [][]byte{nil, {0}, lengths} {
		if got := keep(false, in, "1", most, lengths); ok && (got == nil) != (body == nil) || ok && !bytes.HasPrefix(got, body) || !strings.Contains(in, string(got)) {
			t.Errorf("body %q in pieces %v: %q, want %q", in, lengths, got, body)
		}
		if got := keep(true, in, "1", most, lengths); (got == nil) != (streamed == nil) || !bytes.HasPrefix(got, streamed) {
			t.Errorf("stream %q in pieces %v: %q, want %q", in, lengths, got, streamed)
		}
		if got := keep(true, in, "1", 3, lengths); len(got) > 3 {
			t.Errorf("stream %q: %q is more than is to be kept", in, got)
		}
	}
}

// FuzzKeep: whatever arrives, in whatever pieces, what is kept is the response that encoding/json reads.
func FuzzKeep(f *testing.F) {
	for _, test := range outcomes {
		f.Add(test.body, []byte{2, 0, 7})
		f.Add("data: "+test.body+"\n\n", []byte{})
	}
	for _, test := range streamOutcomes {
		f.Add(test.events, []byte{3})
	}
	f.Fuzz(func(t *testing.T, in string, lengths []byte) {
		if len(in) < 4096 {
			sameResponse(t, in, lengths)
		}
	})
}

// TestResponsesAsAnotherReader is the property of FuzzKeep on messages at random.
func TestResponsesAsAnotherReader(t *testing.T) {
	s := &scribe{Rand: rand.New(rand.NewPCG(7, 8))}
	kept := 0
	for range 2000 {
		s.Reset()
		s.WriteString(s.one(`{"id":1,"result":`, `{"id":`, `{"result":`, `{"id":"1","error":`))
		s.value(s.IntN(5))
		s.WriteString(s.one("}", "}", `,"id":1}`, `,"result":{"a":1}}`, `,"error":{}}`, `,"error":null}`))
		in := s.String()
		lengths := []byte{byte(s.IntN(5)), byte(s.IntN(20)), byte(s.IntN(60))}
		sameResponse(t, in, lengths)
		lines := strings.NewReplacer("\n", s.one("\ndata: ", "\rdata:", "\r\ndata: "), "\r", "").Replace(in)
		stream := s.one("", ": hello\n\n", "data: "+notice+"\n\n") + "data: " + lines + s.one("\n\n", "\r\r", "\r\n\r\n", "\n")
		sameResponse(t, stream, lengths)
		if keep(true, stream, "1", 1<<20, nil) != nil {
			kept++
		}
		if t.Failed() {
			return
		}
	}
	if kept < 200 {
		t.Errorf("%d responses were kept only: the test has lost its teeth", kept)
	}
}

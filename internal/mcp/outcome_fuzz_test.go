package mcp_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// eachMember calls visit for each member of an object, in order, as encoding/json reads it. Any other value has none.
func eachMember(raw []byte, visit func(name string, value json.RawMessage)) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return
		}
		visit(name.(string), value)
	}
}

// nesting is how deep a JSON value is.
func nesting(raw []byte) (most int) {
	d, depth := json.NewDecoder(bytes.NewReader(raw)), 0
	for {
		switch t, err := d.Token(); {
		case err != nil:
			return most
		case t == json.Delim('{') || t == json.Delim('['):
			depth++
			most = max(most, depth)
		case t == json.Delim('}') || t == json.Delim(']'):
			depth--
		}
	}
}

// readOutcome is the outcome of one message as encoding/json reads it.
func readOutcome(msg []byte) mcp.Outcome {
	if !json.Valid(msg) || nesting(msg) > 256 {
		return mcp.Outcome{}
	}
	var result, method, failure, coded, toolFailure bool
	var code int64
	eachMember(msg, func(name string, value json.RawMessage) {
		switch name {
		case "method":
			method = true
		case "result":
			result = true
			eachMember(value, func(name string, value json.RawMessage) {
				toolFailure = toolFailure || name == "isError" && string(value) == "true"
			})
		case "error":
			failure = failure || string(value) != "null"
			eachMember(value, func(name string, value json.RawMessage) {
				if name == "code" && !coded && string(value) != "null" {
					var n int64
					if coded = json.Unmarshal(value, &n) == nil; coded {
						code = n
					}
				}
			})
		}
	})
	switch {
	case failure:
		return mcp.Outcome{Kind: mcp.OutcomeError, Code: code}
	case toolFailure:
		return mcp.Outcome{Kind: mcp.OutcomeToolError}
	case result && !method:
		return mcp.Outcome{Kind: mcp.OutcomeResult}
	}
	return mcp.Outcome{}
}

// readStreamOutcome is the outcome of a stream, read the naive way.
func readStreamOutcome(stream string) (worst mcp.Outcome) {
	events, _ := naive(stream)
	for _, e := range events {
		if o := readOutcome([]byte(strings.Join(e.data, "\n"))); o.Kind > worst.Kind {
			worst = o
		}
	}
	return worst
}

// watch gives in to a Watcher in pieces of those lengths, less one; all at once where there are none.
func watch(stream bool, in string, lengths []byte) mcp.Outcome {
	w := mcp.NewWatcher(stream)
	if len(lengths) == 0 {
		w.Write([]byte(in))
		return w.Outcome()
	}
	feed(w, in, lengths)
	return w.Outcome()
}

// feed gives in to a Watcher in pieces of those lengths, less one.
func feed(w *mcp.Watcher, in string, lengths []byte) {
	r, p := &pieces{in: in, lengths: lengths}, make([]byte, 256)
	for {
		n, err := r.Read(p)
		if err == io.EOF {
			return
		}
		w.Write(p[:n])
		clear(p)
	}
}

// sameOutcome holds the Watcher against encoding/json, in one piece and in others.
func sameOutcome(t *testing.T, in string, lengths []byte) {
	t.Helper()
	body, events := readOutcome([]byte(in)), readStreamOutcome(in)
	for _, lengths := range [][]byte{nil, {0}, lengths} {
		if got := watch(false, in, lengths); got != body {
			t.Errorf("body %q in pieces %v: %+v, want %+v", in, lengths, got, body)
		}
		if got := watch(true, in, lengths); got != events {
			t.Errorf("stream %q in pieces %v: %+v, want %+v", in, lengths, got, events)
		}
	}
}

// FuzzOutcome: whatever arrives, in whatever pieces, the outcome is the one that encoding/json reads.
func FuzzOutcome(f *testing.F) {
	for _, test := range outcomes {
		f.Add(test.body, []byte{2, 0, 7})
		f.Add("data: "+test.body+"\n\n", []byte{})
	}
	for _, test := range streamOutcomes {
		f.Add(test.events, []byte{3})
	}
	f.Fuzz(sameOutcome)
}

// Values and names for messages at random: what matters, and what nearly does.
var (
	scalars = []string{
		"true", "true", "true", "false", "null", "0", "-1", "-32603", "1e3", "12.50", "9223372036854775807", "-9223372036854775808",
		"9223372036854775808", "12345678901234567890123", "-0", `""`, `"true"`, `"{\"error\":{\"code\":1}}"`, `"\\"`, `"\ud83d\ude00 é"`,
		"{}", "[]", "[ ]", "{ }",
	}
	memberNames = []string{
		`"id"`, `"result"`, `"result"`, `"error"`, `"isError"`, `"isError"`, `"code"`, `"code"`, `"method"`, `"\u0065rror"`, `"c\u006Fde"`,
		`"resul\u0074"`, `"Error"`, `"errors"`, `"erro"`, `"\u0000error"`, `"is\/Error"`, `"is\u0145rror"`, `""`, `"a name of no interest"`,
	}
)

// scribe writes messages at random.
type scribe struct {
	*rand.Rand
	strings.Builder
}

func (s *scribe) one(of ...string) string { return of[s.IntN(len(of))] }

func (s *scribe) space() { s.WriteString(s.one("", "", "", " ", "\n", "\t\r\n  ")) }

func (s *scribe) value(depth int) {
	if depth == 0 {
		s.WriteString(s.one(scalars...))
		return
	}
	object := s.IntN(4) > 0
	s.WriteString(map[bool]string{true: "{", false: "["}[object])
	for n := s.IntN(4); n >= 0; n-- {
		s.space()
		if object {
			s.WriteString(s.one(memberNames...))
			s.space()
			s.WriteByte(':')
			s.space()
		}
		s.value(s.IntN(depth))
		s.space()
		if n > 0 {
			s.WriteByte(',')
		}
	}
	s.WriteString(map[bool]string{true: "}", false: "]"}[object])
}

// TestOutcomesAsAnotherReader is the property of FuzzOutcome on messages at random, whole, cut off and broken.
func TestOutcomesAsAnotherReader(t *testing.T) {
	s := &scribe{Rand: rand.New(rand.NewPCG(5, 6))}
	seen := map[mcp.OutcomeKind]int{}
	for range 4000 {
		s.Reset()
		s.WriteString(s.one(`{"id":`, `{"result":`, `{"id":1,"result":`, `{"error":`))
		s.value(s.IntN(5))
		s.WriteString(s.one("}", "}", `,"result":{"isError":true}}`, `,"error":{}}`))
		in := []byte(s.String())
		switch s.IntN(6) {
		case 0:
			in = in[:s.IntN(len(in))]
		case 1:
			in[s.IntN(len(in))] = "{}[]\",:\\0-+.e1tu \x00\x1f\xff"[s.IntN(20)]
		case 2:
			in = append(in, s.one("x", " ", "{}", "\n\n")...)
		}
		seen[readOutcome(in).Kind]++
		lengths := []byte{byte(s.IntN(5)), byte(s.IntN(20)), byte(s.IntN(60))}
		sameOutcome(t, string(in), lengths)
		lines := strings.NewReplacer("\n", s.one("\ndata: ", "\rdata:", "\r\ndata: "), "\r", "").Replace(string(in))
		before, after := s.one("", "\ufeff", ": hello\n\n", "event: message\r\n"), s.one("\n\n", "\r\r", "\r\n\r\n", "\n")
		sameOutcome(t, before+"data: "+lines+after, lengths)
		if t.Failed() {
			return
		}
	}
	for kind := mcp.OutcomeUnknown; kind <= mcp.OutcomeError; kind++ {
		if seen[kind] < 100 {
			t.Errorf("kind %d came up %d times only: the test has lost its teeth", kind, seen[kind])
		}
	}
}

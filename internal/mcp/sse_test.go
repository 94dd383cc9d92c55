package mcp_test

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/mcp"
)

const (
	hiddenList = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"x"}]}}`
	emptyList  = `{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`
	notice     = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
)

// stream is what a client reads of an event stream that comes through r.
func stream(f *mcp.ListFilter, r io.Reader) (string, error) {
	body := f.Stream(io.NopCloser(r))
	defer func() { _ = body.Close() }()
	got, err := io.ReadAll(body)
	return string(got), err
}

func TestStream(t *testing.T) {
	tests := []struct {
		name, in, want string // "": as it was
		withheld       int
	}{
		{"a list", "event: message\nid: 7\ndata: " + hiddenList + "\n\n", "event: message\nid: 7\ndata: " + emptyList + "\n\n", 0},
		{"no space, CRLF", "data:" + hiddenList + "\r\nid:7\r\n\r\n", "data: " + emptyList + "\r\nid:7\r\n\r\n", 0},
		{"CR", "id: 7\rdata: " + hiddenList + "\r\rdata: " + notice + "\r\r", "id: 7\rdata: " + emptyList + "\r\rdata: " + notice + "\r\r", 0},
		{"ends that differ", "data: " + hiddenList + "\r: c\n\r\n", "data: " + emptyList + "\r: c\n\r\n", 0},
		{
			"data in several lines", "data: " + strings.Replace(hiddenList, ",", ",\ndata:", 2) + "\nid: 7\n\n",
			"data: " + strings.Replace(emptyList, ",", ",\ndata: ", 2) + "\nid: 7\n\n", 0,
		},
		{"data among other lines", "data: {\"id\":1,\nid: 7\n: c\ndata: " + hiddenList[1:] + "\n\n", "id: 7\n: c\n\n", 1},
		{"two lists", strings.Repeat("data: "+hiddenList+"\n\n", 2), strings.Repeat("data: "+emptyList+"\n\n", 2), 0},
		{"untouched", ": hello\n\nretry: 10\n\nid\n\nfuture: x\nevent:message\ndata: " + notice + "\n\n\n\n: bye\n", "", 0},
		{"primed", "id: 1\ndata:\n\nid: 2\ndata: \n\nid:3\ndata\n\n", "", 0},
		{"a byte order mark", "\ufeffdata: " + hiddenList + "\n\n", "data: " + emptyList + "\n\n", 0},
		{"a byte order mark before a comment", "\ufeff: c\n\ufeffdata: x\n\n", "\ufeff: c\n\n", 1},
		{"not understood", "event: message\nid: 7\nretry: 1\n: c\ndata: " + hiddenList + "}\nx: y\n\ndata: " + notice + "\n\n", "id: 7\nretry: 1\n: c\n\ndata: " + notice + "\n\n", 1},
		{"words", "event: endpoint\ndata: /messages\n\n", "\n", 1},
		{"data in another case", "DATA: " + hiddenList + "\nid: 7\n\n", "id: 7\n\n", 1},
		{"data after a space", " data : " + hiddenList + "\nid: 7\n\n", "id: 7\n\n", 1},
		{"CR that only some take for an end", "data: {\"id\":1,\r\"result\":{\"tools\":[{\"name\":\"x\"}]}}\rdata: \"error\":{}}\n\n", "\r\n", 1},
		{"the same in two events", "data: \r\r{\"id\":1,\"result\":{\"tools\":[{\"name\":\"x\"}]}}\n\nid: 7\n\n", "data: \r\r\r\nid: 7\n\n", 1},
		{"the same after a comment", "data:\r\r: c\r\t" + hiddenList + "\n\n", "data:\r\r: c\r\r\n", 1},
		{"a comment between what is dropped", "x\r: c\rx\n\nid: 7\n\n", ": c\r\r\nid: 7\n\n", 1},
		{"a field of the future, and a CR long after", "future: x\n\ndata: " + notice + "\r\rid: 7\n\n", "", 0},
		{"no end", "data: " + notice + "\n\nid: 7\ndata: " + hiddenList + "\n", "data: " + notice + "\n\n", 0},
		{"no end of a comment", ": a\n: b", ": a\n", 0},
		{"nothing", "", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == "" {
				want = tt.in
			}
			for name, wrap := range map[string]func(io.Reader) io.Reader{
				"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader, "end": iotest.DataErrReader,
			} {
				f := mcp.ListFilter{Judge: shown}
				got, err := stream(&f, wrap(strings.NewReader(tt.in)))
				if d := cmp.Diff(want, got); d != "" || err != nil || f.Withheld != tt.withheld {
					t.Errorf("%s: %s, %v, %d withheld", name, d, err, f.Withheld)
				}
			}
		})
	}
}

// TestStreamIsNotHeldBack: what is whole has passed before the remote says more.
func TestStreamIsNotHeldBack(t *testing.T) {
	steps := []struct{ in, want string }{
		{": hel", ""},
		{"lo\n", ": hello\n"},
		{"\n", "\n"},
		{": x\r", ": x\r"},
		{"\n", "\n"},
		{"id: 1\ndata:\n", ""},
		{"\n", "id: 1\ndata:\n\n"},
		{"data: " + hiddenList + "\n\nid: 2\n", "data: " + emptyList + "\n\n"},
		{"\n", "id: 2\n\n"},
		{"data: " + notice + "\r\n\r", "data: " + notice + "\r\n\r"},
		{"\ndata: " + notice + "\n\n: c\n", "\ndata: " + notice + "\n\n: c\n"},
		{"data: " + notice + "\n\ndata: " + hiddenList + "\n\n: c\n", "data: " + notice + "\n\ndata: " + emptyList + "\n\n: c\n"},
	}
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		body := (&mcp.ListFilter{Judge: shown}).Stream(r)
		var got []byte
		go func() {
			p := make([]byte, 1<<10)
			for {
				n, err := body.Read(p)
				if got = append(got, p[:n]...); err != nil {
					return
				}
			}
		}()
		for _, step := range steps {
			_, _ = io.WriteString(w, step.in)
			synctest.Wait()
			if string(got) != step.want {
				t.Errorf("after %q: %q, want %q", step.in, got, step.want)
			}
			got = nil
		}
		_ = body.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the remote's stream is not closed: %v", err)
		}
	})
}

// patient counts how often it was waited for.
type patient struct {
	io.Reader
	waited int
}

func (p *patient) Wait()      { p.waited++ }
func (*patient) Close() error { return nil }

func TestStreamWaits(t *testing.T) {
	inner := &patient{Reader: io.MultiReader(strings.NewReader(": c\n"), strings.NewReader("id: 7\n"), strings.NewReader("\n"))}
	f := mcp.ListFilter{Judge: shown}
	body := f.Stream(inner)
	wait := body.(interface{ Wait() }).Wait
	p := make([]byte, 3)
	for _, step := range []struct {
		want   string // what Read gives after Wait
		waited int    // by then
	}{{": c", 1}, {"\n", 1}, {"id:", 2}, {" 7\n", 2}, {"\n", 2}, {"", 3}, {"", 3}} {
		wait()
		n, err := body.Read(p)
		if string(p[:n]) != step.want || inner.waited != step.waited || (err == nil) != (n > 0) {
			t.Errorf("%q (%v), waited %d times; want %+v", p[:n], err, inner.waited, step)
		}
	}
	other := f.Stream(io.NopCloser(strings.NewReader("")))
	other.(interface{ Wait() }).Wait() // whose body can't be waited for
}

func TestStreamErrors(t *testing.T) {
	broken := errors.New("broken")
	f := mcp.ListFilter{Judge: shown}
	got, err := stream(&f, io.MultiReader(strings.NewReader(": c\ndata: "+notice+"\n\nid: 7\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || got != ": c\ndata: "+notice+"\n\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := stream(&f, idle{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a body that gives nothing: %v", err)
	}
	if n, err := f.Stream(io.NopCloser(idle{})).Read(nil); n != 0 || err != nil {
		t.Errorf("a Read of nothing: %d, %v", n, err)
	}
}

// TestStreamBoundsEvents: an event of just the limit passes, one byte more ends the stream, in whatever pieces.
func TestStreamBoundsEvents(t *testing.T) {
	for _, most := range []int{100, 8 << 10, 9 << 10, 200 << 10} {
		for _, end := range []string{"\n\n", "\r\r", "\r\n\r"} {
			head := `{"method":"x","params":"`
			fill := func(n int) string { return "data: " + head + strings.Repeat("p", n-len(head)-8-len(end)) + `"}` + end }
			for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.OneByteReader} {
				f := mcp.ListFilter{Judge: shown, MaxEvent: most}
				in := ": c" + end + fill(most) + "\n"
				if got, err := stream(&f, wrap(strings.NewReader(in))); got != in || err != nil {
					t.Errorf("%d: %d bytes pass of %d (%v)", most, len(got), len(in), err)
				}
				if got, err := stream(&f, wrap(strings.NewReader(": c"+end+fill(most+1)+": d\n"))); err == nil || got != ": c"+end {
					t.Errorf("%d: %d bytes pass of an event that is too large (%v)", most, len(got), err)
				}
				if got, err := stream(&f, wrap(strings.NewReader("\n:"+strings.Repeat("c", most)))); err == nil || got != "\n" {
					t.Errorf("%d: a comment without an end (%v)", most, err)
				}
			}
		}
	}
}

// event is one event as the naive parser finds it.
type event struct {
	data, id, retry []string
	odd             bool // it has fields that some reader could take for data, or for more of the line before
}

// What ends lines for Python's splitlines, and of that what the specification does not have.
var (
	lineEnds  = regexp.MustCompile(`\r\n|[\n\r\v\f\x1c\x1d\x1e\x{85}\x{2028}\x{2029}]`)
	otherEnds = regexp.MustCompile(`[\v\f\x1c\x1d\x1e\x{85}\x{2028}\x{2029}]`)
)

// naive parses a whole stream as the specification puts it, line by line. An event that is not ended is dropped, with
// the comments in it.
func naive(text string) (events []event, comments []string) {
	text = strings.TrimPrefix(text, "\ufeff")
	lone := strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	all := strings.Split(text, "\n")
	var e event
	var within []string // comments
	started := false
	for _, line := range all[:len(all)-1] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		if otherEnds.MatchString(line) {
			e.odd = e.odd || name != "data" && (name != "" || started)
			switch name {
			case "":
				value = ""
			case "id", "retry":
				name = "event"
			}
		}
		switch {
		case line == "":
			events, e, started = append(events, e), event{}, false
			comments, within = append(comments, within...), nil
			continue
		case name == "" && !started:
			comments = append(comments, value)
			continue
		case name == "":
			within = append(within, value)
		case name == "data":
			e.data = append(e.data, value)
		case name == "id":
			e.id = append(e.id, value)
		case name == "retry":
			e.retry = append(e.retry, value)
		case name != "event": // some reader may take it for data, or for more of the line before
			letters := strings.TrimFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
			e.odd = e.odd || lone || strings.EqualFold(letters, "data")
		}
		started = true
	}
	return events, comments
}

// pieces reads in as lengths say, over and over.
type pieces struct {
	in      string
	lengths []byte
	at      int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.in == "" {
		return 0, io.EOF
	}
	n := 1
	if len(p.lengths) > 0 {
		n += int(p.lengths[p.at%len(p.lengths)])
		p.at++
	}
	n = min(n, len(p.in), len(b))
	copy(b, p.in[:n])
	p.in = p.in[n:]
	return n, nil
}

// lineFeeds are the lines of a stream to those who take a LF, and a CR before it, for the only end of a line.
func lineFeeds(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
	}
	return lines
}

// dataOf is the data of each event of such lines, and of one that is not ended.
func dataOf(lines []string) (events [][]string) {
	var data []string
	for _, line := range lines {
		switch name, value, _ := strings.Cut(line, ":"); {
		case line == "":
			events, data = append(events, data), nil
		case name == "data":
			data = append(data, value)
		}
	}
	return append(events, data)
}

// notVisibleByOtherLines checks that who ends lines in either way finds no item that is hidden.
func notVisibleByOtherLines(t *testing.T, out string) {
	out = strings.TrimPrefix(out, "\ufeff")
	for _, lines := range [][]string{lineFeeds(out), lineEnds.Split(out, -1)} {
		for _, data := range dataOf(lines) {
			if msg := []byte(strings.Join(data, "\n")); json.Valid(msg) {
				notVisible(t, msg, false)
			}
		}
	}
}

// FuzzSSE: in whatever pieces a stream arrives, the client reads the same; and that is, event by event, what Message
// makes of the data, with nothing else lost or added. Who ends lines elsewhere finds no item that is hidden either.
func FuzzSSE(f *testing.F) {
	for _, in := range []string{
		"event: message\nid: 7\ndata: " + hiddenList + "\n\n", ": c\r\n\r\ndata:" + notice + "\r\ndata: \r\n\r\n", "data: {\rdata: }\r\r\n\n",
		"\ufeffdata: " + hiddenList + "\n\n\n", "\xef\xbb", "id: 1\ndata:\n\ndata: x\nid: 2\n\ndata: y", "Data: " + hiddenList + "\n\n", "retry: 1\r: c\r\r", "data: [\n:\n\n",
		"data: " + strings.Replace(hiddenList, ",", ",\ndata: ", 3) + "\r\r\n\r\n", "data\ndata\n\n", "x: y\rdata: " + emptyList + "\n\n", "data: " + emptyList + "\nx\n\n",
		"data: {}\ndAtA0\n\n", "0\n\r0", "data: \r\r" + hiddenList + "\n\n", ": \u2028data: " + hiddenList + "\n\n", "id: 7\u0085data:" + hiddenList + "\n\n", ":\vdata: " + hiddenList + "\f\f\r\n", "data: {\"method\":\"\u2029\u2029data:x\"}\n\n",
		"data: {\"method\":\"\u2028\u2028\",\"x\u2028\u2028\":\ndata: " + hiddenList + "\n: \u2028\u2028\ndata: }\n\n",
		"data:\r\r\t" + hiddenList + "\n\n", "data: \r: x\r\r" + hiddenList + "\n\n", "data\r\rx\n\n", "x\r:\rx\n\n",
	} {
		f.Add(in, []byte{})
		f.Add(in, []byte{2, 0, 7})
		f.Add(in+in, []byte{255})
	}
	f.Fuzz(func(t *testing.T, in string, lengths []byte) {
		whole := mcp.ListFilter{Judge: shown}
		got, err := stream(&whole, strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		parts := mcp.ListFilter{Judge: shown}
		if other, err := stream(&parts, &pieces{in: in, lengths: lengths}); err != nil || other != got || parts.Withheld != whole.Withheld {
			t.Errorf("in pieces %q (%v), whole %q", other, err, got)
		}
		notVisibleByOtherLines(t, got)
		before, comments := naive(in)
		after, others := naive(got)
		if len(before) != len(after) || !slices.Equal(comments, others) {
			t.Fatalf("%d events became %d, comments %q became %q", len(before), len(after), comments, others)
		}
		withheld := 0
		for i := range before {
			if sameEvent(t, before[i], after[i]) {
				withheld++
			}
		}
		if withheld > whole.Withheld {
			t.Errorf("%d withheld, %d counted", withheld, whole.Withheld)
		}
	})
}

// sameEvent checks what became of an event, and says whether it was withheld.
func sameEvent(t *testing.T, in, out event) (withheld bool) {
	if !slices.Equal(in.id, out.id) || !slices.Equal(in.retry, out.retry) {
		t.Errorf("%+v became %+v", in, out)
	}
	data := strings.Join(in.data, "\n")
	if data == "" {
		if out.data != nil && !slices.Equal(in.data, out.data) {
			t.Errorf("data %q became %q", in.data, out.data)
		}
		return false
	}
	f := mcp.ListFilter{Judge: shown}
	want, err := f.Message([]byte(data))
	if out.data == nil {
		if err == nil && !in.odd {
			t.Errorf("data %q is withheld", data)
		}
		return true
	}
	if err != nil || strings.Join(out.data, "\n") != string(want) {
		t.Errorf("data %q became %q, want %q (%v)", data, out.data, want, err)
	}
	return false
}

// TestStreamInAnyPieces is the property of FuzzSSE on streams that are longer than the buffers.
func TestStreamInAnyPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	ends := []string{"\n", "\r\n", "\r"}
	for range 20 {
		var in strings.Builder
		for range 30 {
			end := ends[rnd.IntN(len(ends))]
			item := `{"name":"` + []string{"a", "x"}[rnd.IntN(2)] + `","description":"` + strings.Repeat("d", rnd.IntN(3000)) + `"}`
			list := `{"id":1,"result":{"tools":[` + strings.Repeat(item+",", rnd.IntN(5)) + item + `]}}`
			in.WriteString([]string{": c" + end, "id: 1" + end + "data: " + list + end + end, "data: " + list + "!" + end + end, "data: " + notice + end + end}[rnd.IntN(4)])
		}
		want, err := stream(&mcp.ListFilter{Judge: shown}, strings.NewReader(in.String()))
		if err != nil || len(want) == 0 || strings.Contains(want, `"name":"x"`) {
			t.Fatalf("%q, %v", want, err)
		}
		lengths := make([]byte, 100)
		for i := range lengths {
			lengths[i] = byte(rnd.Uint32())
		}
		if got, err := stream(&mcp.ListFilter{Judge: shown}, &pieces{in: in.String(), lengths: lengths}); err != nil || got != want {
			t.Errorf("other bytes in pieces (%v)", err)
		}
	}
}

package mcp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/mcp"
)

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func TestRetarget(t *testing.T) {
	tests := []struct{ name, head, raw, tail, to string }{
		{
			"plain", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`, `"a"`,
			`,"arguments":{"name":"a"}}}`, "another",
		},
		{"shorter", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`, `"a long name"`, `}}`, "b"},
		{
			"params before method", `{"params": {"arguments":{"x":1},"name" : `, `"a"`,
			` , "_meta":{"name":"m"} } , "id":"x","jsonrpc":"2.0","method":"tools\/call"}` + "\n", "b",
		},
		{"escapes in the old name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"na\u006de":`, `"\u0061\"\\é"`, `}}`, "b"},
		{"escapes in the new name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`, `"a"`, `}}`, "\"b\\\x00\n\u2028\U0001f600é/<>"},
		{"a notification", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":`, `"a"`, `}}`, "b"},
		{
			"more than its buffer holds", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`, `"a"`,
			`,"arguments":{"x":"` + strings.Repeat("x", 8600) + `"}}}`, strings.Repeat("b", 200),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.head + tt.raw + tt.tail
			c, err := read(t, post(body), mcp.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			old := c.Open()
			for _, name := range []string{tt.to, "second", tt.to} {
				c.Retarget(name)
				retargeted(t, c, tt.head, tt.tail, name)
			}
			if got, err := io.ReadAll(old); err != nil || string(got) != body {
				t.Errorf("an older reader gives %q (%v)", got, err)
			}
			_ = old.Close()
		})
	}
}

// retargeted checks that c is head, the name as JSON, and tail.
func retargeted(t *testing.T, c *mcp.Call, head, tail, name string) {
	t.Helper()
	if c.Target != name {
		t.Errorf("target %q, want %q", c.Target, name)
	}
	raw := bytes.TrimSuffix(bytes.TrimPrefix(c.Body, []byte(head)), []byte(tail))
	var got string
	if err := json.Unmarshal(raw, &got); err != nil || got != name || head+string(raw)+tail != string(c.Body) {
		t.Errorf("body %q (%v)", c.Body, err)
	}
	if c.Hash != hash(c.Body) {
		t.Error("the hash is another body's")
	}
	if sent, err := io.ReadAll(c.Open()); err != nil || !bytes.Equal(sent, c.Body) {
		t.Errorf("Open gives %q (%v)", sent, err)
	}
	if args := members(c.Params, true)["arguments"]; !bytes.Equal(args, c.Arguments()) {
		t.Errorf("arguments %q, want %q", c.Arguments(), args)
	}
	if params := members(c.Body, true)["params"]; !bytes.Equal(params, c.Params) {
		t.Errorf("params %s, want %s", c.Params, params)
	}
}

func TestRetargetLeavesOtherCallsAlone(t *testing.T) {
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"a"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
		`{"jsonrpc":"2.0","id":1,"result":{"name":"a"}}`,
	} {
		c, err := read(t, post(body), mcp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		target := c.Target
		c.Retarget("b")
		if string(c.Body) != body || c.Target != target || c.Hash != hash([]byte(body)) {
			t.Errorf("%s became %s, target %q", body, c.Body, c.Target)
		}
	}
	c, err := read(t, post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`), mcp.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
	if c.Retarget("b"); c.Body != nil || c.Target != "a" {
		t.Errorf("after Release: %+v", c)
	}
}

// TestDropBaggage: only that value changes, and it is emptied wherever it stands in a message.
func TestDropBaggage(t *testing.T) {
	const head, tail = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"traceparent":"x","baggage" : `, ` ,"a":{"baggage":"b"}},"name":"n","arguments":{"baggage":"c"}}}`
	for _, value := range []string{`"user=ann"`, `""`, `{"user":"ann"}`, `null`, `"` + strings.Repeat("x", 9000) + `"`} {
		c, err := read(t, post(head+value+tail), mcp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c.DropBaggage()
		if want := head + `""` + tail; string(c.Body) != want || c.Hash != hash([]byte(want)) || c.Target != "n" || string(c.Arguments()) != `{"baggage":"c"}` {
			t.Errorf("%.80s: %s, hash %s, arguments %s", value, c.Body, c.Hash, c.Arguments())
		}
		c.Retarget("another")
		if !strings.Contains(string(c.Body), `"baggage" : "" ,`) || !strings.Contains(string(c.Body), `"name":"another"`) {
			t.Errorf("%s", c.Body)
		}
		c.Release()
		c.DropBaggage() // does nothing
	}
}

// TestRetargetKeepsReadersApart: readers from before and after Retarget read on while the call is released and its
// memory goes to other calls.
func TestRetargetKeepsReadersApart(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":"` + strings.Repeat("x", 2000) + `"}}}`
	var all sync.WaitGroup
	check := func(r io.ReadCloser, want string) {
		all.Go(func() {
			defer func() { _ = r.Close() }()
			if got, err := io.ReadAll(r); err != nil || string(got) != want {
				t.Errorf("a reader gives %.80q (%v)", got, err)
			}
		})
	}
	for range 200 {
		c, err := mcp.Read(httptest.NewRecorder(), post(body), mcp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		check(c.Open(), body)
		c.Retarget("another")
		check(c.Open(), strings.Replace(body, `"a"`, `"another"`, 1))
		c.Release()
	}
	all.Wait()
}

// FuzzRetarget: whatever the message, only the name changes, and the reader finds the new one in it.
func FuzzRetarget(f *testing.F) {
	for _, name := range []string{"b", "", "\"\\\x00", "é\U0001f600", "\xff"} {
		f.Add(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"name":"a"}}}`, name)
	}
	f.Add(`{"params":{"n\u0061me":"\ud83d\ude00"} ,"method":"tools/call","id":1,"jsonrpc":"2.0"}`, "b")
	f.Fuzz(func(t *testing.T, body, name string) {
		c, err := mcp.Read(httptest.NewRecorder(), post(body), mcp.Limits{})
		defer c.Release()
		if err != nil || c.Method != mcp.MethodToolsCall {
			return
		}
		before := decode(t, c.Body)
		c.Retarget(name)
		after := decode(t, c.Body)
		name = strings.ToValidUTF8(name, "\ufffd") // in runs; the encoder replaces each byte
		if got := after["params"].(map[string]any)["name"].(string); got != name && strings.ReplaceAll(got, "\ufffd", "") != strings.ReplaceAll(name, "\ufffd", "") {
			t.Errorf("name %q, want %q", got, name)
		}
		before["params"].(map[string]any)["name"] = after["params"].(map[string]any)["name"]
		if d := cmp.Diff(before, after); d != "" {
			t.Error(d)
		}
		if c.Hash != hash(c.Body) {
			t.Error("the hash is another body's")
		}
		again, err := mcp.Read(httptest.NewRecorder(), post(string(c.Body)), mcp.Limits{})
		defer again.Release()
		if printable := name != "" && !strings.ContainsFunc(name, isControl) && len(name) < 8<<10; (err == nil) != printable {
			t.Errorf("the new message: %v", err)
		}
		if err == nil && (!bytes.Equal(again.Params, c.Params) || again.Target != after["params"].(map[string]any)["name"]) {
			t.Errorf("params %s, want %s", c.Params, again.Params)
		}
	})
}

// TestRetargetReusesMemory: the old body's memory goes back, so that the next Retarget finds it.
func TestRetargetReusesMemory(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector a pool forgets at random")
	}
	c, err := read(t, post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`), mcp.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Retarget("b") }); n > 1 {
		t.Errorf("%v allocations, want 1: the hash", n)
	}
}

package mcp_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// manyTools is an answer with n tools of about 1 KiB each; one in every is called x.
func manyTools(n, every int) []byte {
	var b strings.Builder
	b.WriteString(`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		name := "aws___call"
		if i%every == 0 {
			name = "x"
		}
		fmt.Fprintf(&b, `{"name":"%s_%d","title":"Call","description":"%s","inputSchema":{"type":"object","properties":{`+
			`"cli_command":{"type":"string","description":"%s"},"max_results":{"type":"integer","minimum":1,"maximum":100,"default":20},`+
			`"region":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}},"required":["cli_command"],"additionalProperties":false},`+
			`"annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":true}}`,
			name, i, strings.Repeat(`Lists what there is.\n`, 15), strings.Repeat("words ", 20))
	}
	b.WriteString(`]}}`)
	return []byte(b.String())
}

func BenchmarkListFilter500(b *testing.B) {
	for name, every := range map[string]int{"AllShown": 1000, "HalfHidden": 2, "AllHidden": 1} {
		b.Run(name, func(b *testing.B) {
			msg := manyTools(500, every)
			f := mcp.ListFilter{Judge: shown, Method: mcp.MethodToolsList, Modern: true}
			b.ReportAllocs()
			b.SetBytes(int64(len(msg)))
			for b.Loop() {
				if _, err := f.Message(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTools500(b *testing.B) {
	msg := manyTools(500, 1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if _, _, _, err := mcp.Tools(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkStream(b *testing.B, events []byte) {
	src := bytes.NewReader(events)
	f := mcp.ListFilter{Judge: shown, Modern: true}
	p := make([]byte, 4<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(events)))
	for b.Loop() {
		src.Reset(events)
		body := f.Stream(io.NopCloser(src))
		for {
			if _, err := body.Read(p); err != nil {
				break
			}
		}
	}
}

func BenchmarkStreamList500(b *testing.B) {
	benchmarkStream(b, append(append([]byte("event: message\ndata: "), manyTools(500, 2)...), "\n\n"...))
}

func BenchmarkStreamNotices(b *testing.B) {
	benchmarkStream(b, []byte(strings.Repeat("event: message\ndata: "+notice+"\n\n", 1000)))
}

func BenchmarkRetarget(b *testing.B) {
	body := modernCall(10<<10, prose)
	r := post(body)
	r.Header = modernHeader()
	c, err := read(b, r, mcp.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Retarget("aws___call_another")
	}
}

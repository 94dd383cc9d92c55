package mcp_test

import (
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// answerText is an answer whose only text is s, which is JSON inside a string.
func answerText(s string) []byte {
	return []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + s + `"}],"isError":false}}`)
}

// benchmarkWatch gives answer to a Watcher in pieces of the size that the gateway copies in.
func benchmarkWatch(b *testing.B, stream, guard bool, answer []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(answer)))
	for b.Loop() {
		w := mcp.NewWatcher(stream)
		if guard {
			w.Guard()
		}
		for p := answer; len(p) > 0; {
			n := min(len(p), 32<<10)
			w.Write(p[:n])
			p = p[n:]
		}
		if w.Outcome().Kind != mcp.OutcomeResult || w.Refusal() != nil {
			b.Fatal(w.Outcome(), w.Refusal())
		}
	}
}

// rows is an answer of structured content: row, over and over.
func rows(row string) []byte {
	return []byte(`{"id":1,"result":{"structuredContent":{"rows":[` + strings.Repeat(row+",", 100<<10/len(row)) + `{}]}}}`)
}

func BenchmarkWatch(b *testing.B) {
	for name, answer := range map[string][]byte{
		"Text1K":      answerText(strings.Repeat("w", 900)),
		"Text100K":    answerText(strings.Repeat("Lists what there is. ", 100<<10/21)),
		"Lines100K":   answerText(strings.Repeat(`Lists what there is, in words.\n`, 100<<10/32)),
		"Quoted100K":  answerText(strings.Repeat(`{\"Name\":\"a-bucket\",\"Tags\":[1,2]},`, 100<<10/38)),
		"Escapes100K": answerText(strings.Repeat(`\u5217\u51fa`, 100<<10/12)),
		"Foreign100K": answerText(strings.Repeat(`列出`, 100<<10/6)),
		"Nested500K":  manyTools(500, 1000),
		"Rows100K":    rows(`{"id":12345,"name":"a-bucket","size":10.5,"open":true,"tags":["a","b"]}`),
		"Pretty100K": rows("\n      {\n        \"id\": 12345,\n        \"name\": \"a-bucket\",\n" +
			"        \"size\": 10.5,\n        \"open\": true\n      }"),
	} {
		b.Run(name, func(b *testing.B) { benchmarkWatch(b, false, false, answer) })
		if name != "Nested500K" { // a list, which a Guard stops
			b.Run(name+"/Guard", func(b *testing.B) { benchmarkWatch(b, false, true, answer) })
		}
		if name == "Text100K" || name == "Nested500K" {
			b.Run(name+"/Stream", func(b *testing.B) {
				benchmarkWatch(b, true, false, []byte("event: message\nid: 1\ndata: "+string(answer)+"\n\n"))
			})
		}
	}
	b.Run("Notices/Stream", func(b *testing.B) {
		benchmarkWatch(b, true, false, []byte(strings.Repeat("event: message\ndata: "+notice+"\n\n", 1000)+"data: {\"result\":{}}\n\n"))
	})
}

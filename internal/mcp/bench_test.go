package mcp_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// modernCall is a tools/call of the modern era whose body has at least size bytes; filler makes the argument.
func modernCall(size int, filler func(n int) string) string {
	head := `{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":` +
		`"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1.0.0"},` +
		`"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}},"progressToken":"a-17"},` +
		`"name":"aws___call_aws","arguments":{"cli_command":"aws s3api list-objects-v2 --bucket logs --max-items 20",` +
		`"max_results":20,"dry_run":false,"region":"eu-central-1","rest":`
	return head + filler(size-len(head)-3) + `}}}`
}

func prose(n int) string { return `"` + strings.Repeat("lines of a text, ", n/17+1)[:n-2] + `"` }

func dense(n int) string {
	item := `{"id":17,"tags":["a","bc"],"on":true,"at":1.5e3},`
	return "[" + strings.Repeat(item, n/len(item)) + "0]"
}

func escaped(n int) string { return `"` + strings.Repeat(`line\nwith \"quotes\"\t`, n/22) + `"` }

func foreign(n int) string { return `"` + strings.Repeat(`日本語テキスト`, n/21) + `"` }

func modernHeader() http.Header {
	return http.Header{
		"Content-Type":     {"application/json"},
		mcp.HeaderVersion:  {mcp.Version20260728},
		mcp.HeaderMethod:   {"tools/call"},
		mcp.HeaderName:     {"aws___call_aws"},
		"Accept":           {"application/json, text/event-stream"},
		"Accept-Encoding":  {"gzip"},
		"Mcp-Param-Region": {"eu-central-1"},
	}
}

// silent is a ResponseWriter that costs nothing.
type silent struct{ http.ResponseWriter }

func benchmarkRead(b *testing.B, body string) {
	src := strings.NewReader(body)
	r := &http.Request{
		Method: http.MethodPost, ProtoMajor: 1, Header: modernHeader(),
		Body: io.NopCloser(src), ContentLength: int64(len(body)),
	}
	w := silent{}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		src.Reset(body)
		c, err := mcp.Read(w, r, mcp.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}

func BenchmarkRead1K(b *testing.B)          { benchmarkRead(b, modernCall(1<<10, prose)) }
func BenchmarkRead100K(b *testing.B)        { benchmarkRead(b, modernCall(100<<10, prose)) }
func BenchmarkRead100KDense(b *testing.B)   { benchmarkRead(b, modernCall(100<<10, dense)) }
func BenchmarkRead100KEscaped(b *testing.B) { benchmarkRead(b, modernCall(100<<10, escaped)) }
func BenchmarkRead100KForeign(b *testing.B) { benchmarkRead(b, modernCall(100<<10, foreign)) }
func BenchmarkRead8M(b *testing.B)          { benchmarkRead(b, modernCall(8<<20-100, prose)) }

func BenchmarkWriteError(b *testing.B) {
	id := bytes.Repeat([]byte("7"), 3)
	_, err := mcp.Read(silent{}, &http.Request{Method: "PUT"}, mcp.Limits{})
	e := asFault(b, err)
	w := discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		mcp.WriteError(w, e, id)
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

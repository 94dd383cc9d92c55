package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/test/bench/load"
)

// The calls of the clients. Most clients of today speak the protocol that has sessions.

// clientHeader are the headers of a client with a session; an empty session is left out.
func clientHeader(token, session string) []string {
	h := []string{
		"Authorization: Bearer " + token,
		"Accept: application/json, text/event-stream",
		"Content-Type: application/json",
		"MCP-Protocol-Version: 2025-06-18",
		"User-Agent: bench/1",
	}
	if session != "" {
		h = append(h, "Mcp-Session-Id: "+session)
	}
	return h
}

// modernHeader are the headers of a client of the protocol without sessions.
func modernHeader(token, _ string) []string {
	return []string{
		"Authorization: Bearer " + token,
		"Accept: application/json, text/event-stream",
		"Content-Type: application/json",
		"MCP-Protocol-Version: 2026-07-28",
		"Mcp-Method: tools/call",
		"Mcp-Name: " + toolAnswer,
		"User-Agent: bench/1",
	}
}

// padded puts as many letters between head and tail as make size bytes of them all.
func padded(size int, head, tail string) string {
	return head + strings.Repeat("x", max(size-len(head)-len(tail), 0)) + tail
}

// callBody is a call of size bytes.
func callBody(size int) string {
	return padded(size, `{"jsonrpc":"2.0","id":`+load.ID+`,"method":"tools/call","params":{"name":"`+toolAnswer+`","arguments":{"code":"`, `"}}}`)
}

// modernBody is one of the protocol without sessions.
func modernBody(size int) string {
	return padded(size, `{"jsonrpc":"2.0","id":`+load.ID+`,"method":"tools/call","params":{"name":"`+toolAnswer+`","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
		`"io.modelcontextprotocol/clientCapabilities":{}},"arguments":{"code":"`, `"}}}`)
}

// eventsBody asks for a stream of events.
func eventsBody(count int, every time.Duration) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"%s","arguments":{"events":%d,"every":%d}}}`,
		load.ID, toolEvents, count, every.Milliseconds())
}

func post(addr string, header []string, body string) load.Request {
	return load.NewRequest("POST", addr, "/mcp", header, body)
}

// slow is an STS that takes its time and is otherwise in order.
func slow(d time.Duration) stage.Trouble { return stage.Trouble{Kind: stage.Slow, Delay: d} }

// listenRequest asks for the stream on which the server tells news.
func listenRequest(addr, token string) load.Request {
	return load.NewRequest("GET", addr, "/mcp", []string{
		"Authorization: Bearer " + token, "Accept: text/event-stream", "MCP-Protocol-Version: 2025-06-18", "User-Agent: bench/1",
	}, "")
}

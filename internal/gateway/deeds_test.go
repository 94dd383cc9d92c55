package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/rolegate/rolegate/internal/fake"
)

// What clients and remotes do to each other, and what must be written down of it.

const (
	progress  = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`
	okResult  = `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
	toolError = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"no"}],"isError":true}}`
	rpcError  = `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool"}}`
)

// act is a remote that does what the name of the tool says.
func act(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name string }
	}
	_ = json.Unmarshal(body, &m) // a GET has none
	w.Header().Set("X-Amzn-Requestid", "aws-1")
	switch {
	case r.Method == http.MethodGet:
		events(w, progress)
		<-r.Context().Done()
	case r.Method == http.MethodDelete:
	case m.ID == nil || m.Method == "":
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize":
		w.Header().Set("Mcp-Session-Id", "the-session-of-the-remote")
		answerJSON(w, okResult)
	case m.Method == "tools/list":
		answerJSON(w, toolsAnswer)
	case m.Method != "tools/call":
		answerJSON(w, okResult)
	default:
		perform(w, r, m.Params.Name)
	}
}

func perform(w http.ResponseWriter, r *http.Request, name string) {
	switch name {
	case "events":
		events(w, progress, progress, okResult)
	case "tool error":
		answerJSON(w, toolError)
	case "tool error after events":
		events(w, progress, progress, toolError)
	case "error":
		answerJSON(w, rpcError)
	case "error after events":
		events(w, progress, rpcError)
	case "large":
		answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"`+strings.Repeat("x", 5<<20)+`"}]}}`)
	case "large error":
		answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"`+strings.Repeat("x", 5<<20)+`"}],"isError":true}}`)
	case "speaks of errors":
		answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\"isError\":true","isError":true}],"structuredContent":{"error":{"code":-1},"isError":true}}}`)
	case "another error":
		events(w, `{"jsonrpc":"2.0","id":99,"error":{"code":-1,"message":"of another call"}}`, okResult)
	case "identity":
		w.Header().Set("Content-Encoding", "identity")
		answerJSON(w, toolError)
	case "no response":
		events(w, progress)
	case "empty":
		answerJSON(w, "")
	case "not modified":
		w.WriteHeader(http.StatusNotModified)
	case "response without an end":
		answerJSON(w, okResult+"\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "half":
		answerJSON(w, toolError[:len(toolError)-3])
	case "page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>Sign in</html>")
	case "resumed":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "id: 7\nretry: 100\ndata:\n\n")
	case "endless response":
		events(w, progress, okResult)
		<-r.Context().Done()
	case "refuses":
		w.WriteHeader(http.StatusTooManyRequests)
	case "fails":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "wants no gateway":
		w.WriteHeader(http.StatusUnauthorized)
	case "breaks off":
		events(w, progress)
		panic(http.ErrAbortHandler)
	case "is down":
		panic(http.ErrAbortHandler)
	case "silent":
		if leave, ok := arrivals.LoadAndDelete(r.UserAgent()); ok {
			leave.(context.CancelFunc)()
		}
		<-r.Context().Done()
	case "endless":
		events(w, progress)
		<-r.Context().Done()
	default:
		answerJSON(w, okResult)
	}
}

// arrivals are how clients leave when their calls have reached the remote, by their User-Agent.
var arrivals sync.Map

func events(w http.ResponseWriter, messages ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, m := range messages {
		_, _ = io.WriteString(w, "event: message\ndata: "+m+"\n\n") // who is gone misses nothing
		_ = http.NewResponseController(w).Flush()
	}
}

// judged are policies for the remote's tools.
var judged = policies(`@id("all") permit(principal, action, resource);`,
	`@id("no-drop") forbid(principal, action == Action::"call_tool", resource == Tool::"drop_table");`)

const unanswered = "bad_upstream: the remote MCP server's answer ended without a response"

// deed is one request of a client.
type deed struct {
	name string
	call call // its token is the name of a user, its session ann or bob
	path string
	ends ending
	want facts // of the record; its status is what the client must have read too
}

// ending is how the client's part in it ends.
type ending int

const (
	reads          ending = iota // the answer, to its end
	hangsUp                      // while it waits for an answer
	leaves                       // after the first event
	leavesAnswered               // after the response, while the stream goes on
	isLetDown                    // the answer breaks off
)

// done does the deed, and says what the client did not see as it should have.
func (d deed) done(ctx context.Context, s *watched, client *http.Client, agent string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := d.call
	c.headers = map[string]string{"User-Agent": agent}
	for k, v := range d.call.headers {
		c.headers[k] = v
	}
	if c.token != "" && s.tokens[c.token] != "" {
		c.token = s.tokens[c.token]
	}
	c.session = map[string]string{"ann": s.session, "bob": s.foreign}[c.session]
	req := s.request(ctx, c)
	if d.path != "" {
		req.URL.Path = d.path
	}
	if d.ends == hangsUp {
		arrivals.Store(agent, cancel)
	}
	resp, err := client.Do(req)
	switch {
	case err != nil && d.ends == hangsUp:
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", agent, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != d.want["status"] {
		return fmt.Errorf("%s: status %d, want %v", agent, resp.StatusCode, d.want["status"])
	}
	switch d.ends {
	case leaves:
		_, err := bufio.NewReader(resp.Body).ReadString('\n')
		return err
	case leavesAnswered:
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if strings.Contains(lines.Text(), okResult) {
				return nil
			}
		}
		return fmt.Errorf("%s: no response", agent)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if (err != nil) != (d.ends == isLetDown) {
		return fmt.Errorf("%s: the answer ended with %w", agent, err)
	}
	return nil
}

var (
	aTool = func(name string) call { return call{token: "ann", session: "ann", body: callTool(name, `{}`)} }
	noOne = facts{"caller": nil, "role": nil, "method": nil, "access_key_id": nil}
)

// with adds facts.
func (f facts) with(more facts) facts {
	all := facts{}
	for _, from := range []facts{f, more} {
		for name, v := range from {
			all[name] = v
		}
	}
	return all
}

// toolCall are the facts of a call that reached the remote.
func toolCall(outcome string, status int, more facts) facts {
	return facts{
		"type": "mcp_tool_call", "outcome": outcome, "status": status, "http_method": "POST", "path": "/mcp", "auth": "ok", "caller": "ann",
		"era": "legacy", "method": "tools/call", "decision": "allowed", "policies": []string{"all"}, "role": fake.S3Role, "mapping": 0,
		"session_name": "ann", "sts": "hit", "aws_request_id": "aws-1", "rpc_code": nil, "is_error": nil, "stream": nil, "error": nil, "hidden": nil,
	}.with(more)
}

// modern is a call of the protocol without sessions.
var modern = call{
	token:   "ann",
	headers: map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "ok"},
	body: rpc("tools/call", `{"name":"ok","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
		`"io.modelcontextprotocol/clientInfo":{"name":"modern","version":"2.1"},"io.modelcontextprotocol/clientCapabilities":{}}}`),
}

// listening are the facts of a stream of the server's messages.
var listening = facts{"type": "sse_connection", "outcome": "aborted", "status": 200, "stream": true, "http_method": "GET", "decision": "aborted", "rpc_code": nil}

// deeds are the life of a gateway.
var deeds = []deed{
	{name: "ok", call: aTool("ok"), want: toolCall("success", 200, nil)},
	{name: "events", call: aTool("events"), want: toolCall("success", 200, facts{"stream": true})},
	{name: "tool error", call: aTool("tool error"), want: toolCall("application_error", 200, facts{"is_error": true})},
	{name: "tool error after events", call: aTool("tool error after events"), want: toolCall("application_error", 200, facts{"is_error": true, "stream": true})},
	{name: "error", call: aTool("error"), want: toolCall("application_error", 200, facts{"rpc_code": -32602})},
	{name: "error after events", call: aTool("error after events"), want: toolCall("application_error", 200, facts{"rpc_code": -32602, "stream": true})},
	{name: "large", call: aTool("large"), want: toolCall("success", 200, facts{"bytes": 5<<20 + 73})},
	{name: "large error", call: aTool("large error"), want: toolCall("application_error", 200, facts{"is_error": true})},
	{name: "speaks of errors", call: aTool("speaks of errors"), want: toolCall("success", 200, nil)},
	{name: "an error with another id", call: aTool("another error"), want: toolCall("success", 200, facts{"stream": true})},
	{name: "identity", call: aTool("identity"), want: toolCall("application_error", 200, facts{"is_error": true})},
	{name: "events without a response", call: aTool("no response"), want: toolCall("failure", 200, facts{"stream": true, "error": unanswered})},
	{name: "an empty answer", call: aTool("empty"), want: toolCall("failure", 200, facts{"error": unanswered})},
	{name: "half an answer", call: aTool("half"), want: toolCall("failure", 200, facts{"error": unanswered})},
	{name: "no answer but 304", call: aTool("not modified"), want: toolCall("failure", 304, facts{"error": unanswered})},
	{name: "a page", call: aTool("page"), want: facts{"type": "mcp_tool_call", "outcome": "failure", "status": 502, "decision": "bad_upstream"}},
	{name: "a stream to be resumed", call: aTool("resumed"), want: toolCall("success", 200, facts{"stream": true})},
	{name: "leaves after the response", call: aTool("endless response"), ends: leavesAnswered, want: toolCall("success", 200, facts{"stream": true})},
	{name: "leaves after a response without an end", call: aTool("response without an end"), ends: leavesAnswered, want: toolCall("success", 200, nil)},
	{name: "the remote refuses", call: aTool("refuses"), want: toolCall("application_error", 429, facts{
		"error": "the remote MCP server answered 429, which was passed on",
	})},
	{name: "the remote fails", call: aTool("fails"), want: toolCall("failure", 503, facts{
		"error": "the remote MCP server answered 503, which was passed on",
	})},
	{name: "the remote wants no gateway", call: aTool("wants no gateway"), want: toolCall("failure", 502, facts{
		"decision": "bad_upstream", "rpc_code": -32000, "error": "bad_upstream: the remote MCP server refused the gateway's credentials",
	})},
	{name: "the remote breaks off", call: aTool("breaks off"), ends: isLetDown, want: toolCall("failure", 200, facts{
		"decision": "bad_upstream", "stream": true, "error": "bad_upstream: the remote MCP server broke off its answer: unexpected EOF", "rpc_code": nil,
	})},
	{name: "the remote is down", call: aTool("is down"), want: facts{
		"type": "mcp_tool_call", "outcome": "failure", "status": 502, "decision": "bad_upstream", "rpc_code": -32000, "aws_request_id": nil, "session_name": "ann",
	}},
	{name: "hangs up", call: aTool("silent"), ends: hangsUp, want: facts{
		"type": "mcp_tool_call", "outcome": "aborted", "status": 499, "decision": "aborted", "rpc_code": nil, "bytes": nil, "target": "silent", "session_name": "ann",
	}},
	{name: "leaves in mid-stream", call: aTool("endless"), ends: leaves, want: toolCall("aborted", 200, facts{
		"decision": "aborted", "stream": true, "error": "aborted: the client went away: context canceled",
	})},
	{name: "modern", call: modern, want: toolCall("success", 200, facts{"era": "modern", "client_name": "modern", "client_version": "2.1", "session": nil})},

	{name: "a listening stream", call: call{token: "ann", session: "ann", method: http.MethodGet}, ends: leaves, want: listening},
	{name: "a list", call: call{token: "ann", session: "ann", body: listTools}, want: facts{"type": "mcp_tools_list", "outcome": "success", "status": 200, "hidden": 1}},
	{name: "prompts", call: call{token: "ann", body: rpc("prompts/list", "{}")}, want: facts{"type": "mcp_prompts_list", "outcome": "failure", "status": 502}},
	{name: "a ping", call: call{token: "ann", body: rpc("ping", "{}")}, want: facts{"type": "mcp_ping", "outcome": "success", "status": 200}},
	{name: "a notification", call: call{token: "ann", session: "ann", body: `{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`}, want: facts{
		"type": "mcp_notification", "outcome": "success", "status": 202, "method": "notifications/progress",
	}},
	{name: "an answer", call: call{token: "ann", session: "ann", body: `{"jsonrpc":"2.0","id":1,"result":{}}`}, want: facts{"type": "mcp_response", "outcome": "success", "status": 202}},
	{name: "the end of a session", call: call{token: "ann", session: "ann", method: http.MethodDelete}, want: facts{
		"type": "mcp_session_end", "outcome": "success", "status": 200, "http_method": "DELETE",
	}},

	{name: "no token", call: call{body: listTools}, want: noOne.with(facts{
		"type": "http_request", "outcome": "denied", "status": 401, "decision": "unauthenticated", "rpc_code": -32001, "sts": nil,
	})},
	{name: "nonsense for a token", call: call{token: "nonsense", body: listTools}, want: noOne.with(facts{
		"type": "http_request", "outcome": "denied", "status": 401, "decision": "unauthenticated", "auth": "the token is malformed",
	})},
	{name: "denied by policy", call: aTool("drop_table"), want: facts{
		"type": "mcp_tool_call", "outcome": "denied", "status": 403, "decision": "denied", "policies": []string{"no-drop"}, "rpc_code": -32003,
		"caller": "ann", "role": fake.S3Role, "access_key_id": nil, "sts": nil, "target": "drop_table",
	}},
	{name: "somebody else's session", call: call{token: "ann", session: "bob", body: listTools}, want: facts{
		"type": "mcp_tools_list", "outcome": "denied", "status": 404, "decision": "session_lost", "rpc_code": -32001, "access_key_id": nil,
	}},
	{name: "no JSON", call: call{token: "ann", body: `{"jsonrpc"`}, want: facts{
		"type": "http_request", "outcome": "denied", "status": 400, "decision": "malformed", "rpc_code": -32700, "caller": "ann", "method": nil,
	}},
	{name: "an HTTP method that is not served", call: call{token: "ann", method: http.MethodPut}, want: facts{
		"type": "http_request", "outcome": "denied", "status": 405, "decision": "bad_method", "http_method": "PUT",
	}},
	{name: "a foreign page", call: call{body: listTools, headers: map[string]string{"Origin": "https://evil.example"}}, want: noOne.with(facts{
		"type": "http_request", "outcome": "denied", "status": 403, "decision": "denied", "auth": "none",
	})},
	{name: "a preflight", call: call{method: http.MethodOptions, headers: map[string]string{
		"Origin": "https://a.example", "Access-Control-Request-Method": "POST",
	}}, want: noOne.with(facts{"type": "http_request", "outcome": "success", "status": 204})},
	{name: "nothing there", call: call{method: http.MethodGet}, path: "/nothing", want: noOne.with(facts{
		"type": "http_request", "outcome": "denied", "status": 404, "decision": "not_found", "path": "/nothing",
	})},
	{name: "the metadata", call: call{method: http.MethodGet}, path: "/.well-known/oauth-protected-resource", want: noOne.with(facts{
		"type": "http_request", "outcome": "success", "status": 200,
	})},
	{name: "another method than the metadata's", call: call{method: http.MethodPut}, path: "/.well-known/oauth-protected-resource", want: noOne.with(facts{
		"type": "http_request", "outcome": "denied", "status": 405, "decision": "bad_method", "error": "bad_method: HTTP method not allowed here",
	})},
}

package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

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
		<-r.Context().Done()
	case "endless":
		events(w, progress)
		<-r.Context().Done()
	default:
		answerJSON(w, okResult)
	}
}

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
	reads     ending = iota // the answer, to its end
	hangsUp                 // while it waits for an answer
	leaves                  // after the first event
	isLetDown               // the answer breaks off
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
		req = req.WithContext(context.WithoutCancel(ctx))
		return d.hangUp(client, req)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", agent, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != d.want["status"] {
		return fmt.Errorf("%s: status %d, want %v", agent, resp.StatusCode, d.want["status"])
	}
	if d.ends == leaves {
		_, err := bufio.NewReader(resp.Body).ReadString('\n')
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if (err != nil) != (d.ends == isLetDown) {
		return fmt.Errorf("%s: the answer ended with %w", agent, err)
	}
	return nil
}

var errLeft = errors.New("the client left")

// hangUp goes away when the call has reached the remote.
func (d deed) hangUp(client *http.Client, req *http.Request) error {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	body, err := req.GetBody()
	if err != nil {
		return err
	}
	req = req.WithContext(ctx)
	req.Body = &leaving{body, func() { cancel(errLeft) }}
	resp, err := client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
		return fmt.Errorf("%s: an answer came", d.name)
	}
	return nil
}

// leaving is a body after whose end the client leaves soon.
type leaving struct {
	io.ReadCloser
	leave func()
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

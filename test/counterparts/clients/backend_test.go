package clients_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

const modern = "2026-07-28"

// backend is an MCP server for both eras, made with the Go SDK, whose tools tell the test what happens to them.
type backend struct {
	url       string
	server    *mcp.Server
	next      chan struct{}  // one for each call of the tool next
	cancelled chan time.Time // when the tool hang was
	halfway   func()         // called in the middle of a burst; set before it begins
}

func serve(t *testing.T) *backend {
	t.Helper()
	b := &backend{next: make(chan struct{}), cancelled: make(chan time.Time, 10), halfway: func() {}}
	b.server = mcp.NewServer(&mcp.Implementation{Name: "backend", Version: "1"}, nil)
	b.tools()
	get := func(*http.Request) *mcp.Server { return b.server }
	stateful := mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil), MaxRequestBodyBytes: -1})
	stateless := mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true, MaxRequestBodyBytes: -1})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= modern {
			stateless.ServeHTTP(w, r)
			return
		}
		stateful.ServeHTTP(w, r)
	}))
	b.url = s.URL
	t.Cleanup(func() {
		for session := range b.server.Sessions() {
			_ = session.Close() // it is gone either way
		}
		s.CloseClientConnections()
		s.Close()
	})
	return b
}

// sessions is how many the server has.
func (b *backend) sessions() (n int) {
	for range b.server.Sessions() {
		n++
	}
	return n
}

type textArgs struct {
	Text string `json:"text" jsonschema:"what comes back"`
}

type countArgs struct {
	Count int `json:"count" jsonschema:"how many"`
}

type noArgs struct{}

func (b *backend) tools() {
	add(b.server, "echo", "Gives a text back.", func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) { return a.Text, nil })
	add(b.server, "size", "Gives as many letters.", func(_ context.Context, _ *mcp.CallToolRequest, a countArgs) (string, error) {
		return strings.Repeat("x", min(max(a.Count, 0), 64<<20)), nil
	})
	add(b.server, "steps", "Sends notifications, each after a call of next.", b.steps)
	add(b.server, "next", "Lets steps go on.", func(ctx context.Context, _ *mcp.CallToolRequest, _ noArgs) (string, error) {
		select {
		case b.next <- struct{}{}:
			return "", nil
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(lab.Patience): // not held up by a step that is not there any more
			return "", fmt.Errorf("nobody waits")
		}
	})
	add(b.server, "burst", "Sends notifications, every millisecond.", b.burst)
	add(b.server, "hang", "Waits until it is cancelled.", func(ctx context.Context, r *mcp.CallToolRequest, _ noArgs) (string, error) {
		if err := progress(ctx, r, 1, 1); err != nil {
			return "", err
		}
		<-ctx.Done()
		b.cancelled <- time.Now()
		return "", ctx.Err()
	})
}

func add[In any](s *mcp.Server, name, description string, do func(context.Context, *mcp.CallToolRequest, In) (string, error)) {
	mcp.AddTool(s, &mcp.Tool{Name: name, Description: description}, func(ctx context.Context, r *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		text, err := do(ctx, r, in)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, err
	})
}

func progress(ctx context.Context, r *mcp.CallToolRequest, n, of int) error {
	return r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
		ProgressToken: r.Params.GetProgressToken(), Progress: float64(n), Total: float64(of),
	})
}

func (b *backend) steps(ctx context.Context, r *mcp.CallToolRequest, a countArgs) (string, error) {
	for n := range a.Count {
		if err := progress(ctx, r, n+1, a.Count); err != nil {
			return "", err
		}
		select {
		case <-b.next:
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(lab.Patience):
			return "", fmt.Errorf("notification %d is held back", n+1)
		}
	}
	return fmt.Sprintf("%d steps", a.Count), nil
}

func (b *backend) burst(ctx context.Context, r *mcp.CallToolRequest, a countArgs) (string, error) {
	for n := range a.Count {
		if n == a.Count/2 {
			b.halfway()
		}
		if err := progress(ctx, r, n+1, a.Count); err != nil {
			return "", err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("%d at once", a.Count), nil
}

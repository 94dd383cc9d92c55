package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

var versions = []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

// connect is the official client, signing, at a protocol version.
func connect(t *testing.T, url, version string, who sts.Issued, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	return connectBy(t, signer{who: who}, url, version, o)
}

func connectBy(t *testing.T, s signer, url, version string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o)
	cs, err := c.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: url + "/mcp", HTTPClient: &http.Client{Transport: s}, MaxRetries: -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("%s: %v", version, err)
	}
	t.Cleanup(func() { _ = cs.Close() })
	if got := cs.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("negotiated %s, want %s", got, version)
	}
	return cs
}

func run(ctx context.Context, cs *mcp.ClientSession, code string, meta mcp.Meta) (*mcp.CallToolResult, error) {
	return cs.CallTool(ctx, &mcp.CallToolParams{Meta: meta, Name: aws.ToolRunScript, Arguments: map[string]any{"code": code}})
}

// eventually waits for what happens on another goroutine of the server.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

func TestOfficialClient(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			s := server(t, aws.Options{})
			var progress atomic.Int32
			cs := connect(t, s.URL(), version, ann, &mcp.ClientOptions{
				ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress.Add(1) },
			})
			list, err := cs.ListTools(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tool := range list.Tools {
				names = append(names, tool.Name)
				if tool.Annotations.ReadOnlyHint == (tool.Name == aws.ToolRunScript) {
					t.Errorf("%s: readOnlyHint is %v", tool.Name, tool.Annotations.ReadOnlyHint)
				}
			}
			if d := cmp.Diff(aws.ToolNames(), names); d != "" {
				t.Error(d)
			}
			res, err := run(t.Context(), cs, "stream:5", mcp.Meta{"progressToken": "p", "AWS_REGION": "eu-central-1"})
			if err != nil || res.IsError {
				t.Fatalf("run script: %v %+v", err, res)
			}
			var id aws.Identity
			if err := json.Unmarshal([]byte(res.Content[0].(*mcp.TextContent).Text), &id); err != nil {
				t.Fatal(err)
			}
			want := aws.Identity{
				Account: "123456789012", ARN: ann.AssumedRoleARN, UserID: "AROAEXAMPLE:ann", Role: ann.RoleARN,
				SessionName: "ann", Region: "eu-central-1", Output: "5 steps",
			}
			if d := cmp.Diff(want, id); d != "" {
				t.Error(d)
			}
			eventually(t, "5 progress notifications", func() bool { return progress.Load() == 5 })
			if res, err := run(t.Context(), cs, "fail", nil); err != nil || !res.IsError {
				t.Errorf("fail: %v %+v", err, res)
			}
			if v := s.Violations(); len(v) > 0 {
				t.Error(v)
			}
			stateful := version < "2026-07-28"
			if got := len(s.Sessions()); (got == 1) != stateful {
				t.Errorf("%d sessions", got)
			}
		})
	}
}

func TestEveryToolAnswers(t *testing.T) {
	s := server(t, aws.Options{})
	cs := connect(t, s.URL(), "2026-07-28", bob, nil)
	args := map[string]map[string]any{
		aws.ToolRetrieveSkill: {"skill_name": "x"}, aws.ToolSearchDocumentation: {"search_phrase": "x"},
		aws.ToolReadDocumentation: {"url": "https://docs.aws.amazon.com/"}, aws.ToolListRegions: {},
		aws.ToolAvailability: {"region": "us-east-1", "service": "s3"}, aws.ToolRunScript: {"code": "print(1)"},
		aws.ToolPresignedURL: {"bucket": "b", "key": "k"}, aws.ToolTasks: {},
	}
	for _, name := range aws.ToolNames() {
		res, err := cs.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: args[name]})
		if err != nil || res.IsError || len(res.Content) == 0 {
			t.Errorf("%s: %v %+v", name, err, res)
		}
	}
}

func TestCancellationReachesTheTool(t *testing.T) {
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			s := server(t, aws.Options{})
			cs := connect(t, s.URL(), version, ann, nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { _, err := run(ctx, cs, "hang", nil); done <- err }()
			eventually(t, "the script runs", func() bool { return s.Running() == 1 })
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			eventually(t, "the script is cancelled", func() bool { return s.Cancelled() == 1 && s.Running() == 0 })
		})
	}
}

func TestListChangesReachOpenStreams(t *testing.T) {
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			s := server(t, aws.Options{})
			var changed atomic.Int32
			connect(t, s.URL(), version, ann, &mcp.ClientOptions{
				ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed.Add(1) },
			})
			eventually(t, "a notification", func() bool { s.Announce(); return changed.Load() > 0 })
		})
	}
}

func TestAskIsAnsweredByThePeer(t *testing.T) {
	s := server(t, aws.Options{})
	cs := connect(t, s.URL(), "2025-11-25", ann, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
	})
	res, err := run(t.Context(), cs, "ask", nil)
	if err != nil || !strings.Contains(res.Content[0].(*mcp.TextContent).Text, `"output":"decline"`) {
		t.Errorf("%v %+v", err, res)
	}
}

// TestResumption cuts an answer in its midst and takes the rest with Last-Event-ID.
func TestResumption(t *testing.T) {
	s := server(t, aws.Options{})
	_, _, h := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", initialize, nil)
	session := h.Get("Mcp-Session-Id")
	s.Fail(stage.Trouble{Kind: stage.Cut, After: 2, Times: 1})
	request := func(method, body, last string) string {
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Mcp-Session-Id", session)
		if last != "" {
			r.Header.Set("Last-Event-Id", last)
		} else {
			r.Header.Set("Content-Type", "application/json")
		}
		resp, err := signer{who: ann}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if (last == "") != (err != nil) {
			t.Fatalf("%s ended with %v: %s", method, err, b)
		}
		return string(b)
	}
	first := request(http.MethodPost, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"stream:5:5ms"},"_meta":{"progressToken":1}}}`, "")
	var last string
	for line := range strings.Lines(first) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			last = strings.TrimSpace(id)
		}
	}
	eventually(t, "the cut request is over", func() bool {
		all := s.Requests()
		return all[len(all)-1].Done
	})
	rest := request(http.MethodGet, "", last)
	if n := strings.Count(first, "notifications/progress") + strings.Count(rest, "notifications/progress"); n != 5 || !strings.Contains(rest, "5 steps") {
		t.Errorf("%d notifications, want 5\nfirst: %s\nrest: %s", n, first, rest)
	}
}

func TestTroubles(t *testing.T) {
	s := server(t, aws.Options{})
	tests := map[string]struct {
		make   func()
		status int
		code   string
	}{
		"throttled": {func() { s.Throttle(1) }, 429, "ThrottlingException"},
		"expired":   {func() { s.ExpireCredentials(1) }, 403, "ExpiredTokenException"},
		"broken":    {func() { s.Fail(stage.Trouble{Status: 500, Times: 1}) }, 500, "InternalServerException"},
		"moved":     {func() { s.RedirectPath("/mcp/v2?x=1", 1) }, 307, ""},
		"garbage":   {func() { s.Fail(stage.Trouble{Kind: stage.Garbage, Times: 1}) }, 200, ""},
	}
	for name, tt := range tests {
		tt.make()
		if status, code, _ := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", initialize, nil); status != tt.status || code != tt.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, tt.status, tt.code)
		}
		if status, _, _ := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp", initialize, nil); status != 200 {
			t.Errorf("after %s: %d", name, status)
		}
	}
	if status, _, _ := send(t, signer{who: ann}, http.MethodPost, s.URL()+"/mcp/v2?x=1", initialize, nil); status != 200 {
		t.Errorf("where it moved to: %d", status)
	}
	s.Fail(stage.Trouble{Kind: stage.Hang, Times: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/mcp", strings.NewReader(initialize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (signer{who: ann}).RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	eventually(t, "the hanging request is seen to be aborted", func() bool {
		return slices.ContainsFunc(s.Requests(), func(r aws.Request) bool { return r.Aborted })
	})
}

func TestConfigureAndTLS(t *testing.T) {
	s := aws.New(aws.Options{Vault: vault{"ASIAANN": ann}, Configure: func(m *mcp.Server) {
		m.AddPrompt(&mcp.Prompt{Name: "extra"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{}, nil
		})
	}})
	srv := httptest.NewTLSServer(s)
	defer srv.Close()
	defer s.Close()
	cs := connectBy(t, signer{who: ann, base: srv.Client().Transport}, srv.URL, "2026-07-28", nil)
	list, err := cs.ListPrompts(t.Context(), nil)
	if err != nil || len(list.Prompts) != 1 {
		t.Errorf("%v %+v", err, list)
	}
}

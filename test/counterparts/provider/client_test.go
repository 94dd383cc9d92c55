package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

type stsCall = sts.Call

// The protocol versions that stand for the two eras.
const (
	legacy = "2025-11-25"
	modern = "2026-07-28"
)

var eras = []string{legacy, modern}

// connect is the official client. It begins without a token and finds its way from the 401 by itself: the challenge
// names the resource's metadata, that names the provider, whose discovery document names the token endpoint.
func (s *stand) connect(t *testing.T, m member, version string, o *mcp.ClientOptions) (*mcp.ClientSession, error) {
	t.Helper()
	web := &http.Client{Transport: s.wire}
	signIn, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{
			ClientID: m.ID, Issuer: s.provider.issuer, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: m.Secret},
		},
		HTTPClient: web,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o).Connect(ctx,
		&mcp.StreamableClientTransport{Endpoint: s.endpoint, HTTPClient: web, MaxRetries: -1, OAuthHandler: signIn},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
}

// mustConnect connects, at that version and no other, until the test ends.
func (s *stand) mustConnect(t *testing.T, m member, version string, o *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	cs, err := s.connect(t, m, version, o)
	if err != nil {
		t.Fatalf("%s, %s: %v", m.ID, version, err)
	}
	t.Cleanup(func() { _ = cs.Close() })
	if got := cs.InitializeResult().ProtocolVersion; got != version {
		t.Fatalf("%s: negotiated %s, want %s", m.ID, got, version)
	}
	return cs
}

func script(ctx context.Context, cs *mcp.ClientSession, code string, meta mcp.Meta) (id aws.Identity, err error) {
	res, err := cs.CallTool(ctx, &mcp.CallToolParams{Meta: meta, Name: aws.ToolRunScript, Arguments: map[string]any{"code": code}})
	if err != nil {
		return id, err
	}
	text := res.Content[0].(*mcp.TextContent).Text
	if res.IsError {
		return id, errors.New(text)
	}
	return id, json.Unmarshal([]byte(text), &id)
}

// whoami asks the server whom it takes the caller for.
func whoami(t *testing.T, cs *mcp.ClientSession) aws.Identity {
	t.Helper()
	id, err := script(t.Context(), cs, "whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// requests are those that reached the server and that want is true for.
func (s *stand) requests(want func(aws.Request) bool) []aws.Request {
	return slices.DeleteFunc(s.AWS.Requests(), func(r aws.Request) bool { return !want(r) })
}

func owners(sessions map[string]string) (all []string) {
	for _, owner := range sessions {
		all = append(all, owner)
	}
	return all
}

func (s *stand) streams(t *testing.T) {
	for _, era := range eras {
		var heard atomic.Int32
		cs := s.mustConnect(t, reader, era, &mcp.ClientOptions{
			ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
				if heard.Add(1); r.Params.Message != "waiting" {
					return
				}
				select {
				case s.gate <- struct{}{}:
				case <-t.Context().Done(): // it came too late: the tool waits no more
				}
			},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		meta := mcp.Meta{"progressToken": "p"}
		if _, err := cs.CallTool(ctx, &mcp.CallToolParams{Meta: meta, Name: gateTool, Arguments: map[string]any{}}); err != nil {
			t.Errorf("%s: a notification is held back until the answer: %v", era, err)
		}
		if id, err := script(ctx, cs, "stream:40:1ms", meta); err != nil || id.Output != "40 steps" {
			t.Errorf("%s: %+v %v", era, id, err)
		}
		lab.Eventually(t, "every notification of the "+era+" call", func() bool { return heard.Load() == 41 })
	}
	lab.Eventually(t, "the log tells of the streamed calls", func() bool {
		return len(s.lines(func(l line) bool { return l.Stream && l.Target != "" && l.Caller == reader.ID })) >= 2*len(eras)
	})
}

func (s *stand) hearsNews(t *testing.T) {
	waits := map[string]func(aws.Request) bool{
		legacy: func(r aws.Request) bool { return r.Method == http.MethodGet },
		modern: func(r aws.Request) bool { return strings.Contains(string(r.Body), `"subscriptions/listen"`) },
	}
	for _, era := range eras {
		var heard atomic.Int32
		cs := s.mustConnect(t, admin, era, &mcp.ClientOptions{
			ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { heard.Add(1) },
		})
		open := func(r aws.Request) bool { return waits[era](r) && r.SessionName == admin.ID && !r.Done }
		lab.Eventually(t, "a stream that waits for news, "+era, func() bool { return len(s.requests(open)) == 1 })
		lab.Eventually(t, "news, "+era, func() bool { s.AWS.Announce(); return heard.Load() > 0 })
		if err := cs.Close(); err != nil {
			t.Errorf("%s: close: %v", era, err)
		}
		lab.Eventually(t, "the end of the stream when the client closes, "+era, func() bool { return len(s.requests(open)) == 0 })
	}
}

func (s *stand) cancels(t *testing.T) {
	for n, era := range eras {
		before := s.AWS.Count()
		cs := s.mustConnect(t, hosted, era, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { _, err := script(ctx, cs, "hang", nil); done <- err }()
		lab.Eventually(t, "the script runs", func() bool { return s.AWS.Running() == 1 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the call ended with %v", era, err)
		}
		lab.Eventually(t, "the script is cancelled, "+era, func() bool { return s.AWS.Cancelled() == n+1 && s.AWS.Running() == 0 })
		// It gets there as a message in the legacy era, as the end of the request in the modern one.
		lab.Eventually(t, "how the cancellation came, "+era, func() bool {
			return slices.ContainsFunc(s.AWS.Requests()[before:], func(r aws.Request) bool {
				if era == legacy {
					return strings.Contains(string(r.Body), `"notifications/cancelled"`) && r.Status == http.StatusAccepted
				}
				return strings.Contains(string(r.Body), `"hang"`) && r.Done && r.Aborted
			})
		})
		if got := whoami(t, cs); got.SessionName == "" {
			t.Errorf("%s: after the cancellation the server saw %+v", era, got)
		}
	}
}

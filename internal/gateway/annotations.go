package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// What policies read of a tool's annotations comes from the remote's own tools/list, asked for with the credentials and
// in the session of the caller who needs it, and remembered for each role. What a client sends is never believed.

const (
	hintsLife    = 5 * time.Minute // where the list has no ttlMs
	maxHintsLife = time.Hour
	hintsTimeout = 10 * time.Second // of all pages together
	hintsRetry   = 5 * time.Second  // after a failure
	maxPages     = 100
	maxList      = 16 << 20 // bytes of one page
)

// place is whose tools they are: the remote, seen in a role.
type place struct{ remote, role string }

type fetch func(context.Context) (map[string]policy.Hints, time.Duration, error)

// annotations remembers the hints of every tool. Nothing is awaited under its lock.
type annotations struct {
	log *slog.Logger

	mu    sync.Mutex
	known map[place]*catalogue
}

// catalogue is one list, once done is closed.
type catalogue struct {
	done  chan struct{}
	hints map[string]policy.Hints // nil: they could not be learnt
	until time.Time
}

func newAnnotations(log *slog.Logger) *annotations {
	return &annotations{log: log, known: map[place]*catalogue{}}
}

// of gives the hints of a place, fetched at most once for all who ask at the same time; false where they can't be had.
func (a *annotations) of(ctx context.Context, at place, get fetch) (map[string]policy.Hints, bool) {
	a.mu.Lock()
	c := a.known[at]
	if c == nil || c.stale(time.Now()) {
		c = &catalogue{done: make(chan struct{})}
		a.known[at] = c
		go a.fill(context.WithoutCancel(ctx), c, get) // whoever began it may hang up; others wait for it
	}
	a.mu.Unlock()
	select {
	case <-c.done:
		return c.hints, c.hints != nil
	case <-ctx.Done():
		return nil, false
	}
}

// stale says whether a catalogue was true once and may not be now.
func (c *catalogue) stale(now time.Time) bool {
	select {
	case <-c.done:
		return !now.Before(c.until)
	default:
		return false
	}
}

func (a *annotations) fill(ctx context.Context, c *catalogue, get fetch) {
	ctx, cancel := context.WithTimeout(ctx, hintsTimeout)
	defer cancel()
	defer close(c.done)
	var life time.Duration
	err := guarded(func() (err error) {
		c.hints, life, err = get(ctx)
		return err
	})
	if err != nil {
		c.hints, life = nil, hintsRetry
		a.log.Warn("the remote's tools can't be listed, and policies read their annotations", slog.Any(telemetry.KeyError, err),
			slog.String(telemetry.KeyHint, "calls that need them are judged without them, or refused where a forbid reads them"))
	}
	c.until = time.Now().Add(life)
}

// forget drops what is known of a remote, because its tools have changed.
func (a *annotations) forget(remote string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for at := range a.known {
		if at.remote == remote {
			delete(a.known, at)
		}
	}
}

// fetchHints lists the remote's tools, all pages, for the caller of ev. The life is that of the page that ends first.
func (g *Gateway) fetchHints(ctx context.Context, ev *audit.Event, session string) (map[string]policy.Hints, time.Duration, error) {
	hints := map[string]policy.Hints{}
	life, cursor := hintsLife, ""
	for range maxPages {
		page, next, err := g.listTools(ctx, ev, session, cursor, hints)
		if err != nil {
			return nil, 0, err
		}
		if page > 0 {
			life = min(life, page)
		}
		if next == "" {
			return hints, min(life, maxHintsLife), nil
		}
		cursor = next
	}
	return nil, 0, fmt.Errorf("list tools: more than %d pages", maxPages)
}

// listTools asks for one page and adds what it says of each tool.
func (g *Gateway) listTools(ctx context.Context, ev *audit.Event, session, cursor string, hints map[string]policy.Hints) (ttl time.Duration, next string, err error) {
	call, header := mcp.Compose(ev.Call, "rolegate-"+rand.Text(), mcp.MethodToolsList, cursor)
	defer call.Release()
	if session != "" {
		header[mcp.HeaderSession] = []string{session}
	}
	header["User-Agent"], header["Accept-Encoding"] = []string{"rolegate"}, []string{"identity"}
	ask := &audit.Event{HTTPMethod: http.MethodPost, Caller: ev.Caller, Role: ev.Role, Grant: ev.Grant, Call: call}
	resp, _, err := g.attempt(ctx, ask, header)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, "", fmt.Errorf("list tools: status %d", resp.StatusCode)
	}
	message, err := answerOf(resp)
	if err != nil {
		return 0, "", fmt.Errorf("list tools: %w", err)
	}
	tools, next, ttl, err := mcp.Tools(message)
	if err != nil {
		return 0, "", fmt.Errorf("list tools: %w", err)
	}
	for _, tool := range tools {
		hints[tool.Target] = policy.Hints(tool.Hints)
	}
	return ttl, next, nil
}

// answerOf reads the response of a call of the gateway's own, from a body or from a stream.
func answerOf(resp *http.Response) ([]byte, error) {
	if isStream(resp.Header.Get("Content-Type")) {
		return mcp.Answer(resp.Body, maxList)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err == nil && len(body) > maxList {
		err = errors.New("the answer is too large")
	}
	return body, err
}

package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
)

// What policies read of a tool's annotations comes from the remote's own tools/list, asked for with the credentials and
// in the session of the caller who needs it, and remembered for each role. What a client sends is never believed.

const (
	hintsLife    = 5 * time.Minute // where the list has no ttlMs
	minHintsLife = 10 * time.Second
	maxHintsLife = time.Hour
	hintsGrace   = 15 * time.Minute // after its life, where no newer list can be had
	hintsTimeout = 10 * time.Second // of all pages together
	hintsRetry   = 5 * time.Second  // after a failure
	maxPages     = 100
	maxList      = 16 << 20 // bytes of one page
)

// place is whose tools they are: the remote, seen in a role.
type place struct{ remote, role string }

// hints are those of every tool in one list.
type hints struct {
	tools map[string]*policy.Hints // nil: the list tells them in a way that could mean several things
	vague bool                     // of some item it is not certain which tool it is: any that the list does not name
}

// of gives the hints of a tool; false where they are not known. Of a tool that is not in the list there are none.
func (h *hints) of(tool string) (policy.Hints, bool) {
	switch found, listed := h.tools[tool]; {
	case found != nil:
		return *found, true
	case listed || h.vague:
		return policy.Hints{}, false
	}
	return policy.Hints{}, true
}

// add takes up an item of the list. What two of them say of one tool in different ways is not known.
func (h *hints) add(item *mcp.Item) {
	if item.Odd {
		h.vague, h.tools[item.Target] = true, nil
		return
	}
	said := policy.Hints(item.Hints)
	if before, twice := h.tools[item.Target]; twice && (before == nil || !reflect.DeepEqual(*before, said)) {
		h.tools[item.Target] = nil
		return
	}
	h.tools[item.Target] = &said
}

// fetch gets a list, and for how long it is good.
type fetch func(context.Context) (*hints, time.Duration, error)

// personal is a failure that says something of the caller for whom the list was asked for, and nothing of the list.
type personal struct{ why *fault.Error }

func (p personal) Error() string { return p.why.Error() }

func (p personal) Unwrap() error { return p.why }

// annotations remembers the hints of every tool. Nothing is awaited under its lock.
type annotations struct {
	mu    sync.Mutex
	known map[place]*catalogue
}

// catalogue is what is known of one place.
type catalogue struct {
	flight *flight   // that is under way, or the last one
	until  time.Time // its result stands
	hints  *hints    // of the last list that could be had; nil before there was one
	end    time.Time // they are used no longer than this
}

// flight is one fetch, for all who wait for it. Its result is there once done is closed.
type flight struct {
	done  chan struct{}
	hints *hints
	err   error
}

func newAnnotations() *annotations { return &annotations{known: map[place]*catalogue{}} }

// of gives the hints of a place, fetched at most once for all who ask at the same time. Where that fails for a reason
// of the one who began it, each of the others asks for itself.
func (a *annotations) of(ctx context.Context, at place, get fetch) (*hints, error) {
	for alone := false; ; alone = true {
		f, began := a.join(ctx, at, get, alone)
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, personal{fault.New(fault.Aborted, "the client went away").Because(ctx.Err())}
		}
		if _, others := errors.AsType[personal](f.err); began || !others {
			return f.hints, f.err
		}
	}
}

// join gives the flight whose result counts now, and whether it was begun here. Alone, it joins none that is under way.
func (a *annotations) join(ctx context.Context, at place, get fetch, alone bool) (f *flight, began bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.known[at]
	if c == nil {
		c = new(catalogue)
		a.known[at] = c
	}
	if c.flight != nil && (time.Now().Before(c.until) || !alone && !c.flight.landed()) {
		return c.flight, false
	}
	f = &flight{done: make(chan struct{})}
	c.flight = f
	go a.fly(context.WithoutCancel(ctx), c, f, get) // whoever began it may hang up; others wait for it
	return f, true
}

func (f *flight) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

func (a *annotations) fly(ctx context.Context, c *catalogue, f *flight, get fetch) {
	ctx, cancel := context.WithTimeout(ctx, hintsTimeout)
	defer cancel()
	var life time.Duration
	f.err = guarded(func() (err error) {
		f.hints, life, err = get(ctx)
		return err
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	defer close(f.done)
	now := time.Now()
	if f.err == nil {
		c.flight, c.hints, c.until = f, f.hints, now.Add(life)
		c.end = c.until.Add(hintsGrace)
		return
	}
	_, own := errors.AsType[personal](f.err)
	f.hints = nil
	if c.hints != nil && now.Before(c.end) {
		f.hints, f.err = c.hints, nil
	}
	if c.flight == f && !own {
		c.until = now.Add(hintsRetry)
	}
}

// peek gives the hints of the last list of a place while they are used; nil otherwise.
func (a *annotations) peek(at place) *hints {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.known[at]; c != nil && time.Now().Before(c.end) {
		return c.hints
	}
	return nil
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

// fetchHints lists the remote's tools for the caller of ev, and writes a line about it. Where the remote says meanwhile
// that they changed, it begins anew, once; after that the list is good for as short as one can be.
func (g *Gateway) fetchHints(ctx context.Context, ev *audit.Event, session string) (all *hints, life time.Duration, err error) {
	trace := &audit.Listing{For: ev}
	began := time.Now()
	if all, life, err = g.allTools(ctx, trace, session); err == nil && trace.Changed {
		trace.Changed = false
		all, life, err = g.allTools(ctx, trace, session)
	}
	trace.Duration, trace.Err = time.Since(began), err
	trace.Log(ctx, g.Log)
	if trace.Changed {
		life = minHintsLife
	}
	return all, life, err
}

// allTools lists the remote's tools, all pages. The life is that of the page that ends first.
func (g *Gateway) allTools(ctx context.Context, trace *audit.Listing, session string) (*hints, time.Duration, error) {
	all := &hints{tools: map[string]*policy.Hints{}}
	life, cursor := time.Duration(-1), ""
	for range maxPages {
		tools, next, ttl, err := g.listTools(ctx, trace, session, cursor)
		if err != nil {
			return nil, 0, err
		}
		for i := range tools {
			all.add(&tools[i])
		}
		if ttl >= 0 && (life < 0 || ttl < life) {
			life = ttl
		}
		if cursor = next; cursor != "" {
			continue
		}
		if life < 0 {
			life = hintsLife
		}
		return all, min(max(life, minHintsLife), maxHintsLife), nil
	}
	return nil, 0, fmt.Errorf("list tools: more than %d pages", maxPages)
}

// listTools asks for one page, and notes what becomes of it in trace. The error is personal where others may fare better.
func (g *Gateway) listTools(ctx context.Context, trace *audit.Listing, session, cursor string) (tools []mcp.Item, next string, ttl time.Duration, err error) {
	ev := trace.For
	call, header := mcp.Compose(ev.Call, "rolegate-"+rand.Text(), mcp.MethodToolsList, cursor)
	defer call.Release()
	if session != "" {
		header[mcp.HeaderSession] = []string{session}
	}
	header["User-Agent"], header["Accept-Encoding"] = []string{"rolegate"}, []string{"identity"}
	ask := &audit.Event{HTTPMethod: http.MethodPost, Caller: ev.Caller, Role: ev.Role, Grant: ev.Grant, Call: call}
	resp, err := g.send(ctx, ask, header)
	if err != nil {
		if g.chooser != nil && ask.AccessKeyID == "" {
			err = personal{fault.Of(err)} // nobody lends to this caller
		}
		return nil, "", 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if id := resp.Header.Get("X-Amzn-Requestid"); id != "" {
		trace.AWSRequestIDs = append(trace.AWSRequestIDs, id)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, "", 0, notListed(resp, session)
	}
	if err = plain(resp); err != nil {
		return nil, "", 0, fmt.Errorf("list tools: %w", err)
	}
	message, err := answerOf(resp, func() { trace.Changed = true })
	if err != nil {
		return nil, "", 0, fmt.Errorf("list tools: %w", err)
	}
	if tools, next, ttl, err = mcp.Tools(message); err != nil {
		return nil, "", 0, fmt.Errorf("list tools: %w", err)
	}
	trace.Pages++
	trace.Tools += len(tools)
	return tools, next, ttl, nil
}

// notListed is the error of an answer that is no list. What the remote has against this caller's session, or the lack
// of one, the call itself would have met too, and only the client can mend it.
func notListed(resp *http.Response, session string) error {
	err := fmt.Errorf("list tools: status %d", resp.StatusCode)
	later := fault.New(fault.Unavailable, "the tool's annotations can't be fetched for now").
		Hint("policies read them, and the remote refuses to list its tools to this caller").Later(hintsRetry).Because(err)
	switch {
	case resp.StatusCode < 400 || resp.StatusCode > 499 || resp.StatusCode == http.StatusTooManyRequests:
		return err
	case credentialsExpired(resp):
		return personal{later}
	case resp.StatusCode == http.StatusNotFound && session != "":
		return personal{fault.New(fault.SessionLost, "session not found").Hint("the remote does not know it any more").Because(err)}
	case resp.StatusCode == http.StatusBadRequest:
		return personal{fault.New(fault.Malformed, "the remote MCP server refuses the session, or the lack of one").Because(err)}
	}
	return personal{later}
}

// answerOf reads the response of a call of the gateway's own, from a body or from a stream.
func answerOf(resp *http.Response, changed func()) ([]byte, error) {
	if isStream(resp.Header.Get("Content-Type")) {
		return mcp.Answer(resp.Body, maxList, changed)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err == nil && len(body) > maxList {
		err = errors.New("the answer is too large")
	}
	return body, err
}

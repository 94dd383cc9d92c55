package gateway

import (
	"crypto/rand"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/token"
)

// The door alone writes the status of an error, recovers a panic, writes the log line and closes the record. Handlers
// return errors.

// answer watches what is written to the client.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// door serves one request through serve, whatever serve does.
func (g *Gateway) door(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request, *audit.Event) error) {
	ended := g.Metrics.Began(r.Method, r.TLS != nil)
	defer ended()
	ev := &audit.Event{Start: time.Now(), ID: rand.Text(), HTTPMethod: r.Method, Path: r.URL.Path, RemoteAddr: r.RemoteAddr}
	g.arrived(ev, r)
	out := &answer{ResponseWriter: w}
	out.Header().Set("X-Request-Id", ev.ID)
	if r.ContentLength != 0 {
		// A refusal before the body was read leaves net/http to read it, and that too must end.
		_ = http.NewResponseController(w).SetReadDeadline(ev.Start.Add(g.limits.BodyTimeout))
	}

	defer func() { // also where the answer about an error panics
		ev.Status, ev.Bytes, ev.End = out.status, out.bytes, time.Now()
		g.over(ev, r)
	}()
	ev.Err = g.whose(r, guarded(func() error { return serve(out, r, ev) }))
	// Whatever is still to be written, net/http's last flush included, must be read in time.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(g.write))
	gone := ev.Err != nil && (out.status != 0 || fault.Of(ev.Err).Kind == fault.Aborted)
	switch {
	case ev.Err != nil && !gone:
		g.render(out, r, ev)
	case gone && out.status == 0:
		out.status = fault.Aborted.Status() // nobody is there to read an answer; the record should say so
	}
	if gone {
		// Cutting the connection is the one honest way left to say that an answer is not whole; returning would send
		// what net/http takes for an empty one.
		panic(http.ErrAbortHandler)
	}
}

// whose says who broke off: what fails because the request's context ended is neither the remote's doing nor STS's, but
// the client's, or that of this process where it stops.
func (g *Gateway) whose(r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	switch kind := fault.Of(err).Kind; kind {
	case fault.BadUpstream, fault.Unavailable, fault.UpstreamTimeout:
		if r.Context().Err() == nil {
			return err
		}
	case fault.Aborted:
	default:
		return err
	}
	if g.streams.cutting.Load() {
		return fault.New(fault.Unavailable, "the gateway is stopping").
			Hint(hintDrain).Later(time.Second).Because(err)
	}
	if fault.Of(err).Kind == fault.Aborted {
		return err
	}
	return fault.New(fault.Aborted, "the client went away").Because(r.Context().Err())
}

const hintDrain = "the request was still open when --drain-timeout was over"

// guarded turns a panic into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "internal error").Hint("panic: %v at %s", p, debug.Stack())
		}
	}()
	return f()
}

// render writes the one answer that an error gets.
func (g *Gateway) render(w *answer, r *http.Request, ev *audit.Event) {
	f := fault.Of(ev.Err)
	if f.Kind == fault.Unauthenticated || f.Challenge != "" {
		var scopes []string
		if g.cfg.OIDC != nil {
			scopes = g.cfg.OIDC.Scopes
		}
		w.Header().Set("WWW-Authenticate", token.Challenge(g.metadataURL(r), scopes, f))
	}
	var id []byte
	if ev.Call != nil {
		id = ev.Call.ID
	}
	ev.RPCCode = int64(f.RPCCode())
	mcp.WriteError(w, f, id)
}

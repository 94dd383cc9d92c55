package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
)

// withheld is what of the remote's headers does not go to the client: what belongs to the connection, and what would
// speak for this host, or of our credentials, in the remote's name.
var withheld = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Set-Cookie": true, "Www-Authenticate": true, "Alt-Svc": true,
	"Strict-Transport-Security": true, "Access-Control-Allow-Origin": true, "Access-Control-Allow-Credentials": true,
	"Access-Control-Expose-Headers": true, "Access-Control-Allow-Headers": true, "Access-Control-Allow-Methods": true,
	"Mcp-Session-Id": true, "X-Request-Id": true,
}

// relay sends the remote's answer to the client: status, headers and body as they are, streams event by event.
func (g *Gateway) relay(w http.ResponseWriter, ev *audit.Event, resp *http.Response) error {
	ev.AWSRequestID = resp.Header.Get("X-Amzn-Requestid")
	if resp.StatusCode == http.StatusUnauthorized {
		// A client answers 401 with a new sign-in, which can't mend what the remote has against our signature.
		return fault.New(fault.BadUpstream, "the remote MCP server refused the gateway's credentials").
			Hint("it answered 401; check awsSts.service and awsSts.region, and that the clock is right")
	}
	h := w.Header()
	dropped := connectionNames(resp.Header)
	for name, values := range resp.Header {
		if !withheld[name] && !dropped[name] {
			h[name] = values
		}
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		h.Set("Mcp-Session-Id", g.binder.seal(ev.Caller, ev.Role.RoleARN, id))
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	ev.Stream = media == "text/event-stream"
	if ev.Stream {
		h.Set("X-Accel-Buffering", "no")
		defer g.Metrics.StreamOpened()()
		body := g.streams.watch(resp.Body, listening(ev.Call))
		defer func() { _ = body.Close() }()
		resp.Body = body
	}
	w.WriteHeader(resp.StatusCode)
	return g.copyBody(w, resp, ev.Stream)
}

// connectionNames are the headers that Connection names: they end here (RFC 9110, section 7.6.1).
func connectionNames(h http.Header) map[string]bool {
	var names map[string]bool
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if names == nil {
				names = map[string]bool{}
			}
			names[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return names
}

// An idle stream holds its buffer while it waits, so streams have small ones.
var (
	streamBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	bulkBuffers   = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

func (g *Gateway) copyBody(w http.ResponseWriter, resp *http.Response, stream bool) error {
	out := &bounded{to: w, ctl: http.NewResponseController(w), limit: g.write}
	defer out.unbound()
	if stream {
		buf := streamBuffers.Get().(*[4 << 10]byte)
		defer streamBuffers.Put(buf)
		if err := out.flush(); err != nil { // the headers, before the first event
			return err
		}
		return out.copy(resp.Body, buf[:], true)
	}
	buf := bulkBuffers.Get().(*[32 << 10]byte)
	defer bulkBuffers.Put(buf)
	return out.copy(resp.Body, buf[:], resp.ContentLength < 0)
}

// bounded writes to a client that must keep reading: each write may take limit, however long the stream.
type bounded struct {
	to    io.Writer
	ctl   *http.ResponseController
	limit time.Duration
}

// copy copies until EOF, each piece as it comes; with flush it is on its way before the next is waited for.
func (b *bounded) copy(from io.Reader, buf []byte, flush bool) error {
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if werr := b.write(buf[:n], flush); werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fault.New(fault.BadUpstream, "the remote MCP server broke off its answer").Because(err)
		}
	}
}

func (b *bounded) write(p []byte, flush bool) error {
	_ = b.ctl.SetWriteDeadline(time.Now().Add(b.limit)) // where a connection has no deadlines there is no limit
	_, err := b.to.Write(p)
	if err == nil && flush {
		err = b.ctl.Flush()
	}
	return gone(err)
}

func (b *bounded) flush() error {
	_ = b.ctl.SetWriteDeadline(time.Now().Add(b.limit))
	return gone(b.ctl.Flush())
}

// unbound lifts the deadline, which would otherwise outlive the answer on a kept connection.
func (b *bounded) unbound() { _ = b.ctl.SetWriteDeadline(time.Time{}) }

func gone(err error) error {
	if err == nil || errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return fault.New(fault.Aborted, "the client stopped reading").Hint("limits.writeTimeout bounds each write").Because(err)
}

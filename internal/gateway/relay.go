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
	"github.com/rolegate/rolegate/internal/mcp"
)

// allowedResponse is what of the remote's headers goes on to the client, besides the families of allowedFamilies. What
// is not named stays here: what belongs to the connection, and what would speak for this host in the remote's name
// (cookies, challenges, CORS, redirects, policies of a browser).
var allowedResponse = [...]string{
	"Allow", "Cache-Control", "Content-Encoding", "Content-Language", "Content-Length", "Content-Type", "Date", "Mcp-Protocol-Version",
	"Retry-After", "X-Amz-Id-2", "X-Amz-Request-Id",
}

// allowedFamilies are the beginnings of names that go on too.
var allowedFamilies = [...]string{"X-Amzn-", "X-Ratelimit-", "Ratelimit"}

// maxSealable bounds the remote's session ids, so that what the client gets is one that it may send.
const maxSealable = 1900

// relay sends the remote's answer to the client: status, headers and body as they are, streams event by event.
func (g *Gateway) relay(w http.ResponseWriter, r *http.Request, ev *audit.Event, resp *http.Response) error {
	ev.AWSRequestID = resp.Header.Get("X-Amzn-Requestid")
	if resp.StatusCode == http.StatusUnauthorized {
		// A client answers 401 with a new sign-in, which can't mend what the remote has against our signature.
		return fault.New(fault.BadUpstream, "the remote MCP server refused the gateway's credentials").
			Hint("it answered 401; where requests are signed, check awsSts.service and awsSts.region, and that the clock is right; where they are not, it wants them to be")
	}
	id := resp.Header.Get(mcp.HeaderSession)
	if len(id) > maxSealable {
		return fault.New(fault.BadUpstream, "the remote MCP server's session id is too long").Hint("it has %d bytes", len(id))
	}
	ev.Stream = isStream(resp.Header.Get("Content-Type"))
	filter, err := g.filter(ev, resp)
	if err != nil {
		return err
	}
	h := w.Header() // from here on there is no refusal, which would carry the remote's headers
	allowResponse(h, resp.Header)
	if id != "" {
		sealed := g.binder.seal(ev.Caller, ev.Role.RoleARN, id)
		h.Set(mcp.HeaderSession, sealed)
		if sealed != ev.Call.Session && g.records != nil {
			ev.Session = audit.SessionDigest(sealed)
		}
	}
	if ev.Stream {
		h.Set("X-Accel-Buffering", "no")
		defer g.Metrics.StreamOpened()()
		body := g.streams.watch(resp.Body, listening(ev.Call))
		defer func() { _ = body.Close() }()
		resp.Body = body
		if filter != nil {
			resp.Body = filter.Stream(body)
			defer func() { _ = resp.Body.Close(); g.filtered(ev, filter) }()
		}
	}
	watcher := watch(ev, resp)
	defer func() { learn(ev, watcher) }()
	w.WriteHeader(resp.StatusCode)
	return g.copyBody(w, resp, watcher, ev.Stream, r.ProtoMajor > 1)
}

// isStream says whether a content type is that of server-sent events.
func isStream(contentType string) bool {
	if contentType == "application/json" {
		return false
	}
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "text/event-stream"
}

func allowResponse(to, from http.Header) {
	for _, name := range allowedResponse {
		if v := from[name]; len(v) > 0 {
			to[name] = v
		}
	}
	for name, v := range from {
		for _, family := range allowedFamilies {
			if strings.HasPrefix(name, family) {
				to[name] = v
			}
		}
	}
}

var (
	streamBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}
	bulkBuffers   = sync.Pool{New: func() any { return new([32 << 10]byte) }}
)

func (g *Gateway) copyBody(w http.ResponseWriter, resp *http.Response, watcher *mcp.Watcher, stream, multiplexed bool) error {
	out := &bounded{to: w, watcher: watcher, ctl: http.NewResponseController(w), limit: g.write, quiet: stream || multiplexed}
	if stream {
		resp.Request = nil                           // a stream may last for hours; nobody asks any more what it answers
		if err := out.write(nil, true); err != nil { // the headers, before the first event
			return err
		}
		return out.stream(resp.Body)
	}
	buf := bulkBuffers.Get().(*[32 << 10]byte)
	defer bulkBuffers.Put(buf)
	for {
		if done, err := out.copy(resp.Body, buf[:], resp.ContentLength < 0); done || err != nil {
			return err
		}
	}
}

// bounded writes to a client that must keep reading: each write may take limit, however long the stream.
type bounded struct {
	to    io.Writer
	ctl   *http.ResponseController
	limit time.Duration
	quiet bool // between two writes no deadline may stand

	watcher *mcp.Watcher // sees what is written; nil: nobody does
}

// patient is a body that can be waited for without a buffer.
type patient interface{ Wait() }

// stream copies until EOF, each piece on its way before the next is waited for. While nothing comes it has no buffer,
// where the body can do without.
func (b *bounded) stream(body io.Reader) error {
	quiet, _ := body.(patient)
	for {
		if quiet != nil {
			quiet.Wait()
		}
		buf := streamBuffers.Get().(*[4 << 10]byte)
		done, err := b.copy(body, buf[:], true)
		streamBuffers.Put(buf)
		if done || err != nil {
			return err
		}
	}
}

// copy copies one piece; done at the end of the body.
func (b *bounded) copy(from io.Reader, buf []byte, flush bool) (done bool, err error) {
	n, err := from.Read(buf)
	if n > 0 {
		if werr := b.write(buf[:n], flush); werr != nil {
			return false, werr
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil:
		return false, fault.New(fault.BadUpstream, "the remote MCP server broke off its answer").Because(err)
	}
	return false, nil
}

// write writes within the limit. On a quiet connection the deadline is lifted at once: over HTTP/2 one that stands resets a
// stream that is only waiting.
func (b *bounded) write(p []byte, flush bool) error {
	_ = b.ctl.SetWriteDeadline(time.Now().Add(b.limit)) // where a connection has no deadlines there is no limit
	if b.quiet {
		defer func() { _ = b.ctl.SetWriteDeadline(time.Time{}) }()
	}
	if b.watcher != nil {
		b.watcher.Write(p)
	}
	_, err := b.to.Write(p)
	if err == nil && flush {
		err = b.ctl.Flush()
	}
	return gone(err)
}

func gone(err error) error {
	if err == nil || errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return fault.New(fault.Aborted, "the client stopped reading").Hint("limits.writeTimeout bounds each write").Because(err)
}

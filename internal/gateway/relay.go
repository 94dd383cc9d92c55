package gateway

import (
	"errors"
	"io"
	"net/http"
	"slices"
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
	ev.Stream = isStream(contentType(resp))
	filter, err := g.filter(ev, resp)
	if err != nil {
		return err
	}
	watcher := g.watch(ev, resp)
	sees := watcher // what is written
	if g.inspects(ev, resp) {
		if err := inspect(resp, watcher); err != nil {
			return err
		}
		sees = nil
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
	defer func() { g.learn(ev, watcher, resp.StatusCode) }() // when filter has told
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
	w.WriteHeader(resp.StatusCode)
	err = g.copyBody(w, resp, sees, ev.Stream, r.ProtoMajor > 1)
	// Where writing failed, what was inspected before may not have reached the client.
	if err != nil && r.Context().Err() != nil && watcher != nil && watcher.Outcome().Kind != mcp.OutcomeUnknown &&
		(sees != nil || fault.Of(err).Kind != fault.Aborted) {
		return nil // the client had its response, and left
	}
	return err
}

// contentType is that of an answer, as a client reads it that puts several headers together.
func contentType(resp *http.Response) string {
	if v := resp.Header["Content-Type"]; len(v) != 1 {
		return strings.Join(v, ", ")
	}
	return resp.Header["Content-Type"][0]
}

// isStream says whether a content type is that of server-sent events to some client, be it one that only looks for the
// words.
func isStream(contentType string) bool {
	return contentType != "application/json" && strings.Contains(strings.ToLower(contentType), "text/event-stream")
}

// onlyStream says whether a content type that is a stream's to some is JSON's to nobody.
func onlyStream(contentType string) bool {
	return !strings.Contains(strings.ToLower(contentType), "json")
}

func allowResponse(to, from http.Header) {
	for _, name := range allowedResponse {
		if v := from[name]; len(v) > 0 {
			to[name] = v
		}
	}
	if v := to["Cache-Control"]; v != nil {
		to["Cache-Control"] = unshared(v)
	}
	for name, v := range from {
		for _, family := range allowedFamilies {
			if strings.HasPrefix(name, family) {
				to[name] = v
			}
		}
	}
}

// unshared is a Cache-Control by which no cache keeps for others what was answered to one caller: without the words that
// outdo the request's Authorization (RFC 9111, section 3.5), and with those that restrict.
func unshared(cacheControl []string) []string {
	said := strings.ToLower(strings.Join(cacheControl, ","))
	has := func(word string) bool { return strings.Contains(said, word) }
	if !slices.ContainsFunc([]string{"public", "s-maxage", "must-revalidate"}, has) {
		return cacheControl
	}
	kept := "private"
	for _, word := range []string{"no-store", "no-cache", "max-age=0"} {
		if has(word) {
			kept += ", " + word
		}
	}
	return []string{kept}
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
	}
	flush := stream || resp.ContentLength < 0
	if watcher != nil && zipped(coding(resp)) {
		if done, err := out.unzip(resp.Body, flush); done || err != nil {
			return err
		}
	}
	if stream {
		return out.stream(resp.Body)
	}
	buf := bulkBuffers.Get().(*[32 << 10]byte)
	defer bulkBuffers.Put(buf)
	for {
		if _, done, err := out.copy(resp.Body, buf[:], flush); done || err != nil {
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
		_, done, err := b.copy(body, buf[:], true)
		streamBuffers.Put(buf)
		if done || err != nil {
			return err
		}
	}
}

// copy copies one piece of n bytes, which are in buf then; done at the end of the body.
func (b *bounded) copy(from io.Reader, buf []byte, flush bool) (n int, done bool, err error) {
	n, err = from.Read(buf)
	if n > 0 {
		if werr := b.write(buf[:n], flush); werr != nil {
			return n, false, werr
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return n, true, nil
	case err != nil:
		return n, false, fault.New(fault.BadUpstream, "the remote MCP server broke off its answer").Hint(hintBroken).Because(err)
	}
	return n, false, nil
}

// write writes within the limit. On a quiet connection the deadline is lifted at once: over HTTP/2 one that stands resets a
// stream that is only waiting.
func (b *bounded) write(p []byte, flush bool) error {
	_ = b.ctl.SetWriteDeadline(time.Now().Add(b.limit)) // where a connection has no deadlines there is no limit
	if b.quiet {
		defer func() { _ = b.ctl.SetWriteDeadline(time.Time{}) }()
	}
	_, err := b.to.Write(p)
	if err == nil && flush {
		err = b.ctl.Flush()
	}
	if err = gone(err); err == nil && b.watcher != nil {
		b.watcher.Write(p)
	}
	return err
}

// hintBroken is about answers that end too soon.
const hintBroken = "the remote, or what stands before it, closed the connection; the aws_request_id is the remote's for this call"

func gone(err error) error {
	if err == nil || errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return fault.New(fault.Aborted, "the client stopped reading").Hint("limits.writeTimeout bounds each write").Because(err)
}

package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// No list reaches a client unfiltered, whichever of its requests the answer belongs to: those of a stream are filtered
// event by event, those of a body at once. The answer to a request that asks for no list may be of any length; it is not
// kept but looked at as it passes, and stops where a list begins.

// filter edits the lists of an answer: those of a body at once, those of a stream as they pass, for which it gives the
// filter. It gives nil where nothing passes that needs one. The error is an answer that can't be understood.
func (g *Gateway) filter(ev *audit.Event, resp *http.Response) (*mcp.ListFilter, error) {
	if !g.edits() {
		return nil, nil
	}
	if err := plain(resp); err != nil {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's answer can't be read").
			Hint("Content-Encoding %q, although identity was asked for", resp.Header.Get("Content-Encoding")).Because(err)
	}
	if ev.Stream && !onlyStream(contentType(resp)) {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's answer can't be read").
			Hint("Content-Type %q is that of a stream to some and of JSON to others", contentType(resp))
	}
	if g.inspects(ev, resp) {
		return nil, nil
	}
	f := &mcp.ListFilter{
		Method: ev.Call.Method, Modern: ev.Call.Era == mcp.Modern, Judge: g.judge(ev),
		Unasked:   ev.Call.Kind != mcp.Request && ev.Call.Kind != mcp.Stream,
		OnChanged: func() { g.annotations.forget(g.cfg.RemoteURL) },
	}
	if ev.Stream {
		resp.Header.Del("Content-Length") // what passes may be longer or shorter
		resp.ContentLength = -1
		return f, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err != nil {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server broke off its answer").Hint(hintBroken).Because(err)
	}
	if len(body) > maxList {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's answer is too large").Hint("limit: %d bytes, where it may hold a list", maxList)
	}
	out, err := f.Body(resp.StatusCode, body)
	if err != nil {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's answer can't be understood").Hint(hintObscure).Because(err)
	}
	g.filtered(ev, f)
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(out)), int64(len(out))
	if len(out) > 0 {
		resp.Header.Set("Content-Length", strconv.Itoa(len(out)))
	}
	return nil, nil
}

const hintObscure = "a list that can't be understood, or is not expected, can't be filtered, so nothing of it is shown; it is the remote's to mend"

// inspects says whether an answer is looked at as it passes: that to a request for something else than a list.
func (g *Gateway) inspects(ev *audit.Event, resp *http.Response) bool {
	return g.edits() && !ev.Stream && ev.Call.Kind == mcp.Request && !mcp.ListMethod(ev.Call.Method) &&
		resp.StatusCode < 400 && resp.StatusCode != http.StatusAccepted
}

// inspect has a watcher see an answer before anybody else, and reads its beginning: the whole, where the remote says
// that it is short. The error is that there is something that must not pass; later on, Read gives it.
func inspect(resp *http.Response, watcher *mcp.Watcher) error {
	watcher.Guard()
	body := &inspected{body: resp.Body, watcher: watcher, room: bulkBuffers.Get().(*[32 << 10]byte)}
	least := 1
	if n := resp.ContentLength; n > 0 && n <= int64(len(body.room)) {
		least = int(n)
	}
	n, err := io.ReadAtLeast(resp.Body, body.room[:], least)
	body.first, body.err = body.room[:n], err
	watcher.Write(body.first)
	resp.Body = body
	if err := watcher.Refusal(); err != nil {
		return fault.New(fault.BadUpstream, "the remote MCP server's answer can't be understood").Hint(hintObscure).Because(err)
	}
	return nil
}

// inspected is a body of which nothing is read that must not pass.
type inspected struct {
	body    io.ReadCloser
	watcher *mcp.Watcher
	room    *[32 << 10]byte // that first stands in; nil when it was read
	first   []byte
	err     error // comes after first
}

func (b *inspected) Read(p []byte) (int, error) {
	if b.room != nil {
		n := copy(p, b.first)
		if b.first = b.first[n:]; len(b.first) == 0 {
			bulkBuffers.Put(b.room)
			b.room = nil
		}
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.body.Read(p)
	b.watcher.Write(p[:n])
	if b.err = b.watcher.Refusal(); b.err != nil {
		return 0, b.err
	}
	return n, err
}

func (b *inspected) Close() error { return b.body.Close() }

// filtered notes what a filter did.
func (g *Gateway) filtered(ev *audit.Event, f *mcp.ListFilter) {
	ev.Hidden, ev.Withheld = f.Hidden, f.Withheld
	if f.Hidden > 0 {
		label := "stream" // a method of the client's own would make a label of its choice
		if mcp.ListMethod(f.Method) {
			label = f.Method
		}
		g.Metrics.ItemsHidden(label, f.Hidden)
	}
}

// plain takes a content coding off an answer that was asked for without one.
func plain(resp *http.Response) error {
	switch coding := coding(resp); {
	case coding == "":
	case zipped(coding):
		resp.Body = &unzipped{ReadCloser: resp.Body}
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	default:
		return errors.New("unknown content coding")
	}
	resp.Header.Del("Content-Encoding")
	return nil
}

// unzipped is a body without its compression. What it begins with is read when that is asked for: a stream may be silent
// for long.
type unzipped struct {
	io.ReadCloser
	plain *gzip.Reader // nil before the first Read
}

func (u *unzipped) Read(p []byte) (n int, err error) {
	if u.plain == nil {
		if u.plain, err = gzip.NewReader(u.ReadCloser); err != nil {
			u.plain = nil
			return 0, err
		}
	}
	return u.plain.Read(p)
}

package gateway

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// filter edits the lists of an answer: those of a JSON body at once, those of a stream as they pass, for which it gives
// the filter. It gives nil where nothing passes that needs one. The error is an answer that can't be understood.
func (g *Gateway) filter(ev *audit.Event, resp *http.Response) (*mcp.ListFilter, error) {
	if !g.edits() || !ev.Stream && !mcp.ListMethod(ev.Call.Method) {
		return nil, nil
	}
	if err := plain(resp); err != nil {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's list can't be read").
			Hint("Content-Encoding %q, although identity was asked for", resp.Header.Get("Content-Encoding")).Because(err)
	}
	f := &mcp.ListFilter{
		Method: ev.Call.Method, Modern: ev.Call.Era == mcp.Modern, Judge: g.judge(ev.Caller),
		OnChanged: func() { g.annotations.forget(g.cfg.RemoteURL) },
	}
	if ev.Stream {
		resp.Header.Del("Content-Length") // what passes may be longer or shorter
		resp.ContentLength = -1
		return f, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err != nil {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server broke off its answer").Because(err)
	}
	if len(body) > maxList {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's list is too large").Hint("limit: %d bytes", maxList)
	}
	out, err := f.Body(resp.StatusCode, body)
	if err != nil {
		return nil, fault.New(fault.BadUpstream, "the remote MCP server's list can't be understood").Because(err)
	}
	g.filtered(ev, f)
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(out)), int64(len(out))
	if len(out) > 0 {
		resp.Header.Set("Content-Length", strconv.Itoa(len(out)))
	}
	return nil, nil
}

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
	coding := strings.ToLower(strings.Join(resp.Header["Content-Encoding"], ","))
	switch cmp.Or(coding, "identity") {
	case "identity":
	case "gzip", "x-gzip":
		unzipped, err := gzip.NewReader(resp.Body)
		if err != nil {
			return err
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{unzipped, resp.Body}
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	default:
		return errors.New("unknown content coding")
	}
	resp.Header.Del("Content-Encoding")
	return nil
}

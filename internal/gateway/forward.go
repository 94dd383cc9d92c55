package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/sts"
)

const (
	maxRedirects = 3
	refusalLimit = 64 << 10 // of a refusal's body that is looked at
)

// allowedRequest is what of a client's headers goes on to the remote, besides Mcp-Param-*. What is not named stays
// here: the token, cookies, X-Amz-*, X-Forwarded-*, baggage, whatever comes next.
var allowedRequest = [...]string{
	"Accept", "Accept-Language", "Content-Type", "Last-Event-Id", "Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version",
	"Traceparent", "Tracestate", "User-Agent",
}

// forward borrows credentials, sends the call and relays the answer.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, ev *audit.Event, session string) error {
	header := g.outgoing(r, session)
	resp, lease, err := g.attempt(r.Context(), ev, header)
	if err != nil {
		return err
	}
	if lease != nil && credentialsExpired(resp) {
		_ = resp.Body.Close()
		g.Vault.Drop(lease)
		if resp, _, err = g.attempt(r.Context(), ev, header); err != nil {
			return err
		}
	}
	defer func() { _ = resp.Body.Close() }()
	err = g.relay(w, ev, resp)
	if r.Context().Err() != nil && err != nil && fault.Of(err).Kind != fault.Aborted {
		return fault.New(fault.Aborted, "the client went away").Because(r.Context().Err())
	}
	return err
}

// outgoing makes the headers that leave. What the remote must know of the connection, net/http and the seal add.
func (g *Gateway) outgoing(r *http.Request, session string) http.Header {
	out := make(http.Header, 16)
	for _, name := range allowedRequest {
		if v := r.Header[name]; len(v) > 0 {
			out[name] = v
		}
	}
	for name, v := range r.Header {
		if strings.HasPrefix(name, mcp.ParamPrefix) {
			out[name] = v
		}
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // else net/http would name itself
	}
	if session != "" {
		out["Mcp-Session-Id"] = []string{session}
	}
	out["Accept-Encoding"] = []string{"identity"}
	return out
}

// attempt borrows credentials and sends the call once, redirects to the same host included.
func (g *Gateway) attempt(ctx context.Context, ev *audit.Event, header http.Header) (*http.Response, *sts.Lease, error) {
	var lease *sts.Lease
	if g.chooser != nil {
		var err error
		if lease, ev.STS, err = g.Vault.Credentials(ctx, ev.Caller, ev.Grant); err != nil {
			return nil, nil, err
		}
		ctx = sigv4.With(ctx, lease.Credentials, ev.Call.Hash)
	}
	target := g.remote
	for hop := 0; ; hop++ {
		resp, err := g.seal.RoundTrip(request(ctx, target, header, ev.HTTPMethod, ev.Call))
		if err != nil {
			return nil, nil, unreachable(ctx, err)
		}
		next, err := redirect(resp, target)
		if err != nil || next != nil && hop == maxRedirects {
			_ = resp.Body.Close()
			return nil, nil, fault.New(fault.BadUpstream, "the remote MCP server answered with a redirect").
				Hint("status %d; only redirects to the same host are followed, at most %d; set remoteURL to the final URL", resp.StatusCode, maxRedirects).Because(err)
		}
		if next == nil {
			return resp, lease, nil
		}
		_ = resp.Body.Close()
		target = next
	}
}

// request is one attempt at sending the call.
func request(ctx context.Context, target *url.URL, header http.Header, method string, call *mcp.Call) *http.Request {
	out := &http.Request{
		Method: method, URL: target, Host: target.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if n := len(call.Body); n > 0 {
		out.ContentLength = int64(n)
		out.Body = call.Open()
		out.GetBody = func() (io.ReadCloser, error) { return call.Open(), nil }
	}
	return out.WithContext(ctx)
}

var errForeignRedirect = errors.New("redirect: to another host or scheme")

// redirect gives where a redirect leads, nil for an answer that is none. A redirect that would change the method or
// leave the host is an error: the call was judged and signed for this host, as it is.
func redirect(resp *http.Response, from *url.URL) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		return nil, errors.New("redirect: of a kind that changes the method")
	default:
		return nil, nil
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, errors.New("redirect: Location is no URL")
	}
	if to.Scheme != from.Scheme || to.Host != from.Host || to.User != nil {
		return nil, errForeignRedirect
	}
	to.Fragment, to.RawFragment = "", ""
	return to, nil
}

// unreachable tells why there is no answer.
func unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Aborted, "the client went away").Because(ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		return fault.New(fault.UpstreamTimeout, "the remote MCP server did not answer in time").Hint("limits.responseTimeout bounds the wait").Because(err)
	default:
		return fault.New(fault.BadUpstream, "the remote MCP server can't be reached").Hint("check remoteURL, DNS, HTTPS_PROXY and caBundleRef").Because(err)
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// credentialsExpired says whether the remote refused the call because the lent credentials are past their time. It
// looks at the start of a refusal's body and leaves the body whole.
func credentialsExpired(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
	default:
		return false
	}
	if strings.Contains(resp.Header.Get("X-Amzn-Errortype"), "ExpiredToken") {
		return true
	}
	start, err := io.ReadAll(io.LimitReader(resp.Body, refusalLimit))
	rest := io.MultiReader(bytes.NewReader(start), resp.Body)
	if err != nil {
		rest = io.MultiReader(bytes.NewReader(start), failing{err})
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{rest, resp.Body}
	return bytes.Contains(start, []byte(`"ExpiredToken`)) || bytes.Contains(start, []byte("#ExpiredToken")) ||
		bytes.Contains(start, []byte("<Code>ExpiredToken"))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// listening says whether a stream waits for news rather than for the answer to a call.
func listening(call *mcp.Call) bool {
	return call.Kind == mcp.Stream || call.Method == mcp.MethodListen
}

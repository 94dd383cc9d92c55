package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
)

const (
	maxRedirects = 3
	refusalLimit = 64 << 10 // of a refusal's body that is looked at
)

// allowedRequest is what of a client's headers goes on to the remote, besides those that mirror arguments. What is not
// named stays here: the token, cookies, X-Amz-*, X-Forwarded-*, baggage, whatever comes next.
var allowedRequest = [...]string{
	"Accept", "Accept-Language", "Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version",
	"Traceparent", "Tracestate", "User-Agent",
}

// forward borrows credentials, sends the call and relays the answer.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request, ev *audit.Event, session string) error {
	header, err := g.outgoing(r, ev.Call, session)
	if err != nil {
		return err
	}
	if g.tools != nil {
		named(header, ev.Call)
	}
	resp, err := g.send(r.Context(), ev, header)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	ev.Call.Release() // a stream may last for hours; what is still being sent holds the body by itself
	return g.relay(w, r, ev, resp)
}

// outgoing makes the headers that leave. What the remote must know of the connection, net/http and the seal add.
// The error is a header that says of an argument what the body does not.
func (g *Gateway) outgoing(r *http.Request, call *mcp.Call, session string) (http.Header, error) {
	mirrored, err := call.Mirrored(r.Header)
	if err != nil {
		return nil, err
	}
	out := make(http.Header, 16)
	for _, name := range allowedRequest {
		if v := r.Header[name]; len(v) > 0 {
			out[name] = v
		}
	}
	maps.Copy(out, mirrored)
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = nil // else net/http would name itself
	}
	if len(call.Body) > 0 {
		out["Content-Type"] = r.Header["Content-Type"]
	}
	if session != "" {
		out[mcp.HeaderSession] = []string{session}
		if last := r.Header[mcp.HeaderLastEvent]; len(last) == 1 { // worth as much as the session that it is of
			out[mcp.HeaderLastEvent] = last
		}
	}
	out["Accept-Encoding"] = []string{"identity"}
	return out, nil
}

// send attempts the call, once more with new credentials where the remote says that the lent ones are past their time.
func (g *Gateway) send(ctx context.Context, ev *audit.Event, header http.Header) (*http.Response, error) {
	resp, lease, err := g.attempt(ctx, ev, header)
	if err != nil || lease == nil || !credentialsExpired(resp) || !g.Vault.Drop(lease) {
		return resp, err
	}
	_ = resp.Body.Close()
	resp, _, err = g.attempt(ctx, ev, header)
	return resp, err
}

// attempt borrows credentials and sends the call once, redirects to the same host included.
func (g *Gateway) attempt(ctx context.Context, ev *audit.Event, header http.Header) (*http.Response, *sts.Lease, error) {
	var lease *sts.Lease
	if g.chooser != nil {
		var err error
		step := ev.Span.Step(telemetry.StepSTS)
		lease, ev.STS, err = g.Vault.Credentials(ctx, ev.Caller, ev.Grant)
		step.Set(telemetry.AttrSource, string(ev.STS))
		step.Set(telemetry.AttrRole, ev.Role.RoleARN)
		if lease != nil {
			step.Set(telemetry.AttrAWSRequest, lease.RequestID) // of the flight that was joined, or of an older one
		}
		step.End(failure(err))
		if err != nil {
			return nil, nil, err
		}
		ev.Lent(lease)
		ctx = sigv4.With(ctx, lease.Credentials, ev.Call.Hash)
	}
	target := g.remote
	for hop := 0; ; hop++ {
		resp, err := g.exchange(ctx, ev, target, header)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode < 200 || resp.StatusCode > 599 {
			_ = resp.Body.Close()
			return nil, nil, fault.New(fault.BadUpstream, "the remote MCP server's answer makes no sense").Hint("status %d", resp.StatusCode)
		}
		next, err := redirect(resp, ev.HTTPMethod, target)
		if err != nil || next != nil && hop == maxRedirects {
			_ = resp.Body.Close()
			return nil, nil, fault.New(fault.BadUpstream, "the remote MCP server answered with a redirect").
				Hint("status %d; only redirects to the same host that keep the method are followed, at most %d; set remoteURL to the final URL", resp.StatusCode, maxRedirects).Because(err)
		}
		if next == nil {
			return resp, lease, nil
		}
		_ = resp.Body.Close()
		target = next
	}
}

// exchange sends the call to a target and waits for the headers of the answer. The span and the metric of it end there.
func (g *Gateway) exchange(ctx context.Context, ev *audit.Event, target *url.URL, header http.Header) (*http.Response, error) {
	step := ev.Span.Step(telemetry.StepBackend)
	ev.Span.Inject(step, header)
	step.Set(telemetry.AttrServer, target.Hostname())
	step.SetInt(telemetry.AttrServerPort, telemetry.Port(target))
	ev.Sent = time.Now()
	resp, err := g.seal.RoundTrip(request(ctx, target, header, ev.HTTPMethod, ev.Call))
	seen := telemetry.Exchange{HTTPMethod: ev.HTTPMethod, Server: target, Duration: time.Since(ev.Sent)}
	if err != nil {
		err = unreachable(ctx, err)
		seen.Kind = failure(err)
	} else {
		seen.Status = resp.StatusCode
		step.Set(telemetry.AttrAWSRequest, resp.Header.Get("X-Amzn-Requestid"))
		step.SetInt(telemetry.AttrHTTPStatus, resp.StatusCode)
	}
	step.End(seen.Failure())
	g.Metrics.Exchanged(seen)
	return resp, err
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

// redirect gives where a redirect leads, nil for an answer that is none. A redirect that would change the method or
// leave the host is an error: the call was judged and signed for this host, as it is.
func redirect(resp *http.Response, method string, from *url.URL) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodGet {
			return nil, errors.New("redirect: of a kind that changes the method")
		}
	default:
		return nil, nil
	}
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, errors.New("redirect: Location is no URL")
	}
	if to.Scheme != from.Scheme || to.Host != from.Host || to.User != nil {
		return nil, errors.New("redirect: to another host or scheme")
	}
	to.Fragment, to.RawFragment = "", ""
	return to, nil
}

// unreachable tells why there is no answer.
func unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Aborted, "the client went away").Because(ctx.Err())
	case errors.Is(err, sigv4.ErrUnsigned):
		return fault.New(fault.Internal, "the request can't be signed").Hint("credentials without which it must not leave were missing: a defect, please report it").Because(err)
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

// credentialsExpired says whether the remote refused the call because the lent credentials are past their time: by
// AWS's error header, or by the code of an error document. A body that is looked at stays whole for the client.
func credentialsExpired(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
	default:
		return false
	}
	if kind := resp.Header.Get("X-Amzn-Errortype"); kind != "" {
		return isExpiredToken(kind)
	}
	if resp.ContentLength <= 0 || resp.ContentLength > refusalLimit {
		return false
	}
	body, err := io.ReadAll(resp.Body)
	read := io.MultiReader(bytes.NewReader(body), failing{cmp.Or(err, io.EOF)})
	resp.Body = struct {
		io.Reader
		io.Closer
	}{read, resp.Body}
	var document struct {
		Type string `json:"__type"`
		Code string `json:"code"`
	}
	// The code alone: elsewhere in a body may stand what the client sent, such as the id of its request.
	return json.Unmarshal(body, &document) == nil && (isExpiredToken(document.Type) || isExpiredToken(document.Code))
}

// isExpiredToken reads an AWS error code, with or without the namespace before it and the URL behind it.
func isExpiredToken(code string) bool {
	code, _, _ = strings.Cut(code, ":")
	if at := strings.LastIndexByte(code, '#'); at >= 0 {
		code = code[at+1:]
	}
	return code == "ExpiredTokenException" || code == "ExpiredToken"
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// listening says whether a stream waits for news rather than for the answer to a call.
func listening(call *mcp.Call) bool {
	return call.Kind == mcp.Stream || call.Method == mcp.MethodListen
}

package gateway

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// watch gives what learns from an answer what became of the call; nil where nothing is to be learned.
func (g *Gateway) watch(ev *audit.Event, resp *http.Response) *mcp.Watcher {
	if coding := coding(resp); ev.Call.Kind != mcp.Request || coding != "" && !zipped(coding) {
		return nil
	}
	w := mcp.NewWatcher(ev.Stream)
	if most := g.records.Keeps(ev); most > 0 || ev.Stream {
		w.Keep(ev.Call.ID, most)
	}
	return w
}

// learn notes what a watcher saw.
func (g *Gateway) learn(ev *audit.Event, w *mcp.Watcher, status int) {
	if w == nil {
		return
	}
	switch seen := w.Outcome(); seen.Kind {
	case mcp.OutcomeToolError:
		ev.IsError = true
	case mcp.OutcomeError:
		if ev.RPCCode = seen.Code; seen.Code == 0 {
			ev.RPCCode = mcp.CodeInternal // an error without a code that can be read
		}
	case mcp.OutcomeUnknown:
		if status < 400 && !w.Blinded() && !w.Resumable() && !listening(ev.Call) {
			ev.Flaw = g.unanswered(ev)
		}
	}
	g.records.Answered(ev, w.Response())
}

// unanswered is what is wrong with an answer that was passed on and holds no response to the request.
func (g *Gateway) unanswered(ev *audit.Event) *fault.Error {
	switch {
	case g.streams.cutting.Load():
		return fault.New(fault.Unavailable, "the stream was ended before the response came").Hint(hintDrain)
	case ev.Withheld > 0:
		return fault.New(fault.BadUpstream, "the response was withheld").Hint(hintObscure)
	default:
		return fault.New(fault.BadUpstream, "the remote MCP server's answer ended without a response").
			Hint("the client waits in vain; the remote, or what stands before it, ended the answer too soon or answered with something else than MCP")
	}
}

// mostUnzipped bounds what is looked at of a compressed answer: a small one may unfold to a thousand times its length.
const mostUnzipped = 64 << 20

// coding is the content coding of an answer; "" for none.
func coding(resp *http.Response) string {
	coding := strings.ToLower(strings.Join(resp.Header["Content-Encoding"], ","))
	if coding == "identity" {
		return ""
	}
	return coding
}

func zipped(coding string) bool { return coding == "gzip" || coding == "x-gzip" }

// unzip copies an answer in gzip as it is, and has the watcher see what it unfolds to. It is not done before the end of
// the body, unless no more is to be seen: the coding is broken, or mostUnzipped was reached. What became of the call is
// unknown then, and the rest is to be copied.
//
// Identity is what the remote is asked for, so this is for one that does not care. The decoder pulls: each piece that it
// asks for is read and goes to the client before it sees it. So nothing is held back, no goroutine stands between, and
// no other memory is needed than the decoder's.
func (b *bounded) unzip(body io.Reader, flush bool) (done bool, err error) {
	watcher := b.watcher
	b.watcher = nil // of what is written, which is compressed
	through := &passing{to: b, from: body, flush: flush}
	err = unfold(through, watcher)
	whole := err == nil || errors.Is(err, io.ErrUnexpectedEOF) // what has come is good, if it ends too soon
	if through.err == nil || errors.Is(through.err, io.EOF) && !whole {
		watcher.Blind()
	}
	if errors.Is(through.err, io.EOF) {
		return true, nil
	}
	return false, through.err
}

var errUnzipped = errors.New("a compressed answer is too large")

// unfold shows a watcher what is compressed.
func unfold(from io.Reader, watcher *mcp.Watcher) error {
	plain, err := gzip.NewReader(from)
	if err != nil {
		return err
	}
	buf := streamBuffers.Get().(*[4 << 10]byte)
	defer streamBuffers.Put(buf)
	for seen := 0; seen <= mostUnzipped; {
		n, err := plain.Read(buf[:])
		watcher.Write(buf[:n])
		seen += n
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
	return errUnzipped
}

// passing is a body that goes to the client as it is read.
type passing struct {
	to    *bounded
	from  io.Reader
	flush bool
	err   error // what ended it; io.EOF at the end of the body
}

func (p *passing) Read(buf []byte) (n int, err error) {
	if p.err != nil {
		return 0, p.err
	}
	n, done, err := p.to.copy(p.from, buf, p.flush)
	if p.err = err; done {
		p.err = io.EOF
	}
	return n, p.err
}

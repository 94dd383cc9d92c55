package mcp

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
)

// emptyHash is the hex SHA-256 of no bytes.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// mostBody is the largest limit that the scanner's spans can hold.
const mostBody = 1 << 30

// Read reads the one message of a request. The Call is never nil; on error it carries what was beyond doubt, the id
// above all, and must not be acted on. Release it in either case.
//
// Errors are *fault.Error: BadMethod, BadMediaType, TooLarge, SlowClient, Aborted, and Malformed with the JSON-RPC
// code that the specification asks for. A version of the protocol that the gateway does not know is refused with
// CodeUnsupportedVersion: the version decides which rules a message is read by, so it can't be left to the backend.
// A body on GET or DELETE is not read.
func Read(w http.ResponseWriter, r *http.Request, lim Limits) (*Call, error) {
	c := new(Call)
	var e *fault.Error
	switch r.Method {
	case http.MethodPost:
		e = c.readPost(w, r, lim)
	case http.MethodGet:
		e = c.readBare(Stream, r.Header)
	case http.MethodDelete:
		e = c.readBare(Delete, r.Header)
	default:
		e = badMethod(r.Header)
	}
	if e != nil {
		return c, e
	}
	return c, nil
}

// readBare reads a request without a body. Only the legacy era has them.
func (c *Call) readBare(k Kind, h http.Header) *fault.Error {
	if e := c.readVersion(h); e != nil {
		return e
	}
	if c.Era == Modern {
		return badMethod(h)
	}
	c.Kind, c.Hash = k, emptyHash
	return c.readSession(h)
}

func (c *Call) readPost(w http.ResponseWriter, r *http.Request, lim Limits) *fault.Error {
	if e := c.receive(w, r, lim); e != nil {
		return e
	}
	s := scan(c.Body)
	defer s.done()
	version, e := c.understand(s)
	if e != nil {
		return e
	}
	if e := c.agree(r.Header, s, version); e != nil {
		return e
	}
	if e := c.readSession(r.Header); e != nil {
		return e
	}
	c.Hash = hexHash(c.Body)
	return nil
}

// receive reads the body, in time. Until it is here to its end the deadline stands, because the server itself reads
// on, after an early refusal, to reach the next request; and an HTTP/1 connection is closed after such a refusal.
func (c *Call) receive(w http.ResponseWriter, r *http.Request, lim Limits) *fault.Error {
	rc := http.NewResponseController(w)
	if lim.BodyTimeout > 0 {
		// A writer that can't set deadlines is a test's; the server's own can.
		_ = rc.SetReadDeadline(time.Now().Add(lim.BodyTimeout))
	}
	limit := lim.MaxBody
	if limit <= 0 {
		limit = DefaultMaxBody
	}
	e := mediaType(r.Header)
	if e == nil {
		e = c.readBody(r, min(limit, mostBody))
	}
	if e != nil {
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		return e
	}
	if lim.BodyTimeout > 0 {
		_ = rc.SetReadDeadline(time.Time{})
	}
	return nil
}

// badMethod is the answer to an HTTP method that the request's era does not have.
func badMethod(h http.Header) *fault.Error {
	e := fault.New(fault.BadMethod, "HTTP method not allowed here")
	e.Allow = "GET, POST, DELETE"
	if h.Get(HeaderVersion) == Version20260728 {
		e.Allow = "POST"
	}
	return e
}

// mediaType lets application/json in UTF-8 pass, not encoded, and nothing else.
func mediaType(h http.Header) *fault.Error {
	for _, v := range h["Content-Encoding"] {
		if !strings.EqualFold(v, "identity") {
			return fault.New(fault.BadMediaType, "an encoded body is not accepted")
		}
	}
	refusal := "Content-Type must be application/json"
	types := h["Content-Type"]
	if len(types) != 1 {
		return fault.New(fault.BadMediaType, refusal)
	}
	if types[0] == "application/json" {
		return nil
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/json" {
		return fault.New(fault.BadMediaType, refusal)
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return fault.New(fault.BadMediaType, "the charset must be utf-8")
	}
	return nil
}

// readBody reads the whole body within the limits.
func (c *Call) readBody(r *http.Request, limit int64) *fault.Error {
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	b, e := fill(r, limit)
	if e != nil {
		return e
	}
	c.buf, c.Body = b, b.data
	return nil
}

func tooLarge(limit int64) *fault.Error {
	return fault.New(fault.TooLarge, "the message is too large").Hint("limit: %d bytes", limit)
}

// fill reads r's body into a buffer. It takes more memory only when what it has is full, at most eight times as
// much, so an announced length alone costs 128 KiB at most.
func fill(r *http.Request, limit int64) (*buffer, *fault.Error) {
	want, first := limit+1, int64(1)
	if r.ContentLength >= 0 {
		want = r.ContentLength + 1
		first = min(want, 128<<10)
	}
	b := newBuffer(int(first))
	for idle := 0; ; {
		if len(b.data) == cap(b.data) {
			if int64(len(b.data)) >= want {
				want = limit + 1
			}
			more := newBuffer(int(min(want, 8*int64(cap(b.data)-slack)+slack)))
			more.data = append(more.data, b.data...)
			b.drop()
			b = more
		}
		n, err := r.Body.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if int64(len(b.data)) > limit {
			b.drop()
			return nil, tooLarge(limit)
		}
		if n > 0 {
			idle = 0
		} else if idle++; idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
		if err == nil {
			continue
		}
		if err == io.EOF && (r.ContentLength < 0 || r.ContentLength == int64(len(b.data))) {
			return b, nil
		}
		if err == io.EOF {
			err = errors.New("length differs from Content-Length")
		}
		b.drop()
		return nil, bodyFault(r.Context(), err)
	}
}

// bodyFault says what an error of reading a body means.
func bodyFault(ctx context.Context, err error) *fault.Error {
	var netErr net.Error
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return tooLarge(tooBig.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.SlowClient, "the message did not arrive in time").Because(err)
	case ctx.Err() != nil, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.As(err, &netErr):
		return fault.New(fault.Aborted, "the message broke off").Because(err)
	default:
		return fault.New(fault.Malformed, "the message can't be read").Code(CodeInvalidRequest).Because(err)
	}
}

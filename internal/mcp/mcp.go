// Package mcp reads one MCP message from one HTTP request, answers refusals in JSON-RPC, and filters the lists in what
// the remote answers.
//
// It promises that the body is read once, scanned once and hashed once; that the method, the target and the id of a
// Call are those that every conforming JSON reader finds in the same bytes, because a message that two readers could
// understand differently is refused; that a header which repeats something of the body agrees with it; and that
// memory spent on a body follows the bytes that arrived, not the bytes that were announced. Of an answer it promises
// that no item of a list goes on that was not judged, that what goes on is the remote's own bytes, and that no event
// of a stream waits for the next.
//
// It must never decide on a header what the body says, guess an id, write an id of null, keep a body after Release, let
// an answer pass that it does not understand, or judge who may call what: that is policy's. It leaves to the backend
// what only the backend knows: which methods and capabilities it has.
package mcp

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// Era is the generation of the protocol that a request belongs to. The MCP-Protocol-Version header tells it; the
// body must agree.
type Era uint8

// The eras.
const (
	Legacy Era = iota // 2025-11-25 and earlier: initialize, Mcp-Session-Id, POST, GET and DELETE
	Modern            // 2026-07-28: stateless, POST only, metadata in every request
)

// String is the era's name in logs: lower case.
func (e Era) String() string {
	if e == Modern {
		return "modern"
	}
	return "legacy"
}

// Kind says what a request carries.
type Kind uint8

// The kinds.
const (
	Unread       Kind = iota // not understood: Read returned an error before it could tell
	Request                  // POST of a JSON-RPC request: method and id
	Notification             // POST of a JSON-RPC notification: method, no id
	Response                 // POST of the client's answer to a request of the server (legacy)
	Stream                   // GET: open a stream for the server's messages (legacy)
	Delete                   // DELETE: end the session (legacy)
)

var kindNames = [...]string{"unread", "request", "notification", "response", "stream", "delete"}

// String is the kind's name in logs: lower case.
func (k Kind) String() string { return kindNames[k] }

// Limits bound the reading of one body.
type Limits struct {
	MaxBody     int64         // bytes; 0 means DefaultMaxBody; at most 1 GiB
	BodyTimeout time.Duration // for the whole body to arrive; 0 means no limit of our own
}

// DefaultMaxBody is the limit of a body where none is set: 8 MiB.
const DefaultMaxBody = 8 << 20

// Call is one request as it was read. Method, Target, ID, Version, Session and Hash stay true after Release; Params
// and Body are windows on a pooled buffer and do not.
type Call struct {
	Era     Era
	Kind    Kind
	Method  string // JSON-RPC method; "" for Response, Stream, Delete
	Target  string // tool or prompt name (params.name), resource URI (params.uri); "" where the method has none
	ID      []byte // raw JSON of the id as sent; nil when there is none that is beyond doubt
	Params  []byte // raw JSON object; nil when there is none
	Version string // protocol version of the MCP-Protocol-Version header, always a supported one; "" without header
	Session string // Mcp-Session-Id as sent; always "" in the modern era, where it means nothing
	Body    []byte // the exact bytes that were read; empty for Stream and Delete
	Hash    string // hex SHA-256 of Body; "" when Read returned an error
	buf     *buffer

	found [numFields]span // where members stand in Body; of a message that was understood
}

// Release gives the body's memory back. Body and Params are nil afterwards. Readers from Open stay good: the memory
// returns to the pool when the last of them is closed too. A second Release does nothing.
func (c *Call) Release() {
	c.Body, c.Params = nil, nil
	if c.buf != nil {
		c.buf.drop()
		c.buf = nil
	}
}

// Open gives the body to send, from its first byte, as often as it is asked before Release. An HTTP transport may
// go on reading a request's body after RoundTrip has returned; what Open gives holds the memory until it is closed,
// so those late reads never see another caller's bytes. Read and Close may run at the same time.
func (c *Call) Open() io.ReadCloser {
	if c.buf == nil {
		return http.NoBody
	}
	c.buf.refs.Add(1)
	return &bodyReader{buf: c.buf, rest: c.Body}
}

// bodyReader reads a buffer and holds on to it until it is closed.
type bodyReader struct {
	mu   sync.Mutex
	buf  *buffer // nil when closed
	rest []byte
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo writes what is left in one piece.
func (r *bodyReader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	buf, rest := r.buf, r.rest
	if buf == nil {
		r.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	r.rest = nil
	buf.refs.Add(1)
	r.mu.Unlock()
	defer buf.drop()
	n, err := w.Write(rest)
	return int64(n), err
}

func (r *bodyReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf != nil {
		r.buf.drop()
		r.buf, r.rest = nil, nil
	}
	return nil
}

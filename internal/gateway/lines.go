package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rolegate/rolegate/internal/mcp"
)

// lines is the HTTP/1.1 client to the remote: connections that are kept open between calls, each used by one call at a
// time in the goroutine of that call. http.Transport has two goroutines and two buffers for each connection and passes
// every request and answer between them, which costs more than all else that the gateway does. Answers are parsed by
// http.ReadResponse, headers written by http.Header: what is here is the keeping of connections.
//
// A connection is used again only after an answer that was read to its end, in step with its request, and only where it
// is still silent and open. A request is written once: none is repeated because a connection broke.
type lines struct {
	dialer  *net.Dialer
	tls     *tls.Config
	timeout time.Duration // until the answer's headers are there, from the first byte of the request

	mu      sync.Mutex
	idle    map[lineKey][]*line // the one used last is at the end
	sweeper *time.Timer         // runs while there are idle ones
	retired bool                // nothing is kept any more
}

// lineKey is where a connection leads, and what it is for.
type lineKey struct {
	scheme, host string
	listen       bool // for streams that are mostly silent: a small buffer
}

// listens says whether the answer to a request is a stream that waits for news.
func listens(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Header.Get(mcp.HeaderMethod) == mcp.MethodListen
}

// line is one connection.
type line struct {
	conn  net.Conn
	raw   syscall.RawConn
	limit io.LimitedReader // between the connection and the buffer: bounds the headers
	in    *bufio.Reader
	key   lineKey
	since time.Time // idle since
}

const (
	lineIdleTime   = 90 * time.Second
	tlsTime        = 10 * time.Second
	maxInterim     = 5         // 1xx answers before the answer
	patientBody    = 256 << 10 // bodies beyond it are written while the answer is waited for: it may come first
	refusedTime    = time.Second
	sentTime       = 50 * time.Millisecond // from the end of an answer to the end of its request, where they are not in order
	lineBufferSize = 4 << 10

	listenBufferSize = 512
)

var lineWriters = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 8<<10) }}

var errInterim = errors.New("too many interim answers")

// RoundTrip sends a request whose ContentLength is true, and gives the answer. Closing the answer's body before its end
// closes the connection.
func (l *lines) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	c, err := l.take(ctx, lineKey{r.URL.Scheme, r.URL.Host, listens(r)})
	if err != nil {
		closeBody(r)
		return nil, err
	}
	stop := context.AfterFunc(ctx, c.cut)
	resp, sent, err := c.exchange(r, l.timeout)
	if err != nil {
		stop()
		c.cut()
		return nil, err
	}
	body := &lineBody{ReadCloser: resp.Body, line: c, lines: l, stop: stop, sent: sent}
	if resp.Body == http.NoBody {
		body.finish(true)
	} else {
		resp.Body = body
	}
	return resp, nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// take gives an idle connection, or a new one.
func (l *lines) take(ctx context.Context, key lineKey) (*line, error) {
	for {
		l.mu.Lock()
		var c *line
		if n := len(l.idle[key]); n > 0 {
			c = l.idle[key][n-1]
			l.idle[key][n-1] = nil
			l.idle[key] = l.idle[key][:n-1]
		}
		l.mu.Unlock()
		if c == nil {
			return l.dial(ctx, key)
		}
		if time.Since(c.since) < lineIdleTime && silentAndOpen(c.raw) {
			return c, nil
		}
		c.cut()
	}
}

// dial opens a connection, with TLS where the scheme asks for it.
func (l *lines) dial(ctx context.Context, key lineKey) (*line, error) {
	u := url.URL{Host: key.host}
	port := u.Port()
	switch {
	case port != "":
	case key.scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	conn, err := l.dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	c := &line{conn: conn, key: key}
	if sc, ok := conn.(syscall.Conn); ok {
		if c.raw, err = sc.SyscallConn(); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	if key.scheme == "https" {
		settings := l.tls.Clone()
		settings.ServerName = u.Hostname()
		secure := tls.Client(conn, settings)
		ctx, cancel := context.WithTimeout(ctx, tlsTime)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		c.conn = secure
	}
	c.limit = io.LimitedReader{R: c.conn}
	size := lineBufferSize
	if key.listen {
		size = listenBufferSize
	}
	c.in = bufio.NewReaderSize(&c.limit, size)
	return c, nil
}

// cut closes the connection, whoever is reading or writing.
func (c *line) cut() { _ = c.conn.Close() }

// keep makes the connection idle, for lineIdleTime at most.
func (l *lines) keep(c *line) {
	c.since = time.Now()
	l.mu.Lock()
	kept := !l.retired && len(l.idle[c.key]) < idleConnections
	if kept {
		if l.idle == nil {
			l.idle = map[lineKey][]*line{}
		}
		l.idle[c.key] = append(l.idle[c.key], c)
		if l.sweeper == nil {
			l.sweeper = time.AfterFunc(lineIdleTime, l.sweep)
		}
	}
	l.mu.Unlock()
	if !kept {
		c.cut()
	}
}

// sweep closes what has been idle for too long, and comes again while there is something left.
func (l *lines) sweep() {
	now := time.Now()
	var old []*line
	l.mu.Lock()
	l.sweeper = nil
	for key, idle := range l.idle {
		n := 0
		for n < len(idle) && now.Sub(idle[n].since) >= lineIdleTime {
			n++
		}
		old = append(old, idle[:n]...)
		if l.idle[key] = slices.Delete(idle, 0, n); n == len(idle) {
			delete(l.idle, key)
		}
	}
	if len(l.idle) > 0 {
		l.sweeper = time.AfterFunc(lineIdleTime/2, l.sweep)
	}
	l.mu.Unlock()
	for _, c := range old {
		c.cut()
	}
}

// CloseIdleConnections closes what no call uses at the moment, and whatever is in use when its call ends: it is for a
// configuration that has been replaced.
func (l *lines) CloseIdleConnections() {
	l.mu.Lock()
	all := l.idle
	l.idle, l.retired = nil, true
	if l.sweeper != nil {
		l.sweeper.Stop()
		l.sweeper = nil
	}
	l.mu.Unlock()
	for _, idle := range all {
		for _, c := range idle {
			c.cut()
		}
	}
}

// exchange writes the request and reads the answer's headers. sent tells how the writing ended, once it has; it is nil
// for a connection that is not to be used again.
func (c *line) exchange(r *http.Request, timeout time.Duration) (resp *http.Response, sent chan error, err error) {
	if timeout > 0 {
		_ = c.conn.SetDeadline(time.Now().Add(timeout))
	}
	written := make(chan error, 1)
	if r.ContentLength > patientBody {
		go func() { written <- c.write(r) }()
	} else if err := c.write(r); err != nil {
		// Whoever refuses a body closes early; the refusal may lie there to be read.
		_ = c.conn.SetReadDeadline(time.Now().Add(refusedTime))
		if resp, refused := c.head(r); refused == nil {
			return resp, nil, nil
		}
		return nil, nil, err
	} else {
		written <- nil
	}
	if resp, err = c.head(r); err != nil {
		select {
		case failed := <-written:
			err = errors.Join(err, failed)
		default:
		}
		return nil, nil, err
	}
	if len(written) > 0 {
		_ = c.conn.SetDeadline(time.Time{})
	} else {
		_ = c.conn.SetReadDeadline(time.Time{}) // what is still being written keeps its deadline
	}
	if resp.Close {
		written = nil
	}
	return resp, written, nil
}

// head reads the headers of the answer.
func (c *line) head(r *http.Request) (*http.Response, error) {
	for range maxInterim {
		c.limit.N = maxResponseHeaders
		resp, err := http.ReadResponse(c.in, r)
		if err != nil {
			if c.limit.N <= 0 {
				return nil, errors.New("the headers of the answer are too large")
			}
			return nil, err
		}
		c.limit.N = math.MaxInt64
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("the protocol was switched without having been asked for")
		}
		if resp.StatusCode < 100 || resp.StatusCode > 199 {
			return resp, nil
		}
	}
	return nil, errInterim
}

// unsent are the headers that write writes by itself.
var unsent = map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Trailer": true, "User-Agent": true}

// write writes the request, and closes its body.
func (c *line) write(r *http.Request) (err error) {
	defer closeBody(r)
	w := lineWriters.Get().(*bufio.Writer)
	w.Reset(c.conn)
	defer func() {
		w.Reset(nil)
		lineWriters.Put(w)
	}()
	for _, part := range [...]string{r.Method, " ", r.URL.RequestURI(), " HTTP/1.1\r\nHost: ", r.Host, "\r\n"} {
		_, _ = w.WriteString(part) // the last write or flush tells
	}
	if agent := r.Header.Get("User-Agent"); agent != "" {
		_ = http.Header{"User-Agent": {agent}}.Write(w)
	}
	if r.ContentLength > 0 || r.Method == http.MethodPost {
		_, _ = w.WriteString("Content-Length: ")
		_, _ = w.WriteString(strconv.FormatInt(r.ContentLength, 10))
		_, _ = w.WriteString("\r\n")
	}
	if err := r.Header.WriteSubset(w, unsent); err != nil {
		return err
	}
	if _, err := w.WriteString("\r\n"); err != nil {
		return err
	}
	if r.ContentLength > 0 {
		n, err := io.Copy(w, r.Body)
		if err != nil {
			return err
		}
		if n != r.ContentLength {
			return fmt.Errorf("the body has %d bytes, not %d", n, r.ContentLength)
		}
	}
	return w.Flush()
}

// lineBody is the body of an answer. Whoever reads its end, or closes it before, settles what becomes of the connection.
type lineBody struct {
	io.ReadCloser
	line    *line
	lines   *lines
	stop    func() bool // ends the watch over the request's context
	sent    chan error  // how the writing of the request ended; nil: the connection is not to be used again
	settled atomic.Bool
}

func (b *lineBody) Read(p []byte) (int, error) {
	if b.settled.Load() {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.finish(errors.Is(err, io.EOF))
	}
	return n, err
}

// Wait waits for the connection to have something to read: more of the body, its end, or the connection's.
func (b *lineBody) Wait() {
	if !b.settled.Load() {
		_, _ = b.line.in.Peek(1) // Read tells what is wrong
	}
}

// Close never waits for the rest of the body: a stream may have no end.
func (b *lineBody) Close() error {
	b.finish(false)
	return nil
}

func (b *lineBody) finish(whole bool) {
	if b.settled.Swap(true) {
		return
	}
	if !b.stop() || !whole || !b.inStep() || b.line.in.Buffered() > 0 {
		b.line.cut()
		return
	}
	b.lines.keep(b.line)
}

// inStep says whether the request has gone out whole, so that what is read next answers what is written next. Who wrote
// it may have done so and not been able to tell yet.
func (b *lineBody) inStep() bool {
	if b.sent == nil {
		return false
	}
	if len(b.sent) == 0 {
		limit := time.NewTimer(sentTime)
		defer limit.Stop()
		select {
		case err := <-b.sent:
			b.sent <- err
		case <-limit.C:
			return false
		}
	}
	return <-b.sent == nil && b.line.conn.SetDeadline(time.Time{}) == nil
}

package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Target is where calls go.
type Target struct {
	Addr string      // host:port
	TLS  *tls.Config // nil: plaintext
}

func (t Target) dial() (net.Conn, error) {
	c, err := net.DialTimeout("tcp", t.Addr, 10*time.Second)
	if err != nil || t.TLS == nil {
		return c, err
	}
	secure := tls.Client(c, t.TLS)
	if err := secure.Handshake(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secure, nil
}

// patience is how long an answer may take; only a failure takes that long.
const patience = 30 * time.Second

// conn is one connection that is kept from call to call, and made anew after an error.
type conn struct {
	target  Target
	wire    net.Conn // nil: to be dialled
	in      *bufio.Reader
	out     []byte
	body    []byte
	expires time.Time // when the deadline that is set passes
}

func (c *conn) dial() (err error) {
	if c.wire, err = c.target.dial(); err != nil {
		c.wire = nil
		return err
	}
	if c.in == nil {
		c.in = bufio.NewReaderSize(nil, 16<<10)
	}
	c.in.Reset(c.wire)
	c.expires = time.Time{}
	return nil
}

func (c *conn) close() {
	if c.wire != nil {
		_ = c.wire.Close()
		c.wire = nil
	}
}

// ready makes sure that the connection is there and has time.
func (c *conn) ready() error {
	if c.wire == nil {
		if err := c.dial(); err != nil {
			return err
		}
	}
	if now := time.Now(); c.expires.Sub(now) < patience { // not for each call: it costs as much as a small write
		c.expires = now.Add(2 * patience)
		return c.wire.SetDeadline(c.expires)
	}
	return nil
}

// call sends a request and reads its answer to the end.
func (c *conn) call(r Request, number int) error {
	err := c.exchange(r, number)
	if err != nil {
		c.close()
	}
	return err
}

func (c *conn) exchange(r Request, number int) error {
	if err := c.ready(); err != nil {
		return err
	}
	var id []byte
	c.out, id = r.fill(c.out, number)
	if _, err := c.wire.Write(c.out); err != nil {
		return err
	}
	status, err := c.answer()
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d: %.200q", status, c.body)
	}
	if id != nil && !bytes.Contains(c.body, id) {
		return errMixedUp
	}
	return nil
}

// answer reads an answer into c.body.
func (c *conn) answer() (status int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || string(line[:7]) != "HTTP/1." {
		return 0, fmt.Errorf("not an answer: %.40q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("not an answer: %.40q", line)
	}
	length, chunked := 0, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
				return 0, fmt.Errorf("content length %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.Contains(value, []byte("chunked"))
		}
	}
	if chunked {
		return status, c.chunks()
	}
	return status, c.append(0, length)
}

// append reads n bytes to c.body, from a place on.
func (c *conn) append(at, n int) error {
	if at+n > cap(c.body) {
		grown := make([]byte, at, 2*(at+n))
		copy(grown, c.body[:at])
		c.body = grown
	}
	c.body = c.body[:at+n]
	_, err := io.ReadFull(c.in, c.body[at:])
	return err
}

var errChunk = errors.New("a chunk makes no sense")

// chunks reads a chunked body.
func (c *conn) chunks() error {
	c.body = c.body[:0]
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return errChunk
		}
		if err := c.append(len(c.body), int(n)); err != nil {
			return err
		}
		if line, err := c.in.ReadSlice('\n'); err != nil || len(line) != 2 {
			return errors.Join(errChunk, err)
		}
		if n == 0 {
			return nil
		}
	}
}

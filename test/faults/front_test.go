package faults_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

// front stands before a counterpart, at an address of its own, and fails as a host or a network does.
type front struct {
	t    *testing.T
	addr string // host:port

	mu     sync.Mutex
	target string // host:port of the counterpart
	l      net.Listener
	open   map[net.Conn]struct{}
	most   int  // bytes of answers on a connection before it breaks; 0 for no end
	stalls bool // what breaks falls silent; it is reset otherwise
}

// newFront listens before a counterpart. Its address is one of the many of loopback, so that nobody takes the port
// while the counterpart is dead; where a system has but one of them, a port of that.
func newFront(t *testing.T, target string) *front {
	t.Helper()
	f := &front{t: t, open: map[net.Conn]struct{}{}}
	f.lead(target)
	host := fmt.Sprintf("127.%d.%d.%d:0", 16+rand.N(200), rand.N(256), 1+rand.N(254))
	l, err := net.Listen("tcp", host)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	f.serve(l)
	t.Cleanup(f.kill)
	return f
}

func (f *front) url() string { return "http://" + f.addr }

// lead leads new connections to the counterpart at a URL.
func (f *front) lead(url string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = strings.TrimPrefix(url, "http://")
}

func (f *front) serve(l net.Listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.l = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.pass(conn)
		}
	}()
}

// pass hands a connection on to the counterpart.
func (f *front) pass(client net.Conn) {
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		f.reset(client)
		return
	}
	f.mu.Lock()
	if f.l == nil { // killed meanwhile
		f.mu.Unlock()
		f.reset(client)
		f.reset(server)
		return
	}
	f.open[client], f.open[server] = struct{}{}, struct{}{}
	most, stalls := f.most, f.stalls
	f.mu.Unlock()
	go func() {
		pour(server, client) // a reset shows in the other direction too
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	if most == 0 {
		pour(client, server)
		_ = client.Close()
		_ = server.Close()
	} else {
		_, _ = io.CopyN(struct{ io.Writer }{client}, server, int64(most))
		if stalls {
			_, _ = io.Copy(io.Discard, server)
			return // until cut: kill and mend do
		}
		f.reset(client)
		f.reset(server)
	}
	f.mu.Lock()
	delete(f.open, client)
	delete(f.open, server)
	f.mu.Unlock()
}

// pour copies. It does so by hand: between two sockets io.Copy would use pipes, which Go keeps for later.
func pour(to io.Writer, from io.Reader) {
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// reset closes a connection as a crash does: with RST.
func (f *front) reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// cut resets every connection.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		f.reset(c)
	}
	clear(f.open)
}

// kill takes the counterpart off the network: connections are reset, and new ones refused.
func (f *front) kill() {
	f.mu.Lock()
	if f.l != nil {
		_ = f.l.Close()
		f.l = nil
	}
	f.mu.Unlock()
	f.cut()
}

// mend undoes kill and breakAfter.
func (f *front) mend() {
	f.mu.Lock()
	dead := f.l == nil
	broken := f.most > 0
	f.most, f.stalls = 0, false
	f.mu.Unlock()
	if broken {
		f.cut()
	}
	if !dead {
		return
	}
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.serve(l)
}

// breakAfter lets n bytes of answers through on each connection to come; then it is reset or, with stalls, falls silent.
func (f *front) breakAfter(n int, stalls bool) {
	f.mu.Lock()
	f.most, f.stalls = n, stalls
	f.mu.Unlock()
	f.cut()
}

// alive says whether the counterpart can be reached at all.
func (f *front) alive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.l != nil
}

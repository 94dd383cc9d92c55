// Package stage is what every fake stands on: a listener on loopback, request ids, and a queue of troubles that tests
// and the admin endpoint put in front of it.
//
// It promises that a fake in trouble misbehaves the way a network or a service does (silence, a cut connection, an
// error, nonsense), request by request, and that it is safe for concurrent use. It must never listen beyond loopback
// by itself, and it imports nothing of the product.
package stage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"time"
)

// Server is a fake that listens.
type Server struct {
	// URL is the base address, such as "http://127.0.0.1:40123", without a trailing slash.
	URL  string
	http *http.Server
}

// Listen serves h over plain HTTP on addr; "" means a free port of 127.0.0.1. Close it when done.
func Listen(addr string, h http.Handler) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(),
		http: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			ErrorLog:          log.New(io.Discard, "", 0),
		},
	}
	go func() { _ = s.http.Serve(l) }() // ends with ErrServerClosed at Close
	return s, nil
}

// Port is a TCP port that nobody listens on, on any address: for a program that must be told its port before it starts.
// It lies below the range from which systems hand out ports by themselves, so that it is still free a moment later.
func Port() (int, error) {
	var err error
	for range 50 {
		port := 20000 + mathrand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// Close stops listening and cuts every connection, open streams included.
func (s *Server) Close() error { return s.http.Close() }

// RequestID is a fresh id in the form that AWS puts into x-amzn-RequestId (a random UUID).
func RequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Command bare is the proxy that rolegate is measured against: the standard library's, with its default transport but
// for the idle pool.
//
// It promises to verify, decide, sign and write down nothing, and to hold nothing else in its memory: it is a program of
// its own, so that no other package's start is part of its figures. It must never be tuned, or be given features.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/rolegate/rolegate/test/bench/profile"
)

// idlePool is how many idle connections the bare proxy keeps to the backend; with the default of two it would dial
// more than it forwards, and any proxy would look good beside it.
const idlePool = 512

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: bare ADDRESS REMOTE AUTHORITY PROFILE")
		os.Exit(2)
	}
	err := profile.CPU(os.Args[4], func() error { return serve(os.Args[1], os.Args[2], os.Args[3], os.Stdin) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

// serve forwards what comes to an address to the remote, whose authority is in a file, and ends with in.
func serve(listen, remote, caFile string, in io.Reader) error {
	target, err := url.Parse(remote)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = idlePool, idlePool
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("no certificate in " + caFile)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	quiet := log.New(io.Discard, "", 0)
	proxy := &httputil.ReverseProxy{Transport: transport, ErrorLog: quiet, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- (&http.Server{Handler: proxy, ErrorLog: quiet}).Serve(l) }()
	go func() { _, _ = io.Copy(io.Discard, in); failed <- nil }()
	return <-failed
}

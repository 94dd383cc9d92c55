package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// idlePool is how many idle connections the bare proxy keeps to the backend; with the default of two it would dial
// more than it forwards, and any proxy would look good beside it.
const idlePool = 512

// serveBare is the proxy that rolegate is measured against, as a process of its own: the standard library's, with its
// default transport but for the idle pool. It verifies, decides, signs and writes down nothing. It ends with in.
func serveBare(listen, remote, caFile string, in io.Reader) error {
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

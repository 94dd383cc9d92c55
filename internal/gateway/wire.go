package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

// wire is the way to the remote: connections of our own (lines.go), or, through a proxy of the environment, settings of
// our own for http.Transport. HTTP/1.1 over TLS, since every stream is a request of its own and HTTP/2 costs more CPU
// here; as many idle connections as there may be busy ones; no compression, so that an answer's bytes are the remote's;
// HTTPS_PROXY and NO_PROXY as everywhere.
type wire struct {
	proxied *http.Transport
	lines   *lines
	bundle  []byte
	timeout time.Duration
}

const (
	idleConnections    = 512
	maxResponseHeaders = 256 << 10
)

// newWire makes the transport, or takes over the previous one where it would be the same.
func (g *Gateway) newWire(previous *Gateway) (*wire, error) {
	bundle, timeout := g.cfg.CABundle, g.cfg.Limits.ResponseTimeout.Std()
	if previous != nil && previous.wire.timeout == timeout && slices.Equal(previous.wire.bundle, bundle) {
		return previous.wire, nil
	}
	roots, err := authorities(bundle)
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	secure := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true} // bodies leave in full records
	return &wire{
		bundle: bundle, timeout: timeout,
		lines: &lines{dialer: dialer, tls: secure, timeout: timeout},
		proxied: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        secure.Clone(),
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConns:           idleConnections,
			MaxIdleConnsPerHost:    idleConnections,
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true,
			ResponseHeaderTimeout:  timeout,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: maxResponseHeaders,
			Protocols:              protocols,
		},
	}, nil
}

// RoundTrip sends a request on a connection of our own where the way is free.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if proxy, err := http.ProxyFromEnvironment(r); ownLines && proxy == nil && err == nil {
		return w.lines.RoundTrip(r)
	}
	return w.proxied.RoundTrip(r)
}

// CloseIdleConnections closes what no call uses at the moment.
func (w *wire) CloseIdleConnections() {
	w.lines.CloseIdleConnections()
	w.proxied.CloseIdleConnections()
}

// authorities are the system's, those of AWS_CA_BUNDLE as in every AWS client, and the ones of bundle. Nil: the system's.
func authorities(bundle []byte) (*x509.CertPool, error) {
	file := os.Getenv("AWS_CA_BUNDLE")
	if file == "" && len(bundle) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, errors.New("AWS_CA_BUNDLE names a file that can't be read")
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("AWS_CA_BUNDLE names a file without a PEM certificate")
		}
	}
	if len(bundle) > 0 && !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the CA bundle holds no PEM certificate")
	}
	return pool, nil
}

package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	backstage "github.com/rolegate/rolegate/internal/fake/stage"
)

// selfSigned makes a certificate for loopback with a serial number, and its key, both PEM.
func selfSigned(t *testing.T, serial int64) (cert, key string) {
	t.Helper()
	c, k, err := backstage.Certificate(serial)
	if err != nil {
		t.Fatal(err)
	}
	return string(c), string(k)
}

// trusting is the client side of TLS that trusts one certificate.
func trusting(t *testing.T, cert string, protocols ...string) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(cert)) {
		t.Fatal("no certificate")
	}
	return &tls.Config{RootCAs: pool, NextProtos: protocols}
}

// handshake tells what a client with that configuration meets.
func handshake(address string, c *tls.Config) (protocol string, serial int64, err error) {
	conn, err := tls.Dial("tcp", address, c)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = conn.Close() }()
	state := conn.ConnectionState()
	return state.NegotiatedProtocol, state.PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestTLS(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	cert, key := selfSigned(t, 1)
	writeFile(t, certFile, cert)
	writeFile(t, keyFile, key)
	g := serve(t, w, w.Documents(), "--tls-cert", certFile, "--tls-key", keyFile)

	for _, want := range []string{"h2", "http/1.1"} {
		if got, _, err := handshake(g.listen, trusting(t, cert, want)); err != nil || got != want {
			t.Errorf("a client that speaks %s gets %q, %v", want, got, err)
		}
	}
	if _, _, err := handshake(g.listen, &tls.Config{RootCAs: trusting(t, cert).RootCAs, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is served")
	}
	for protocol, h2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		tr := &http.Transport{TLSClientConfig: trusting(t, cert), Protocols: protocols}
		t.Cleanup(tr.CloseIdleConnections)
		ann := g.caller("ann")
		ann.http = &http.Client{Transport: tr}
		wantRoleOf(t, ann, fake.S3Role)
		resp, err := ann.http.Post(g.endpoint, "application/json", strings.NewReader(`{"jsonrpc":"2.0","method":"tools/list","id":1}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Proto != protocol || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s, %s; it should be %s and 401", resp.Proto, resp.Status, protocol)
		}
	}
	if resp, err := http.Post("http://"+g.listen+"/mcp", "application/json", strings.NewReader("{}")); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP on the TLS port: %s", resp.Status)
		}
	}
	swapped(t, g, certFile, keyFile)
}

// swapped puts another pair in place, as files are replaced that are not replaced together.
func swapped(t *testing.T, g *gate, certFile, keyFile string) {
	t.Helper()
	old := trusting(t, readFile(t, certFile))
	cert, key := selfSigned(t, 2)
	writeFile(t, certFile, cert)
	until(t, "half a change is told", func() bool {
		if _, serial, err := handshake(g.listen, old); err != nil || serial != 1 {
			t.Fatalf("while only the certificate has changed: serial %d, %v; it should be the old pair", serial, err)
		}
		return g.count("TLS certificate not reloaded") > 0
	})
	writeFile(t, keyFile, key)
	until(t, "the new certificate", func() bool {
		_, serial, err := handshake(g.listen, trusting(t, cert))
		return err == nil && serial == 2
	})
	g.says("TLS certificate reloaded")
}

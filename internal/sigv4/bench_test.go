package sigv4_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolegate/rolegate/internal/sigv4"
)

var benchBody = bytes.Repeat([]byte{'x'}, 1<<10)

func benchRequest(b *testing.B) *http.Request {
	b.Helper()
	ctx := sigv4.With(b.Context(), credentials(sessionToken), hashOf(benchBody))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(benchBody))
	if err != nil {
		b.Fatal(err)
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {"0123456789abcdef"}, "User-Agent": {"x"},
	}
	return req
}

// A warm request through the transport, the hash of its body given, nothing sent.
func BenchmarkTransport(b *testing.B) {
	req := benchRequest(b)
	tr := &sigv4.Transport{Region: region, Service: service, Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, errSent })}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.RoundTrip(req); err != errSent {
			b.Fatal(err)
		}
	}
}

// The signature alone, the key derived.
func BenchmarkSign(b *testing.B) {
	creds := credentials(sessionToken)
	hash := hashOf(benchBody)
	sign := sigv4.Signing(creds, region, service, hash, sessionToken)
	b.ReportAllocs()
	for b.Loop() {
		sign()
	}
}

// The same request by AWS's signer, on a copy, as a transport has to make one.
func BenchmarkAWS(b *testing.B) {
	req := benchRequest(b)
	hash := hashOf(benchBody)
	signer := v4.NewSigner()
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: sessionToken}
	b.ReportAllocs()
	for b.Loop() {
		out := req.Clone(req.Context())
		out.Header.Set("X-Amz-Content-Sha256", hash)
		if err := signer.SignHTTP(b.Context(), creds, out, hash, service, region, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDeriveKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sigv4.SigningKey(credentials(""), "20261121", region, service)
	}
}

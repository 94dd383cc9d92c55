// Package sigv4 is the seal: an http.RoundTripper that signs with AWS Signature Version 4 what leaves, at the moment
// it leaves. The algorithm is that of the IAM User Guide, "Create a signed AWS API request", in its Authorization
// header form; signing in the query (pre-signed URLs) and S3's single encoding of the path are not here.
//
// It promises that what is signed is what net/http writes: URL and Host are first brought into a form that every
// verifier reads alike, on a copy, and the signature is made over that copy. It signs host, content-type,
// x-amz-content-sha256, x-amz-date and x-amz-security-token, and nothing that a hop may touch; each attempt is signed
// anew. Credentials that it holds print "[redacted]".
//
// It must never change the request that it was given, send one unsigned, or pass on a client's Authorization, Cookie or
// X-Amz-* header. Nothing may run after it that alters a request. It imports nothing of ours.
package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// emptyHash is the hex SHA-256 of nothing: what a request without a body is signed with.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

type lentKey struct{}

// lent is what one request is signed with. It travels in the context because a reverse proxy stands between the hand
// that knows the caller and the transport.
type lent struct {
	credentials *Credentials
	bodyHash    string
}

// With attaches to ctx the credentials that Transport signs with, and the SHA-256 of the body as 64 lower-case hex
// digits. A request that has no body (GET, DELETE, a redirect that drops it) is signed as such, whatever bodyHash says.
func With(ctx context.Context, c *Credentials, bodyHash string) context.Context {
	return context.WithValue(ctx, lentKey{}, lent{c, bodyHash})
}

// ErrUnsigned is in the chain of every error of RoundTrip that means: nothing was sent, because it can't be signed.
var ErrUnsigned = errors.New("sign request")

// Transport signs each request with the credentials in its context and hands it to Base. It is safe for concurrent use.
type Transport struct {
	Base    http.RoundTripper // sends what was signed, unaltered; nil is http.DefaultTransport
	Region  string            // the region of the endpoint, such as "us-east-1"
	Service string            // the signing name of the service, such as "aws-mcp"
}

// RoundTrip signs a copy of req and sends it. Without credentials in the context, or where the request can't be
// written as it would be signed, it sends nothing, closes the body and returns an error. The Request of the answer is
// req, so that whoever reads it sees no credentials.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	out, err := t.seal(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // the error of the seal is the one to tell
		}
		return nil, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	res, err := t.base().RoundTrip(out)
	if res != nil {
		res.Request = req
	}
	return res, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach Base.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// seal gives the request that leaves: a copy of req with its URL and Host in the form that is signed, without the
// headers that must not leave, and with those of the signature.
func (t *Transport) seal(req *http.Request) (*http.Request, error) {
	loan, err := t.loan(req)
	if err != nil {
		return nil, err
	}
	out := req.WithContext(req.Context())
	out.Trailer, out.TransferEncoding = nil, nil // both are of this hop, and a trailer would be an unsigned header
	var query string
	if out.URL, query, err = wireURL(req.URL); err != nil {
		return nil, err
	}
	if out.Host, err = wireHost(req); err != nil {
		return nil, err
	}
	if out.Header, err = wireHeader(req.Header); err != nil {
		return nil, err
	}

	now := time.Now().UTC()
	at := now.Format("20060102T150405Z")
	var space [5]field
	fields := space[:0] // in the order of their names, as they are signed
	if ct := out.Header["Content-Type"]; len(ct) > 0 {
		fields = append(fields, field{"content-type", ct[0]})
	}
	fields = append(fields, field{"host", out.Host}, field{"x-amz-content-sha256", loan.bodyHash}, field{"x-amz-date", at})
	token := loan.credentials.sessionToken.reveal()
	if token != "" {
		fields = append(fields, field{"x-amz-security-token", token})
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet // as net/http writes it
	}
	key := loan.credentials.signingKey(at[:8], t.Region, t.Service)
	added := []string{key.sign(at, message{method, out.URL.EscapedPath(), query, fields, loan.bodyHash}), at, loan.bodyHash, token}
	out.Header["Authorization"] = added[0:1:1]
	out.Header["X-Amz-Date"] = added[1:2:2]
	out.Header["X-Amz-Content-Sha256"] = added[2:3:3]
	if token != "" {
		out.Header["X-Amz-Security-Token"] = added[3:4:4]
	}
	return out, nil
}

// loan takes from the context what req is signed with, or says why it can't be signed.
func (t *Transport) loan(req *http.Request) (lent, error) {
	loan, _ := req.Context().Value(lentKey{}).(lent)
	switch {
	case loan.credentials == nil:
		return lent{}, errors.New("no credentials in the context")
	case loan.credentials.AccessKeyID == "" || loan.credentials.secretAccessKey.reveal() == "":
		return lent{}, errors.New("credentials without an access key id or a secret access key")
	case t.Region == "" || t.Service == "":
		return lent{}, errors.New("no region or no service to sign for")
	case req.Method == http.MethodConnect:
		return lent{}, errors.New("CONNECT can't be signed")
	}
	if req.Body == nil || req.Body == http.NoBody {
		loan.bodyHash = emptyHash
	}
	if !isHash(loan.bodyHash) {
		return lent{}, errors.New("the hash of the body is not 64 lower-case hex digits")
	}
	return loan, nil
}

func isHash(s string) bool {
	if len(s) != len(emptyHash) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

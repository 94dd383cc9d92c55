package aws_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// vault lends to two people.
type vault map[string]sts.Issued

func (v vault) Lookup(id string) (sts.Issued, bool) { i, ok := v[id]; return i, ok }

func lent(key, session string, expiry time.Time) sts.Issued {
	return sts.Issued{
		AccessKeyID: key, SecretAccessKey: "secret of " + key, SessionToken: "token of " + key, Expiry: expiry,
		RoleARN: "arn:aws:iam::123456789012:role/DefaultMCPRole", RoleID: "AROAEXAMPLE", SessionName: session,
		AssumedRoleARN: "arn:aws:sts::123456789012:assumed-role/DefaultMCPRole/" + session,
	}
}

var (
	ann   = lent("ASIAANN", "ann", time.Now().Add(time.Hour))
	ann2  = lent("ASIAANN2", "ann", time.Now().Add(time.Hour)) // ann an hour later
	bob   = lent("ASIABOB", "bob", time.Now().Add(time.Hour))
	stale = lent("ASIAOLD", "ann", time.Now().Add(-time.Second))
)

func server(t *testing.T, o aws.Options) *aws.Server {
	t.Helper()
	o.Vault = vault{"ASIAANN": ann, "ASIAANN2": ann2, "ASIABOB": bob, "ASIAOLD": stale}
	s, err := aws.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// signer is a RoundTripper that signs with the AWS SDK, and lets a test spoil the request before and after.
type signer struct {
	who             sts.Issued
	region, service string
	at              time.Time
	before, after   func(*http.Request)
	hash            string            // in place of the body's
	base            http.RoundTripper // nil for http.DefaultTransport
}

func (s signer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if s.hash != "" {
		hash = s.hash
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if s.before != nil {
		s.before(r)
	}
	at, region, service := s.at, s.region, s.service
	if at.IsZero() {
		at = time.Now()
	}
	if region == "" {
		region = "us-east-1"
	}
	if service == "" {
		service = "aws-mcp"
	}
	c := awssdk.Credentials{AccessKeyID: s.who.AccessKeyID, SecretAccessKey: s.who.SecretAccessKey, SessionToken: s.who.SessionToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), c, r, hash, service, region, at); err != nil {
		return nil, err
	}
	if s.after != nil {
		s.after(r)
	}
	if s.base != nil {
		return s.base.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

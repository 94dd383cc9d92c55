package sigv4_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rolegate/rolegate/internal/sigv4"
)

const (
	accessKey = "ASIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	region    = "us-east-1"
	service   = "aws-mcp"
)

// sessionToken is as long as those that STS gives.
var sessionToken = "IQoJb3JpZ2luX2VjE" + strings.Repeat("Aa0+/", 200) + "=="

func credentials(token string) *sigv4.Credentials {
	return sigv4.NewCredentials(accessKey, secretKey, token)
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// judge verifies a request as it arrived at a server: AWS's own signer signs what was parsed from the wire, with the
// headers that are named as signed and no others, and must come to the same Authorization. Then the canonical query is
// made a second way, by sorting the raw parameters without decoding them as some of AWS's SDKs do: both readings must
// agree on what the wire says.
func judge(r *http.Request, token string) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	hash := hashOf(body)
	if got := r.Header.Get("X-Amz-Content-Sha256"); got != hash {
		return fmt.Errorf("x-amz-content-sha256 is %s, the body's is %s", got, hash)
	}
	got := r.Header.Values("Authorization")
	if len(got) != 1 {
		return fmt.Errorf("%d Authorization headers", len(got))
	}
	_, names, ok := strings.Cut(got[0], "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	if !ok || !slices.IsSorted(strings.Split(names, ";")) {
		return fmt.Errorf("signed headers %q", names)
	}
	again := &http.Request{
		Method: r.Method,
		Host:   r.Host,
		URL:    &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Header: http.Header{},
	}
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" {
			key := http.CanonicalHeaderKey(name)
			again.Header[key] = slices.Clone(r.Header[key])
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return fmt.Errorf("parse date: %w", err)
	}
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: token}
	if err := v4.NewSigner().SignHTTP(r.Context(), creds, again, hash, service, region, at); err != nil {
		return fmt.Errorf("sign again: %w", err)
	}
	if want := again.Header.Get("Authorization"); got[0] != want {
		return fmt.Errorf("Authorization for %s %s\n got %s\nwant %s", r.Method, r.RequestURI, got[0], want)
	}
	if naive := sortRaw(r.URL.RawQuery); naive != again.URL.RawQuery {
		return fmt.Errorf("query %q can be read in two ways: %q and %q", r.URL.RawQuery, naive, again.URL.RawQuery)
	}
	return clean(r)
}

func sortRaw(query string) string {
	if query == "" {
		return ""
	}
	type pair struct{ name, value string }
	var pairs []pair
	for p := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(p, "=")
		pairs = append(pairs, pair{name, value})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// clean says what arrived that must not leave.
func clean(r *http.Request) error {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.Contains(path, "//") || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
		return fmt.Errorf("path %q has segments that a verifier may remove", path)
	}
	ours := []string{"X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"}
	for name := range r.Header {
		switch {
		case strings.HasPrefix(name, "X-Amz-") && !slices.Contains(ours, name),
			strings.HasPrefix(name, "Proxy-"), name == "Cookie", name == "Expect", name == "Te", name == "Upgrade", name == "X-Hop":
			return fmt.Errorf("%s left", name)
		}
	}
	for _, name := range ours {
		if n := len(r.Header.Values(name)); n > 1 {
			return fmt.Errorf("%d headers %s", n, name)
		}
	}
	return nil
}

// roundTripper is a transport made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// closer is a body that knows whether it was closed.
type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func newBody(b []byte) *closer { return &closer{Reader: bytes.NewReader(b)} }

var errSent = errors.New("sent")

// post is a POST that carries what it is to be signed with.
func post(u *url.URL, h http.Header, body []byte) *http.Request {
	req := &http.Request{Method: http.MethodPost, URL: u, Header: h}
	if len(body) > 0 {
		req.Body, req.ContentLength = newBody(body), int64(len(body))
	}
	return req.WithContext(sigv4.With(req.Context(), credentials(sessionToken), hashOf(body)))
}

// writeAndJudge signs req, has net/http write it into memory and read it back, and asks the judge.
func writeAndJudge(req *http.Request) (arrived *http.Request, err error) {
	tr := &sigv4.Transport{Region: region, Service: service, Base: roundTripper(func(out *http.Request) (*http.Response, error) {
		var wire bytes.Buffer
		if err := out.Write(&wire); err != nil {
			return nil, err
		}
		if arrived, err = http.ReadRequest(bufio.NewReader(&wire)); err != nil {
			return nil, err
		}
		if err := judge(arrived, sessionToken); err != nil {
			return nil, err
		}
		return nil, errSent
	})}
	if _, err = tr.RoundTrip(req); !errors.Is(err, errSent) {
		return nil, err
	}
	return arrived, nil
}

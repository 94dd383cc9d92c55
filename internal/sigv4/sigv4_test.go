package sigv4_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/sigv4"
)

const endpoint = "https://aws-mcp.us-east-1.api.aws/mcp"

// Whatever can't be signed is not sent, and its body is closed.
func TestNothingLeavesUnsigned(t *testing.T) {
	good := credentials(sessionToken)
	hash := hashOf([]byte("{}"))
	cases := map[string]struct {
		transport sigv4.Transport
		ctx       func(context.Context) context.Context
		edit      func(*http.Request)
		want      string
	}{
		"no credentials":      {ctx: func(c context.Context) context.Context { return c }, want: "no credentials"},
		"nil credentials":     {ctx: func(c context.Context) context.Context { return sigv4.With(c, nil, hash) }, want: "no credentials"},
		"empty credentials":   {ctx: func(c context.Context) context.Context { return sigv4.With(c, &sigv4.Credentials{}, hash) }, want: "access key"},
		"no secret":           {ctx: func(c context.Context) context.Context { return sigv4.With(c, sigv4.NewCredentials("A", "", ""), hash) }, want: "access key"},
		"no hash":             {ctx: func(c context.Context) context.Context { return sigv4.With(c, good, "") }, want: "hash"},
		"hash in upper case":  {ctx: func(c context.Context) context.Context { return sigv4.With(c, good, strings.ToUpper(hash)) }, want: "hash"},
		"unsigned payload":    {ctx: func(c context.Context) context.Context { return sigv4.With(c, good, "UNSIGNED-PAYLOAD") }, want: "hash"},
		"no region":           {transport: sigv4.Transport{Service: service}, want: "region"},
		"no service":          {transport: sigv4.Transport{Region: region}, want: "service"},
		"opaque URL":          {edit: func(r *http.Request) { r.URL = &url.URL{Scheme: "https", Host: "h", Opaque: "//h/x"} }, want: "opaque"},
		"no URL":              {edit: func(r *http.Request) { r.URL = nil }, want: "URL"},
		"relative path":       {edit: func(r *http.Request) { r.URL = &url.URL{Scheme: "https", Host: "h", Path: "x"} }, want: "slash"},
		"asterisk":            {edit: func(r *http.Request) { r.URL = &url.URL{Scheme: "https", Host: "h", Path: "*"} }, want: "slash"},
		"no host":             {edit: func(r *http.Request) { r.URL, r.Host = &url.URL{Path: "/"}, "" }, want: "host"},
		"CONNECT":             {edit: func(r *http.Request) { r.Method = http.MethodConnect }, want: "CONNECT"},
		"two types":           {edit: func(r *http.Request) { r.Header["Content-Type"] = []string{"a", "b"} }, want: "2 Content-Type"},
		"two spellings":       {edit: func(r *http.Request) { r.Header = http.Header{"content-type": {"a"}, "Content-Type": {"b"}} }, want: "2 Content-Type"},
		"host with a newline": {edit: func(r *http.Request) { r.Host = "h\r\nX-Evil: 1" }, want: "host"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tr := c.transport
			if tr == (sigv4.Transport{}) {
				tr = sigv4.Transport{Region: region, Service: service}
			}
			tr.Base = roundTripper(func(*http.Request) (*http.Response, error) {
				t.Error("the request was sent")
				return nil, errSent
			})
			ctx := sigv4.With(t.Context(), good, hash)
			if c.ctx != nil {
				ctx = c.ctx(t.Context())
			}
			body := newBody([]byte("{}"))
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, body)
			if err != nil {
				t.Fatal(err)
			}
			if c.edit != nil {
				c.edit(req)
			}
			res, err := tr.RoundTrip(req)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "sign request: ") {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
			if res != nil || !body.closed {
				t.Errorf("answer %v, body closed %v", res, body.closed)
			}
		})
	}
}

// RoundTripper's contract: the request is not touched, and can be read while it is sent.
func TestTheRequestIsNotTouched(t *testing.T) {
	var sent *http.Request
	tr := &sigv4.Transport{Region: region, Service: service, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
	})}
	req := httptest.NewRequestWithContext(sigv4.With(t.Context(), credentials(sessionToken), hashOf([]byte("{}"))),
		http.MethodPost, "https://h.example:443/a/../b?x=y+z", strings.NewReader("{}"))
	req.Header = http.Header{"Authorization": {"Bearer x"}, "X-Amz-Date": {"y"}, "Content-Type": {" a  b "}, "Connection": {"X-A"}, "X-A": {"1"}, "x-b": {"2"}, "Host": {"h"}, "content-length": {"9"}}
	req.Trailer = http.Header{"X-Amz-Date": nil}
	req.TransferEncoding = []string{"chunked"}
	wantHeader, wantURL, wantHost := req.Header.Clone(), *req.URL, req.Host

	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantHeader, req.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if *req.URL != wantURL || req.Host != wantHost || len(req.Trailer) != 1 || len(req.TransferEncoding) != 1 {
		t.Errorf("request changed: %v %s %v %v", req.URL, req.Host, req.Trailer, req.TransferEncoding)
	}
	if sent == req || sent.URL == req.URL || sent.Trailer != nil || sent.TransferEncoding != nil {
		t.Error("what was sent shares what was given")
	}
	if res.Request != req {
		t.Error("the answer's request is not the one given: it shows the credentials")
	}
	names := maps.Clone(sent.Header)
	for _, n := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "Content-Type", "X-B"} {
		delete(names, n)
	}
	if len(names) > 0 {
		t.Errorf("left beside what may: %v", names)
	}
}

func TestBaseIsAskedToCloseIdleConnections(t *testing.T) {
	base := &idler{}
	(&http.Client{Transport: &sigv4.Transport{Base: base}}).CloseIdleConnections()
	if !base.closed {
		t.Error("not asked")
	}
}

type idler struct {
	http.RoundTripper
	closed bool
}

func (i *idler) CloseIdleConnections() { i.closed = true }

// A redirect is another request: http.Client asks the transport again, and it is signed for its own path and body.
func TestRedirectsAreSignedAnew(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/", verifier(arrivedToken))
	for path, status := range map[string]int{"/307": 307, "/308": 308, "/303": 303} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := judge(r, arrivedToken(r)); err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			http.Redirect(w, r, "/moved//to?x=1+2", status)
		})
	}
	srv := httptest.NewServer(mux)
	defer srv.Close()
	client := &http.Client{Transport: &sigv4.Transport{Base: srv.Client().Transport, Region: region, Service: service}}
	for _, path := range []string{"/307", "/308", "/303"} {
		ctx := sigv4.With(t.Context(), credentials(sessionToken), hashOf([]byte("{}")))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || string(text) != "/moved/to?x=1%202" {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
}

// Each attempt carries its own time, so a retry after a pause is not refused as too old.
func TestEachAttemptIsSignedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dates, authorizations []string
		tr := &sigv4.Transport{Region: region, Service: service, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			dates = append(dates, r.Header.Get("X-Amz-Date"))
			authorizations = append(authorizations, r.Header.Get("Authorization"))
			return nil, errSent
		})}
		ctx := sigv4.With(t.Context(), credentials(sessionToken), hashOf([]byte("{}")))
		for range 2 {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader("{}"))
			if _, err := tr.RoundTrip(req); !errors.Is(err, errSent) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if diff := cmp.Diff([]string{"20000101T000000Z", "20000101T000001Z"}, dates); diff != "" {
			t.Errorf("dates (-want +got):\n%s", diff)
		}
		if authorizations[0] == authorizations[1] {
			t.Error("one signature for two times")
		}
	})
}

// The derived key is made once a day, and never outlives midnight UTC.
func TestSigningKeyLivesForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		creds := credentials(sessionToken)
		signed := func() any {
			t.Helper()
			ctx := sigv4.With(t.Context(), creds, hashOf(nil))
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, nil)
			if _, err := writeAndJudge(req); err != nil {
				t.Fatal(err)
			}
			return sigv4.Derived(creds)
		}
		first := signed()
		time.Sleep(24*time.Hour - time.Second) // 23:59:59
		if signed() != first {
			t.Error("derived again on the same day")
		}
		time.Sleep(time.Second)
		second := signed()
		if second == first {
			t.Error("yesterday's key signed today")
		}
		for _, scope := range [][2]string{{"eu-west-1", service}, {region, "sts"}} {
			home := sigv4.SigningKey(creds, "20000102", region, service)
			if sigv4.SigningKey(creds, "20000102", scope[0], scope[1]) == home {
				t.Errorf("one key for two scopes: %v", scope)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	srv := httptest.NewServer(verifier(arrivedToken))
	defer srv.Close()
	creds := credentials(sessionToken)
	tr := &sigv4.Transport{Base: srv.Client().Transport, Region: region, Service: service}
	h := http.Header{"Content-Type": {"application/json"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}} // shared by all
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				ctx := sigv4.With(t.Context(), creds, hashOf([]byte("{}")))
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/a/./b?x=1+2", strings.NewReader("{}"))
				req.Header = h
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("%s", text)
				}
			}
		})
	}
	wg.Wait()
}

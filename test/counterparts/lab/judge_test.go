package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

type vault map[string]sts.Issued

func (v vault) Lookup(key string) (sts.Issued, bool) {
	lent, ok := v[key]
	return lent, ok
}

func lent() vault {
	return vault{"ASIAEXAMPLE": {
		AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "eyJhbGciOiJub25lIn0/+==", Expiry: time.Now().Add(time.Hour),
		RoleARN: "arn:aws:iam::123456789012:role/R", SessionName: "ann",
	}}
}

// call is one request to the judge: what it is signed with, and what becomes of it between its signer and the judge.
type call struct {
	secret, key, token, region string
	path                       string
	at                         time.Time
	unsigned                   bool
	spoil                      func(*http.Request)
}

func (c call) request(t *testing.T, base string) *http.Request {
	t.Helper()
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	body := `{"jsonrpc":"2.0"}`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+or(c.path, "/mcp"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if c.at.IsZero() {
		c.at = time.Now()
	}
	if !c.unsigned {
		creds := awssdk.Credentials{AccessKeyID: or(c.key, "ASIAEXAMPLE"), SecretAccessKey: or(c.secret, "secret"), SessionToken: or(c.token, "eyJhbGciOiJub25lIn0/+==")}
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hash, "aws-mcp", or(c.region, "us-east-1"), c.at); err != nil {
			t.Fatal(err)
		}
	}
	if c.spoil != nil {
		c.spoil(r)
	}
	return r
}

func body(text string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
}

func unsign(name string) func(*http.Request) {
	return func(r *http.Request) {
		a := r.Header.Get("Authorization")
		r.Header.Set("Authorization", strings.Replace(strings.Replace(a, ";"+name, "", 1), name+";", "", 1))
	}
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// send sends r, and gives the status and AWS's error code.
func send(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, ""
	}
	var document struct {
		Type string `json:"__type"`
	}
	if err := json.Unmarshal(text, &document); err != nil || document.Type != resp.Header.Get("X-Amzn-Errortype") {
		t.Errorf("the refusal is %q, its header %q: %v", text, resp.Header.Get("X-Amzn-Errortype"), err)
	}
	return resp.StatusCode, document.Type
}

func TestJudge(t *testing.T) {
	lab.Need(t)
	v := lent()
	old := v["ASIAEXAMPLE"]
	old.AccessKeyID, old.Expiry = "ASIAOLD", time.Now().Add(-time.Minute)
	v["ASIAOLD"] = old
	j := lab.NewJudge(t, "", v)
	const bad, incomplete = "SignatureDoesNotMatch", "IncompleteSignatureException"
	for name, tc := range map[string]struct {
		call
		want  string // AWS's error code; "" is 200
		trace string // a violation besides that of the refusal
	}{
		"well signed":              {},
		"a query":                  {call: call{path: "/mcp?b=2&a=x%20y&a=1&c"}},
		"a path":                   {call: call{path: "/a%20b/ü/mcp"}},
		"unsigned":                 {call: call{unsigned: true}, want: "MissingAuthenticationTokenException"},
		"wrong secret":             {call: call{secret: "guess"}, want: bad},
		"tampered body":            {call: call{spoil: body(`{"jsonrpc":"2.1"}`)}, want: bad},
		"longer body":              {call: call{spoil: body(`{"jsonrpc":"2.0"} `)}, want: bad},
		"tampered content type":    {call: call{spoil: set("Content-Type", "text/plain")}, want: bad},
		"tampered method":          {call: call{spoil: func(r *http.Request) { r.Method = http.MethodPut }}, want: bad},
		"tampered query":           {call: call{spoil: func(r *http.Request) { r.URL.RawQuery = "admin" }}, want: bad},
		"tampered host":            {call: call{spoil: func(r *http.Request) { r.Host = "elsewhere.test" }}, want: bad},
		"no date":                  {call: call{spoil: func(r *http.Request) { r.Header.Del("X-Amz-Date") }}, want: incomplete},
		"no hash":                  {call: call{spoil: func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }}, want: incomplete},
		"no session token":         {call: call{spoil: func(r *http.Request) { r.Header.Del("X-Amz-Security-Token") }}, want: incomplete},
		"content type not signed":  {call: call{spoil: unsign("content-type")}, want: bad},
		"hash not signed":          {call: call{spoil: unsign("x-amz-content-sha256")}, want: bad},
		"host not signed":          {call: call{spoil: unsign("host")}, want: bad},
		"an old date":              {call: call{at: time.Now().Add(-6 * time.Minute)}, want: bad},
		"a date to come":           {call: call{at: time.Now().Add(6 * time.Minute)}, want: bad},
		"another region":           {call: call{region: "eu-west-1"}, want: bad},
		"an unknown key":           {call: call{key: "ASIAOTHER"}, want: "UnrecognizedClientException"},
		"another session's token":  {call: call{token: "other"}, want: "UnrecognizedClientException"},
		"expired":                  {call: call{key: "ASIAOLD"}, want: "ExpiredTokenException"},
		"two signatures":           {call: call{spoil: func(r *http.Request) { r.Header.Add("Authorization", "AWS4-HMAC-SHA256 x") }}, want: incomplete},
		"a bearer token":           {call: call{unsigned: true, spoil: set("Authorization", "Bearer opaque")}, want: incomplete, trace: "bearer"},
		"a token in any header":    {call: call{spoil: set("X-Token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln")}, trace: "X-Token"},
		"a token in the query":     {call: call{path: "/mcp?t=eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}, trace: "the query"},
		"a cookie":                 {call: call{spoil: set("Cookie", "a=b")}, trace: "Cookie"},
		"where a client came from": {call: call{spoil: set("X-Forwarded-For", "192.0.2.1")}, trace: "X-Forwarded-For"},
	} {
		t.Run(name, func(t *testing.T) {
			status, code := send(t, tc.request(t, j.URL()))
			if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[tc.want == ""]; status != want || code != tc.want {
				t.Errorf("it answers %d %s, want %d %s", status, code, want, tc.want)
			}
			var want []string
			for _, w := range []string{tc.trace, tc.want} {
				if w != "" {
					want = append(want, w)
				}
			}
			got := j.Forgive()
			if !slices.EqualFunc(got, want, strings.Contains) {
				t.Errorf("violations %q, want %q", got, want)
			}
		})
	}
}

// TestJudgeTrouble: what a test may ask of the judge is no violation.
func TestJudgeTrouble(t *testing.T) {
	lab.Need(t)
	got := make(chan http.Header, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		w.Header().Set("Mcp-Session-Id", "s1")
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(backend.Close)
	j := lab.NewJudge(t, backend.URL, lent())
	in := func(id string) call { return call{spoil: set("Mcp-Session-Id", id)} }
	type answer struct {
		Status int
		Code   string
	}
	try := func(c call, want answer) {
		t.Helper()
		status, code := send(t, c.request(t, j.URL()))
		if diff := cmp.Diff(want, answer{status, code}); diff != "" {
			t.Errorf("the answer (-want +got):\n%s", diff)
		}
	}
	try(call{}, answer{Status: 200})
	for name := range <-got {
		if name == "Authorization" || strings.HasPrefix(name, "X-Amz-") {
			t.Errorf("the backend sees %s", name)
		}
	}
	j.Throttle(1)
	try(call{}, answer{429, "ThrottlingException"})
	j.DropSessions()
	try(in("s1"), answer{404, "ResourceNotFoundException"})
	try(in("s2"), answer{Status: 200})

	j.Delay(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(j.Requests()) < 5 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := http.DefaultTransport.RoundTrip(call{}.request(t, j.URL()).WithContext(ctx)); err == nil {
		t.Error("a delayed request was answered at once")
	}
	lab.Eventually(t, "the cancellation is noted", func() bool { r := j.Requests()[4]; return r.Cancelled && !r.Ended.IsZero() })
	j.Delay(0)
	j.Expire()
	try(call{}, answer{403, "ExpiredTokenException"})

	if r := j.Requests()[0]; r.RoleARN != "arn:aws:iam::123456789012:role/R" || r.SessionName != "ann" || r.Status != 200 ||
		r.Ended.Before(r.Started) || !bytes.Equal(r.Body, []byte(`{"jsonrpc":"2.0"}`)) {
		t.Errorf("the first request is remembered as %+v", r)
	}
	if v := j.Violations(); v != nil {
		t.Errorf("violations: %q", v)
	}
}

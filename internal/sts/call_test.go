package sts_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/sts"
)

// TestEndpoints: each region has an STS endpoint of its own, in its own partition's domain. The global one is never used.
func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		region, env, want string
	}{
		{"us-east-1", "", "https://sts.us-east-1.amazonaws.com/"},
		{"eu-central-2", "", "https://sts.eu-central-2.amazonaws.com/"},
		{"ap-southeast-7", "", "https://sts.ap-southeast-7.amazonaws.com/"},
		{"cn-north-1", "", "https://sts.cn-north-1.amazonaws.com.cn/"},
		{"us-gov-west-1", "", "https://sts.us-gov-west-1.amazonaws.com/"},
		{"eusc-de-east-1", "", "https://sts.eusc-de-east-1.amazonaws.eu/"},
		{"us-iso-east-1", "", "https://sts.us-iso-east-1.c2s.ic.gov/"},
		{"us-isob-east-1", "", "https://sts.us-isob-east-1.sc2s.sgov.gov/"},
		{"eu-isoe-west-1", "", "https://sts.eu-isoe-west-1.cloud.adc-e.uk/"},
		{"us-isof-south-1", "", "https://sts.us-isof-south-1.csp.hci.ic.gov/"},
		{"us-east-1", "AWS_STS_REGIONAL_ENDPOINTS=legacy", "https://sts.us-east-1.amazonaws.com/"},
		{"us-east-1", "AWS_USE_FIPS_ENDPOINT=true", "https://sts-fips.us-east-1.amazonaws.com/"},
		{"us-east-1", "AWS_ENDPOINT_URL_STS=https://vpce-1.sts.example:8443", "https://vpce-1.sts.example:8443/"},
		{"us-east-1", "AWS_ENDPOINT_URL=https://all.example", "https://all.example/"},
		{"us-east-1", "AWS_REGION=eu-west-1", "https://sts.us-east-1.amazonaws.com/"},
	} {
		t.Run(test.region+" "+test.env, func(t *testing.T) {
			if name, value, ok := strings.Cut(test.env, "="); ok {
				t.Setenv(name, value)
			}
			f := &fake{}
			g := grant()
			g.Region = test.region
			if _, _, err := sts.New(sts.Options{Transport: f}).Credentials(context.Background(), caller("u1"), g); err != nil {
				t.Fatal(err)
			}
			r := f.requests[0]
			if got := r.URL.String(); got != test.want || r.Method != http.MethodPost {
				t.Errorf("%s %s, want POST %s", r.Method, got, test.want)
			}
			for _, name := range []string{"Authorization", "X-Amz-Security-Token", "Cookie"} {
				if r.Header.Get(name) != "" {
					t.Errorf("the call is signed: %s", name)
				}
			}
		})
	}
}

func TestNoCredentialsOfOurOwn(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAOURS")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "ours")
	t.Setenv("AWS_SESSION_TOKEN", "ours")
	f := &fake{}
	lend(t, sts.New(sts.Options{Transport: f}), caller("u1"))
	if h := f.requests[0].Header; h.Get("Authorization") != "" || h.Get("X-Amz-Security-Token") != "" {
		t.Errorf("the call is signed with our own credentials: %v", h)
	}
}

func TestCheck(t *testing.T) {
	for _, region := range []string{"", "aws-global", "us-east-1 ", "US-EAST-1", "us-east-1.evil.example/", "global"} {
		e := fault.Of(sts.New(sts.Options{}).Check(region))
		if e == nil || e.Kind != fault.Internal || e.Hinted() == "" {
			t.Errorf("region %q: %v", region, e)
		}
	}
	v := sts.New(sts.Options{Transport: &fake{}})
	if err := v.Check("us-east-1"); err != nil {
		t.Error(err)
	}
	g := grant()
	g.Region = "aws-global"
	if _, _, err := v.Credentials(context.Background(), caller("u1"), g); fault.Of(err).Kind != fault.Internal {
		t.Errorf("err = %v", err)
	}
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "missing.pem"))
	if e := fault.Of(v.Check("us-east-2")); e == nil || e.Kind != fault.Internal || !strings.Contains(e.Hinted(), "AWS_CA_BUNDLE") {
		t.Errorf("a CA bundle that is not there: %v", e)
	}
}

func TestCABundle(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, lent(1, time.Now().Add(time.Hour), r.FormValue("RoleSessionName")))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)

	e := refuse(t, sts.New(sts.Options{}), caller("u1"))
	if e.Kind != fault.Unavailable || !strings.Contains(e.Error(), "certificate signed by unknown authority") {
		t.Errorf("without the bundle: %v", e)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	lend(t, sts.New(sts.Options{}), caller("u1"))
}

// TestRedirect: a redirect would carry the token somewhere else.
func TestRedirect(t *testing.T) {
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		server := httptest.NewServer(http.RedirectHandler(other.URL, status))
		defer server.Close()
		t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
		if e := refuse(t, sts.New(sts.Options{}), caller("u1")); e.Kind != fault.BadUpstream || elsewhere != 0 {
			t.Errorf("%d: %v, %d requests elsewhere", status, e, elsewhere)
		}
	}
}

// TestProxy runs itself as another process: Go reads HTTPS_PROXY once.
func TestProxy(t *testing.T) {
	if os.Getenv("STS_TEST_CHILD") != "" {
		e := refuse(t, sts.New(sts.Options{Timeout: 2 * time.Second}), caller("u1"))
		if e.Kind != fault.Unavailable {
			t.Error(e)
		}
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 10)
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusForbidden)
	})}
	go func() { _ = proxy.Serve(listener) }()
	defer proxy.Close()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
	child.Env = append(os.Environ(), "STS_TEST_CHILD=1", "HTTPS_PROXY=http://"+listener.Addr().String(), "NO_PROXY=", "no_proxy=")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	select {
	case got := <-asked:
		if got != "CONNECT sts.us-east-1.amazonaws.com:443" {
			t.Errorf("the proxy was asked to %s", got)
		}
	default:
		t.Error("the proxy was not asked")
	}
}

// TestCallsAreCapped: many cold users are let through to STS a few at a time, and none waits longer than the timeout.
func TestCallsAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{delay: time.Second}
		v := sts.New(sts.Options{Transport: f})
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			lent int
		)
		begin := time.Now()
		for i := range 400 {
			wg.Go(func() {
				_, _, err := v.Credentials(context.Background(), caller(fmt.Sprint("u", i)), grant())
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					lent++
				} else if e := fault.Of(err); e.Kind != fault.Unavailable || e.RetryAfter <= 0 {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if f.peak != 32 {
			t.Errorf("%d calls at once", f.peak)
		}
		if took := time.Since(begin); took > 10*time.Second || lent < 9*32 {
			t.Errorf("%d users in %s", lent, took)
		}
	})
}

// cutOff answers 200, and half of an answer.
type cutOff struct{ how error }

func (c cutOff) RoundTrip(r *http.Request) (*http.Response, error) {
	body := io.MultiReader(strings.NewReader(`<AssumeRoleWithWebIdentityResponse xmlns="https`), iotest.ErrReader(c.how))
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
		Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(body), Request: r,
	}, nil
}

// TestAnswerCutOff: half of an answer is trouble of the network, which passes, and not an STS that talks nonsense.
func TestAnswerCutOff(t *testing.T) {
	for name, how := range map[string]error{
		"in order":   io.ErrUnexpectedEOF,
		"by a reset": &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			e := refuse(t, sts.New(sts.Options{Transport: cutOff{how}, Timeout: 5 * time.Second}), caller("u1"))
			if e.Kind != fault.Unavailable || e.RetryAfter == 0 {
				t.Errorf("%v, Retry-After %s", e, e.RetryAfter)
			}
		})
	}
}

package sts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

const (
	roleARN = "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole"
	rawJWT  = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2lkcCIsInN1YiI6InUxIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
)

func TestMain(m *testing.M) {
	// The AWS settings of whoever runs the tests must not matter.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") && os.Getenv("STS_TEST_CHILD") == "" {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	_ = os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.Exit(m.Run())
}

// fake is an STS in memory.
type fake struct {
	delay  time.Duration                                     // of each answer
	life   time.Duration                                     // of what is lent; 0 means DurationSeconds
	id     string                                            // of each answer, in its header
	answer func(n int, form url.Values) (int, string, error) // instead of credentials; status 0 means credentials

	mu       sync.Mutex
	forms    []url.Values
	requests []*http.Request
	inFlight atomic.Int64
	peak     int64
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	n, life, delay := f.enter(r, form)
	id := f.id
	defer f.inFlight.Add(-1)
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, text := 0, ""
	if f.answer != nil {
		if status, text, err = f.answer(n, form); err != nil {
			return nil, err
		}
	}
	if status == 0 {
		if life == 0 {
			seconds, _ := time.ParseDuration(form.Get("DurationSeconds") + "s")
			life = seconds
		}
		id = fmt.Sprintf("req-%d", n)
		status, text = 200, lent(n, time.Now().Add(life), form.Get("RoleSessionName"))
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"text/xml"}, "X-Amzn-Requestid": {id}}, Body: io.NopCloser(strings.NewReader(text)),
	}, nil
}

func (f *fake) enter(r *http.Request, form url.Values) (n int, life, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peak = max(f.peak, f.inFlight.Add(1))
	f.forms = append(f.forms, form)
	f.requests = append(f.requests, r)
	return len(f.forms), f.life, f.delay
}

// calls counts the requests that reached the fake.
func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.forms)
}

// lent is a successful answer, in AWS's XML; the access key id tells the number of the call.
func lent(n int, expiry time.Time, session string) string {
	return fmt.Sprintf(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>ASIAFAKE%04d</AccessKeyId><SecretAccessKey>secret-%d</SecretAccessKey><SessionToken>session-token-%d</SessionToken><Expiration>%s</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>AROAFAKE:%[5]s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/S3ReadOnlyMCPRole/%[5]s</Arn></AssumedRoleUser>
</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>req-%[1]d</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>`,
		n, n, n, expiry.UTC().Format(time.RFC3339), session)
}

// refused is an error answer, in AWS's XML.
func refused(code, message string) string {
	return fmt.Sprintf(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>7a62c49f-347e-4fc4-9331-6e8e47a5d1a7</RequestId></ErrorResponse>`, code, message)
}

// always answers every call alike.
func always(status int, text string) func(int, url.Values) (int, string, error) {
	return func(int, url.Values) (int, string, error) { return status, text, nil }
}

var errDown = errors.New("connect: connection refused")

func down(int, url.Values) (int, string, error) { return 0, "", errDown }

func caller(subject string) *token.Caller { return callerWith(subject, rawJWT) }

func callerWith(subject, raw string) *token.Caller {
	return &token.Caller{
		Issuer: "https://idp.example.com", Audience: []string{"mcp"}, AuthorizedParty: "client",
		Subject: token.Subject{ID: subject, Token: token.NewRaw(raw), Claims: map[string]any{"sub": subject, "groups": []any{"s3-readers"}}},
	}
}

func grant() sts.Grant {
	return sts.Grant{RoleARN: roleARN, SessionName: "u1", Region: "us-east-1", Duration: time.Hour}
}

// lend asks for credentials that must be lent.
func lend(t testing.TB, v *sts.Vault, c *token.Caller) (*sts.Lease, sts.Source) {
	t.Helper()
	l, source, err := v.Credentials(context.Background(), c, grant())
	if err != nil {
		t.Fatalf("credentials: %v", err)
	}
	return l, source
}

// refuse asks for credentials that must be refused.
func refuse(t testing.TB, v *sts.Vault, c *token.Caller) *fault.Error {
	t.Helper()
	_, _, err := v.Credentials(context.Background(), c, grant())
	if err == nil {
		t.Fatal("credentials were lent")
	}
	return fault.Of(err)
}

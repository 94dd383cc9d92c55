package sts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/token"
)

const (
	// maxCalls bounds the calls under way in one region: more wait.
	maxCalls = 32
	// maxAttempts bounds the HTTP requests of one call.
	maxAttempts = 3
	// maxAnswer bounds how much of an answer is read. A real one has some kilobytes.
	maxAnswer = 256 << 10
	// secondLook is the pause before the one retry of InvalidIdentityToken: STS may just have missed a new key.
	secondLook = 250 * time.Millisecond
)

// region is the way to STS in one region.
type region struct {
	client *awssts.Client
	slots  chan struct{}
}

// regionName is what a region looks like. Pseudo-regions such as "aws-global", which stand for the global endpoint, don't.
var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$`)

// Check says whether STS can be called in a region, without calling it. The error is a fault.Internal: the region's
// name, or the AWS settings of the environment, can't be used.
func (v *Vault) Check(name string) error {
	_, err := v.region(name)
	return err
}

// region finds or makes the client of a region. Two at once may both make one; one of the two is kept.
func (v *Vault) region(name string) (*region, error) {
	if r, ok := v.regions.Load(name); ok {
		return r.(*region), nil
	}
	if !regionName.MatchString(name) {
		return nil, fault.New(fault.Internal, wordsSetting).Hint("%q is not an AWS region with an STS endpoint of its own", name)
	}
	cfg, roots, err := environment(name)
	if err != nil {
		return nil, fault.New(fault.Internal, wordsSetting).
			Hint("the AWS settings of the environment can't be used (AWS_CA_BUNDLE, AWS_ENDPOINT_URL_STS and the like)").Because(err)
	}
	client := awssts.NewFromConfig(cfg, func(o *awssts.Options) {
		o.HTTPClient = v.httpClient(roots)
		o.Retryer = retryer()
		o.ClientLogMode = 0
	})
	kept, _ := v.regions.LoadOrStore(name, &region{client: client, slots: make(chan struct{}, maxCalls)})
	return kept.(*region), nil
}

// environment reads what the environment says of the way to STS: endpoint, FIPS and dual stack, CA bundle. The files of
// the AWS tools (~/.aws) are not read: they are for credentials, which are not wanted here, and a profile that can't be
// used must not stop the gateway.
func environment(region string) (aws.Config, *x509.CertPool, error) {
	env, err := awsconfig.NewEnvConfig()
	if err != nil {
		return aws.Config{}, nil, err
	}
	cfg := aws.Config{
		Region:        region,
		Credentials:   aws.AnonymousCredentials{}, // so that no chain is searched, and no metadata service asked
		Logger:        logging.Nop{},
		DefaultsMode:  aws.DefaultsModeStandard,
		ConfigSources: []any{env},
	}
	if ignored := env.IgnoreConfiguredEndpoints; env.BaseEndpoint != "" && (ignored == nil || !*ignored) {
		cfg.BaseEndpoint = &env.BaseEndpoint
	}
	if env.CustomCABundle == "" {
		return cfg, nil, nil
	}
	bundle, err := os.ReadFile(env.CustomCABundle)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("read AWS_CA_BUNDLE: %w", err)
	}
	roots := x509.NewCertPool() // instead of the system's, as in every AWS tool
	if !roots.AppendCertsFromPEM(bundle) {
		return aws.Config{}, nil, errors.New("read AWS_CA_BUNDLE: no PEM certificate in it")
	}
	return cfg, roots, nil
}

// httpClient follows no redirect: the token goes to the endpoint that was configured and nowhere else.
func (v *Vault) httpClient(roots *x509.CertPool) *http.Client {
	transport := v.transport
	if transport == nil {
		t := awshttp.NewBuildableClient().GetTransport()
		t.TLSClientConfig.RootCAs = roots
		t.MaxIdleConnsPerHost = maxCalls
		t.ResponseHeaderTimeout = v.timeout / 2 // so that there is time for another attempt
		transport = t
	}
	return &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded bounds the answers that are read.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// retryer tries again after throttling, server errors and broken connections, with jitter between the attempts. Its
// quota of retries, shared by all calls of a region, keeps it from hammering an STS that is in trouble.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Retryables = append(o.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}})
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			d := 150 * time.Millisecond << min(max(attempt, 1)-1, 4)
			return d + time.Duration(rand.Float64()*float64(d)), nil
		})
	})
}

// assume asks STS for credentials. Either the lease or the failure is nil.
func (v *Vault) assume(ctx context.Context, raw token.Raw, g Grant) (*Lease, *failure) {
	r, err := v.region(g.Region)
	if err != nil {
		return nil, &failure{code: codeSetting, fault: fault.Of(err)}
	}
	lease, f := v.call(ctx, r, raw, g)
	if f == nil || !f.secondLook {
		return lease, f
	}
	select {
	case <-time.After(secondLook):
		return v.call(ctx, r, raw, g)
	case <-ctx.Done():
		return nil, f
	}
}

// call makes one call, when there is a slot for it.
func (v *Vault) call(ctx context.Context, r *region, raw token.Raw, g Grant) (lease *Lease, f *failure) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, failed(codeQueue, answer{}, g)
	}
	start := time.Now()
	defer func() {
		// A flight is outside of the door's recover.
		if p := recover(); p != nil {
			stack := errors.New(string(debug.Stack()))
			lease, f = nil, &failure{code: codePanic, fault: fault.New(fault.Internal, "internal error").Hint("panic in the STS call: %T", p).Because(stack)}
		}
		<-r.slots
		code := "ok"
		if f != nil {
			code = f.code
		}
		v.onCall(code, time.Since(start))
	}()
	out, err := r.client.AssumeRoleWithWebIdentity(ctx, &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn:          &g.RoleARN,
		RoleSessionName:  &g.SessionName,
		WebIdentityToken: aws.String(raw.Reveal()),
		DurationSeconds:  aws.Int32(int32(g.Duration / time.Second)),
	})
	if err != nil {
		return nil, diagnose(ctx, err, raw, g)
	}
	lease, err = leaseOf(out, time.Now())
	if err != nil {
		return nil, failed(codeMalformed, answer{message: err.Error()}, g)
	}
	return lease, nil
}

// leaseOf makes a lease of an answer. The error holds nothing of it.
func leaseOf(out *awssts.AssumeRoleWithWebIdentityOutput, now time.Time) (*Lease, error) {
	c := out.Credentials
	switch {
	case c == nil:
		return nil, errors.New("no credentials in the answer")
	case aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" || aws.ToString(c.SessionToken) == "":
		return nil, errors.New("credentials with an empty part in the answer")
	case !keyID.MatchString(*c.AccessKeyId):
		return nil, errors.New("an access key id of an unknown form in the answer")
	case c.Expiration == nil:
		return nil, errors.New("credentials without an expiry in the answer")
	}
	lease := &Lease{
		Credentials: sigv4.NewCredentials(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken),
		Expiry:      *c.Expiration,
		begin:       now,
	}
	if !lease.live(now) {
		return nil, fmt.Errorf("credentials that end in %s, compare the clocks", c.Expiration.Sub(now).Round(time.Second))
	}
	if u := out.AssumedRoleUser; u != nil {
		lease.AssumedRoleARN = plain(aws.ToString(u.Arn))
	}
	if id, ok := middleware.GetRequestIDMetadata(out.ResultMetadata); ok {
		lease.RequestID = plain(id)
	}
	return lease, nil
}

// keyID is what an access key id looks like. It is shown in logs, so it must not be something else.
var keyID = regexp.MustCompile(`^\w{4,128}$`)

// plain gives a name that STS gave, and "" for what is too long or too odd to be one.
func plain(name string) string {
	if len(name) > 512 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return name
}

const (
	// telling is how many characters of a token in a row are too many to be shown.
	telling = 12
	// maxMessage bounds what is told of a message.
	maxMessage = 300
)

// withhold gives a text from outside, cut to a bounded line, unless it quotes the token: no more than a few characters
// in a row may be the same.
func withhold(text string, raw token.Raw) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	secret := raw.Reveal()
	for i := 0; i+min(telling, len(secret)) <= len(text); i++ {
		if secret != "" && strings.Contains(secret, text[i:i+min(telling, len(secret))]) {
			return "[withheld: it quotes the token]"
		}
	}
	return text
}

package sts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

const audience = "toolhive-aws-proxy"

// trust is the tutorial's trust policy with one more condition, if any.
func trust(provider, issuer, more string) string {
	_, bare, _ := strings.Cut(issuer, "://")
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":%q},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{%q:%q}%s}}]}`,
		provider, bare+":aud", audience, strings.ReplaceAll(more, "ISSUER", bare))
}

// account is an STS with a registered issuer and two roles: Role, and Sub for subjects that begin with "ann".
func account(t *testing.T) (*sts.Server, *idp.Issuer) {
	t.Helper()
	i, err := idp.Start(idp.Options{Audience: audience, Algs: []jose.SignatureAlgorithm{jose.ES256}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sts.Start(sts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(), i.Close() })
	s.AddProvider(sts.Provider{Issuer: i.URL(), ClientIDs: []string{audience, "other"}})
	for name, more := range map[string]string{"Role": "", "Sub": `,"StringLike":{"ISSUER:sub":["ann*","zoe"]}`} {
		if _, err := s.AddRole(sts.Role{Name: name, Trust: trust(s.ProviderARN(i.URL()), i.URL(), more), MaxDuration: 2 * time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	return s, i
}

func client(s *sts.Server) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: awssdk.String(s.URL()), Credentials: awssdk.AnonymousCredentials{},
		Retryer: awssdk.NopRetryer{},
	})
}

func arn(name string) string { return "arn:aws:iam::123456789012:role/" + name }

func TestAssume(t *testing.T) {
	s, i := account(t)
	out, err := client(s).AssumeRoleWithWebIdentity(t.Context(), &sdk.AssumeRoleWithWebIdentityInput{
		RoleArn: awssdk.String(arn("Role")), RoleSessionName: awssdk.String("ann@example.com"),
		WebIdentityToken: awssdk.String(i.Mint(idp.Claims{"sub": "auth0|1"})), DurationSeconds: awssdk.Int32(900),
	})
	if err != nil {
		t.Fatal(err)
	}
	lent, ok := s.Lookup(*out.Credentials.AccessKeyId)
	if !ok {
		t.Fatal("what was lent can't be looked up")
	}
	got := []string{
		*out.Credentials.SecretAccessKey, *out.Credentials.SessionToken, *out.AssumedRoleUser.Arn,
		*out.AssumedRoleUser.AssumedRoleId, *out.SubjectFromWebIdentityToken, *out.Audience, *out.Provider,
	}
	want := []string{
		lent.SecretAccessKey, lent.SessionToken, "arn:aws:sts::123456789012:assumed-role/Role/ann@example.com",
		lent.RoleID + ":ann@example.com", "auth0|1", audience, i.URL(),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if left := time.Until(*out.Credentials.Expiration); left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("expires in %s, want 15 m", left)
	}
	calls := s.Calls()
	if len(calls) != 1 || calls[0].Status != 200 || calls[0].Subject != "auth0|1" || calls[0].Duration != 900 || calls[0].Signed {
		t.Errorf("calls: %+v", calls)
	}
	s.ExpireAll()
	if lent, _ := s.Lookup(lent.AccessKeyID); time.Now().Before(lent.Expiry) {
		t.Error("ExpireAll did not expire")
	}
}

func TestRefusals(t *testing.T) {
	s, i := account(t)
	stranger, err := idp.Start(idp.Options{Audience: audience, Algs: []jose.SignatureAlgorithm{jose.ES256}})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	liar := idp.New(idp.Options{URL: i.URL(), Audience: audience, Algs: []jose.SignatureAlgorithm{jose.ES256}})
	past := time.Now().Add(-time.Minute).Unix()
	tests := map[string]struct {
		token    string
		role     string
		session  string
		duration int32
		code     string
		status   int
	}{
		"right":               {},
		"right, sub":          {role: arn("Sub"), token: i.Mint(idp.Claims{"sub": "ann-1"})},
		"two audiences":       {token: i.Mint(idp.Claims{"aud": []string{"x", audience}})},
		"no kid":              {token: i.Mint(nil, idp.WithoutKID())},
		"expired":             {token: i.Mint(idp.Claims{"exp": past}), code: "ExpiredTokenException", status: 400},
		"not a JWT":           {token: "hello", code: "InvalidIdentityToken", status: 400},
		"EdDSA":               {token: i.Mint(nil, idp.WithAlg(jose.EdDSA)), code: "InvalidIdentityToken", status: 400},
		"PS256":               {token: i.Mint(nil, idp.WithAlg(jose.PS256)), code: "InvalidIdentityToken", status: 400},
		"unsigned":            {token: i.Mint(nil, idp.WithAlg("none")), code: "InvalidIdentityToken", status: 400},
		"forged":              {token: liar.Mint(nil), code: "InvalidIdentityToken", status: 400},
		"unknown kid":         {token: i.Mint(nil, idp.WithKID("nobody")), code: "InvalidIdentityToken", status: 400},
		"unknown issuer":      {token: stranger.Mint(nil), code: "InvalidIdentityToken", status: 400},
		"unknown audience":    {token: i.Mint(idp.Claims{"aud": "stranger"}), code: "InvalidIdentityToken", status: 400},
		"azp unregistered":    {token: i.Mint(idp.Claims{"azp": "app"}), code: "InvalidIdentityToken", status: 400},
		"azp not trusted":     {token: i.Mint(idp.Claims{"azp": "other"}), code: "AccessDenied", status: 403},
		"no sub":              {token: i.Mint(idp.Claims{"sub": nil}), code: "InvalidIdentityToken", status: 400},
		"fractional exp":      {token: i.Mint(idp.Claims{"exp": float64(past) + 3600.5}), code: "InvalidIdentityToken", status: 400},
		"audience of another": {token: i.Mint(idp.Claims{"aud": "other"}), code: "AccessDenied", status: 403},
		"subject":             {role: arn("Sub"), token: i.Mint(idp.Claims{"sub": "bob"}), code: "AccessDenied", status: 403},
		"tags":                {token: i.Mint(idp.Claims{"https://aws.amazon.com/tags": map[string]any{}}), code: "AccessDenied", status: 403},
		"no such role":        {role: arn("Nobody"), code: "AccessDenied", status: 403},
		"no ARN":              {role: "arn:aws:s3:::bucket-of-somebody", code: "ValidationError", status: 400},
		"session name":        {session: "auth0|1", code: "ValidationError", status: 400},
		"short session name":  {session: "a", code: "ValidationError", status: 400},
		"long session name":   {session: strings.Repeat("a", 65), code: "ValidationError", status: 400},
		"too short":           {duration: 899, code: "ValidationError", status: 400},
		"over the role":       {duration: 7201, code: "ValidationError", status: 400},
		"long token":          {token: i.Mint(idp.Claims{"x": strings.Repeat("x", 20000)}), code: "ValidationError", status: 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := &sdk.AssumeRoleWithWebIdentityInput{
				RoleArn: awssdk.String(arn("Role")), RoleSessionName: awssdk.String("ann"), WebIdentityToken: awssdk.String(i.Mint(nil)),
			}
			if tt.token != "" {
				in.WebIdentityToken = &tt.token
			}
			if tt.role != "" {
				in.RoleArn = &tt.role
			}
			if tt.session != "" {
				in.RoleSessionName = &tt.session
			}
			if tt.duration != 0 {
				in.DurationSeconds = &tt.duration
			}
			_, err := client(s).AssumeRoleWithWebIdentity(t.Context(), in)
			expect(t, err, tt.code, tt.status)
		})
	}
}

// expect checks that err is that code with that HTTP status and a request id, or nil for no code.
func expect(t *testing.T, err error, code string, status int) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var api smithy.APIError
	var resp *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &resp) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if api.ErrorCode() != code || resp.HTTPStatusCode() != status {
		t.Errorf("got %s %d (%s), want %s %d", api.ErrorCode(), resp.HTTPStatusCode(), api.ErrorMessage(), code, status)
	}
	if resp.HTTPResponse().Header.Get("x-amzn-RequestId") == "" {
		t.Error("no request id")
	}
}

func TestProviderInTrouble(t *testing.T) {
	s, i := account(t)
	assume := func(ctx context.Context) error {
		_, err := client(s).AssumeRoleWithWebIdentity(ctx, &sdk.AssumeRoleWithWebIdentityInput{
			RoleArn: awssdk.String(arn("Role")), RoleSessionName: awssdk.String("ann"), WebIdentityToken: awssdk.String(i.Mint(nil)),
		})
		return err
	}
	i.Fail(stage.Trouble{Status: 503})
	expect(t, assume(t.Context()), "IDPCommunicationError", 400)
	i.Heal()
	i.ClaimIssuer("https://another.example")
	expect(t, assume(t.Context()), "InvalidIdentityToken", 400)
	i.Heal()
	expect(t, assume(t.Context()), "", 0)
	i.Add("", jose.ES256)
	expect(t, assume(t.Context()), "", 0) // a new kid is looked up although the keys are cached
}

func TestTroubles(t *testing.T) {
	s, i := account(t)
	assume := func(ctx context.Context) error {
		_, err := client(s).AssumeRoleWithWebIdentity(ctx, &sdk.AssumeRoleWithWebIdentityInput{
			RoleArn: awssdk.String(arn("Role")), RoleSessionName: awssdk.String("ann"), WebIdentityToken: awssdk.String(i.Mint(nil)),
		})
		return err
	}
	s.Throttle(1)
	expect(t, assume(t.Context()), "Throttling", 400)
	expect(t, assume(t.Context()), "", 0)
	resp, err := http.Post(s.URL()+"/_admin/fault", "application/json", strings.NewReader(`{"code":"ServiceUnavailable","times":1}`))
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatalf("admin: %v %v", resp, err)
	}
	resp.Body.Close()
	expect(t, assume(t.Context()), "ServiceUnavailable", 503)
	for _, kind := range []stage.Kind{stage.Reset, stage.Garbage} {
		s.Fail(stage.Trouble{Kind: kind, Times: 1})
		if err := assume(t.Context()); err == nil {
			t.Errorf("%s: no error", kind)
		}
	}
	s.Fail(stage.Trouble{Kind: stage.Hang, Times: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := assume(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	if got := s.Count(); got != 6 {
		t.Errorf("%d calls counted, want 6", got)
	}
}

func TestForm(t *testing.T) {
	s, _ := account(t)
	tests := map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"nothing":        {nil, 400, "MissingAction"},
		"another action": {url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}}, 400, "InvalidAction"},
		"old version":    {url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2010-05-08"}}, 400, "InvalidAction"},
		"no session":     {url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}}, 400, "ValidationError"},
	}
	for name, tt := range tests {
		resp, err := http.PostForm(s.URL(), tt.form)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), "<Code>"+tt.code+"</Code>") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

func TestTrustPoliciesThatAreMalformed(t *testing.T) {
	s := sts.New(sts.Options{})
	for name, doc := range map[string]string{
		"no JSON":            `{`,
		"no statement":       `{"Version":"2012-10-17"}`,
		"unknown effect":     `{"Statement":{"Effect":"Maybe","Principal":"*","Action":"*"}}`,
		"no principal":       `{"Statement":{"Effect":"Allow","Action":"*"}}`,
		"no action":          `{"Statement":{"Effect":"Allow","Principal":"*"}}`,
		"unknown operator":   `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringIs":{"a":"b"}}}}`,
		"unknown member":     `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Conditions":{}}}`,
		"statement a string": `{"Statement":"Allow"}`,
	} {
		if _, err := s.AddRole(sts.Role{Name: "R", Trust: doc}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTrustPolicies(t *testing.T) {
	s, i := account(t)
	_, bare, _ := strings.Cut(i.URL(), "://")
	statement := func(effect, action, condition string) string {
		return fmt.Sprintf(`{"Effect":%q,"Principal":{"Federated":[%q]},"Action":[%q],"Condition":{%s}}`,
			effect, s.ProviderARN(i.URL()), action, strings.ReplaceAll(condition, "ISSUER", bare))
	}
	for name, tt := range map[string]struct {
		statements []string
		code       string
	}{
		"no condition":         {[]string{statement("Allow", "sts:AssumeRoleWithWebIdentity", "")}, ""},
		"wildcard action":      {[]string{statement("Allow", "sts:Assume*", "")}, ""},
		"another action":       {[]string{statement("Allow", "sts:AssumeRole", "")}, "AccessDenied"},
		"denied":               {[]string{statement("Allow", "sts:*", ""), statement("Deny", "sts:*", `"StringLike":{"ISSUER:sub":"us?r"}`)}, "AccessDenied"},
		"not denied":           {[]string{statement("Allow", "sts:*", ""), statement("Deny", "sts:*", `"StringLike":{"ISSUER:sub":"us?"}`)}, ""},
		"not equals":           {[]string{statement("Allow", "sts:*", `"StringNotEquals":{"ISSUER:sub":"user"}`)}, "AccessDenied"},
		"absent key":           {[]string{statement("Allow", "sts:*", `"StringEquals":{"ISSUER:amr":"mfa"}`)}, "AccessDenied"},
		"absent key, IfExists": {[]string{statement("Allow", "sts:*", `"StringEqualsIfExists":{"ISSUER:amr":"mfa"}`)}, ""},
		"any value":            {[]string{statement("Allow", "sts:*", `"ForAnyValue:StringEqualsIgnoreCase":{"ISSUER:aud":["X","Toolhive-AWS-proxy"]}`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			role, err := s.AddRole(sts.Role{Name: "team/Policy", Trust: `{"Statement":[` + strings.Join(tt.statements, ",") + `]}`})
			if err != nil {
				t.Fatal(err)
			}
			out, err := client(s).AssumeRoleWithWebIdentity(t.Context(), &sdk.AssumeRoleWithWebIdentityInput{
				RoleArn: &role, RoleSessionName: awssdk.String("ann"), WebIdentityToken: awssdk.String(i.Mint(nil)),
			})
			expect(t, err, tt.code, 403)
			if err == nil && *out.AssumedRoleUser.Arn != "arn:aws:sts::123456789012:assumed-role/Policy/ann" {
				t.Errorf("assumed %s: the path belongs to the role, not to the session", *out.AssumedRoleUser.Arn)
			}
		})
	}
}

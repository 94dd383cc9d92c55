package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/stage"
	fakests "github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// Clocks. A jump forward is time that passes at once: testing/synctest does that to the rooms of the gateway and to the
// fakes alike. There sockets can't be, so the rooms stand without the hall. Against the counterparts' clocks, ours may be
// ahead or behind: those cases run through the whole gateway, where the fakes are told another time than ours. That
// the wall clock alone moves, and the monotonic one does not, can't be staged without changing the machine's clock;
// what it would change are the ends of tokens and credentials, which come as wall time and are compared as such, and so
// is what a difference between the clocks shows.

// rooms are what a request goes through, wired to fakes without a network.
type rooms struct {
	idp      *idp.Issuer
	sts      *fakests.Server
	aws      *aws.Server
	verifier *token.Verifier
	chooser  *role.Chooser
	vault    *sts.Vault
	seal     *sigv4.Transport
}

// mount is a network of handlers by host.
type mount map[string]http.Handler

func (m mount) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	h, ok := m[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("no such host: %s", r.URL.Host)
	}
	defer func() {
		if recover() != nil {
			resp, err = nil, errors.New("connection reset")
		}
	}()
	w := httptest.NewRecorder()
	arrived := r.Clone(r.Context())
	arrived.Host, arrived.RequestURI = r.Host, r.URL.RequestURI()
	if arrived.Host == "" {
		arrived.Host = r.URL.Host
	}
	if arrived.Body == nil {
		arrived.Body = http.NoBody
	}
	h.ServeHTTP(w, arrived)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp = w.Result()
	resp.Request = r
	return resp, nil
}

// furnish makes the rooms, within the bubble of the test.
func furnish(t *testing.T) *rooms {
	t.Helper()
	const issuer = "https://login.example"
	net := mount{}
	r := &rooms{
		idp: idp.New(idp.Options{URL: issuer, Audience: fake.Audience, Algs: []jose.SignatureAlgorithm{jose.ES256}}),
		sts: fakests.New(fakests.Options{Client: &http.Client{Transport: net}}),
	}
	r.sts.AddProvider(fakests.Provider{Issuer: issuer, ClientIDs: []string{fake.Audience}})
	trust := fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Principal":{"Federated":[%q]},"Action":["sts:AssumeRoleWithWebIdentity"]}]}`, r.sts.ProviderARN(issuer))
	if _, err := r.sts.AddRole(fakests.Role{Name: "DefaultMCPRole", Trust: trust}); err != nil {
		t.Fatal(err)
	}
	r.aws = aws.New(aws.Options{Vault: r.sts, Keep: 1})
	net["login.example"], net["sts.us-east-1.amazonaws.com"], net["aws-mcp.us-east-1.api.aws"] = r.idp, r.sts, r.aws

	var err error
	r.verifier, err = token.New(token.Options{OIDC: config.OIDCProvider{Issuer: issuer, Audience: fake.Audience}, Transport: net})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.verifier.Close)
	r.chooser, _ = role.New(&config.AWSSTS{RoleClaim: "groups", FallbackRoleArn: fake.DefaultRole})
	r.vault = sts.New(sts.Options{Transport: net})
	environment.Lock() // another test may say there where its STS is
	err = r.vault.Check(fake.Region)
	environment.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	r.seal = &sigv4.Transport{Base: net, Region: fake.Region, Service: fake.Service}
	return r
}

// pass takes a token through the rooms. The remote is asked for what it does not have, so that its verdict on the
// signature is all that it gives: code is that of its refusal.
func (r *rooms) pass(ctx context.Context, text string) (code string, err error) {
	caller, err := r.verifier.Verify(ctx, token.NewRaw(text))
	if err != nil {
		return "", err
	}
	choice, err := r.chooser.Select(caller.Subject.Claims)
	if err != nil {
		return "", err
	}
	name, err := sts.SessionName(caller.Subject.Claims, "sub")
	if err != nil {
		return "", err
	}
	lease, _, err := r.vault.Credentials(ctx, caller, sts.Grant{RoleARN: choice.RoleARN, SessionName: name, Region: fake.Region})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(sigv4.With(ctx, lease.Credentials, ""), http.MethodGet, "https://aws-mcp.us-east-1.api.aws/nothing", nil)
	if err != nil {
		return "", err
	}
	resp, err := r.seal.RoundTrip(req)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("X-Amzn-Errortype"), resp.Body.Close()
}

// verified is what the remote says when all is well but for the path.
const verified = "UnknownOperationException"

// TestNoJumpOfTheClockSignsWithWhatHasEnded: the clock leaps by seconds, hours and days, now and then while STS or the
// provider is away. Whatever is signed the remote finds valid at that moment; an ended token gets nobody in, however
// live the credentials; and the caller is let in or refused as the moment has it.
func TestNoJumpOfTheClockSignsWithWhatHasEnded(t *testing.T) {
	t.Parallel()
	n := seed(t)
	synctest.Test(t, func(t *testing.T) {
		dice := rand.New(rand.NewPCG(n, 0))
		r := furnish(t)
		outcomes := map[string]int{}
		text, ends := "", time.Time{}
		for range 400 {
			if time.Now().After(ends.Add(3*time.Minute)) || dice.IntN(8) == 0 {
				life := time.Duration(1+dice.IntN(300)) * time.Minute
				ends = time.Now().Add(life).Truncate(time.Second)
				text = r.idp.Mint(idp.Claims{"sub": "ann", "exp": ends.Unix()})
			}
			away := dice.IntN(4) == 0
			if away {
				r.sts.Fail(stage.Trouble{Status: 503})
			}
			time.Sleep([]time.Duration{
				0, time.Duration(dice.IntN(60)) * time.Second, time.Duration(dice.IntN(3600)) * time.Second, time.Until(ends) + time.Duration(dice.IntN(120)-60)*time.Second, time.Duration(dice.IntN(8)) * time.Hour,
			}[dice.IntN(5)])
			now := time.Now()
			code, err := r.pass(t.Context(), text)
			outcome := outcomeOf(code, err)
			outcomes[outcome]++
			switch over := now.Sub(ends); {
			case outcome == "allowed" && over >= time.Minute, outcome == "unauthenticated" && over < 0, outcome == "unavailable" && !away:
				t.Errorf("%s, %v after the token's end, STS away: %v (%v)", outcome, over, away, err)
			case outcome != "allowed" && outcome != "unauthenticated" && outcome != "unavailable":
				t.Errorf("outcome %s (%v)", outcome, err)
			}
			r.sts.Heal()
			time.Sleep(4 * time.Second) // a refusal is not remembered for longer
		}
		t.Log(outcomes)
		if len(outcomes) != 3 {
			t.Errorf("outcomes %v: too few for a test", outcomes)
		}
	})
}

func outcomeOf(code string, err error) string {
	switch {
	case err != nil:
		return fault.Of(err).Kind.String()
	case code == verified:
		return "allowed"
	default:
		return "the remote refused the signature: " + code
	}
}

// TestAfterALongSleepNobodyWaitsForWhatTheyHave: a machine that slept for days has stale keys and ended credentials. The
// first caller gets new ones in one call each, and nobody is refused for the sleep.
func TestAfterALongSleepNobodyWaitsForWhatTheyHave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := furnish(t)
		for day := range 5 {
			calls := r.sts.Count()
			for range 10 {
				if code, err := r.pass(t.Context(), r.idp.Mint(idp.Claims{"sub": "ann"})); outcomeOf(code, err) != "allowed" {
					t.Errorf("day %d: %s %v", day, code, err)
				}
			}
			if n := r.sts.Count() - calls; n != 1 {
				t.Errorf("day %d: %d STS calls", day, n)
			}
			time.Sleep(24 * time.Hour)
		}
	})
}

// TestKeysThatCannotBeRefreshedServeOnAndTokensStillEnd: the provider is away for a day.
func TestKeysThatCannotBeRefreshedServeOnAndTokensStillEnd(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]stage.Trouble{
		"away": {Status: 503}, "hung": {Kind: stage.Hang}, "garbage": {Kind: stage.Garbage}, "resets": {Kind: stage.Reset},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := furnish(t)
				long := r.idp.Mint(idp.Claims{"sub": "ann", "exp": time.Now().Add(24 * time.Hour).Unix()})
				short := r.idp.Mint(idp.Claims{"sub": "bob", "exp": time.Now().Add(time.Hour).Unix()})
				for _, text := range []string{long, short} {
					if code, err := r.pass(t.Context(), text); outcomeOf(code, err) != "allowed" {
						t.Fatal(code, err)
					}
				}
				r.idp.Fail(trouble, idp.Discovery, idp.JWKS)
				time.Sleep(30 * time.Minute) // the credentials of both are still good
				for text, want := range map[string]string{long: "allowed", short: "allowed"} {
					begin := time.Now()
					if code, err := r.pass(t.Context(), text); outcomeOf(code, err) != want || time.Since(begin) != 0 {
						t.Errorf("%s (%v) after %v, want %s at once", outcomeOf(code, err), err, time.Since(begin), want)
					}
				}
				time.Sleep(31*time.Minute + 30*time.Second)
				begin := time.Now()
				if _, err := r.verifier.Verify(t.Context(), token.NewRaw(short)); outcomeOf("", err) != "unauthenticated" || time.Since(begin) != 0 {
					t.Errorf("an ended token: %v after %v", err, time.Since(begin))
				}
				if _, err := r.verifier.Verify(t.Context(), token.NewRaw(long)); err != nil {
					t.Errorf("a token that is good: %v", err)
				}
				r.idp.Heal()
			})
		})
	}
}

// TestATokenEndsInTheMidstOfItsCalls: remembered, with live credentials and a session or not, it is refused from the
// moment on that its leeway ends, with the challenge that makes the client sign in.
func TestATokenEndsInTheMidstOfItsCalls(t *testing.T) {
	t.Parallel()
	s := place(t, fake.Options{}).start().ready()
	c := whoami(s.world.Token("ann"))
	s.do(c).allowed(t, c, prompt) // the credentials are there
	ends := time.Now().Add(-55 * time.Second)
	ending := s.world.IDP.Mint(idp.Claims{"sub": "ann", "groups": []string{"s3-readers"}, "iat": ends.Add(-time.Hour).Unix(), "exp": ends.Unix()})
	last := ends.Truncate(time.Second).Add(time.Minute)
	allowed := 0
	for {
		c := whoami(ending)
		sent := time.Now()
		a := s.do(c)
		if a.status == http.StatusOK && sent.Before(last) {
			allowed++
			time.Sleep(200 * time.Millisecond)
			continue
		}
		if time.Now().Before(last) {
			t.Errorf("refused %v before its leeway ends", time.Until(last))
		}
		s.refused(c, a, verdict{status: 401, decision: "unauthenticated", within: prompt, unread: true})
		break
	}
	if allowed == 0 && !underRace {
		t.Error("it was never let in")
	}
	c = whoami(s.world.Token("ann"))
	s.do(c).allowed(t, c, prompt)
	if n := s.visits(); n != 1 {
		t.Errorf("%d visits to STS for one caller", n)
	}
}

// TestClocksThatDisagree: with the provider's, a little is forgiven; with AWS's, lent credentials are believed until AWS
// finds them ended, and then renewed once.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	s := place(t, fake.Options{}).start().ready()
	for skew, status := range map[time.Duration]int{30 * time.Second: 200, 10 * time.Minute: 401} {
		begins := time.Now().Add(skew)
		c := whoami(s.world.IDP.Mint(idp.Claims{"sub": "ann", "iat": begins.Unix(), "nbf": begins.Unix(), "exp": begins.Add(time.Hour).Unix()}))
		a := s.do(c)
		if status == http.StatusOK {
			a.allowed(t, c, prompt)
			continue
		}
		s.refused(c, a, verdict{status: status, decision: "unauthenticated", within: prompt, unread: true})
	}
	visits := s.visits()
	s.world.STS.ExpireAll()
	for range 5 {
		c := whoami(s.world.Token("ann"))
		s.do(c).allowed(t, c, prompt)
	}
	if n := s.visits() - visits; n != 1 {
		t.Errorf("%d visits to STS; the renewal needs one", n)
	}
}

// TestCredentialsThatEndAreRenewedBeforeTheyDo: leases of 64 s are served for three or four, so that every few seconds
// there are new ones, and no call is signed with those in their last minute.
func TestCredentialsThatEndAreRenewedBeforeTheyDo(t *testing.T) {
	t.Parallel()
	s := place(t, fake.Options{})
	s.world.STS.SetLifetime(64 * time.Second)
	s.start().ready()
	ann := s.world.Token("ann")
	begin := time.Now()
	for ; s.visits() < 3; time.Sleep(300 * time.Millisecond) {
		c := whoami(ann)
		s.do(c).allowed(t, c, prompt)
		if time.Since(begin) > 9*time.Second+2*prompt {
			t.Fatalf("%d visits to STS in %v", s.visits(), time.Since(begin))
		}
	}
	for _, r := range s.world.AWS.Requests() {
		lent, _ := s.world.STS.Lookup(r.AccessKeyID)
		if left := lent.Expiry.Sub(r.Time); left < time.Minute-prompt {
			t.Errorf("signed with credentials that end in %v", left)
		}
		if strings.HasPrefix(r.Code, "Expired") {
			t.Errorf("refused by AWS: %s", r.Why)
		}
	}
}

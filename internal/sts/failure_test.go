package sts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/sts"
)

// outcome is what must become of a failure.
type outcome struct {
	status   int
	text     string
	kind     fault.Kind
	code     string        // in the metric
	hint     string        // a part of it
	requests int           // that reach STS for one call of ours
	hold     time.Duration // for how long at least, and at most for twice that, a second call is spared STS
}

var outcomes = map[string]outcome{
	"token expired":        {400, refused("ExpiredTokenException", "Token expired"), fault.Unauthenticated, "ExpiredToken", "expired", 1, 0},
	"claim rejected":       {403, refused("IDPRejectedClaim", "no"), fault.Unauthenticated, "IDPRejectedClaim", "identity provider says", 1, 0},
	"trust policy":         {403, refused("AccessDenied", "Not authorized"), fault.Denied, "AccessDenied", "the trust policy of role " + roleARN + " does not let", 1, 30 * time.Second},
	"provider unknown":     {400, refused("InvalidIdentityToken", "No OpenIDConnect provider found"), fault.BadUpstream, "InvalidIdentityToken", "OIDC provider", 2, 10 * time.Second},
	"provider unreachable": {400, refused("IDPCommunicationError", "no"), fault.Unavailable, "IDPCommunicationError", "AWS could not fetch", 3, time.Second},
	"throttled":            {400, refused("Throttling", "Rate exceeded"), fault.Unavailable, "Throttling", "throttles", 3, time.Second},
	"throttled, modern":    {400, refused("ThrottlingException", "Rate exceeded"), fault.Unavailable, "Throttling", "throttles", 3, time.Second},
	"throttled by status":  {429, "slow down", fault.Unavailable, "Throttling", "throttles", 3, time.Second},
	"internal failure":     {500, refused("InternalFailure", "sorry"), fault.Unavailable, "server", "in trouble", 3, time.Second},
	"bad gateway in HTML":  {502, "<html><body>Bad Gateway</body></html>", fault.Unavailable, "server", "in trouble", 3, time.Second},
	"unavailable":          {503, "", fault.Unavailable, "server", "in trouble", 3, time.Second},
	"validation":           {400, refused("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."), fault.Internal, "ValidationError", "sessionDuration", 1, 0},
	"malformed policy":     {400, refused("MalformedPolicyDocument", "no"), fault.Internal, "MalformedPolicyDocument", "session policy", 1, 0},
	"policy too large":     {400, refused("PackedPolicyTooLarge", "no"), fault.Internal, "PackedPolicyTooLarge", "session policy", 1, 0},
	"region disabled":      {403, refused("RegionDisabledException", "no"), fault.Internal, "RegionDisabled", "region: STS is not activated in us-east-1", 1, 0},
	"unknown code":         {400, refused("SomethingNew", "no"), fault.Internal, "other", "no meaning here", 1, 0},
	"a code like ours":     {400, refused("timeout", "no"), fault.Internal, "other", "no meaning here", 1, 0},
	"another's 403":        {403, "<html>blocked by the proxy</html>", fault.BadUpstream, "malformed", "HTTPS_PROXY", 1, 0},
	"a redirect":           {307, "", fault.BadUpstream, "malformed", "HTTPS_PROXY", 1, 0},
	"not XML":              {200, "hello", fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"empty":                {200, "", fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"another's XML":        {200, "<html></html>", fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"cut off":              {200, lent(1, time.Now(), "u1")[:300], fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"no credentials":       {200, without("Credentials"), fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"no secret":            {200, without("SecretAccessKey"), fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"no session token":     {200, without("SessionToken"), fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"no expiry":            {200, without("Expiration"), fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"ended already":        {200, lent(1, time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), "u1"), fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
	"ends at once":         {200, lent(1, time.Date(2000, 1, 1, 0, 0, 59, 0, time.UTC), "u1"), fault.BadUpstream, "malformed", "perhaps not STS", 1, 0},
}

// without is a successful answer that lacks an element.
func without(element string) string {
	text := lent(1, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), "u1")
	before, rest, _ := strings.Cut(text, "<"+element+">")
	_, after, _ := strings.Cut(rest, "</"+element+">")
	return before + after
}

// TestEachFailureHasItsAnswer: a failure of STS is answered by its cause. Only what a new token mends is a 401, and so
// an invitation to sign in again; every cause stands in the hint.
func TestEachFailureHasItsAnswer(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		want := outcomes[name]
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: always(want.status, want.text)}
				var codes []string
				v := sts.New(sts.Options{Transport: f, OnCall: func(code string, _ time.Duration) { codes = append(codes, code) }})
				e := refuse(t, v, caller("u1"))
				if e.Kind != want.kind {
					t.Fatalf("kind %s, want %s: %v", e.Kind, want.kind, e)
				}
				if got := e.Challenge == "invalid_token"; got != (want.kind == fault.Unauthenticated) {
					t.Errorf("challenge %q", e.Challenge)
				}
				if got := e.RetryAfter > 0; got != (want.kind == fault.Unavailable) {
					t.Errorf("Retry-After %s", e.RetryAfter)
				}
				if !strings.Contains(e.Hinted(), want.hint) || strings.Contains(e.Hinted(), "{") {
					t.Errorf("hint %q does not tell %q", e.Hinted(), want.hint)
				}
				if strings.Contains(e.Public, "arn:") || strings.Contains(e.Public, "us-east-1") {
					t.Errorf("public words %q tell too much", e.Public)
				}
				if slices.ContainsFunc(codes, func(c string) bool { return c != want.code }) || f.calls() != want.requests {
					t.Errorf("codes %q, want %q; %d requests, want %d", codes, want.code, f.calls(), want.requests)
				}
				remembered(t, v, f, want)
			})
		})
	}
}

// remembered checks for how long a failure spares STS the same question.
func remembered(t *testing.T, v *sts.Vault, f *fake, want outcome) {
	t.Helper()
	if want.hold > 0 {
		time.Sleep(want.hold - time.Millisecond)
		if e := refuse(t, v, caller("u1")); e.Kind != want.kind || f.calls() != want.requests {
			t.Errorf("within %s: %v, %d requests", want.hold, e, f.calls())
		}
		time.Sleep(want.hold + 2*time.Millisecond)
	}
	f.answer = nil
	if _, source := lend(t, v, caller("u1")); source != sts.Miss {
		t.Errorf("afterwards: %s", source)
	}
}

func TestNoAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		delay time.Duration
		code  string
		takes time.Duration // at most
	}{
		"refused connection": {errDown, 0, "network", 2 * time.Second},
		"hanging":            {nil, time.Hour, "timeout", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{delay: test.delay, answer: func(int, url.Values) (int, string, error) { return 0, "", test.err }}
				var codes []string
				v := sts.New(sts.Options{Transport: f, OnCall: func(code string, _ time.Duration) { codes = append(codes, code) }})
				begin := time.Now()
				e := refuse(t, v, caller("u1"))
				if e.Kind != fault.Unavailable || e.RetryAfter <= 0 || !slices.Equal(codes, []string{test.code}) {
					t.Errorf("%v, codes %q", e, codes)
				}
				if took := time.Since(begin); took > test.takes {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// TestSecondLook: STS may have missed a new signing key; one retry a moment later is not told to anyone.
func TestSecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(n int, _ url.Values) (int, string, error) {
			if n == 1 {
				return 400, refused("InvalidIdentityToken", "Couldn't retrieve verification key"), nil
			}
			return 0, "", nil
		}}
		begin := time.Now()
		lend(t, sts.New(sts.Options{Transport: f}), caller("u1"))
		if took := time.Since(begin); took != 250*time.Millisecond || f.calls() != 2 {
			t.Errorf("took %s, %d calls", took, f.calls())
		}
	})
}

// TestTokensDoNotShareBlame: a failure that belongs to one token is not what the bearer of another one gets.
func TestTokensDoNotShareBlame(t *testing.T) {
	const good = "good-token-of-the-same-user"
	byToken := func(code string) func(int, url.Values) (int, string, error) {
		return func(_ int, form url.Values) (int, string, error) {
			if form.Get("WebIdentityToken") == good {
				return 0, "", nil
			}
			return 400, refused(code, "no"), nil
		}
	}
	for _, code := range []string{"ExpiredTokenException", "IDPRejectedClaim", "InvalidIdentityToken"} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{delay: time.Second, answer: byToken(code)}
				v := sts.New(sts.Options{Transport: f})
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() { refuse(t, v, callerWith("u1", "bad-token")) })
				}
				synctest.Wait()
				wg.Go(func() {
					if _, source := lend(t, v, callerWith("u1", good)); source != sts.Miss {
						t.Errorf("the good token got its lease by %s", source)
					}
				})
				wg.Wait()
				if n := f.calls(); n > 3 {
					t.Errorf("%d calls", n)
				}
			})
		})
		t.Run(code+", later", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := sts.New(sts.Options{Transport: &fake{answer: byToken(code)}})
				refuse(t, v, callerWith("u1", "bad-token"))
				lend(t, v, callerWith("u1", good))
			})
		})
	}
	t.Run("AccessDenied is for all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{delay: time.Second, answer: byToken("AccessDenied")}
			v := sts.New(sts.Options{Transport: f})
			var wg sync.WaitGroup
			wg.Go(func() { refuse(t, v, callerWith("u1", "bad-token")) })
			synctest.Wait()
			wg.Go(func() { refuse(t, v, callerWith("u1", good)) })
			wg.Wait()
			if f.calls() != 1 {
				t.Errorf("%d calls", f.calls())
			}
		})
	})
}

// TestTheTokenNeverShows: whatever STS, or what stands in its place, says, no part of the token is in an error or a log.
func TestTheTokenNeverShows(t *testing.T) {
	parts := strings.Split(rawJWT, ".")
	for name, answer := range map[string]func(int, url.Values) (int, string, error){
		"in the message":             always(400, refused("ValidationError", "Value '"+rawJWT+"' at 'webIdentityToken' failed to satisfy constraint")),
		"cut in the message":         always(400, refused("ValidationError", strings.Repeat("x", 270)+rawJWT)),
		"a part of it":               always(400, refused("AccessDenied", "signature "+parts[2][:20])),
		"in the code":                always(400, refused(rawJWT, "no")),
		"in the request id":          always(400, strings.ReplaceAll(refused("AccessDenied", "no"), "7a62c49f-347e-4fc4-9331-6e8e47a5d1a7", rawJWT)),
		"in the request id's header": always(400, refused("AccessDenied", "no")),
		"in the body":                always(502, rawJWT),
		"in a success":               always(200, strings.ReplaceAll(lent(1, time.Now(), "u1"), "ASIAFAKE0001", rawJWT)),
		"in a wrong success":         always(200, "<x>"+rawJWT),
		"in a network error": func(int, url.Values) (int, string, error) {
			return 0, "", errors.New("malformed HTTP response " + rawJWT)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				var log bytes.Buffer
				v := sts.New(sts.Options{Transport: f, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
				lend(t, v, caller("warm"))
				f.answer = answer
				if name == "in the request id's header" {
					f.id = rawJWT
				}
				time.Sleep(55 * time.Minute)
				lend(t, v, caller("warm")) // its refresh fails in the background
				e := refuse(t, v, caller("cold"))
				time.Sleep(time.Minute)
				synctest.Wait()
				if log.Len() == 0 {
					t.Error("the failed refresh left no trace")
				}
				var all strings.Builder
				fmt.Fprintf(&all, "%v %+v %#v %s %s\n%s", e, e, e, e.Hinted(), e.Public, log.String())
				for err := error(e); err != nil; err = errors.Unwrap(err) {
					fmt.Fprintf(&all, "%v %+v %#v\n", err, err, err)
				}
				for i := range rawJWT[12:] {
					if strings.Contains(all.String(), rawJWT[i:i+12]) {
						t.Fatalf("%q shows in:\n%s", rawJWT[i:i+12], all.String())
					}
				}
			})
		})
	}
	t.Run("what is harmless is told", func(t *testing.T) {
		f := &fake{answer: always(400, refused("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration"))}
		e := refuse(t, sts.New(sts.Options{Transport: f}), caller("u1"))
		if want := "STS: ValidationError (400) request 7a62c49f-347e-4fc4-9331-6e8e47a5d1a7 The requested DurationSeconds exceeds the MaxSessionDuration"; !strings.HasSuffix(e.Error(), want) {
			t.Errorf("got  %s\nwant %s", e.Error(), want)
		}
	})
}

// TestErrorsAreNotShared: the error of one request may be changed without another seeing it.
func TestErrorsAreNotShared(t *testing.T) {
	v := sts.New(sts.Options{Transport: &fake{answer: always(403, refused("AccessDenied", "no"))}})
	refuse(t, v, caller("u1")).Hint("changed").Public = "changed"
	if e := refuse(t, v, caller("u1")); e.Public == "changed" || e.Hinted() == "changed" {
		t.Error("the change shows")
	}
}

func TestRequestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := sts.New(sts.Options{Transport: &fake{delay: 5 * time.Second}})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _, err := v.Credentials(ctx, caller("u1"), grant())
		if e := fault.Of(err); e.Kind != fault.Unavailable || e.RetryAfter <= 0 {
			t.Errorf("err = %v", err)
		}
		time.Sleep(5 * time.Second)
		if _, source := lend(t, v, caller("u1")); source != sts.Hit {
			t.Errorf("afterwards: %s", source)
		}
	})
}

// TestPanic: a panic in a flight, where no handler recovers, is an error like others.
func TestPanic(t *testing.T) {
	f := &fake{answer: func(int, url.Values) (int, string, error) { panic(http.ErrAbortHandler) }}
	v := sts.New(sts.Options{Transport: f})
	if e := refuse(t, v, caller("u1")); e.Kind != fault.Internal || e.Public != "internal error" {
		t.Errorf("got %v", e)
	}
	f.answer = nil
	lend(t, v, caller("u1"))
}

package faults_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// stsTrouble is a trouble with STS, and what it means to a caller who needs credentials.
type stsTrouble struct {
	begin func(s *stand)
	verdict
	held bool // the refusal is remembered: who asks again at once costs no call
	slow bool // the trouble only takes time
}

func fail(t stage.Trouble) func(*stand) { return func(s *stand) { s.world.STS.Fail(t) } }

// refusal is a trouble where STS answers with a code of its own.
func refusal(code string, status int) func(*stand) {
	return fail(stage.Trouble{Code: code, Status: status, Message: "no"})
}

const (
	flightTime = 10 * time.Second // most that a visit to STS takes, attempts included
	lookTime   = 5 * time.Second  // most that a request waits for the provider's keys
)

func stsTroubles() map[string]stsTrouble {
	quickly := prompt // three attempts with pauses of up to 0.9 s in all
	hung := flightTime + prompt
	away := verdict{status: 503, decision: "unavailable", later: 2, within: quickly}
	late := verdict{status: 503, decision: "unavailable", later: 2, within: hung}
	throttled := verdict{status: 503, decision: "unavailable", later: 5, within: quickly}
	odd := verdict{status: 502, decision: "bad_upstream", within: quickly}
	setting := verdict{status: 500, decision: "internal", within: quickly}
	return map[string]stsTrouble{
		"killed":                  {func(s *stand) { s.sts.kill() }, away, true, false},
		"hung":                    {fail(stage.Trouble{Kind: stage.Hang}), late, true, false},
		"slow":                    {fail(stage.Trouble{Delay: time.Second}), verdict{}, false, true},
		"slower than we wait":     {fail(stage.Trouble{Delay: 11 * time.Second}), late, true, false},
		"resets":                  {fail(stage.Trouble{Kind: stage.Reset}), away, true, false},
		"breaks off":              {func(s *stand) { s.sts.breakAfter(500, false) }, away, true, false},
		"falls silent":            {func(s *stand) { s.sts.breakAfter(500, true) }, late, true, false},
		"garbage":                 {fail(stage.Trouble{Kind: stage.Garbage}), odd, false, false},
		"empty answer":            {fail(stage.Trouble{Kind: stage.Garbage, Message: " "}), odd, false, false},
		"endless garbage":         {fail(stage.Trouble{Kind: stage.Garbage, Message: strings.Repeat("<x>", 1<<20)}), odd, false, false},
		"throttles":               {fail(stage.Trouble{Code: "Throttling", Status: 400}), throttled, true, false},
		"throttles with 429":      {fail(stage.Trouble{Code: "TooManyRequestsException", Status: 429}), throttled, true, false},
		"503":                     {refusal("ServiceUnavailable", 503), away, true, false},
		"500":                     {refusal("InternalFailure", 500), away, true, false},
		"ExpiredTokenException":   {refusal("ExpiredTokenException", 400), verdict{status: 401, decision: "unauthenticated", within: quickly}, false, false},
		"IDPRejectedClaim":        {refusal("IDPRejectedClaim", 403), verdict{status: 401, decision: "unauthenticated", within: quickly}, false, false},
		"AccessDenied":            {refusal("AccessDenied", 403), verdict{status: 403, decision: "denied", within: quickly}, true, false},
		"InvalidIdentityToken":    {refusal("InvalidIdentityToken", 400), odd, true, false},
		"IDPCommunicationError":   {refusal("IDPCommunicationError", 400), away, true, false},
		"ValidationError":         {refusal("ValidationError", 400), setting, false, false},
		"MalformedPolicyDocument": {refusal("MalformedPolicyDocument", 400), setting, false, false},
		"RegionDisabledException": {refusal("RegionDisabledException", 403), setting, false, false},
		"credentials that end in half a minute": {
			func(s *stand) { s.world.STS.SetLifetime(30 * time.Second) }, odd, false, false,
		},
	}
}

// TestTroubleWithSTSHasItsAnswerAtEachMoment: whoever needs credentials gets the documented refusal by its deadline, and
// whoever has them notices nothing, neither when STS is in trouble nor when they fall due for a refresh meanwhile. Once
// it is over, all get in.
func TestTroubleWithSTSHasItsAnswerAtEachMoment(t *testing.T) {
	t.Parallel()
	for name, trouble := range stsTroubles() {
		for moment, test := range map[string]func(*testing.T, stsTrouble){
			"before start":    stsBeforeStart,
			"cold first call": stsCold,
			"warm":            stsWarm,
			"at refresh":      stsAtRefresh,
		} {
			t.Run(name+"/"+moment, func(t *testing.T) {
				t.Parallel()
				test(t, trouble)
			})
		}
	}
}

func stsBeforeStart(t *testing.T, trouble stsTrouble) {
	s := place(t, fake.Options{})
	trouble.begin(s)
	s.start().ready() // that does not depend on STS
	s.needsCredentials(trouble)
}

func stsCold(t *testing.T, trouble stsTrouble) {
	s := place(t, fake.Options{}).start().ready()
	c := whoami(s.world.Token("bob"))
	s.do(c).allowed(t, c, prompt) // the way to STS has been gone by another caller
	trouble.begin(s)
	s.needsCredentials(trouble)
}

// needsCredentials sends ann, who has no credentials, into the trouble, and again at once, and after the end of it.
func (s *stand) needsCredentials(trouble stsTrouble) {
	s.t.Helper()
	ann := s.world.Token("ann")
	first := whoami(ann)
	a := s.do(first)
	if trouble.slow {
		a.allowed(s.t, first, 2*time.Second+prompt)
		return
	}
	s.refused(first, a, trouble.verdict)
	calls := s.world.STS.Count()
	again := whoami(ann)
	s.refused(again, s.do(again), trouble.verdict)
	if asked := s.world.STS.Count() > calls; asked == trouble.held && s.sts.alive() {
		s.t.Errorf("asked STS again at once: %v, want %v", asked, !trouble.held)
	}
	s.world.STS.SetLifetime(0)
	s.heal()
	other := whoami(s.world.Token("eve"))
	s.do(other).allowed(s.t, other, prompt)
	if trouble.held && (trouble.status == http.StatusForbidden || trouble.status == http.StatusBadGateway) {
		return // remembered for 30 s and 10 s
	}
	eventually(s.t, "ann gets in after the trouble", func() bool { return s.do(whoami(ann)).status == http.StatusOK })
}

func stsWarm(t *testing.T, trouble stsTrouble) {
	s := place(t, fake.Options{}).start().ready()
	ann := s.world.Token("ann")
	c := whoami(ann)
	s.do(c).allowed(t, c, prompt)
	calls := s.world.STS.Count()
	trouble.begin(s)
	for _, token := range []string{ann, ann, s.world.Token("ann")} { // the last is another token of hers
		c := whoami(token)
		s.do(c).allowed(t, c, prompt)
	}
	if n := s.world.STS.Count() - calls; n != 0 {
		t.Errorf("%d STS calls for a caller who has credentials", n)
	}
}

const refreshFailed = telemetry.MetricSTSCache + `{event="` + telemetry.RefreshFailed + `"}`

// stsAtRefresh lends credentials for 80 s: they fall due 8 to 10 s after, and are good for another 10 s then.
func stsAtRefresh(t *testing.T, trouble stsTrouble) {
	s := place(t, fake.Options{})
	s.world.STS.SetLifetime(80 * time.Second)
	s.start().ready()
	ann := s.world.Token("ann")
	warm := func() {
		c := whoami(ann)
		s.do(c).allowed(t, c, prompt)
	}
	warm()
	trouble.begin(s)
	begin := time.Now()
	for !strings.Contains(s.metrics(), `rolegate_sts_cache_events_total{event="refresh"} 1`) {
		if time.Since(begin) > 15*time.Second {
			t.Fatal("no refresh began")
		}
		warm()
		time.Sleep(400 * time.Millisecond)
	}
	for range 5 { // while the refresh is under way, or has just failed
		warm()
		time.Sleep(200 * time.Millisecond)
	}
	if trouble.slow {
		return
	}
	if trouble.within == prompt { // the others are still waiting, and the credentials end before they give up
		settle(func() bool { return len(s.log.lines("refresh of credentials failed")) > 0 })
		if n := len(s.log.lines(`"level":"WARN"`, "refresh of credentials failed", `"code"`, fake.S3Role)); n == 0 {
			t.Errorf("the log does not tell of the refresh that failed:\n%s", s.log)
		}
		if page := s.metrics(); !strings.Contains(page, refreshFailed) || strings.Contains(page, refreshFailed+" 0\n") {
			t.Error("the refresh that failed is not counted")
		}
	}
	if strings.Contains(s.log.String(), `"sts":"miss"`) && strings.Count(s.log.String(), `"sts":"miss"`) > 1 {
		t.Error("a request waited for STS")
	}
}

// TestTheTokenGoesToSTSAndNowhereElse: an STS that answers with a redirect is not followed.
func TestTheTokenGoesToSTSAndNowhereElse(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	s := place(t, fake.Options{}).start().ready()
	s.world.STS.Fail(stage.Trouble{Kind: stage.Redirect, Location: elsewhere.URL})
	c := whoami(s.world.Token("ann"))
	s.refused(c, s.do(c), verdict{status: 502, decision: "bad_upstream", within: prompt})
	if n := visits.Load(); n > 0 {
		t.Errorf("the place that STS pointed to was visited %d times", n)
	}
}

// TestACallerOnceRefusedByTokenGetsInWithAnother: what STS has against one token is not held against the next.
func TestACallerOnceRefusedByTokenGetsInWithAnother(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"ExpiredTokenException", "IDPRejectedClaim", "InvalidIdentityToken"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := place(t, fake.Options{STS: sts.Options{KeyTTL: time.Hour}}).start().ready()
			s.world.STS.Fail(stage.Trouble{Code: code, Status: 400, Message: "no"})
			refused := s.do(whoami(s.world.Token("ann")))
			s.world.STS.Heal()
			if refused.status == http.StatusOK {
				t.Fatal("not refused")
			}
			other := s.world.IDP.Mint(map[string]any{"sub": "ann", "jti": "another", "groups": []string{"s3-readers"}})
			c := whoami(other)
			if who := s.do(c).allowed(t, c, prompt); who.Role != fake.S3Role {
				t.Errorf("she is %s", who.Role)
			}
		})
	}
}

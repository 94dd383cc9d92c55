package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// providerTrouble is a trouble with the identity provider. To a caller whose key is not known it means verdict; one
// whose key is known notices nothing.
type providerTrouble struct {
	begin func(s *stand)
	verdict
	slow      bool // the trouble only takes time
	aws       int  // status for who needs credentials where AWS too has to ask this provider; 503 by default
	discovery bool // only the discovery document is in trouble: it is read at start, and then not for an hour
}

func providerTroubles() map[string]providerTrouble {
	fail := func(t stage.Trouble, at ...idp.Endpoint) func(*stand) {
		return func(s *stand) { s.world.IDP.Fail(t, at...) }
	}
	away := verdict{status: 503, decision: "unavailable", later: soon, within: prompt, unread: true}
	late := away
	late.within = lookTime + prompt
	return map[string]providerTrouble{
		"killed":                   {func(s *stand) { s.idp.kill() }, away, false, 0, false},
		"hung":                     {fail(stage.Trouble{Kind: stage.Hang}), late, false, 0, false},
		"key set hung":             {fail(stage.Trouble{Kind: stage.Hang}, idp.JWKS), late, false, 0, false},
		"slow":                     {fail(stage.Trouble{Delay: 300 * time.Millisecond}), verdict{}, true, 200, false},
		"resets":                   {fail(stage.Trouble{Kind: stage.Reset}), away, false, 0, false},
		"breaks off":               {func(s *stand) { s.idp.breakAfter(200, false) }, away, false, 0, false},
		"falls silent":             {func(s *stand) { s.idp.breakAfter(200, true) }, late, false, 0, false},
		"throttles":                {fail(stage.Trouble{Status: 429, Code: "slow_down", RetryAfter: "3600"}), away, false, 0, false},
		"503":                      {fail(stage.Trouble{Status: 503}), away, false, 0, false},
		"404":                      {fail(stage.Trouble{Status: 404}), away, false, 0, false},
		"garbage":                  {fail(stage.Trouble{Kind: stage.Garbage}), away, false, 0, false},
		"key set of garbage":       {fail(stage.Trouble{Kind: stage.Garbage}, idp.JWKS), away, false, 0, false},
		"key set without keys":     {fail(stage.Trouble{Kind: stage.Garbage, Message: `{"keys":[]}`}, idp.JWKS), away, false, 502, false},
		"key set of 2 MB":          {fail(stage.Trouble{Kind: stage.Garbage, Message: `{"keys":[]` + strings.Repeat(" ", 2<<20) + "}"}, idp.JWKS), away, false, 0, false},
		"redirects in a circle":    {fail(stage.Trouble{Kind: stage.Redirect, Location: "/jwks"}), away, false, 0, false},
		"claims to be another one": {func(s *stand) { s.world.IDP.ClaimIssuer("https://another.example") }, away, false, 502, true},
	}
}

// TestTroubleWithTheProviderHasItsAnswerAtEachMoment: it is never a 401, costs nothing to those whose key is known, and
// is a 503 with Retry-After by its deadline to the others. Once it is over, all get in.
func TestTroubleWithTheProviderHasItsAnswerAtEachMoment(t *testing.T) {
	t.Parallel()
	for name, trouble := range providerTroubles() {
		for moment, test := range map[string]func(*testing.T, providerTrouble){
			"before start":                       providerBeforeStart,
			"cold first call":                    providerCold,
			"cold first call that AWS asks for":  providerAskedByAWS,
			"warm":                               providerWarm,
			"at the refresh of the key set":      providerAtRefresh,
			"at a reload to another set of keys": providerAtReload,
		} {
			t.Run(name+"/"+moment, func(t *testing.T) {
				t.Parallel()
				test(t, trouble)
			})
		}
	}
}

// remembering is a world whose STS remembers the provider's keys, as AWS does.
func remembering() fake.Options { return fake.Options{STS: sts.Options{KeyTTL: time.Hour}} }

// expect checks an answer to a caller whose key is not known.
func (p providerTrouble) expect(s *stand, c call, a answer) {
	s.t.Helper()
	if p.slow {
		a.allowed(s.t, c, 2*time.Second+prompt)
		return
	}
	s.refused(c, a, p.verdict)
}

func providerBeforeStart(t *testing.T, trouble providerTrouble) {
	s := place(t, remembering())
	trouble.begin(s)
	s.start()
	if !trouble.slow && s.server.Gateway().Ready() {
		t.Error("ready without keys")
	}
	c := whoami(s.world.Token("ann"))
	trouble.expect(s, c, s.do(c))
	s.heal()
	begin := time.Now()
	s.ready()
	if d := time.Since(begin); d > 10*time.Second+prompt { // a few failures are followed by pauses of up to 8 s
		t.Errorf("ready %v after the trouble", d)
	}
	c = whoami(s.world.Token("ann"))
	s.do(c).allowed(t, c, prompt)
}

// providerCold: AWS remembers the keys from bob, so ann's first call needs the provider for nothing.
func providerCold(t *testing.T, trouble providerTrouble) {
	s := place(t, remembering()).start().ready()
	c := whoami(s.world.Token("bob"))
	s.do(c).allowed(t, c, prompt)
	trouble.begin(s)
	c = whoami(s.world.Token("ann"))
	s.do(c).allowed(t, c, prompt)
}

// providerAskedByAWS: AWS knows no keys, asks the provider, and tells the gateway of the trouble.
func providerAskedByAWS(t *testing.T, trouble providerTrouble) {
	s := place(t, fake.Options{}).start().ready()
	trouble.begin(s)
	c := whoami(s.world.Token("ann"))
	a := s.do(c)
	switch {
	case trouble.slow:
		a.allowed(t, c, 2*time.Second+prompt)
	case trouble.aws == http.StatusBadGateway:
		s.refused(c, a, verdict{status: 502, decision: "bad_upstream", within: prompt})
	default:
		s.refused(c, a, verdict{status: 503, decision: "unavailable", later: 2, within: flightTime + prompt})
	}
}

func providerWarm(t *testing.T, trouble providerTrouble) {
	s := place(t, remembering()).start().ready()
	ann := s.world.Token("ann")
	c := whoami(ann)
	s.do(c).allowed(t, c, prompt)
	trouble.begin(s)
	for _, token := range []string{ann, s.world.Token("ann"), ann} {
		c := whoami(token)
		s.do(c).allowed(t, c, prompt)
	}
	forged := whoami(ann[:len(ann)-8] + "AAAAAAAA")
	if a := s.do(forged); a.status == http.StatusOK || a.took > trouble.within+prompt {
		t.Errorf("a forged token: %d after %v", a.status, a.took)
	}
}

// providerAtRefresh: a token with a new key makes the gateway fetch the key set. Others go on meanwhile.
func providerAtRefresh(t *testing.T, trouble providerTrouble) {
	s := place(t, remembering()).start().ready()
	ann := s.world.Token("ann")
	c := whoami(ann)
	s.do(c).allowed(t, c, prompt)

	s.world.IDP.Add("", jose.ES256)
	rotated, later := s.world.Token("bob"), s.world.Token("eve")
	trouble.begin(s)
	waiting := make(chan func(), 1)
	go func() {
		c := whoami(rotated)
		a := s.do(c)
		waiting <- func() {
			if trouble.discovery { // the gateway has the key; AWS has not
				s.refused(c, a, verdict{status: 502, decision: "bad_upstream", within: prompt})
				return
			}
			trouble.expect(s, c, a)
		}
	}()
	time.Sleep(100 * time.Millisecond)
	for range 3 {
		c := whoami(ann)
		s.do(c).allowed(t, c, prompt)
	}
	(<-waiting)()
	s.heal()
	eventually(t, "the new key gets in after the trouble", func() bool { return s.do(whoami(later)).status == http.StatusOK })
	c = whoami(ann)
	s.do(c).allowed(t, c, prompt)
}

// providerAtReload: documents that name another key set are refused while it can't be had, and the old keys serve.
func providerAtReload(t *testing.T, trouble providerTrouble) {
	s := place(t, remembering()).start().ready()
	ann := s.world.Token("ann")
	c := whoami(ann)
	s.do(c).allowed(t, c, prompt)
	const audience = "audience: " + fake.Audience
	next := s.load(replace(audience, fmt.Sprintf("%s\n      jwksUrl: %s", audience, s.world.IDP.JWKSURL()))(s.documents))
	trouble.begin(s)
	before := s.server.Gateway()
	reloaded := make(chan time.Duration, 1)
	go func() {
		begin := time.Now()
		s.server.Reload(next)
		reloaded <- time.Since(begin)
	}()
	for range 3 {
		c := whoami(ann)
		s.do(c).allowed(t, c, prompt)
	}
	if d := <-reloaded; d > lookTime+prompt {
		t.Errorf("the reload took %v", d)
	}
	taken := trouble.slow || trouble.discovery // which is not read where the documents name the key set
	if got := s.server.Gateway() != before; got != taken {
		t.Errorf("taken over: %v, want %v", got, taken)
	}
	if n := len(s.log.lines("configuration not reloaded")); taken == (n > 0) {
		t.Errorf("%d refusals in the log", n)
	}
	c = whoami(s.world.Token("bob"))
	s.do(c).allowed(t, c, prompt)
}

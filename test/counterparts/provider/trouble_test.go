package provider_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

const (
	patience = 5 * time.Second // the longest that the gateway lets a request wait for keys
	slack    = 3 * time.Second // for a busy machine
)

// troubles are the ways in which the provider is of no use, and the word for each in the log.
var troubles = []struct{ how, word string }{
	{"away", "unreachable"},
	{"hang", "unreachable"},
	{"html", "document"},
	{"stranger", "issuer"},
	{"empty", "no_keys"},
}

// unavailable expects the answer to a caller whose token nobody can judge now: 503, soon, with a time to come back, and
// without a word on signing in.
func (s *stand) unavailable(t *testing.T, token string) {
	t.Helper()
	began := time.Now()
	status, answer, header := s.post(t, token, "", initialize)
	took := time.Since(began)
	later, err := strconv.Atoi(header.Get("Retry-After"))
	if status != http.StatusServiceUnavailable || err != nil || later < 1 || later > 30 || header.Get("WWW-Authenticate") != "" {
		t.Errorf("%d %s with Retry-After %q and WWW-Authenticate %q; want 503, 1 to 30 s, and none",
			status, answer, header.Get("Retry-After"), header.Get("WWW-Authenticate"))
	}
	if !strings.Contains(answer, `"jsonrpc":"2.0"`) || strings.Contains(answer, host(s.provider.issuer)) {
		t.Errorf("the answer is not for a program, or tells where the provider is: %s", answer)
	}
	if took > patience+slack {
		t.Errorf("answered after %s, want %s at most", took, patience)
	}
}

// recovers waits until a token is accepted, by the process that refused it before.
func (s *stand) recovers(t *testing.T, token string) {
	t.Helper()
	lab.Eventually(t, "the token is accepted", func() bool {
		status, _, _ := s.post(t, token, "", initialize)
		return status == http.StatusOK
	})
}

// TestProviderInTroubleAtStart: nobody gets in, everybody is told to come back, and it mends itself.
func TestProviderInTroubleAtStart(t *testing.T) {
	for _, trouble := range troubles {
		t.Run(trouble.how, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, sts.Options{}, reader)
			token := s.token(t, reader)
			s.provider.play(t, trouble.how)
			s.gateway = lab.ServeUnready(t, s.documents(), s.listen(), s.Env())
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() { s.unavailable(t, token) })
			}
			wait.Wait()
			if s.gateway.Ready() {
				t.Error("it calls itself ready without keys")
			}
			if n := s.AWS.Count() + s.STS.Count(); n != 0 {
				t.Errorf("%d requests went on without a verified token", n)
			}
			s.provider.play(t, "well")
			s.recovers(t, token)
			if !s.gateway.Ready() {
				t.Error("it is not ready with keys")
			}
			told := s.lines(func(l line) bool { return l.Level == "WARN" && l.Trouble == trouble.word })
			if len(told) == 0 {
				t.Errorf("the log has no warning with trouble %q", trouble.word)
			}
		})
	}
}

// TestProviderInTroubleLater: who has a token of a known key goes on undisturbed, also one who comes for the first time
// and also while others wait; a key that nobody can ask about is 503 and no 401.
func TestProviderInTroubleLater(t *testing.T) {
	for _, trouble := range troubles {
		t.Run(trouble.how, func(t *testing.T) {
			t.Parallel()
			s := prepare(t, sts.Options{KeyTTL: time.Hour}, reader, late) // AWS remembers keys too
			s.gateway = lab.Serve(t, s.documents(), s.listen(), s.Env())
			warm, fresh := s.token(t, reader), s.token(t, late)
			if status, answer, _ := s.post(t, warm, "", initialize); status != http.StatusOK {
				t.Fatalf("%d %s", status, answer)
			}
			s.provider.keys(t, "rotate")
			unknown := s.token(t, late)
			s.provider.play(t, trouble.how)

			done := make(chan struct{})
			go func() { defer close(done); s.unavailable(t, unknown) }()
			for n := range 20 {
				token := warm
				if n == 10 {
					token = fresh
				}
				began := time.Now()
				status, answer, _ := s.post(t, token, "", initialize)
				if took := time.Since(began); status != http.StatusOK || took > slack {
					t.Errorf("a known key: %d %s after %s", status, answer, took)
				}
				time.Sleep(20 * time.Millisecond)
			}
			<-done
			if !s.gateway.Ready() {
				t.Error("it is not ready any more")
			}
			s.provider.play(t, "well")
			s.recovers(t, unknown)
			if status, answer, _ := s.post(t, warm, "", initialize); status != http.StatusUnauthorized {
				t.Errorf("the key that left meanwhile: %d %s, want 401", status, answer)
			}
		})
	}
}

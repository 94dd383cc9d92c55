package provider_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// algorithms are members of one algorithm each, and what a caller of theirs is answered whose token was verified: STS
// does not take EdDSA, so that answer is 502 where an unverified token is 401.
var algorithms = []struct {
	member
	good int
}{
	{client("svc-rs", "RS256", nil), http.StatusOK},
	{client("svc-es", "ES256", nil), http.StatusOK},
	{client("svc-ed", "EdDSA", nil), http.StatusBadGateway},
}

func members() (all []member) {
	for _, a := range algorithms {
		all = append(all, a.member)
	}
	return all
}

// raiseForKeys is raise for one member of each algorithm, with an STS that looks for keys each time.
func raiseForKeys(t *testing.T) *stand {
	t.Helper()
	s := prepare(t, sts.Options{KeyTTL: time.Nanosecond}, members()...)
	s.gateway = lab.Serve(t, s.documents(), s.listen(), s.Env())
	return s
}

// mint is a token of each algorithm.
func (s *stand) mint(t *testing.T) (tokens []string) {
	t.Helper()
	for _, a := range algorithms {
		tokens = append(tokens, s.token(t, a.member))
	}
	return tokens
}

// accepted expects that tokens of mint are.
func (s *stand) accepted(t *testing.T, what string, tokens []string) {
	t.Helper()
	for n, a := range algorithms {
		if status, answer, _ := s.post(t, tokens[n], "", initialize); status != a.good {
			t.Errorf("%s, %s: %d %s, want %d", what, a.Alg, status, answer, a.good)
		}
	}
}

// refused expects that tokens of mint are, and that the caller is asked to sign in anew.
func (s *stand) refused(t *testing.T, what string, tokens []string) {
	t.Helper()
	for n, a := range algorithms {
		status, answer, header := s.post(t, tokens[n], "", initialize)
		if status != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s, %s: %d %s, want 401 with invalid_token", what, a.Alg, status, answer)
		}
	}
}

// askEvery is how often requests may have the key set fetched: the gateway's own number, as it shows from outside.
const askEvery = 10 * time.Second

func TestOverlappingKeys(t *testing.T) {
	t.Parallel()
	s := raiseForKeys(t)
	first := s.mint(t)
	s.accepted(t, "the first keys", first)
	s.provider.keys(t, "announce")
	announced := s.mint(t)
	s.accepted(t, "the old keys while the new ones are announced", announced)
	s.provider.keys(t, "adopt")
	second := s.mint(t)
	s.accepted(t, "the new keys", second)
	s.accepted(t, "the old keys beside the new ones", first)
	s.accepted(t, "more tokens of the old keys beside the new ones", announced)

	// Whatever makes the gateway look again ends the life of retired keys.
	s.provider.keys(t, "announce")
	s.provider.keys(t, "adopt")
	s.provider.keys(t, "retire")
	third := s.mint(t)
	began := time.Now()
	lab.Eventually(t, "the third keys are accepted", func() bool {
		status, _, _ := s.post(t, third[0], "", initialize)
		return status == http.StatusOK
	})
	if took := time.Since(began); took > askEvery+slack {
		t.Errorf("the third keys were accepted after %s, want %s at most", took, askEvery)
	}
	s.accepted(t, "the third keys", third)
	s.refused(t, "the first keys, retired", first)
	s.refused(t, "the second keys, retired", second)
}

// TestKeysSwappedUnderTheirNames is the worst a provider does: other keys under the same kids.
func TestKeysSwappedUnderTheirNames(t *testing.T) {
	t.Parallel()
	s := raiseForKeys(t)
	kids := s.provider.kids["RS256"]
	known, unseen := s.mint(t), s.mint(t)
	s.accepted(t, "before", known)
	s.provider.keys(t, "swap")
	if s.provider.kids["RS256"] != kids {
		t.Fatal("the kid changed")
	}
	s.accepted(t, "the new key under the old name", s.mint(t))
	s.refused(t, "a token of the old key that was known", known)
	s.refused(t, "a token of the old key that was not", unseen)
	s.accepted(t, "the new key after tokens of the old one", s.mint(t))
}

// TestRetiredKeyIsRefusedInTime waits for what package token promises: a key that left the set is refused within five
// minutes where nobody brings a token of a newer one. That takes four of them, so it wants ROLEGATE_COUNTERPARTS=long.
func TestRetiredKeyIsRefusedInTime(t *testing.T) {
	t.Parallel()
	if os.Getenv(lab.Switch) != "long" {
		t.Skipf("set %s=long to run it: it takes four minutes", lab.Switch)
	}
	s := raiseForKeys(t)
	tokens := s.mint(t)
	s.accepted(t, "before", tokens)
	s.provider.keys(t, "announce")
	s.provider.keys(t, "adopt")
	s.provider.keys(t, "retire")
	retired := time.Now()
	s.accepted(t, "just retired", tokens)
	for {
		if status, _, _ := s.post(t, tokens[0], "", initialize); status == http.StatusUnauthorized {
			break
		}
		if time.Since(retired) > 5*time.Minute {
			t.Fatal("five minutes after its retirement the key is good")
		}
		time.Sleep(time.Second)
	}
	t.Logf("refused %s after the retirement", time.Since(retired).Round(time.Second))
	s.refused(t, "retired", tokens)
	s.accepted(t, "the new keys", s.mint(t))
}

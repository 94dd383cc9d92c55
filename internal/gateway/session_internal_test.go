package gateway

import (
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

func caller(issuer, subject string) *token.Caller {
	return &token.Caller{Issuer: issuer, Subject: token.Subject{ID: subject}}
}

func TestSessionIsBoundToEverythingThatNamesItsOwner(t *testing.T) {
	b := binder{key: newSessionKey(), resource: "ns/proxy"}
	ann := caller("https://idp", "ann")
	sealed := b.seal(ann, "arn:role", "abc")
	if id, err := b.open(ann, "arn:role", sealed); err != nil || id != "abc" {
		t.Fatalf("own session: %q %v", id, err)
	}
	for name, open := range map[string]func() (string, error){
		"subject":  func() (string, error) { return b.open(caller("https://idp", "bob"), "arn:role", sealed) },
		"issuer":   func() (string, error) { return b.open(caller("https://other", "ann"), "arn:role", sealed) },
		"role":     func() (string, error) { return b.open(ann, "arn:other", sealed) },
		"no one":   func() (string, error) { return b.open(nil, "arn:role", sealed) },
		"proxy":    func() (string, error) { return binder{b.key, "ns/other"}.open(ann, "arn:role", sealed) },
		"key":      func() (string, error) { return binder{newSessionKey(), b.resource}.open(ann, "arn:role", sealed) },
		"shifting": func() (string, error) { return b.open(caller("https://idpa", "nn"), "arn:role", sealed) },
	} {
		if id, err := open(); fault.Of(err) == nil || fault.Of(err).Kind != fault.SessionLost || id != "" {
			t.Errorf("another %s opened the session: %q %v", name, id, err)
		}
	}
	if b.seal(ann, "arn:role", "") != "" {
		t.Error("a session was made of nothing")
	}
}

func FuzzSession(f *testing.F) {
	b := binder{key: sessionKey(strings.Repeat("k", 32)), resource: "ns/proxy"}
	ann := caller("https://idp", "ann")
	f.Add("abc", "")
	f.Add("a.b.c", b.seal(ann, "r", "abc"))
	f.Add("x", "rg1.")
	f.Fuzz(func(t *testing.T, id, forged string) {
		if id != "" {
			if got, err := b.open(ann, "r", b.seal(ann, "r", id)); err != nil || got != id {
				t.Fatalf("%q came back as %q, %v", id, got, err)
			}
		}
		got, err := b.open(ann, "r", forged)
		if err == nil && forged != b.seal(ann, "r", got) {
			t.Fatalf("%q was accepted as %q", forged, got)
		}
	})
}

package sts_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// legalName is what STS accepts: RoleSessionName of AssumeRoleWithWebIdentity in the STS API reference.
var legalName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// TestEverySubjectHasASessionName: subjects that STS would refuse get in, each under a stable legal name of its own.
func TestEverySubjectHasASessionName(t *testing.T) {
	names := make(map[string]string)
	for _, test := range []struct{ subject, want string }{
		{"u1", "u1"},
		{"alice@example.com", "alice@example.com"},
		{"5f7c3e1a-0000-4000-8000-123456789abc", "5f7c3e1a-0000-4000-8000-123456789abc"},
		{strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{"auth0|5f7c3e1a", "auth0-5f7c3e1a-795dfd8da02619ff"},
		{"auth0-5f7c3e1a", "auth0-5f7c3e1a"},
		{"auth0:5f7c3e1a", ""},
		{"urn:example:user:1", ""},
		{"https://idp.example.com/users/1", ""},
		{strings.Repeat("a", 65), ""},
		{strings.Repeat("a", 300), ""},
		{strings.Repeat("a", 299) + "b", ""},
		{"x", ""},
		{"7", ""},
		{" ", ""},
		{"|", ""},
		{"jürgen", ""},
		{"jorgen ", ""},
		{"用户", ""},
		{"\xff\xfe", ""},
		{"a\x00b", ""},
		{"a\nb", ""},
	} {
		got, err := sts.SessionName(map[string]any{"sub": test.subject}, "sub")
		if err != nil {
			t.Errorf("%q: %v", test.subject, err)
			continue
		}
		if test.want != "" && got != test.want {
			t.Errorf("%q: %q, want %q", test.subject, got, test.want)
		}
		if !legalName.MatchString(got) {
			t.Errorf("%q: %q is not legal", test.subject, got)
		}
		if other, taken := names[got]; taken {
			t.Errorf("%q and %q are both %q", test.subject, other, got)
		}
		names[got] = test.subject
		if again, _ := sts.SessionName(map[string]any{"sub": test.subject}, "sub"); again != got {
			t.Errorf("%q: %q, then %q", test.subject, got, again)
		}
	}
}

func TestSessionNameClaim(t *testing.T) {
	claims := map[string]any{
		"sub": "u1", "email": "alice@example.com", "n": int64(12345), "one": int64(7), "f": token.Number("1.50"), "big": token.Number("123456789012345678901234567890"), "yes": true, "empty": "", "null": nil, "list": []any{"a"},
		"user": map[string]any{"id": "nested", "name": map[string]any{"first": "al"}}, "user.id": "literal", "https://example.com/user": map[string]any{"id": "al"},
	}
	for claim, want := range map[string]string{
		"": "u1", "sub": "u1", "email": "alice@example.com", "n": "12345", "f": "1.50", "big": "123456789012345678901234567890", "yes": "true",
		"user.id": "literal", "user.name.first": "al", "https://example.com/user.id": "al",
	} {
		if got, err := sts.SessionName(claims, claim); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", claim, got, err, want)
		}
	}
	if got, err := sts.SessionName(claims, "one"); !strings.HasPrefix(got, "7-") || err != nil {
		t.Errorf("one: %q, %v", got, err)
	}
	for claim, why := range map[string]string{
		"nope": "is missing", "null": "is missing", "user.nope": "is missing", "empty": "is empty", "list": "is a list or an object", "user": "is a list or an object",
	} {
		_, err := sts.SessionName(claims, claim)
		if e := fault.Of(err); e == nil || e.Kind != fault.Denied || !strings.Contains(e.Hinted(), why) || !strings.Contains(e.Hinted(), claim) {
			t.Errorf("%q: %v, want a fault.Denied that says %q", claim, err, why)
		}
	}
}

// FuzzSessionName: any text but the empty one has a legal name, itself where it is legal.
func FuzzSessionName(f *testing.F) {
	for _, seed := range []string{"", "a", "u1", "auth0|5f7c", "ü", "\xff", strings.Repeat("a", 64), strings.Repeat("|", 65)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		got, err := sts.SessionName(map[string]any{"sub": subject}, "sub")
		switch {
		case (err != nil) != (subject == ""):
			t.Errorf("%q: %v", subject, err)
		case err == nil && !legalName.MatchString(got):
			t.Errorf("%q: %q is not legal", subject, got)
		case legalName.MatchString(subject) && got != subject:
			t.Errorf("%q is legal and became %q", subject, got)
		}
	})
}

func BenchmarkSessionName(b *testing.B) {
	for name, subject := range map[string]string{"legal": "alice@example.com", "changed": "auth0|5f7c3e1a0b1c2d3e4f5a6b7c"} {
		claims := map[string]any{"sub": subject}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sts.SessionName(claims, "sub"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package token_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/token"
)

func FuzzBearer(f *testing.F) {
	for _, s := range []string{"", "Bearer abcd", "bearer  a.b.c==", "Basic abcd", "Bearer", "Bearer a b", "BEARER \x00\xff", "Bearer ===="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		raw, err := token.Bearer(http.Header{"Authorization": {header}})
		text := raw.Reveal()
		if err != nil {
			if text != "" {
				t.Fatalf("an error and a token: %q", text)
			}
			if r := token.Result(err); r != token.ResultMissing && r != token.ResultMalformed {
				t.Fatalf("result %s", r)
			}
			return
		}
		if n := len(text); n < 4 || n > 20_000 || !strings.HasSuffix(header, " "+text) || !strings.EqualFold(header[:7], "bearer ") {
			t.Fatalf("%q gave %q", header, text)
		}
		if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`",;\`, c) }) {
			t.Fatalf("%q gave %q", header, text)
		}
	})
}

// FuzzVerify changes tokens that are good: whatever comes of it is refused, unless it is the very same text.
func FuzzVerify(f *testing.F) {
	p := newProvider(allKeys())
	v := newVerifier(f, p)
	good := map[string]bool{}
	for _, text := range []string{
		mint("RS256", "rsa", rsaKey(), nil), mint("PS512", "rsa", rsaKey(), nil), mint("ES256", "p256", p256(), nil),
		mint("ES512", "p521", p521(), nil), mint("EdDSA", "", edKey(), map[string]any{"aud": []string{audience}, "x": map[string]any{"y": []any{1, 2.5}}}),
	} {
		good[text] = true
		accept(f, v, text)
		f.Add(text)
	}
	f.Add(mint("none", "rsa", nil, nil))
	f.Add(mint("HS256", "rsa", []byte("secret"), nil))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		caller, err := verify(v, text)
		if err != nil {
			if caller != nil {
				t.Fatal("an error and a caller")
			}
			checkRefusal(t, err, token.Result(err))
			return
		}
		if !good[text] {
			t.Fatalf("accepted: %s", text)
		}
	})
}

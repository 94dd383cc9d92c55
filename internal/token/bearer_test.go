package token_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/token"
)

func TestBearer(t *testing.T) {
	long := strings.Repeat("a", 20_000)
	for _, c := range []struct {
		name    string
		headers []string
		want    string
		result  string
	}{
		{"none", nil, "", token.ResultMissing},
		{"empty header", []string{""}, "", token.ResultMissing},
		{"another scheme", []string{"Basic YWxpY2U6eA=="}, "", token.ResultMissing},
		{"DPoP", []string{"DPoP abcd"}, "", token.ResultMissing},
		{"a longer scheme", []string{"Bearers abcd"}, "", token.ResultMissing},
		{"a scheme that folds to Bearer", []string{"beare\u0280 abcd"}, "", token.ResultMissing},
		{"the token alone", []string{"abcd"}, "", token.ResultMissing},
		{"the shortest", []string{"Bearer abcd"}, "abcd", token.ResultOK},
		{"the longest", []string{"Bearer " + long}, long, token.ResultOK},
		{"lower case", []string{"bearer abcd"}, "abcd", token.ResultOK},
		{"mixed case", []string{"bEaReR abcd"}, "abcd", token.ResultOK},
		{"two spaces", []string{"Bearer  abcd"}, "abcd", token.ResultOK},
		{"every character", []string{"Bearer aZ09-._~+/=="}, "aZ09-._~+/==", token.ResultOK},
		{"no token", []string{"Bearer"}, "", token.ResultMalformed},
		{"only spaces", []string{"Bearer   "}, "", token.ResultMalformed},
		{"too short", []string{"Bearer abc"}, "", token.ResultMalformed},
		{"too long", []string{"Bearer a" + long}, "", token.ResultMalformed},
		{"tab", []string{"Bearer\tabcd"}, "", token.ResultMissing},
		{"space within", []string{"Bearer ab cd"}, "", token.ResultMalformed},
		{"space behind", []string{"Bearer abcd "}, "", token.ResultMalformed},
		{"two tokens", []string{"Bearer abcd, Bearer efgh"}, "", token.ResultMalformed},
		{"= within", []string{"Bearer ab=cd"}, "", token.ResultMalformed},
		{"= alone", []string{"Bearer ===="}, "", token.ResultMalformed},
		{"quotes", []string{`Bearer "abcd"`}, "", token.ResultMalformed},
		{"not ASCII", []string{"Bearer abcdé"}, "", token.ResultMalformed},
		{"two headers", []string{"Bearer abcd", "Bearer abcd"}, "", token.ResultMalformed},
		{"two headers of two schemes", []string{"Basic abcd", "Bearer abcd"}, "", token.ResultMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			if c.headers != nil {
				h["Authorization"] = c.headers
			}
			raw, err := token.Bearer(h)
			if raw.Reveal() != c.want {
				t.Errorf("got %q", raw.Reveal())
			}
			if c.result == token.ResultOK {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkRefusal(t, err, c.result)
		})
	}
}

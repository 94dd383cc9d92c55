package token_test

import (
	"net/http"
	"testing"

	"github.com/rolegate/rolegate/internal/token"
)

func BenchmarkBearer(b *testing.B) {
	h := http.Header{"Authorization": {"Bearer " + mint("RS256", "rsa", rsaKey(), nil)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.Bearer(h); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyCold verifies two tokens in turn with room for one, so that none is ever remembered.
func BenchmarkVerifyCold(b *testing.B) {
	for _, c := range []struct {
		alg, kid string
		private  any
	}{{"RS256", "rsa", rsaKey()}, {"PS256", "rsa", rsaKey()}, {"ES256", "p256", p256()}, {"EdDSA", "ed", edKey()}} {
		b.Run(c.alg, func(b *testing.B) {
			o := options(newProvider(allKeys()))
			o.CacheSize = 1
			v := newVerifierWith(b, o)
			raws := [2]token.Raw{
				token.NewRaw(mint(c.alg, c.kid, c.private, map[string]any{"n": 0})),
				token.NewRaw(mint(c.alg, c.kid, c.private, map[string]any{"n": 1})),
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := v.Verify(b.Context(), raws[i&1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyCached(b *testing.B) {
	v := newVerifier(b, newProvider(allKeys()))
	raw := token.NewRaw(mint("RS256", "rsa", rsaKey(), map[string]any{"groups": []string{"s3-readers", "engineering", "everybody"}}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefuseForged is what a flood of forged tokens under a known kid costs.
func BenchmarkRefuseForged(b *testing.B) {
	v := newVerifier(b, newProvider(allKeys()))
	raw := token.NewRaw(mint("RS256", "rsa", otherRSA(), nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), raw); err == nil {
			b.Fatal("accepted")
		}
	}
}

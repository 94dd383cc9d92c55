package token_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/token"
)

// told is a list of checks in short: the name of each, and its verdict where it is not "ok".
func told(all []token.Check) string {
	var parts []string
	for _, c := range all {
		if c.Verdict == token.Passed {
			parts = append(parts, c.Name)
		} else {
			parts = append(parts, c.Name+"="+c.Verdict)
		}
	}
	return strings.Join(parts, " ")
}

// TestChecks: every refusal is of one check, those before it passed, and those behind it were not reached.
func TestChecks(t *testing.T) {
	past, soon := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	v := newVerifier(t, newProvider(allKeys()))
	order := strings.Fields(told(v.Checks(token.Raw{}, nil)))
	es := func(claims map[string]any) string { return mint("ES256", "p256", p256(), claims) }
	for _, c := range []struct{ name, text, failed string }{
		{"opaque", "0123456789abcdef", "form"},
		{"symmetric", mint("HS256", "p256", []byte("0123456789abcdef0123456789abcdef"), nil), "algorithm"},
		{"issuer", es(map[string]any{"iss": "https://other.test"}), "issuer"},
		{"audience", es(map[string]any{"aud": "other"}), "audience"},
		{"audience of a wrong type", es(map[string]any{"aud": 7}), "audience"},
		{"expired", es(map[string]any{"exp": past}), "times"},
		{"exp of a wrong type", es(map[string]any{"exp": "tomorrow"}), "times"},
		{"iat of a wrong type", es(map[string]any{"iat": "today"}), "times"},
		{"nbf of a wrong type", es(map[string]any{"nbf": true}), "times"},
		{"not yet", es(map[string]any{"nbf": soon}), "times"},
		{"bound", es(map[string]any{"cnf": map[string]any{"jkt": "x"}}), "binding"},
		{"logout token", es(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}), "use"},
		{"no subject", es(map[string]any{"sub": ""}), "subject"},
		{"unknown key", mint("ES256", "gone", p256(), nil), "key"},
		{"key for another algorithm", mint("ES256", "rsa", p256(), nil), "key"},
		{"signed by another", mint("ES256", "p256", otherEC(), nil), "signature"},
		{"good", es(nil), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := token.NewRaw(c.text)
			_, err := v.Verify(t.Context(), raw)
			if (err == nil) != (c.failed == "") {
				t.Fatalf("verify: %v", err)
			}
			want, reached := "", true
			for _, name := range order {
				switch {
				case name == c.failed:
					name, reached = name+"=failed", false
				case !reached:
					name += "=not reached"
				}
				want += " " + name
			}
			all := v.Checks(raw, err)
			if d := cmp.Diff(strings.TrimSpace(want), told(all)); d != "" {
				t.Error(d)
			}
			text, _ := json.Marshal(all)
			for _, part := range strings.Split(c.text, ".") {
				if len(part) > 12 && strings.Contains(string(text), part) {
					t.Errorf("a part of the token is told: %s", text)
				}
			}
		})
	}
}

func TestChecksWithoutAToken(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	_, err := token.Bearer(http.Header{})
	if got := v.Checks(token.Raw{}, err)[0]; got.Name != token.CheckForm || got.Verdict != token.Failed || !strings.Contains(got.Detail, "a bearer token is required") {
		t.Errorf("%+v", got)
	}
	if got := told(v.Checks(token.Raw{}, errors.New("another room's"))); strings.Count(got, "=not reached") != len(strings.Fields(got))/2 {
		t.Errorf("%s; nothing was reached", got)
	}
}

// TestChecksWithTheProviderAway: what needs no key is told all the same.
func TestChecksWithTheProviderAway(t *testing.T) {
	p := newProvider(nil)
	p.down = errors.New("connection refused")
	v := newVerifier(t, p)
	raw := token.NewRaw(mint("ES256", "p256", p256(), nil))
	_, err := v.Verify(t.Context(), raw)
	all := v.Checks(raw, err)
	want := "form algorithm type issuer audience times binding use subject key=not checked signature=not reached"
	if d := cmp.Diff(want, told(all)); d != "" {
		t.Error(d)
	}
	if key := all[9]; !strings.Contains(key.Detail, "connection refused") {
		t.Errorf("%+v does not say why", key)
	}
}

// TestRehearse: claims alone go through the checks of any token, and come out as they went in.
func TestRehearse(t *testing.T) {
	v, sign, err := token.Rehearse(options(newProvider(nil)).OIDC)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	claims, err := token.ClaimsOf([]byte(`{"sub":"ann","n":9007199254740993,"f":2.0,"big":18446744073709551616,"groups":["a"],"deep":{"x":[null,true]}}`))
	if err != nil {
		t.Fatal(err)
	}
	header, assumed, err := sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	raw := must(token.Bearer(header))
	c, err := v.Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range claims {
		if d := cmp.Diff(value, c.Subject.Claims[name]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	got := told(token.Hypothetical(v.Checks(raw, nil), assumed))
	want := "form=not checked algorithm=not checked type=not checked issuer=assumed audience=assumed times=assumed binding use subject key=not checked signature=not checked"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	claims["aud"] = "another"
	if header, _, err = sign(claims); err != nil {
		t.Fatal(err)
	}
	raw = must(token.Bearer(header))
	_, err = v.Verify(t.Context(), raw)
	if token.Result(err) != token.ResultAudience {
		t.Errorf("claims for another audience: %v", err)
	}
	want = "form=not checked algorithm=not checked type=not checked issuer=assumed audience=failed times=not reached"
	if got := told(token.Hypothetical(v.Checks(raw, err), []string{"iss", "exp"})); !strings.HasPrefix(got, want) {
		t.Error(got)
	}
	other, _, err := token.Rehearse(options(newProvider(nil)).OIDC)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	delete(claims, "aud")
	if header, _, err = sign(claims); err != nil {
		t.Fatal(err)
	}
	raw = must(token.Bearer(header))
	if _, err = other.Verify(t.Context(), raw); token.Result(err) != token.ResultSignature {
		t.Errorf("a token of another rehearsal: %v", err)
	}
}

func TestClaimsOfIsStrict(t *testing.T) {
	for _, text := range []string{``, `[]`, `{"a":1,"a":2}`, `{"a":1} x`, `{"a":`, "{\"a\":\"\xff\"}"} {
		if c, err := token.ClaimsOf([]byte(text)); err == nil {
			t.Errorf("%q gives %v", text, c)
		}
	}
}

package token_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rolegate/rolegate/internal/token"
)

// allKeys has one key of each kind, under the name of the kind.
func allKeys() map[string]any {
	return map[string]any{
		"rsa": rsaKey().Public(), "p256": p256().Public(), "p384": p384().Public(), "p521": p521().Public(), "ed": edKey().Public(),
	}
}

func TestEveryAcceptedAlgorithmVerifies(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	for _, c := range []struct {
		alg, kid string
		private  any
	}{
		{"RS256", "rsa", rsaKey()},
		{"RS384", "rsa", rsaKey()},
		{"RS512", "rsa", rsaKey()},
		{"PS256", "rsa", rsaKey()},
		{"PS384", "rsa", rsaKey()},
		{"PS512", "rsa", rsaKey()},
		{"ES256", "p256", p256()},
		{"ES384", "p384", p384()},
		{"ES512", "p521", p521()},
		{"EdDSA", "ed", edKey()},
	} {
		t.Run(c.alg, func(t *testing.T) {
			text := mint(c.alg, c.kid, c.private, nil)
			if got := accept(t, v, text).Subject.Token.Reveal(); got != text {
				t.Error("the caller holds another token")
			}
			cut := strings.LastIndexByte(text, '.') + 1
			changed := "A"
			if text[cut] == 'A' {
				changed = "B"
			}
			refused(t, v, text[:cut]+changed+text[cut+1:], token.ResultSignature)
		})
	}
}

func TestCallerSaysWhatTheTokenSays(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	exp := time.Now().Add(time.Hour).Unix()
	caller := accept(t, v, mint("ES256", "p256", p256(), map[string]any{
		"sub": "auth0|5f7c", "aud": []string{"other", audience}, "exp": exp, "azp": "cli", "client_id": "no", "scope": "mcp:read  mcp:write",
		"groups": []any{"a", "b"}, "n": json.Number("9007199254740993"), "f": 1.5, "big": json.Number("18446744073709551616"),
		"realm_access": map[string]any{"roles": []any{"x"}}, "ok": true, "none": []any{},
	}))
	want := &token.Caller{
		Issuer: issuer, Audience: []string{"other", audience}, AuthorizedParty: "cli", Scopes: []string{"mcp:read", "mcp:write"}, Expiry: time.Unix(exp, 0),
		Subject: token.Subject{ID: "auth0|5f7c", Token: caller.Subject.Token, Claims: map[string]any{
			"iss": issuer, "sub": "auth0|5f7c", "aud": []any{"other", audience}, "exp": exp, "iat": caller.Subject.Claims["iat"],
			"azp": "cli", "client_id": "no", "scope": "mcp:read  mcp:write", "groups": []any{"a", "b"}, "n": int64(9007199254740993), "f": token.Number("1.5"),
			"big": token.Number("18446744073709551616"), "realm_access": map[string]any{"roles": []any{"x"}}, "ok": true, "none": []any{},
		}},
	}
	if diff := cmp.Diff(want, caller, cmpopts.IgnoreUnexported(token.Caller{})); diff != "" {
		t.Error(diff)
	}
}

func TestWhereScopesAndPartyStand(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	for _, c := range []struct {
		claims map[string]any
		party  string
		scopes []string
	}{
		{nil, "", nil},
		{map[string]any{"client_id": "a", "scp": []string{"x", "y"}}, "a", []string{"x", "y"}},
		{map[string]any{"cid": "b", "scp": "x y"}, "b", []string{"x", "y"}},
		{map[string]any{"appid": "c", "azp": "", "scope": 7}, "c", nil},
	} {
		got := accept(t, v, mint("ES256", "p256", p256(), c.claims))
		if diff := cmp.Diff(c.scopes, got.Scopes); diff != "" || got.AuthorizedParty != c.party {
			t.Errorf("%v: party %q, scopes %s", c.claims, got.AuthorizedParty, diff)
		}
	}
}

func TestRefusedHeaders(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	for _, c := range []struct{ name, header, result string }{
		{"critical extension", `{"alg":"ES256","kid":"p256","crit":["exp"],"exp":1}`, token.ResultMalformed},
		{"empty crit", `{"alg":"ES256","kid":"p256","crit":[]}`, token.ResultMalformed},
		{"unencoded payload", `{"alg":"ES256","kid":"p256","b64":false}`, token.ResultMalformed},
		{"logout token", `{"alg":"ES256","kid":"p256","typ":"logout+jwt"}`, token.ResultType},
		{"DPoP proof", `{"alg":"ES256","kid":"p256","typ":"dpop+jwt"}`, token.ResultType},
		{"security event", `{"alg":"ES256","kid":"p256","typ":"application/secevent+jwt"}`, token.ResultType},
		{"empty typ", `{"alg":"ES256","kid":"p256","typ":""}`, token.ResultType},
		{"typ not a string", `{"alg":"ES256","kid":"p256","typ":["JWT"]}`, token.ResultMalformed},
		{"no alg", `{"kid":"p256"}`, token.ResultAlgorithm},
		{"alg not a string", `{"alg":["ES256"],"kid":"p256"}`, token.ResultAlgorithm},
		{"alg in lower case", `{"alg":"es256","kid":"p256"}`, token.ResultAlgorithm},
		{"none", `{"alg":"none","kid":"p256"}`, token.ResultAlgorithm},
		{"None", `{"alg":"None","kid":"p256"}`, token.ResultAlgorithm},
		{"kid not a string", `{"alg":"ES256","kid":7}`, token.ResultMalformed},
		{"alg twice", `{"alg":"none","alg":"ES256","kid":"p256"}`, token.ResultMalformed},
		{"alg twice, escaped", `{"alg":"ES256","\u0061lg":"ES256","kid":"p256"}`, token.ResultMalformed},
		{"not an object", `["ES256"]`, token.ResultMalformed},
		{"two objects", `{"alg":"ES256","kid":"p256"}{}`, token.ResultMalformed},
		{"not UTF-8", "{\"alg\":\"ES256\",\"kid\":\"p256\",\"x\":\"\xff\"}", token.ResultMalformed},
		{"unknown kid", `{"alg":"ES256","kid":"nobody"}`, token.ResultUnknownKey},
		{"kid of another kind of key", `{"alg":"ES256","kid":"rsa"}`, token.ResultAlgorithm},
		{"kid of another curve", `{"alg":"ES256","kid":"p384"}`, token.ResultAlgorithm},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, v, compact(c.header, toJSON(claimSet(nil)), "ES256", p256()), c.result)
		})
	}
	for _, typ := range []string{"JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"} {
		accept(t, v, compact(fmt.Sprintf(`{"alg":"ES256","kid":"p256","typ":%q}`, typ), toJSON(claimSet(nil)), "ES256", p256()))
	}
	accept(t, v, compact(`{"alg":"ES256","kid":"p256"}`, toJSON(claimSet(nil)), "ES256", p256()))
}

func TestRefusedClaims(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	now := time.Now().Unix()
	for _, c := range []struct {
		name    string
		changes map[string]any
		result  string
	}{
		{"no issuer", map[string]any{"iss": nil}, token.ResultIssuer},
		{"issuer with a slash more", map[string]any{"iss": issuer + "/"}, token.ResultIssuer},
		{"issuer in another case", map[string]any{"iss": strings.ToUpper(issuer)}, token.ResultIssuer},
		{"issuer in a list", map[string]any{"iss": []string{issuer}}, token.ResultIssuer},
		{"no audience", map[string]any{"aud": nil}, token.ResultClaims},
		{"empty audience", map[string]any{"aud": []string{}}, token.ResultClaims},
		{"audience of numbers", map[string]any{"aud": []any{audience, 1}}, token.ResultClaims},
		{"another audience", map[string]any{"aud": "other"}, token.ResultAudience},
		{"audience as a part", map[string]any{"aud": audience + "/more"}, token.ResultAudience},
		{"audiences in one string", map[string]any{"aud": "other " + audience}, token.ResultAudience},
		{"no exp", map[string]any{"exp": nil}, token.ResultClaims},
		{"exp as a string", map[string]any{"exp": fmt.Sprint(now + 60)}, token.ResultClaims},
		{"exp beyond all times", map[string]any{"exp": json.Number("1e300")}, token.ResultClaims},
		{"exp beyond the year 9999", map[string]any{"exp": int64(1) << 62}, token.ResultClaims},
		{"negative exp", map[string]any{"exp": -1}, token.ResultClaims},
		{"expired", map[string]any{"exp": now - 61}, token.ResultExpired},
		{"not yet valid", map[string]any{"nbf": now + 70}, token.ResultNotYet},
		{"nbf as a string", map[string]any{"nbf": "soon"}, token.ResultClaims},
		{"iat as a string", map[string]any{"iat": "today"}, token.ResultClaims},
		{"no subject", map[string]any{"sub": nil}, token.ResultClaims},
		{"empty subject", map[string]any{"sub": ""}, token.ResultClaims},
		{"subject as a number", map[string]any{"sub": 7}, token.ResultClaims},
		{"DPoP", map[string]any{"cnf": map[string]any{"jkt": "x"}}, token.ResultBound},
		{"mutual TLS", map[string]any{"cnf": map[string]any{"x5t#S256": "x"}}, token.ResultBound},
		{"logout token of old", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, token.ResultType},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, v, mint("ES256", "p256", p256(), c.changes), c.result) })
	}
	accept(t, v, mint("ES256", "p256", p256(), map[string]any{"exp": now - 50, "nbf": now + 50}))
	accept(t, v, mint("ES256", "p256", p256(), map[string]any{"exp": float64(now) + 60.5, "events": map[string]any{"login": 1}}))
}

func TestRefusedForms(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	good := mint("ES256", "p256", p256(), nil)
	parts := strings.Split(good, ".")
	header := `{"alg":"ES256","kid":"p256"}`
	payload := toJSON(claimSet(nil))
	signed := func(payload string) string { return compact(header, payload, "ES256", p256()) }
	for name, text := range map[string]string{
		"empty":                 "",
		"opaque":                "gho_16C7e42F292c6912E7710c838347Ae178B4a",
		"two parts":             parts[0] + "." + parts[1],
		"four parts":            good + ".AAAA",
		"five parts":            good + ".AAAA.AAAA",
		"no signature":          parts[0] + "." + parts[1] + ".",
		"no payload":            parts[0] + ".." + parts[2],
		"padding":               good + "==",
		"line break":            good + "\n",
		"space within":          parts[0] + ". " + parts[1] + "." + parts[2],
		"standard base64":       parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 43),
		"too long":              signed(toJSON(claimSet(map[string]any{"pad": strings.Repeat("x", 20_000)}))),
		"a claim twice":         signed(strings.Replace(payload, `"sub":`, `"sub":"root","sub":`, 1)),
		"a nested claim twice":  signed(strings.Replace(payload, `"sub":`, `"a":{"b":[{"c":1,"c":2}]},"sub":`, 1)),
		"deeply nested":         signed(strings.Replace(payload, `"sub":`, `"a":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"sub":`, 1)),
		"deeply nested objects": signed(strings.Replace(payload, `"sub":`, `"a":`+strings.Repeat(`{"b":`, 40)+"1"+strings.Repeat("}", 40)+`,"sub":`, 1)),
		"number out of range":   signed(strings.Replace(payload, `"sub":`, `"a":1e999,"sub":`, 1)),
		"payload not JSON":      signed("hello"),
		"payload a list":        signed("[" + payload + "]"),
		"trailing data":         signed(payload + " {}"),
		"a comma too many":      signed(strings.Replace(payload, "}", ",}", 1)),
		"JSON serialization":    fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, text, token.ResultMalformed) })
	}
}

func TestStrayBitsAtTheEndOfASignatureAreRefused(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	good := mint("RS256", "rsa", rsaKey(), nil) // 256 bytes leave 4 bits of the last character unused
	accept(t, v, good)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	refused(t, v, good[:len(good)-1]+alphabet[last+1:last+2], token.ResultMalformed)
}

func TestAlgorithmsCanNotBeConfused(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	der := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)})
	claims := toJSON(claimSet(nil))
	swapped := strings.Split(mint("RS256", "rsa", rsaKey(), nil), ".")
	swapped[0] = b64([]byte(`{"alg":"PS256","kid":"rsa"}`))
	for name, c := range map[string]struct{ text, result string }{
		"HMAC with the public key, PEM":    {mint("HS256", "rsa", pemKey, nil), token.ResultAlgorithm},
		"HMAC with the public key, PKCS 1": {mint("HS256", "rsa", pkcs1, nil), token.ResultAlgorithm},
		"HMAC with the public key, DER":    {mint("HS256", "rsa", der, nil), token.ResultAlgorithm},
		"HMAC with the modulus":            {mint("HS256", "rsa", rsaKey().N.Bytes(), nil), token.ResultAlgorithm},
		"HMAC called RS256":                {compact(`{"alg":"RS256","kid":"rsa"}`, claims, "HS256", pemKey), token.ResultSignature},
		"HMAC called EdDSA":                {compact(`{"alg":"EdDSA","kid":"ed"}`, claims, "HS256", []byte(edKey().Public().(ed25519.PublicKey))), token.ResultSignature},
		"ECDSA signature of zeros":         {b64([]byte(`{"alg":"ES256","kid":"p256"}`)) + "." + b64([]byte(claims)) + "." + b64(zeros(64)), token.ResultSignature},
		"none":                             {mint("none", "rsa", nil, nil) + "AA", token.ResultAlgorithm},
		"ES256 for an RSA key":             {compact(`{"alg":"ES256","kid":"rsa"}`, claims, "ES256", p256()), token.ResultAlgorithm},
		"RS256 for an EC key":              {compact(`{"alg":"RS256","kid":"p256"}`, claims, "RS256", rsaKey()), token.ResultAlgorithm},
		"EdDSA for an RSA key":             {compact(`{"alg":"EdDSA","kid":"rsa"}`, claims, "EdDSA", edKey()), token.ResultAlgorithm},
		"alg changed after signing":        {strings.Join(swapped, "."), token.ResultSignature},
		"another key under a known kid":    {mint("RS256", "rsa", otherRSA(), nil), token.ResultSignature},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, c.text, c.result) })
	}
}

func TestKeysInTheHeaderAreOfNoConsequence(t *testing.T) {
	p := newProvider(allKeys())
	v := newVerifier(t, p)
	header := map[string]any{
		"alg": "ES256", "kid": "p256", "jwk": jwkMap("p256", otherEC().Public(), nil),
		"jku": "https://evil.test/keys", "x5u": "https://evil.test/cert",
	}
	refused(t, v, compact(toJSON(header), toJSON(claimSet(nil)), "ES256", otherEC()), token.ResultSignature)
	accept(t, v, compact(toJSON(header), toJSON(claimSet(nil)), "ES256", p256()))
	delete(header, "kid")
	refused(t, v, compact(toJSON(header), toJSON(claimSet(nil)), "ES256", otherEC()), token.ResultSignature)
	if n := p.count("https://evil.test/keys") + p.count("https://evil.test/cert"); n != 0 {
		t.Errorf("%d fetches from where the token pointed", n)
	}
}

func TestKeysThatCanNotBeUsed(t *testing.T) {
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	huge := new(big.Int).SetBit(big.NewInt(1), 9000, 1)
	pub := rsaKey().Public()
	for name, c := range map[string]struct {
		jwk     map[string]any
		alg     string
		private any
	}{
		"weak RSA":               {jwkMap("k", weak.Public(), nil), "RS256", weak},
		"huge RSA":               {jwkMap("k", pub, map[string]any{"n": b64(huge.Bytes())}), "RS256", rsaKey()},
		"RSA with exponent 1":    {jwkMap("k", pub, map[string]any{"e": "AQ"}), "RS256", rsaKey()},
		"for encryption":         {jwkMap("k", pub, map[string]any{"use": "enc"}), "RS256", rsaKey()},
		"key_ops without verify": {jwkMap("k", pub, map[string]any{"key_ops": []string{"sign"}}), "RS256", rsaKey()},
		"key_ops not a list":     {jwkMap("k", pub, map[string]any{"key_ops": "verify"}), "RS256", rsaKey()},
		"for RSA-OAEP":           {jwkMap("k", pub, map[string]any{"alg": "RSA-OAEP"}), "RS256", rsaKey()},
		"for HS256":              {jwkMap("k", pub, map[string]any{"alg": "HS256"}), "RS256", rsaKey()},
		"EC said to be RS256":    {jwkMap("k", p256().Public(), map[string]any{"alg": "RS256"}), "ES256", p256()},
		"a private key":          {jwkMap("k", p256(), nil), "ES256", p256()},
		"off the curve":          {jwkMap("k", p256().Public(), map[string]any{"x": b64(zeros(32))}), "ES256", p256()},
		"symmetric":              {map[string]any{"kty": "oct", "kid": "k", "k": b64(zeros(32))}, "RS256", rsaKey()},
		"symmetric and RSA":      {jwkMap("k", pub, map[string]any{"k": b64(zeros(32))}), "RS256", rsaKey()},
		"unknown type":           {map[string]any{"kty": "AKP", "kid": "k"}, "RS256", rsaKey()},
		"no type":                {map[string]any{"kid": "k"}, "RS256", rsaKey()},
		"kid not a string":       {jwkMap("k", pub, map[string]any{"kid": 1}), "RS256", rsaKey()},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(map[string]any{"k": c.jwk, "p384": p384().Public()})
			v := newVerifier(t, p)
			refused(t, v, mint(c.alg, "k", c.private, nil), token.ResultUnknownKey)
			if s := v.Status(); s.Keys != 1 || s.Ignored != 1 {
				t.Errorf("%d keys, %d ignored; want 1 and 1", s.Keys, s.Ignored)
			}
		})
	}
}

func TestAlgOfAKeyBinds(t *testing.T) {
	v := newVerifier(t, newProvider(map[string]any{"k": jwkMap("k", rsaKey().Public(), map[string]any{
		"alg": "RS256", "use": "sig", "key_ops": []string{"verify"}, "x5c": []string{"not a certificate"}, "x5t": "?",
	})}))
	accept(t, v, mint("RS256", "k", rsaKey(), nil))
	refused(t, v, mint("RS384", "k", rsaKey(), nil), token.ResultAlgorithm)
	refused(t, v, mint("PS256", "k", rsaKey(), nil), token.ResultAlgorithm)
}

func TestTokenWithoutKid(t *testing.T) {
	keys := allKeys()
	keys["other"] = otherEC().Public()
	v := newVerifier(t, newProvider(keys))
	accept(t, v, mint("RS256", "", rsaKey(), nil))
	accept(t, v, mint("ES256", "", p256(), nil))
	accept(t, v, mint("ES256", "", otherEC(), nil))
	refused(t, v, mint("RS256", "", otherRSA(), nil), token.ResultSignature)

	alone := newVerifier(t, newProvider(map[string]any{"rsa": rsaKey().Public()}))
	refused(t, alone, mint("ES256", "", p256(), nil), token.ResultUnknownKey)
}

func TestTwoKeysUnderOneKid(t *testing.T) {
	v := newVerifier(t, newProvider(map[string]any{"a": jwkMap("k", p256().Public(), nil), "b": jwkMap("k", otherEC().Public(), nil)}))
	accept(t, v, mint("ES256", "k", p256(), nil))
	accept(t, v, mint("ES256", "k", otherEC(), nil))
}

func TestATokenWithoutKidIsTriedAgainstFewKeys(t *testing.T) {
	var list []any
	for range 8 {
		k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		list = append(list, jwkMap("", k.Public(), nil))
	}
	p := newProvider(nil)
	serve := func(list []any) func() answer {
		return func() answer { return answer{status: 200, body: toJSON(map[string]any{"keys": list})} }
	}
	p.answer[keysURL] = serve(append([]any{jwkMap("", p256().Public(), nil)}, list[:7]...))
	accept(t, newVerifier(t, p), mint("ES256", "", p256(), nil))
	p.answer[keysURL] = serve(append(list, jwkMap("", p256().Public(), nil)))
	refused(t, newVerifier(t, p), mint("ES256", "", p256(), nil), token.ResultSignature)
}

func TestErrorsNeverHoldTheToken(t *testing.T) {
	v := newVerifier(t, newProvider(allKeys()))
	words := map[string]bool{}
	for _, text := range []string{
		mint("ES256", "p256", p256(), map[string]any{"exp": 1}),
		mint("ES256", "p256", p256(), map[string]any{"iss": strings.Repeat("https://evil.test/", 100)}),
		mint("ES256", "p256", p256(), map[string]any{"aud": strings.Repeat("x", 5000)}),
		mint("ES256", strings.Repeat("k", 5000), p256(), nil),
		mint("ES256", "p256", otherEC(), nil),
		mint(strings.Repeat("A", 300), "p256", nil, nil) + "AA",
		strings.Repeat("opaque", 40),
		compact(`{"alg":"ES256","`+strings.Repeat("n", 300)+`":1,"`+strings.Repeat("n", 300)+`":1}`, "{}", "ES256", p256()),
		compact(`{"alg":"ES256","x5c":"`+strings.Repeat("n", 300)+`"}`, toJSON(claimSet(nil)), "ES256", p256()),
	} {
		_, err := verify(v, text)
		if err == nil {
			t.Fatal("accepted")
		}
		e := checkRefusal(t, err, token.Result(err))
		words[e.Public] = true
		story := fmt.Sprintf("%v %+v %s", err, err, e.Hinted())
		for part := range strings.SplitSeq(text, ".") {
			if len(part) > 20 && (strings.Contains(story, part) || strings.Contains(story, part[:20])) {
				t.Errorf("the error holds the token: %s", story)
			}
		}
		if len(story) > 1500 {
			t.Errorf("%d bytes of error", len(story))
		}
		if strings.Contains(e.Public, "evil") || strings.Contains(e.Public, "id.test") {
			t.Errorf("public words say too much: %s", e.Public)
		}
	}
	if len(words) < 5 {
		t.Errorf("only %d different words", len(words))
	}
}

func TestEveryVerdictIsReported(t *testing.T) {
	got := map[string]int{}
	o := options(newProvider(allKeys()))
	o.OnVerify = func(result string, cached bool) { got[fmt.Sprint(result, " ", cached)]++ }
	v := newVerifierWith(t, o)
	good := mint("ES256", "p256", p256(), nil)
	accept(t, v, good)
	accept(t, v, good)
	refused(t, v, "x.y.z", token.ResultMalformed)
	if diff := cmp.Diff(map[string]int{"ok false": 1, "ok true": 1, "malformed false": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKeysThatSTSRefusesAreNamed(t *testing.T) {
	keys := allKeys()
	keys["ps"] = jwkMap("ps", otherRSA().Public(), map[string]any{"alg": "PS256"})
	v := newVerifier(t, newProvider(keys))
	accept(t, v, mint("ES256", "p256", p256(), nil))
	got := map[string]bool{}
	for _, name := range v.STSRefuses() {
		got[name] = true
	}
	if diff := cmp.Diff(map[string]bool{`"ed" EdDSA`: true, `"ps" PS256`: true}, got); diff != "" {
		t.Error(diff)
	}
}

func TestResultOfOthers(t *testing.T) {
	if got := token.Result(fmt.Errorf("wrap: %w", fmt.Errorf("x"))); got != token.ResultOther {
		t.Error(got)
	}
	if got := token.Result(nil); got != token.ResultOK {
		t.Error(got)
	}
}

func zeros(n int) []byte { return make([]byte, n) }

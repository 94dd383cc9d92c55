package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/gateway"
)

// explainedTo runs rolegate explain in this process, with a world's documents.
func explainedTo(t *testing.T, w *fake.World, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "aws.yaml")
	if err := os.WriteFile(file, []byte(w.Documents()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = run(append([]string{"explain", "-f", file}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// TestExplainAToken: a token is verified with its provider's keys, and told of in every format without a part of it.
func TestExplainAToken(t *testing.T) {
	w, err := fake.NewWorld(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	atTheEnd(t, w)
	good := w.Token("ann")
	forged := good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86)
	for name, c := range map[string]struct {
		token   string
		code    int
		outcome string
		checks  string // the verdicts, each by its first letter: ok, failed, reached it was not
	}{
		"good":                       {good, exitOK, gateway.OutcomeAllowed, "ooooooooooo"},
		"expired":                    {w.ExpiredToken("ann"), exitToken, gateway.OutcomeToken, "ooooofnnnnn"},
		"forged":                     {forged, exitToken, gateway.OutcomeToken, "oooooooooof"},
		"another":                    {w.IDP.Mint(idp.Claims{"sub": "ann", "iss": "https://evil.example"}), exitToken, gateway.OutcomeToken, "ooofnnnnnnn"},
		"opaque":                     {"0123456789abcdef0123456789abcdef", exitToken, gateway.OutcomeToken, "fnnnnnnnnnn"},
		"longer than a token can be": {strings.Repeat("ab", 20000), exitToken, gateway.OutcomeToken, "fnnnnnnnnnn"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(c.token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, format := range []string{"text", "html", "json"} {
				code, out, errs := explainedTo(t, w, "--token-file", file, "--tool", "aws___run_script", "-o", format)
				if code != c.code || errs != "" || out == "" {
					t.Errorf("%s: exit code %d, want %d; %s", format, code, c.code, errs)
				}
				for _, part := range strings.Split(c.token, ".") {
					if n := min(len(part), 16); strings.Contains(out, part[:n]) || strings.Contains(out, part[len(part)-n:]) {
						t.Errorf("%s holds a part of the token:\n%s", format, out)
					}
				}
				if format != "json" {
					continue
				}
				var e gateway.Explanation
				if err := json.Unmarshal([]byte(out), &e); err != nil {
					t.Fatal(err)
				}
				verdicts := ""
				for _, check := range e.Token.Checks {
					verdicts += check.Verdict[:1]
				}
				if e.Outcome != c.outcome || verdicts != c.checks || e.Token.Source != "token" {
					t.Errorf("%s, checks %s; %+v", e.Outcome, verdicts, e.Token.Checks)
				}
			}
		})
	}
	if n := w.STS.Count() + w.AWS.Count(); n != 0 {
		t.Errorf("AWS was asked %d times", n)
	}
}

// TestExplainWithTheProviderAway: what needs no key is told, and exit code 4.
func TestExplainWithTheProviderAway(t *testing.T) {
	w, err := fake.NewWorld(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	atTheEnd(t, w)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(w.Token("ann")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.IDP.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, _ := explainedTo(t, w, "--token-file", file)
	if code != exitToken {
		t.Errorf("exit code %d", code)
	}
	for _, line := range []string{"  issuer     ok  ", "  subject    ok  ", "  key        not checked  ", "  signature  not reached\n", "  HTTP status  503\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("no line %q in\n%s", line, out)
		}
	}
}

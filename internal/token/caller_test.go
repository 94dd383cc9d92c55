package token_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/token"
)

func TestARawTokenIsNeverPrinted(t *testing.T) {
	const secret = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2ln"
	raw := token.NewRaw(secret)
	type hidden struct{ raw token.Raw }
	type shown struct{ Raw token.Raw }
	caller := &token.Caller{Subject: token.Subject{ID: "alice", Token: raw}}
	var printed strings.Builder
	for _, v := range []any{raw, &raw, hidden{raw}, &hidden{raw}, shown{raw}, &shown{raw}, caller, caller.Subject, []token.Raw{raw}, map[string]token.Raw{"a": raw}, map[token.Raw]int{raw: 1}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%e", "%b", "%o"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		fmt.Fprintln(&printed, v, fmt.Errorf("wrap: %v", v))
		for _, h := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
			slog.New(h).Info("x", "raw", v, slog.Any("any", v), slog.Group("g", "raw", v))
		}
		if b, err := json.Marshal(v); err == nil {
			printed.Write(b)
		}
		if b, err := xml.Marshal(v); err == nil {
			printed.Write(b)
		}
	}
	got := printed.String()
	hex := fmt.Sprintf("%x", secret)
	for _, leak := range []string{secret, "eyJh", "c2VjcmV0", hex[:16], strings.ToUpper(hex[:16])} {
		if strings.Contains(got, leak) {
			i := strings.Index(got, leak)
			t.Errorf("%q was printed: %s", leak, got[max(0, i-80):i+20])
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if got := fmt.Sprintf(verb, raw); got != "[redacted]" {
			t.Errorf("%s: %s", verb, got)
		}
	}
	if b := must(json.Marshal(shown{raw})); !bytes.Equal(b, []byte(`{"Raw":"[redacted]"}`)) {
		t.Errorf("%s", b)
	}
}

func TestRaw(t *testing.T) {
	for _, text := range []string{"", "abcd", strings.Repeat("x", 4096), strings.Repeat("x", 4097)} {
		raw := token.NewRaw(text)
		if raw.Reveal() != text || raw.Sum() != sha256.Sum256([]byte(text)) || !raw.Equal(token.NewRaw(text)) || raw.Equal(token.NewRaw(text+"x")) {
			t.Errorf("%d characters", len(text))
		}
	}
	if (token.Raw{}).Reveal() != "" {
		t.Error("the zero Raw is not empty")
	}
}

func TestOnceComputesOnceForEachKey(t *testing.T) {
	var c token.Caller
	calls := 0
	compute := func() any { calls++; return calls }
	for _, step := range []struct {
		key  string
		want int
	}{{"a", 1}, {"a", 1}, {"b", 2}, {"b", 2}, {"a", 3}} {
		if got := c.Once(step.key, compute); got != step.want {
			t.Errorf("%s: %v, want %d", step.key, got, step.want)
		}
	}
}

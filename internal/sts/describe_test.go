package sts_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/sts"
)

// TestRehearsalTellsWhatSTSWouldGet: what is told is what a real call sends, but for the token.
func TestRehearsalTellsWhatSTSWouldGet(t *testing.T) {
	f := &fake{}
	lend(t, sts.New(sts.Options{Transport: f}), caller("u1"))
	var told []sts.Request
	v := sts.Rehearse(func(r sts.Request) { told = append(told, r) })
	lease, _ := lend(t, v, caller("u1"))
	if _, source := lend(t, v, caller("u1")); source != sts.Hit || len(told) != 1 {
		t.Fatalf("%s, %d calls", source, len(told))
	}
	if life := time.Until(lease.Expiry); life < 58*time.Minute || life > time.Hour {
		t.Errorf("lent for %s", life)
	}
	got, sent := told[0], f.requests[0]
	if got.Method != sent.Method || got.URL != sent.URL.String() || len(got.Form) != len(f.forms[0]) {
		t.Errorf("%+v, but %s %s %v is sent", got, sent.Method, sent.URL, f.forms[0])
	}
	for i, field := range got.Form {
		want := f.forms[0].Get(field.Name)
		if field.Name == "WebIdentityToken" {
			want = "[redacted]"
		}
		if field.Value != want || i == 0 && field.Name != "Action" || i == 1 && field.Name != "Version" {
			t.Errorf("field %d: %+v, want the value %q", i, field, want)
		}
	}
	if text, _ := json.Marshal(told); strings.Contains(string(text), rawJWT[20:40]) {
		t.Error("the token is told")
	}
}

// TestClassTellsKeysApart: two callers are told to be of one class exactly when they share a lease.
func TestClassTellsKeysApart(t *testing.T) {
	base := caller("u1")
	tagged := callerWith("u1", rawJWT)
	tagged.Subject.Claims["https://aws.amazon.com/tags"] = map[string]any{"principal_tags": map[string]any{"team": []any{"a"}}}
	party := caller("u1")
	party.AuthorizedParty = "other"
	two := caller("u1")
	two.Audience = []string{"mcp", "b"}
	grouped := caller("u1")
	grouped.Subject.Claims["groups"] = []any{"other"}
	longer, renamed := grant(), grant()
	longer.Duration, renamed.SessionName = 2*time.Hour, "u2"
	for name, c := range map[string]struct {
		class []sts.Field
		call  func(*sts.Vault) error
	}{
		"the same":     {sts.Class(grouped, grant()), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), grouped, grant()); return err }},
		"subject":      {sts.Class(caller("u2"), grant()), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), caller("u2"), grant()); return err }},
		"tags":         {sts.Class(tagged, grant()), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), tagged, grant()); return err }},
		"party":        {sts.Class(party, grant()), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), party, grant()); return err }},
		"audiences":    {sts.Class(two, grant()), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), two, grant()); return err }},
		"duration":     {sts.Class(base, longer), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), base, longer); return err }},
		"session name": {sts.Class(base, renamed), func(v *sts.Vault) error { _, _, err := v.Credentials(t.Context(), base, renamed); return err }},
		"token alone": {sts.Class(callerWith("u1", "another"), grant()), func(v *sts.Vault) error {
			_, _, err := v.Credentials(t.Context(), callerWith("u1", "another"), grant())
			return err
		}},
	} {
		calls := 0
		v := sts.Rehearse(func(sts.Request) { calls++ })
		if _, _, err := v.Credentials(context.Background(), base, grant()); err != nil {
			t.Fatal(err)
		}
		if err := c.call(v); err != nil {
			t.Fatal(err)
		}
		if same := cmp.Equal(sts.Class(base, grant()), c.class); same != (calls == 1) {
			t.Errorf("%s: one class is %v, but %d calls; %v", name, same, calls, c.class)
		}
	}
}

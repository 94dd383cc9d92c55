package sts_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/internal/sts"
)

// TestAmbientAWSFilesAreOfNoConsequence: the files of the AWS tools are for credentials, which are not wanted here. What
// is wrong with them must not stop the gateway, and what they say must not lead elsewhere.
func TestAmbientAWSFilesAreOfNoConsequence(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"broken":    "[profile",
		"elsewhere": "[default]\nregion = eu-west-1\nendpoint_url = https://evil.example\n[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = absent\n",
		"keys":      "[default]\naws_access_key_id = AKIAAMBIENT\naws_secret_access_key = ambient\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, env := range map[string]map[string]string{
		"absent profile":    {"AWS_PROFILE": "absent"},
		"profile in error":  {"AWS_PROFILE": "p", "AWS_CONFIG_FILE": filepath.Join(dir, "elsewhere")},
		"absent files":      {"AWS_CONFIG_FILE": filepath.Join(dir, "absent"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "absent")},
		"no file":           {"AWS_CONFIG_FILE": dir, "AWS_SHARED_CREDENTIALS_FILE": dir},
		"broken file":       {"AWS_CONFIG_FILE": filepath.Join(dir, "broken")},
		"another endpoint":  {"AWS_CONFIG_FILE": filepath.Join(dir, "elsewhere")},
		"keys of a profile": {"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "keys")},
		"keys":              {"AWS_ACCESS_KEY_ID": "AKIAAMBIENT", "AWS_SECRET_ACCESS_KEY": "ambient"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range env {
				t.Setenv(k, v)
			}
			f := &fake{}
			v := sts.New(sts.Options{Transport: f})
			if err := v.Check("us-east-1"); err != nil {
				t.Fatal(err)
			}
			lend(t, v, caller("u1"))
			r := f.requests[0]
			if got := r.URL.String(); got != "https://sts.us-east-1.amazonaws.com/" || r.Header.Get("Authorization") != "" {
				t.Errorf("%s, Authorization %q", got, r.Header.Get("Authorization"))
			}
		})
	}
}

func TestABundleThatCannotBeReadIsTold(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".absent"} {
		t.Setenv("AWS_CA_BUNDLE", file)
		if err := sts.New(sts.Options{}).Check("us-east-1"); err == nil {
			t.Errorf("%s was taken for a bundle", filepath.Base(file))
		}
	}
}

// TestDropPauses: a remote that finds every lease expired does not have STS called for every request.
func TestDropPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		v := sts.New(sts.Options{Transport: f})
		other, _ := lend(t, v, caller("u2"))
		first, _ := lend(t, v, caller("u1"))
		if !v.Drop(first) {
			t.Fatal("the first lease was not dropped")
		}
		second, _ := lend(t, v, caller("u1"))
		if second == first {
			t.Fatal("the dropped lease came back")
		}
		for range 29 {
			if v.Drop(second) {
				t.Fatal("a lease was dropped within the pause")
			}
			if l, source := lend(t, v, caller("u1")); l != second || source != sts.Hit {
				t.Fatalf("within the pause: %s", source)
			}
			time.Sleep(time.Second)
		}
		if !v.Drop(first) {
			t.Error("asking again is not worth while although the lease has been replaced")
		}
		if !v.Drop(other) {
			t.Error("another caller's lease was kept")
		}
		time.Sleep(2 * time.Second)
		if !v.Drop(second) {
			t.Error("the lease was kept after the pause")
		}
		if l, source := lend(t, v, caller("u1")); l == second || source != sts.Miss || f.calls() != 4 {
			t.Errorf("after the pause: %s, %d calls", source, f.calls())
		}
	})
}

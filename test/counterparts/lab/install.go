package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	probeTime   = 10 * time.Second
	installTime = 5 * time.Minute
)

// Installed gives a folder of the user's cache that fill has filled, now or in an earlier run. The folder is filled
// beside its place and then renamed, so it is whole or not there; of runs that fill it at the same time one wins.
func Installed(t testing.TB, name string, fill func(dir string) error) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("no cache folder to install into:", err)
	}
	folder := filepath.Join(cache, "rolegate-test", name)
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "."+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	if err := fill(fresh); err != nil {
		t.Fatalf("install %s: %v", name, err)
	}
	if err := os.Rename(fresh, folder); err != nil {
		if _, there := os.Stat(folder); there != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// NPM installs what dir's package.json and package-lock.json name, and gives the node_modules folder. The lock file
// holds the hash of every package, and nothing of them is run at installation.
func NPM(t testing.TB, dir string) (modules string) {
	t.Helper()
	Need(t)
	sum := sha256.New()
	files := []string{"package.json", "package-lock.json"}
	texts := make([][]byte, len(files))
	for i, name := range files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
		texts[i] = text
	}
	folder := Installed(t, "npm-"+hex.EncodeToString(sum.Sum(nil)[:8]), func(fresh string) error {
		npm := Program(t, "npm")
		if out, err := Output(t, ".", probeTime, nil, npm, "ping", "--fetch-retries=0"); err != nil {
			t.Skipf("the npm registry can't be reached: %v\n%s", err, out)
		}
		for i, name := range files {
			if err := os.WriteFile(filepath.Join(fresh, name), texts[i], 0o644); err != nil {
				return err
			}
		}
		out, err := Output(t, fresh, installTime, nil, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		if err != nil {
			return fmt.Errorf("npm ci: %w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(folder, "node_modules")
}

// Program is the path of a program of this machine; the test is skipped where there is none.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(name + " is not installed")
	}
	return path
}

// Debs unpacks Debian packages, without installing them, and gives the root of what they hold. The versions are those
// of the machine's release.
func Debs(t testing.TB, packages ...string) (root string) {
	t.Helper()
	Need(t)
	slices.Sort(packages)
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	return Installed(t, "debs-"+hex.EncodeToString(sum[:8]), func(root string) error {
		apt, dpkg := Program(t, "apt-get"), Program(t, "dpkg")
		down, err := os.MkdirTemp("", "rolegate-debs-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(down)
		get := append([]string{"download", "-q", "-o", "APT::Sandbox::User="}, packages...)
		out, err := Output(t, down, installTime, nil, apt, get...)
		if err != nil { // the lists may be old, or not there
			if out, err := Output(t, down, installTime, nil, apt, "update", "-q", "-o", "Acquire::Retries=0"); err != nil {
				t.Skipf("Debian's packages can't be reached: %v\n%s", err, out)
			}
			if out, err = Output(t, down, installTime, nil, apt, get...); err != nil {
				t.Skipf("Debian's packages can't be had: %v\n%s", err, out)
			}
		}
		_ = out
		debs, err := filepath.Glob(filepath.Join(down, "*.deb"))
		if err != nil || len(debs) < len(packages) {
			return fmt.Errorf("%d of %d packages came: %w", len(debs), len(packages), err)
		}
		for _, deb := range debs {
			if out, err := Output(t, down, installTime, nil, dpkg, "-x", deb, root); err != nil {
				return fmt.Errorf("unpack %s: %w\n%s", deb, err, out)
			}
		}
		return nil
	})
}

// GoInstall builds a program of another module at a version (path@version), and gives its path.
func GoInstall(t testing.TB, path string) string {
	t.Helper()
	Need(t)
	bare, _, _ := strings.Cut(path, "@")
	sum := sha256.Sum256([]byte(path))
	folder := Installed(t, "go-"+hex.EncodeToString(sum[:8]), func(bin string) error {
		out, err := Output(t, os.TempDir(), installTime, append(os.Environ(), "GOBIN="+bin, "GOFLAGS="), "go", "install", path)
		if err != nil && unreachable(out) {
			t.Skipf("the Go module proxy can't be reached: %v\n%s", err, out)
		}
		if err != nil {
			return fmt.Errorf("go install %s: %w\n%s", path, err, out)
		}
		return nil
	})
	return filepath.Join(folder, filepath.Base(bare))
}

func unreachable(said string) bool {
	for _, word := range []string{"dial tcp", "no such host", "connection refused", "i/o timeout", "disabled by GOPROXY=off"} {
		if strings.Contains(said, word) {
			return true
		}
	}
	return false
}

// Output runs a command to its end, for no longer than limit, and gives all that it printed. A nil env is Environment().
func Output(t testing.TB, dir string, limit time.Duration, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	group(cmd)
	cmd.Dir, cmd.Env, cmd.Cancel, cmd.WaitDelay = dir, env, func() error { return kill(cmd) }, time.Second
	if env == nil {
		cmd.Env = Environment()
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("%s is not done after %s", filepath.Base(name), limit)
	}
	return string(bytes.TrimSpace(out)), err
}

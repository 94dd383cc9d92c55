package provider_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	release     = "oidc-provider-9.13.3"
	probeTime   = 3 * time.Second
	installTime = time.Minute
)

// installed gives the node_modules folder with the provider, installing it where this machine has none. It skips the
// test where that can't be done.
func installed(t *testing.T) (node, modules string) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: starts a real identity provider")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("no cache folder to install into:", err)
	}
	folder := filepath.Join(cache, "rolegate-test", release)
	modules = filepath.Join(folder, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return node, modules
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	if out, err := run(t, ".", probeTime, npm, "view", "oidc-provider@9.13.3", "version", "--fetch-retries=0", "--fetch-timeout=2500"); err != nil {
		t.Skipf("the npm registry can't be reached: %v\n%s", err, out)
	}
	if err := install(t, npm, folder); err != nil {
		t.Skip("the identity provider can't be installed:", err)
	}
	return node, modules
}

// install installs beside the folder and then renames, so that the folder is whole or not there: of runs that install
// at the same time one wins, and all of them find the same thing.
func install(t *testing.T, npm, folder string) error {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "."+release+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(fresh, name), text, 0o644); err != nil {
			return err
		}
	}
	// The lock file holds the hash of every package, and nothing of them is run at installation.
	out, err := run(t, fresh, installTime, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
	if err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	if err := os.Rename(fresh, folder); err != nil {
		if _, there := os.Stat(filepath.Join(folder, "node_modules")); there == nil {
			return nil
		}
		return err
	}
	return nil
}

// run runs a command for no longer than limit and gives what it printed.
func run(t *testing.T, dir string, limit time.Duration, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	group(cmd)
	cmd.Dir, cmd.Cancel, cmd.WaitDelay = dir, func() error { return kill(cmd) }, time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %s", limit)
	}
	return string(bytes.TrimSpace(out)), err
}

// member is a client of the provider. Its id is the subject of its tokens.
type member struct {
	ID       string         `json:"id"`
	Secret   string         `json:"secret"`
	Alg      string         `json:"alg"`
	Audience string         `json:"audience"`
	Claims   map[string]any `json:"claims,omitempty"`
}

// provider is the identity provider, running.
type provider struct {
	issuer string
	kids   map[string]string // by algorithm
	tell   func(line string) error
	hear   *bufio.Scanner
}

// startProvider starts it for these clients, until the test ends.
func startProvider(t *testing.T, clients []member) *provider {
	t.Helper()
	node, modules := installed(t)
	cmd := exec.Command(node, filepath.Join("testdata", "provider.mjs"), modules)
	group(cmd)
	cmd.WaitDelay = time.Second
	complaints := &record{}
	cmd.Stderr = complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	giveUp := time.AfterFunc(time.Minute, func() { _ = kill(cmd) }) // of a provider that says nothing
	t.Cleanup(func() {
		_ = in.Close() // it ends by itself
		giveUp.Reset(5 * time.Second)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the identity provider ended with %v", err)
		}
		giveUp.Stop()
		if t.Failed() {
			t.Logf("the identity provider said:\n%s", complaints)
		}
	})
	p := &provider{
		tell: func(line string) error { _, err := fmt.Fprintln(in, line); return err },
		hear: bufio.NewScanner(out),
	}
	list, err := json.Marshal(clients)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ask(string(list)); err != nil {
		t.Fatalf("start the identity provider: %v\n%s", err, complaints)
	}
	giveUp.Reset(10 * time.Minute)
	return p
}

// rotate replaces every key of the provider at once.
func (p *provider) rotate() error { return p.ask("rotate") }

func (p *provider) ask(line string) error {
	if err := p.tell(line); err != nil {
		return err
	}
	if !p.hear.Scan() {
		return errors.Join(errors.New("it does not answer"), p.hear.Err())
	}
	var answer struct {
		Issuer string
		KIDs   map[string]string
	}
	if err := json.Unmarshal(p.hear.Bytes(), &answer); err != nil {
		return err
	}
	p.issuer, p.kids = answer.Issuer, answer.KIDs
	return nil
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/test/bench/load"
)

// stand is what both proxies stand in: a provider and an STS in this process, a backend in its own.
type stand struct {
	dir     string // for all that is written; removed at the end
	self    string // this program
	gate    string // the rolegate binary
	bare    string // the bare proxy's
	world   *fake.World
	backend *process
	at      addresses
	ca      string // file
	trust   *tls.Config
	starts  int
	profile string // file for a CPU profile; "" for none, and the shipped binary
}

// stsLatency is how long STS takes to answer.
const stsLatency = 30 * time.Millisecond

func newStand(ctx context.Context, profile string) (s *stand, err error) {
	s = &stand{profile: profile}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.self, err = os.Executable(); err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "rolegate-bench-"); err != nil {
		return s, err
	}
	if err := s.build(ctx); err != nil {
		return s, err
	}
	if s.world, err = fake.NewWorld(fake.Options{}); err != nil {
		return s, err
	}
	s.slowSTS(stsLatency)
	return s, s.startBackend(ctx)
}

// build builds rolegate as it is shipped, or with a profile, and the bare proxy alike.
func (s *stand) build(ctx context.Context) error {
	const module = "github.com/rolegate/rolegate"
	rolegate := module + "/cmd/rolegate"
	if s.profile != "" {
		rolegate = module + "/test/bench/profiled"
	}
	s.gate, s.bare = filepath.Join(s.dir, nameRolegate), filepath.Join(s.dir, nameBare)
	for out, pkg := range map[string]string{s.gate: rolegate, s.bare: module + "/test/bench/bare"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, said)
		}
	}
	return nil
}

func (s *stand) startBackend(ctx context.Context) error {
	cert, key, err := stage.Certificate(time.Now().UnixNano())
	if err != nil {
		return err
	}
	s.ca = filepath.Join(s.dir, "backend.crt")
	keyFile := filepath.Join(s.dir, "backend.key")
	if err := errors.Join(os.WriteFile(s.ca, cert, 0o600), os.WriteFile(keyFile, key, 0o600)); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	s.trust = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if s.backend, err = launch(ctx, "backend", environment("GOGC=400"), filepath.Join(s.dir, "backend.err"), s.self, roleBackend, s.ca, keyFile); err != nil {
		return err
	}
	return json.NewDecoder(s.backend.out).Decode(&s.at)
}

func (s *stand) close() {
	if s.backend != nil {
		s.backend.stop()
	}
	if s.world != nil {
		_ = s.world.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// remote is the backend as a proxy addresses it.
func (s *stand) remote(secure bool) (base string) {
	if secure {
		return "https://" + s.at.TLS
	}
	return "http://" + s.at.Plain
}

// direct is the backend as a client addresses it.
func (s *stand) direct(secure bool) load.Target {
	if secure {
		return load.Target{Addr: s.at.TLS, TLS: s.trust}
	}
	return load.Target{Addr: s.at.Plain}
}

// proxy is one of the two.
type proxy struct {
	*process
	addr  string // of the MCP endpoint
	admin string // of health and metrics; "" for the bare one
	ready time.Duration
}

const (
	nameRolegate = "rolegate"
	nameBare     = "bare"
)

// start starts a proxy, and waits until it serves.
func (s *stand) start(ctx context.Context, name string, secure bool, env ...string) (*proxy, error) {
	return s.startAs(ctx, name, secure, s.shipped, env...)
}

// shipped are the documents of the tutorial, with the records of audit in a file.
func (s *stand) shipped(documents string) string {
	return strings.Replace(documents, auditOn, fmt.Sprintf("  audit: {enabled: true, logFile: %s}\n", filepath.Join(s.dir, fmt.Sprintf("audit-%d.jsonl", s.starts))), 1)
}

// auditOn is what the documents say about audit.
const auditOn = "  audit:\n    enabled: true\n"

// startAs starts a proxy; rolegate with documents that were changed.
func (s *stand) startAs(ctx context.Context, name string, secure bool, edit func(documents string) string, env ...string) (*proxy, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.starts++
	errFile := filepath.Join(s.dir, fmt.Sprintf("%s-%d.log", name, s.starts))
	began := time.Now()
	p := &proxy{addr: addr}
	if name == nameBare {
		if p.process, err = launch(ctx, name, environment(env...), errFile, s.bare, addr, s.remote(secure), s.ca, s.profileOf(".bare")); err != nil {
			return nil, err
		}
		p.gentle = s.profile != ""
		err = p.until("listening", time.Millisecond, func() bool { return listening(addr) })
	} else {
		err = s.startRolegate(ctx, p, errFile, secure, edit, env)
	}
	if err == nil {
		p.ready = time.Since(began)
		return p, nil
	}
	log, _ := os.ReadFile(errFile) // what it says of itself, if anything
	if p.process != nil {
		p.stop()
	}
	return nil, fmt.Errorf("%w\n%.4000s", err, log)
}

func (s *stand) startRolegate(ctx context.Context, p *proxy, errFile string, secure bool, edit func(string) string, env []string) (err error) {
	file := filepath.Join(s.dir, fmt.Sprintf("documents-%d.yaml", s.starts))
	documents := strings.Replace(s.world.Documents(), s.world.RemoteURL(), s.remote(secure)+"/mcp", 1)
	if err := os.WriteFile(file, []byte(edit(documents)), 0o600); err != nil {
		return err
	}
	if p.admin, err = freeAddress(); err != nil {
		return err
	}
	env = append(environment(env...), append(s.world.Env(), "AWS_CA_BUNDLE="+s.ca)...)
	args := []string{"run", "-f", file, "--listen", p.addr, "--admin-listen", p.admin}
	if s.profile != "" {
		args = []string{file, p.addr, p.admin, s.profile}
	}
	if p.process, err = launch(ctx, nameRolegate, env, errFile, s.gate, args...); err != nil {
		return err
	}
	p.gentle = s.profile != ""
	return p.until("ready", time.Millisecond, func() bool {
		resp, err := http.Get("http://" + p.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// profileOf is a proxy's file for its profile.
func (s *stand) profileOf(suffix string) string {
	if s.profile == "" {
		return ""
	}
	return s.profile + suffix
}

func (p *proxy) target() load.Target { return load.Target{Addr: p.addr} }

// slowSTS makes STS take its time.
func (s *stand) slowSTS(d time.Duration) {
	s.world.STS.Heal()
	s.world.STS.Fail(slow(d))
}

// enter opens a session at an address that leads to the backend, and looks whether a call of it arrives as it should:
// signed behind rolegate, as it was sent behind the bare proxy and at the backend itself.
func (s *stand) enter(t load.Target, token string, signed bool) (session string, err error) {
	scheme := "http://"
	if t.TLS != nil {
		scheme = "https://"
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: t.TLS.Clone()}, Timeout: 15 * time.Second}
	defer client.CloseIdleConnections()
	post := func(body string) (string, http.Header, error) {
		req, err := http.NewRequest(http.MethodPost, scheme+t.Addr+"/mcp", strings.NewReader(body))
		if err != nil {
			return "", nil, err
		}
		for _, line := range clientHeader(token, session) {
			name, value, _ := strings.Cut(line, ": ")
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.300s", resp.Status, text)
		}
		return string(text), resp.Header, err
	}
	_, header, err := post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`)
	if err != nil {
		return "", fmt.Errorf("open session: %w", err)
	}
	session = header.Get("Mcp-Session-Id")
	text, _, err := post(callBody(1 << 10))
	if err != nil {
		return "", fmt.Errorf("call: %w", err)
	}
	if want := fmt.Sprintf(`"signed":%t`, signed); !strings.Contains(text, want) {
		return "", fmt.Errorf("the backend does not say %s: %.100s", want, text)
	}
	if sealed := session != sessionID; session == "" || sealed != signed {
		return "", fmt.Errorf("session id %q", session)
	}
	return session, nil
}

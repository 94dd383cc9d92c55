//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
)

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// remap gives ann's group another role.
func remap(documents string) string {
	return strings.Replace(documents, fake.S3Role, fake.AdminRole, 1)
}

func TestHangupWithGoodDocumentsSwapsThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, w.Documents())
	ann, bob := g.caller("ann"), g.caller("bob")
	ann.enter(t)
	bob.enter(t)
	heard, over := ann.events(t)
	wantRole(t, ann, fake.S3Role)
	wantRole(t, bob, fake.AdminRole)
	calls := w.STS.Count()

	writeFile(t, g.file, remap(w.Documents()))
	g.signal(syscall.SIGHUP)
	g.says("configuration reloaded")

	if _, err := ann.whoami(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a session of the role before: %v; it should be 404", err)
	}
	ann.enter(t)
	wantRole(t, ann, fake.AdminRole)
	wantRole(t, bob, fake.AdminRole) // his session goes on
	if n := w.STS.Count() - calls; n != 1 {
		t.Errorf("%d STS calls after the reload; only ann's new role needs one", n)
	}

	w.AWS.Announce()
	until(t, "an event on the stream from before the reload", func() bool {
		return strings.Contains(heard.String(), "notifications/tools/list_changed")
	})
	select {
	case err := <-over:
		t.Errorf("the stream ended: %v", err)
	default:
	}
}

func wantRole(t *testing.T, c *client, role string) {
	t.Helper()
	if got, err := c.whoami(t.Context()); err != nil || got != role {
		t.Errorf("the server saw role %q (%v); it should be %q", got, err, role)
	}
}

func TestHangupWithBadDocumentsChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, w.Documents())
	ann := g.caller("ann")
	ann.enter(t)
	heard, _ := ann.events(t)

	for _, bad := range []struct{ name, documents, why string }{
		{"an unknown key", strings.Replace(remap(w.Documents()), "priority: 10", "prioritaet: 10", 1), "documents.yaml:22: awsSts.roleMappings[0].prioritaet: "},
		{"a matcher", strings.Replace(remap(w.Documents()), `claims["org"]`, `clams["org"]`, 1), "documents.yaml:23: awsSts.roleMappings[1].matcher: "},
		{"half a file", w.Documents()[:300], "MCPRemoteProxy"},
		{"no YAML", "a: [", "can't be parsed"},
	} {
		before := g.count("configuration not reloaded")
		writeFile(t, g.file, bad.documents)
		g.signal(syscall.SIGHUP)
		until(t, bad.name+": refused", func() bool { return g.count("configuration not reloaded") > before })
		g.says("configuration not reloaded", bad.why)
		wantRole(t, ann, fake.S3Role)
	}
	if err := os.Remove(g.file); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGHUP)
	g.says("configuration not reloaded", "no such file")
	wantRole(t, ann, fake.S3Role)

	w.AWS.Announce()
	until(t, "an event on the stream", func() bool { return strings.Contains(heard.String(), "list_changed") })

	writeFile(t, g.file, remap(w.Documents()))
	g.signal(syscall.SIGHUP)
	g.says("configuration reloaded")
	ann.enter(t)
	wantRole(t, ann, fake.AdminRole)
	if metrics := fetch(t, g.admin+"/metrics"); strings.Count(metrics, "rolegate_config_reloads_total{") != 2 {
		t.Errorf("metrics tell not of both good and bad reloads:\n%s", metrics)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTerminationEndsEverythingInOrder(t *testing.T) {
	t.Parallel()
	const delay = 4 * time.Second
	w := newWorld(t)
	g := serve(t, w, w.Documents(), "--drain-delay", delay.String(), "--drain-timeout", "30s")
	ann, bob := g.caller("ann"), g.caller("bob")
	ann.enter(t)
	bob.enter(t)
	_, over := ann.events(t)
	called := make(chan error, 1) // a call that outlasts the delay
	go func() {
		var result struct{ StructuredContent struct{ Output string } }
		err := bob.into(t.Context(), &result, "tools/call",
			`{"name":"aws___run_script","arguments":{"code":"stream:50:100ms"},"_meta":{"progressToken":1}}`)
		if err == nil && result.StructuredContent.Output != "50 steps" {
			err = errors.New("output " + result.StructuredContent.Output)
		}
		called <- err
	}()
	until(t, "the call reached the server", func() bool {
		last, _ := w.AWS.Last()
		return bytes.Contains(last.Body, []byte("stream:50"))
	})

	began := time.Now()
	g.signal(syscall.SIGTERM)
	until(t, "not ready", func() bool { return g.ready() == http.StatusServiceUnavailable })
	if took := time.Since(began); took > delay {
		t.Errorf("not ready after %s; it should be at once", took)
	}
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := fresh.Post(g.endpoint, "application/json", strings.NewReader(`{"jsonrpc":"2.0","method":"tools/list","id":1}`))
	if err != nil {
		t.Fatalf("a new connection within the delay: %v", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a new connection within the delay: %s; it should be 401", resp.Status)
	}
	wantRole(t, g.guest(t, "eve"), fake.DefaultRole)
	select {
	case err := <-over:
		t.Errorf("the stream ended within the delay: %v", err)
	default:
	}

	if err := <-over; !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v; it should be an end in order", err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("the stream ended after %s, before the delay was over", took)
	}
	if err := <-called; err != nil {
		t.Errorf("the call that was open: %v", err)
	}
	if code := g.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	g.says("drained")
	if _, err := fresh.Get(g.endpoint); err == nil {
		t.Error("it is still listening")
	}
}

// guest is a caller with a session.
func (g *gate) guest(t *testing.T, user string) *client {
	c := g.caller(user)
	c.enter(t)
	return c
}

// TestDrainTimeoutEndsStreamedAnswersInOrder: what is still open then is ended as if the remote had ended it.
func TestDrainTimeoutEndsStreamedAnswersInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, w.Documents(), "--drain-timeout", "5s") // of which a tenth is for the end
	ann := g.guest(t, "ann")
	called := make(chan error, 1)
	go func() {
		_, err := ann.call(t.Context(), "tools/call", `{"name":"aws___run_script","arguments":{"code":"stream:400:50ms"},"_meta":{"progressToken":1}}`)
		called <- err
	}()
	until(t, "the call streams", func() bool {
		return strings.Contains(fetch(t, g.admin+"/metrics"), "rolegate_open_streams 1")
	})
	g.signal(os.Interrupt)
	if err := <-called; err != nil {
		t.Errorf("the answer was cut: %v", err)
	}
	if code := g.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := serve(t, w, w.Documents(), "--drain-delay", "1m")
	g.signal(syscall.SIGTERM)
	until(t, "not ready", func() bool { return g.ready() == http.StatusServiceUnavailable })
	until(t, "its end", func() bool { // the very next one may still come too early
		_ = g.cmd.Process.Signal(syscall.SIGTERM) // it has ended: then the next look sees it
		select {
		case <-g.ended:
			return true
		default:
			return false
		}
	})
	if code := g.waitEnd(); code == exitOK {
		t.Error("it ended as if in order")
	}
}

func TestDemoStaysUntilInterrupted(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	p := start(t, temp, environment("TMPDIR="+temp), "demo", "--stay")
	p.says("Ctrl-C ends it.")
	p.signal(os.Interrupt)
	if code := p.waitEnd(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
}

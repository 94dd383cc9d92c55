package gateway_test

import (
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
)

// anotherProvider is the world's documents with a provider that needs keys of its own.
func anotherProvider(t *testing.T, s *stand) string {
	t.Helper()
	const audience = "audience: " + fake.Audience
	return replace(audience, audience+"\n      jwksUrl: "+s.world.IDP.JWKSURL())(s.world, s.world.Documents())
}

func TestARefusedReloadLeavesNothingBehind(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	session := s.open("ann")
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "absent.pem"))
	cfg := load(t, spec("limits: {responseTimeout: 4m}")(s.world, anotherProvider(t, s))) // another way to the remote, so that the bundle is read
	before, keys := runtime.NumGoroutine(), s.world.IDP.Count("jwks")
	for range 20 {
		server.Reload(cfg)
	}
	if n := strings.Count(s.log.String(), "configuration not reloaded"); n != 20 || !strings.Contains(s.log.String(), "AWS_CA_BUNDLE") {
		t.Errorf("%d of 20 reloads were refused", n)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() < before+10 })
	if n := s.world.IDP.Count("jwks") - keys; n != 0 {
		t.Errorf("%d key fetches for configurations that never served", n)
	}
	if r := s.do(call{user: "ann", session: session, body: listTools}); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAReloadToAProviderThatIsAwayChangesNothing(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	session := s.open("ann")
	cfg := load(t, anotherProvider(t, s))
	s.world.IDP.Fail(down)
	served := func() {
		t.Helper()
		if r := s.do(call{user: "ann", session: session, body: listTools}); r.status != http.StatusOK {
			t.Errorf("%d %s", r.status, r.body)
		}
		if status, text := admin(t, server, "/readyz"); status != http.StatusOK {
			t.Errorf("/readyz: %d %s", status, text)
		}
	}
	began, before := time.Now(), runtime.NumGoroutine()
	done := make(chan struct{})
	go func() { defer close(done); server.Reload(cfg) }()
	time.Sleep(100 * time.Millisecond)
	served() // while it waits
	<-done
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
	if !strings.Contains(s.log.String(), "configuration not reloaded") {
		t.Error("the log does not say so")
	}
	served()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+2 })

	s.world.IDP.Heal()
	server.Reload(cfg)
	if n := strings.Count(s.log.String(), "configuration reloaded"); n != 1 {
		t.Errorf("after the provider is back: %d reloads", n)
	}
	served()
}

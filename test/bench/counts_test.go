package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/test/bench/load"
)

// What can be counted exactly, so that a change for the worse fails. The bounds lie a little above what was measured,
// which stands beside them; whoever makes it better lowers them.
const (
	// maxAllocations of a warm call of 1 KiB with a session, from connection to connection, the log line included.
	// Measured: 104.1, in every run the same.
	maxAllocations = 110
	// maxAllocatedBytes of the same call. Measured: 11,702 to 11,718.
	maxAllocatedBytes = 12_800
	// maxStreamBytes of heap and stacks for one idle stream. Measured: 38,092 to 39,233.
	maxStreamBytes = 42_000
)

// inProcess is a gateway that serves in this process, as rolegate serves, between the fakes and the backend.
type inProcess struct {
	world   *fake.World
	gate    load.Target
	backend load.Target
}

func newInProcess(t *testing.T) *inProcess {
	t.Helper()
	// ES256: tokens of a thousand users are made in a moment.
	world, err := fake.NewWorld(fake.Options{IDP: idp.Options{Algs: []jose.SignatureAlgorithm{jose.ES256}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	t.Setenv("AWS_ENDPOINT_URL_STS", world.STS.URL())
	world.STS.Fail(slow(stsLatency))
	backend := httptest.NewServer(newBackend())
	t.Cleanup(backend.Close)

	file := filepath.Join(t.TempDir(), "documents.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(world.Documents(), world.RemoteURL(), backend.URL+"/mcp", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load([]string{file}, config.LoadOptions{Compile: gateway.Compile})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	g, problems := gateway.New(cfg, gateway.NewHouse(log, telemetry.NewMetrics("test", "test")), nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	server, err := gateway.NewServer(g, gateway.Settings{Listen: "127.0.0.1:0", DrainTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &inProcess{world, load.Target{Addr: server.Addr().String()}, load.Target{Addr: backend.Listener.Addr().String()}}
}

func (p *inProcess) tokens(users int) []string {
	b := &bench{stand: &stand{world: p.world}}
	var all []string
	for i := range users {
		all = append(all, b.token(i))
	}
	return all
}

// send runs a plan of which every call must be answered.
func send(t *testing.T, target load.Target, conns int, requests []load.Request, calls int) {
	t.Helper()
	g, err := load.Open(target, conns)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if r := g.Run(load.Plan{Requests: requests, Calls: calls}); r.Errors > 0 {
		t.Fatalf("%d of %d calls failed, the first with: %v", r.Errors, calls, r.First)
	}
}

// TestCallsOfSTS: once for each user, however many calls there are and however many arrive at once.
func TestCallsOfSTS(t *testing.T) {
	each := 10
	if raceEnabled {
		each = 3
	}
	for _, c := range []struct {
		name                string
		users, calls, conns int
	}{
		{"1 user x 1000", 1, 1000, manyConns},
		{"100 first calls at once", 1, 100, 100},
		{"1000 users", 1000, 1000 * each, vaultConns},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newInProcess(t)
			var requests []load.Request
			for _, token := range p.tokens(c.users) {
				requests = append(requests, post(p.gate.Addr, clientHeader(token, ""), callBody(1<<10)))
			}
			send(t, p.gate, c.conns, requests, c.calls)
			if got := p.world.STS.Count(); got != c.users {
				t.Errorf("STS was called %d times for %d calls of %d users, want once for each user", got, c.calls, c.users)
			}
		})
	}
}

// TestAllocationsOfACall: what a call costs of memory that the collector must find again. The backend and the generator
// are in this process too: their share is that of the same calls without the gateway, and is taken off.
func TestAllocationsOfACall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector lets pools forget")
	}
	p := newInProcess(t)
	token := p.tokens(1)[0]
	session, err := (&stand{}).enter(p.gate, token, true)
	if err != nil {
		t.Fatal(err)
	}
	request := func(target load.Target, session string) []load.Request {
		return []load.Request{post(target.Addr, clientHeader(token, session), callBody(1<<10))}
	}
	throughObjects, throughBytes := allocations(t, p.gate, request(p.gate, session))
	directObjects, directBytes := allocations(t, p.backend, request(p.backend, sessionID))
	objects, bytes := throughObjects-directObjects, throughBytes-directBytes
	t.Logf("%.1f allocations, %.0f bytes; without the gateway %.1f, %.0f", objects, bytes, directObjects, directBytes)
	if objects > maxAllocations {
		t.Errorf("a call takes %.1f allocations, the bound is %d", objects, maxAllocations)
	}
	if bytes > maxAllocatedBytes {
		t.Errorf("a call takes %.0f bytes, the bound is %d", bytes, maxAllocatedBytes)
	}
	if objects < 1 {
		t.Error("the gateway costs nothing: this test measures something else")
	}
}

// allocations gives the objects and the bytes that this process allocates for each of many calls, once warm.
func allocations(t *testing.T, target load.Target, requests []load.Request) (objects, bytes float64) {
	t.Helper()
	const calls = 2000
	g, err := load.Open(target, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	run := func(n int) {
		if r := g.Run(load.Plan{Requests: requests, Calls: n}); r.Errors > 0 {
			t.Fatalf("%d of %d calls failed, the first with: %v", r.Errors, n, r.First)
		}
	}
	run(200)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run(calls)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / calls, float64(after.TotalAlloc-before.TotalAlloc) / calls
}

// TestMemoryOfAnIdleStream: what a stream on which nothing comes holds. Client and backend are in this process too:
// their share is that of streams without the gateway, and is taken off.
func TestMemoryOfAnIdleStream(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has stacks of another size")
	}
	p := newInProcess(t)
	const users, each = 20, 10
	tokens := p.tokens(users)
	var calls []load.Request
	for _, token := range tokens {
		calls = append(calls, post(p.gate.Addr, clientHeader(token, ""), callBody(1<<10)))
	}
	send(t, p.gate, 4, calls, users)
	through := perStream(t, p.gate, tokens, each)
	direct := perStream(t, p.backend, tokens, each)
	t.Logf("%.0f bytes; without the gateway %.0f", through-direct, direct)
	if held := through - direct; held > maxStreamBytes {
		t.Errorf("an idle stream holds %.0f bytes, the bound is %d", held, maxStreamBytes)
	} else if held < 1<<10 {
		t.Errorf("an idle stream holds %.0f bytes: this test measures something else", held)
	}
}

// perStream gives the bytes of heap and stacks that this process holds for each of many open streams.
func perStream(t *testing.T, target load.Target, tokens []string, each int) float64 {
	t.Helper()
	var open []net.Conn
	quiet := runtime.NumGoroutine()
	defer func() {
		closeAll(open)
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > quiet && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		}
	}()
	before := inUse()
	for range each {
		for _, token := range tokens {
			c, err := load.Listen(target, listenRequest(target.Addr, token))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
	}
	time.Sleep(300 * time.Millisecond) // until the last handlers are where they stay
	return (inUse() - before) / float64(len(open))
}

// inUse is what the heap's live objects and the stacks take, in bytes.
func inUse() float64 {
	for range 3 { // pools forget at the second collection
		runtime.GC()
	}
	figures := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(figures)
	return float64(figures[0].Value.Uint64() + figures[1].Value.Uint64())
}

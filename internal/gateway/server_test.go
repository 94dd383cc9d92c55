package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// serve starts a Server among the fakes, as a process would. The function that it returns is SIGTERM; it gives what
// Run returned.
func serve(t *testing.T, settings gateway.Settings, edits ...edit) (*stand, *gateway.Server, func() error) {
	t.Helper()
	s := &stand{t: t, world: newWorld(t, fake.Options{}), log: &fake.Log{}}
	s.house = gateway.NewHouse(slog.New(slog.NewJSONHandler(s.log, nil)), telemetry.NewMetrics("test", "test"))
	documents := s.world.Documents()
	for _, e := range edits {
		documents = e(s.world, documents)
	}
	gate, problems := gateway.New(load(t, documents), s.house, nil)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	settings.Listen, settings.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	server, err := gateway.NewServer(gate, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Run(ctx) }()
	term := sync.OnceValue(func() error { cancel(); return <-stopped })
	t.Cleanup(func() { _ = term() })
	s.url = "http://" + server.Addr().String() + "/mcp"
	t.Cleanup(s.nothingLeaked)
	return s, server, term
}

func admin(t *testing.T, server *gateway.Server, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + server.AdminAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadyOnlyWhenItCanServe(t *testing.T) {
	hold := make(chan struct{})
	_, server, _ := serve(t, gateway.Settings{}, func(w *fake.World, d string) string {
		w.IDP.Fail(down)
		go func() { <-hold; w.IDP.Heal() }()
		return d
	})
	if status, _ := admin(t, server, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	if status, text := admin(t, server, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz without keys: %d %s", status, text)
	}
	close(hold)
	eventually(t, "it gets ready by itself", func() bool { status, _ := admin(t, server, "/readyz"); return status == http.StatusOK })
}

func TestReloadSwapsInOneStep(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	session := s.open("ann")
	stream, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", session: session, method: http.MethodGet}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()

	// Another role for ann: her session ends, her stream goes on.
	server.Reload(load(t, strings.Replace(s.world.Documents(), "claim: s3-readers", "claim: nobody", 1)))
	s.do(call{user: "ann", session: session, body: listTools}).refused(t, http.StatusNotFound)
	if role, _ := saw(t, s.do(call{user: "ann", session: s.open("ann"), body: whoami})); role != fake.DefaultRole {
		t.Errorf("role after the reload: %s", role)
	}
	s.world.AWS.Announce()
	if e := event(t, bufio.NewReader(stream.Body)); !strings.Contains(e, "list_changed") {
		t.Errorf("event %s", e)
	}

	// Back again: the first lease, and so the first session, are still good.
	calls, keys := s.world.STS.Count(), s.world.IDP.Count("jwks")
	server.Reload(load(t, s.world.Documents()))
	if r := s.do(call{user: "ann", session: session, body: listTools}); r.status != http.StatusOK {
		t.Errorf("old session: %d %s", r.status, r.body)
	}
	if n := s.world.STS.Count() - calls; n != 0 {
		t.Errorf("%d STS calls although the lease was still good", n)
	}
	if n := s.world.IDP.Count("jwks") - keys; n != 0 {
		t.Errorf("%d key fetches although the provider is the same", n)
	}
}

func TestReloadThatDoesNotCompileChangesNothing(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	session := s.open("ann")
	bad := load(t, s.world.Documents())
	bad.AWSSTS.RoleMappings[1].Matcher = "claims.nonsense("
	server.Reload(bad)
	if r := s.do(call{user: "ann", session: session, body: listTools}); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
	if !strings.Contains(s.log.String(), "roleMappings[1].matcher") {
		t.Error("the log does not say why")
	}
}

func TestReloadUnderLoad(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	one, other := load(t, s.world.Documents()), load(t, strings.Replace(s.world.Documents(), "priority: 10", "priority: 20", 1))
	sessions := map[string]string{"ann": s.open("ann"), "bob": s.open("bob")}
	var all sync.WaitGroup
	for user, session := range sessions {
		for worker := range 4 {
			all.Go(func() {
				for i := range 25 {
					body := fmt.Sprintf(`{"jsonrpc":"2.0","id":"%s-%d-%d","method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"whoami"}}}`, user, worker, i)
					r := s.do(call{user: user, session: session, body: body})
					if r.status != http.StatusOK || !strings.Contains(r.body, fmt.Sprintf(`"%s-%d-%d"`, user, worker, i)) {
						t.Errorf("%d %s", r.status, r.body)
						return
					}
					if _, name := saw(t, r); name != user {
						t.Errorf("%s was answered as %s", user, name)
					}
				}
			})
		}
	}
	for i := range 20 {
		if i%2 == 0 {
			server.Reload(other)
		} else {
			server.Reload(one)
		}
		time.Sleep(5 * time.Millisecond)
	}
	all.Wait()
}

func TestDrain(t *testing.T) {
	s, server, term := serve(t, gateway.Settings{DrainDelay: 2 * time.Second, DrainTimeout: 30 * time.Second})
	session := s.open("ann")
	listening, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", session: session, method: http.MethodGet}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listening.Body.Close() }()
	calling, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", session: session, body: `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"stream:15:200ms"},"_meta":{"progressToken":"p"}}}`}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = calling.Body.Close() }()

	stopped := make(chan error, 1)
	go func() { stopped <- term() }()
	eventually(t, "not ready at once", func() bool { status, _ := admin(t, server, "/readyz"); return status == http.StatusServiceUnavailable })
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := fresh.Do(s.request(t.Context(), call{user: "bob", body: initialize}))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a new connection during the delay: %v %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	if _, err := io.ReadAll(listening.Body); err != nil {
		t.Errorf("the listening stream ended in disorder: %v", err)
	}
	if rest, err := io.ReadAll(calling.Body); err != nil || !strings.Contains(string(rest), `"result"`) {
		t.Errorf("the call was not finished: %v %s", err, rest)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestDrainEndsWhatDoesNotEnd(t *testing.T) {
	s, _, term := serve(t, gateway.Settings{DrainTimeout: 4 * time.Second})
	session := s.open("ann")
	resp, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", session: session, body: `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"stream:1000:50ms"},"_meta":{"progressToken":"p"}}}`}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	began := time.Now()
	if err := term(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if d := time.Since(began); d > 30*time.Second { // the stream would take 50 s
		t.Errorf("it took %v", d)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream ended in disorder: %v", err)
	}
}

func TestMetricsAreOnTheAdminAddressOnly(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	s.do(call{user: "eve", body: whoami}) // each token of hers is another one
	s.do(call{body: listTools})
	_, text := admin(t, server, "/metrics")
	for _, want := range []string{
		`rolegate_requests_total{decision="unauthenticated",status="401"} 1`,
		`rolegate_role_choices_total{reason="fallback",role="` + fake.DefaultRole + `"} 1`,
		`rolegate_role_claims_total{state="missing"} 1`,
		`rolegate_role_matcher_errors_total{mapping="1",why="no such key"} 1`,
		`rolegate_sts_calls_total{code="ok"} 1`,
		`rolegate_sts_cache_entries 1`,
		`rolegate_token_verifications_total{cached="false",result="missing"} 1`,
		`rolegate_key_set_keys 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(text, `"eve`) {
		t.Error("the metrics name a caller")
	}
}

func TestASilentConnectionDoesNotHoldTheDrain(t *testing.T) {
	_, server, term := serve(t, gateway.Settings{DrainTimeout: 10 * time.Second})
	conn, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	time.Sleep(50 * time.Millisecond) // accepted by now
	began := time.Now()
	if err := term(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 9*time.Second { // before the timeout
		t.Errorf("it took %v", d)
	}
}

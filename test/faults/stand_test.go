package faults_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// stand is a world whose servers stand behind fronts.
type stand struct {
	t             *testing.T
	world         *fake.World
	idp, sts, aws *front
	documents     string
	client        *http.Client
	url           string // of the MCP endpoint
	log           *book

	quick  *quick          // where it stands before the remote
	server *gateway.Server // where it serves in this process
	house  *gateway.House
}

// edit changes the documents before they are loaded.
type edit func(documents string) string

func replace(old, with string) edit {
	return func(d string) string {
		if !strings.Contains(d, old) {
			panic("no such text in the documents: " + old)
		}
		return strings.Replace(d, old, with, 1)
	}
}

// spec adds lines to the proxy's spec, each "key: value".
func spec(lines ...string) edit {
	const after = "  transport: streamable-http\n"
	return replace(after, after+"  "+strings.Join(lines, "\n  ")+"\n")
}

// places bounds the worlds that are being set up at once: all of them together would delay those that are measured.
var places = make(chan struct{}, 4)

// place starts the world, and no gateway yet.
func place(t *testing.T, o fake.Options, edits ...edit) *stand {
	t.Helper()
	places <- struct{}{}
	defer func() { <-places }()
	o.IDP.Algs = []jose.SignatureAlgorithm{jose.ES256} // RSA keys take longer to make than most cases
	w, err := fake.NewWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stand{t: t, world: w, log: &book{}}
	s.idp, s.sts, s.aws = newFront(t, w.IDP.URL()), newFront(t, w.STS.URL()), newFront(t, w.AWS.URL())
	// The issuer is its address: it moves to the front, with what the account knows of it.
	w.IDP.SetURL(s.idp.url())
	w.STS.AddProvider(sts.Provider{Issuer: s.idp.url(), ClientIDs: []string{fake.Audience}})
	for _, name := range []string{"DefaultMCPRole", "S3ReadOnlyMCPRole", "AdminMCPRole"} {
		if _, err := w.STS.AddRole(sts.Role{Name: name, Trust: w.TrustPolicy()}); err != nil {
			t.Fatal(err)
		}
	}
	s.documents = strings.Replace(w.Documents(), w.AWS.URL(), s.aws.url(), 1)
	for _, e := range edits {
		s.documents = e(s.documents)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	s.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(s.nothingLeaked)
	return s
}

// nothingLeaked looks for secrets where they must not be.
func (s *stand) nothingLeaked() {
	for _, leak := range s.world.Leaks(s.log.String()) {
		s.t.Error(leak)
	}
}

func (s *stand) load(documents string) *config.Proxy {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "documents.yaml")
	if err := os.WriteFile(file, []byte(documents), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cfg, problems := config.Load([]string{file}, config.LoadOptions{Refs: filepath.Dir(file)})
	if err := problems.Err(); err != nil {
		s.t.Fatalf("documents:\n%v", err)
	}
	return cfg
}

// environment is held while a gateway is made: it reads the way to STS there and then.
var environment sync.Mutex

// start starts a gateway in this process. What was in trouble before is in trouble from its first moment.
func (s *stand) start() *stand {
	s.t.Helper()
	cfg := s.load(s.documents)
	s.house = gateway.NewHouse(slog.New(slog.NewJSONHandler(s.log, nil)), telemetry.NewMetrics("test", "test"))
	environment.Lock()
	_ = os.Setenv("AWS_ENDPOINT_URL_STS", s.sts.url()) // neither this nor that fails for a name like this
	gate, problems := gateway.New(cfg, s.house, nil)
	_ = os.Unsetenv("AWS_ENDPOINT_URL_STS")
	environment.Unlock()
	if err := problems.Err(); err != nil {
		s.t.Fatal(err)
	}
	server, err := gateway.NewServer(gate, gateway.Settings{Listen: "127.0.0.1:0", DrainTimeout: time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	s.server = server
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	s.t.Cleanup(func() {
		s.heal()
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	s.url = "http://" + server.Addr().String() + "/mcp"
	return s
}

// ready waits until the gateway has keys.
func (s *stand) ready() *stand {
	s.t.Helper()
	eventually(s.t, "the gateway gets ready", func() bool { return s.server.Gateway().Ready() })
	return s
}

// heal ends all trouble.
func (s *stand) heal() {
	for _, f := range []*front{s.idp, s.sts, s.aws} {
		f.mend()
	}
	s.world.IDP.Heal()
	s.world.STS.Heal()
	s.world.AWS.Heal()
}

// metrics are the gateway's, as Prometheus reads them.
func (s *stand) metrics() string {
	w := httptest.NewRecorder()
	s.house.Metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// visits is how often somebody had to wait for STS so far; one visit may take several attempts.
func (s *stand) visits() (n int) {
	for line := range strings.Lines(s.metrics()) {
		if count, ok := strings.CutPrefix(line, `rolegate_sts_cache_events_total{event="miss"} `); ok {
			_, _ = fmt.Sscan(count, &n) // 0 where it is no number
		}
	}
	return n
}

// people are users of these names, in no group.
func people(names ...string) []idp.User {
	users := fake.Users()
	for _, n := range names {
		users = append(users, idp.User{Name: n})
	}
	return users
}

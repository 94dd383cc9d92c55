package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// Settings are how a process serves, apart from what its documents say.
type Settings struct {
	Listen       string        // address of the MCP endpoint; "": the documents' port on every address
	Listener     net.Listener  // of the MCP endpoint, open already, instead of Listen
	AdminListen  string        // address of health and metrics; "": none
	TLSCert      string        // file; with TLSKey, the endpoint is served over TLS
	TLSKey       string        // file
	DrainDelay   time.Duration // between SIGTERM and the last accepted connection
	DrainTimeout time.Duration // for what is open to end, after that
	Version      string        // of this build
}

// Server is the life of a process: listeners, reloads and an orderly end.
type Server struct {
	house    *House
	settings Settings
	opened   *config.Proxy // as it was when the listeners were opened
	current  atomic.Pointer[Gateway]
	draining atomic.Bool
	certs    *certificates
	silent   silent
	serving  atomic.Int64 // requests
	main     net.Listener
	admin    net.Listener
}

// NewServer opens the listeners for a gateway, so that a port which is taken is told at once.
func NewServer(g *Gateway, s Settings) (*Server, error) {
	srv := &Server{house: g.House, settings: s, opened: g.cfg}
	srv.current.Store(g)
	srv.registerGauges()
	g.Metrics.Configured(g.cfg.Name, g.cfg.Hash())
	if err := srv.open(g.cfg); err != nil {
		g.Retire(nil)
		return nil, err
	}
	return srv, nil
}

func (s *Server) open(cfg *config.Proxy) (err error) {
	if s.settings.TLSCert != "" {
		if s.certs, err = newCertificates(s.settings.TLSCert, s.settings.TLSKey, s.house.Log); err != nil {
			return err
		}
	}
	if s.main, err = s.listen(cfg); err != nil {
		return err
	}
	if s.settings.AdminListen != "" {
		if s.admin, err = net.Listen("tcp", s.settings.AdminListen); err == nil {
			err = s.openConsole(s.settings.Version)
		}
		if err != nil {
			_ = s.main.Close()
			if s.admin != nil {
				_ = s.admin.Close()
			}
			return err
		}
	}
	return nil
}

func (s *Server) listen(cfg *config.Proxy) (net.Listener, error) {
	if s.settings.Listener != nil {
		return s.settings.Listener, nil
	}
	return net.Listen("tcp", cmp.Or(s.settings.Listen, portAddr(cfg.Port)))
}

// Addr is the address of the MCP endpoint.
func (s *Server) Addr() net.Addr { return s.main.Addr() }

// AdminAddr is the address of health and metrics; nil where there is none.
func (s *Server) AdminAddr() net.Addr {
	if s.admin == nil {
		return nil
	}
	return s.admin.Addr()
}

// Gateway is the one that serves now.
func (s *Server) Gateway() *Gateway { return s.current.Load() }

// ServeHTTP serves through the configuration of the moment: a request ends under the one it began with.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serving.Add(1)
	defer s.serving.Add(-1)
	s.current.Load().ServeHTTP(w, r)
}

// Reload swaps the configuration in one step. One that does not compile changes nothing.
func (s *Server) Reload(cfg *config.Proxy) {
	old := s.current.Load()
	next, problems := New(cfg, s.house, old)
	if len(problems) > 0 {
		s.Refused(problems)
		return
	}
	if old.Ready() && !next.readyWithin(readyWait) {
		s.Refused(config.Problems{cfg.At("oidcConfig", "the identity provider's keys can't be fetched, and those of the old configuration can", "check the issuer, or load it again when the provider is there")})
		next.Retire(old)
		return
	}
	s.current.Store(next)
	old.Retire(next)
	s.house.Metrics.Reloaded(nil)
	s.house.Metrics.Configured(cfg.Name, cfg.Hash())
	s.house.Log.Info("configuration reloaded", slog.String("proxy", cfg.Name))
	s.announceChanges(old, next)
	for _, setting := range s.needRestart(cfg) {
		s.house.Log.Warn("a setting that is read at start has changed", slog.String("setting", setting),
			slog.String(telemetry.KeyHint, "restart to have it take effect"))
	}
}

// readyWait is how long a reload waits for the keys of another provider.
const readyWait = 5 * time.Second

// needRestart names the settings of cfg that differ from those that the listeners were opened with.
func (s *Server) needRestart(cfg *config.Proxy) []string {
	was, now := s.opened.Limits, cfg.Limits
	var names []string
	for name, same := range map[string]bool{
		"proxyPort":             cfg.Port == s.opened.Port || s.settings.Listen != "" || s.settings.Listener != nil,
		"limits.headerTimeout":  was.HeaderTimeout == now.HeaderTimeout,
		"limits.idleTimeout":    was.IdleTimeout == now.IdleTimeout,
		"limits.maxHeaderBytes": was.MaxHeaderBytes == now.MaxHeaderBytes,
		"limits.maxConnections": was.MaxConnections == now.MaxConnections,
		"audit":                 sameBook(s.opened.Audit, cfg.Audit),
		"telemetry":             reflect.DeepEqual(s.opened.Telemetry, cfg.Telemetry),
		"console":               reflect.DeepEqual(s.opened.Console, cfg.Console),
	} {
		if !same {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sameBook says whether two settings keep records in the same place and way. What they say about contents is read again.
func sameBook(a, b config.Audit) bool {
	return a.Enabled == b.Enabled && a.LogFile == b.LogFile && a.OnFull == b.OnFull && a.QueueSize == b.QueueSize && a.TamperEvident == b.TamperEvident
}

// Refused says that a configuration was not taken over, and why.
func (s *Server) Refused(problems config.Problems) {
	s.house.Metrics.Reloaded(problems.Err())
	for _, p := range problems {
		s.house.Log.Error("configuration not reloaded", slog.String("problem", p.String()))
	}
}

// Run serves until ctx is done, then drains: not ready at once; new connections are served for DrainDelay; after that
// listening streams are ended, calls may finish, and shortly before DrainTimeout streams that are still open are ended
// too, and calls that still wait are answered with 503.
func (s *Server) Run(ctx context.Context) error {
	l := s.Gateway().cfg.Limits
	quiet := log.New(connectionErrors{s.house.Log}, "", 0)
	requests, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	server := &http.Server{
		Handler: s, ErrorLog: quiet, ReadHeaderTimeout: l.HeaderTimeout.Std(), IdleTimeout: l.IdleTimeout.Std(),
		MaxHeaderBytes: int(l.MaxHeaderBytes), ConnState: s.silent.note,
		BaseContext:                  func(net.Listener) context.Context { return requests },
		DisableGeneralOptionsHandler: true, // every request has its record
	}
	listener := netutil.LimitListener(s.main, int(l.MaxConnections))
	if s.certs != nil {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certs.get}
	}
	failed := make(chan error, 2)
	go func() {
		if s.certs != nil {
			failed <- server.ServeTLS(listener, "", "")
			return
		}
		failed <- server.Serve(listener)
	}()
	if s.admin != nil {
		admin := &http.Server{Handler: s.adminHandler(), ErrorLog: quiet, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
		defer func() { _ = admin.Close() }()
		go func() { failed <- admin.Serve(s.admin) }()
	}
	select {
	case err := <-failed:
		_ = server.Close()
		return err
	case <-ctx.Done():
	}
	err := s.drain(server, giveUp)
	s.Gateway().Retire(nil)
	return err
}

func (s *Server) drain(server *http.Server, giveUp context.CancelFunc) error {
	s.draining.Store(true)
	s.house.Log.Info("draining", slog.String("delay", s.settings.DrainDelay.String()), slog.String("timeout", s.settings.DrainTimeout.String()))
	time.Sleep(s.settings.DrainDelay)

	spare := min(time.Second, s.settings.DrainTimeout/10)
	deadline, cancel := context.WithTimeout(context.Background(), s.settings.DrainTimeout)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- server.Shutdown(deadline) }()
	s.silent.close() // else Shutdown would wait 5 s for the first byte of each
	lastCall := time.NewTimer(s.settings.DrainTimeout - spare)
	defer lastCall.Stop()
	listeners := time.NewTicker(50 * time.Millisecond) // a stream may open while the others are being ended
	defer listeners.Stop()
	all := false
	for {
		s.house.streams.end(all)
		select {
		case <-listeners.C:
		case <-lastCall.C:
			all = true
			s.house.streams.end(all) // before giveUp, which would break them off
			giveUp()
		case err := <-finished:
			if errors.Is(err, context.DeadlineExceeded) {
				s.cut(server)
				s.house.Log.Warn("drain timed out; open connections were cut")
				return nil
			}
			s.house.Log.Info("drained")
			return err
		}
	}
}

// cutTime is how long requests may take to notice that their connections were cut, and to leave their records.
const cutTime = time.Second

// cut closes all connections, and gives what was served on them the time to end.
func (s *Server) cut(server *http.Server) {
	_ = server.Close()
	for end := time.Now().Add(cutTime); s.serving.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// connectionErrors turns the lines that net/http logs about broken connections into debug records.
type connectionErrors struct{ log *slog.Logger }

func (c connectionErrors) Write(p []byte) (int, error) {
	c.log.Debug("connection", slog.String(telemetry.KeyError, string(p)))
	return len(p), nil
}

// silent are the connections that have not sent a byte yet; clients open some to spare.
type silent struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	over  bool
}

// note is the server's ConnState hook.
func (s *silent) note(c net.Conn, state http.ConnState) {
	if state != http.StateNew && state != http.StateActive && state != http.StateClosed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.conns, c)
	case s.over:
		_ = c.Close()
	default:
		if s.conns == nil {
			s.conns = map[net.Conn]struct{}{}
		}
		s.conns[c] = struct{}{}
	}
}

// close closes them, and those to come.
func (s *silent) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

func newDemoCommand() *cobra.Command {
	var stay bool
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it working on this machine, with no AWS account",
		Long: `Demo starts, on loopback, an identity provider with three users, an STS that verifies tokens and trust policies, an AWS
MCP Server that verifies SigV4, and rolegate with the tutorial's documents between them. Then it plays the tutorial for
each user and prints what became of it.

Exit codes: 0 all as it should be; 1 something was not; 2 a mistake on the command line.`,
		Example: "  rolegate demo\n  rolegate demo --stay",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), listen, stay)
		},
	}
	cmd.Flags().BoolVar(&stay, "stay", false, "go on serving, and print what to paste")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "loopback `ADDRESS` of the MCP endpoint; port 0 for any that is free")
	return cmd
}

// stage is a fake world with rolegate in the middle.
type stage struct {
	world    *fake.World
	listener net.Listener // open before the documents are written, since they name its port
	server   *gateway.Server
	log      *record
	folder   string // where the documents are
	endpoint string
	admin    string
	stop     context.CancelFunc
	stopped  chan error
}

func demo(ctx context.Context, out, stderr io.Writer, listen string, stay bool) error {
	began := time.Now()
	s, err := raise(ctx, listen)
	if err != nil {
		return fmt.Errorf("start the demo: %w", err)
	}
	p := &page{out: out, colour: isTerminal(out)}
	failed := s.play(ctx, p)
	p.line("")
	if failed == 0 {
		p.line(p.good("All as it should be") + fmt.Sprintf(", in %.1f s.", time.Since(began).Seconds()))
	} else {
		p.line(p.bad(counted(failed, "thing") + " not as it should be; see above."))
	}
	if stay && failed == 0 {
		s.invite(p)
		s.log.follow(stderr)
		<-ctx.Done()
	}
	if err := s.lower(); err != nil {
		return err
	}
	if failed > 0 {
		return exitError{exitFailure}
	}
	return nil
}

// raise starts the fakes and the gateway.
func raise(ctx context.Context, listen string) (_ *stage, err error) {
	s := &stage{log: &record{}, stopped: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lower())
		}
	}()
	if s.listener, err = listenHere(listen); err != nil {
		return nil, err
	}
	port := s.listener.Addr().(*net.TCPAddr).Port
	if s.world, err = fake.NewWorld(fake.Options{Port: port}); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{ // whatever this machine has for the real AWS
		"AWS_ENDPOINT_URL_STS": s.world.STS.URL(), "AWS_CA_BUNDLE": "", "AWS_USE_FIPS_ENDPOINT": "", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "",
	} {
		if err = os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	if s.folder, err = os.MkdirTemp("", "rolegate-demo-"); err != nil {
		return nil, err
	}
	file := filepath.Join(s.folder, "aws.yaml")
	if err = os.WriteFile(file, []byte(s.world.Documents()), 0o600); err != nil {
		return nil, err
	}
	cfg, problems := config.Load([]string{file}, config.LoadOptions{})
	if wrong := problems.Errors(); len(wrong) > 0 {
		return nil, wrong.Err()
	}
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	b := readBuild()
	house := gateway.NewHouse(log, telemetry.NewMetrics(b.Version, b.Commit))
	g, problems := gateway.New(cfg, house, nil)
	if err = problems.Err(); err != nil {
		return nil, err
	}
	s.server, err = gateway.NewServer(g, gateway.Settings{Listener: s.listener, AdminListen: "127.0.0.1:0", DrainTimeout: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	s.endpoint = fmt.Sprintf("http://localhost:%d%s", port, cfg.Endpoint)
	s.admin = "http://" + s.server.AdminAddr().String()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.stopped <- s.server.Run(running) }()
	return s, nil
}

// lower stops what raise started.
func (s *stage) lower() error {
	var errs []error
	if s.stop != nil {
		s.stop()
		errs = append(errs, <-s.stopped)
	} else if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.world != nil {
		errs = append(errs, s.world.Close())
	}
	if s.folder != "" {
		errs = append(errs, os.RemoveAll(s.folder))
	}
	return errors.Join(errs...)
}

// listenHere opens the listener of the MCP endpoint.
func listenHere(listen string) (net.Listener, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		_ = l.Close()
		return nil, usageError{fmt.Errorf("--listen %s: the demo hands out tokens to anyone, so it listens on loopback only", listen)}
	}
	return l, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

// page is what the demo prints.
type page struct {
	out    io.Writer
	colour bool
}

func (p *page) line(text string) { _, _ = fmt.Fprintln(p.out, text) }

func (p *page) paint(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *page) good(text string) string { return p.paint("32", text) }
func (p *page) bad(text string) string  { return p.paint("31", text) }
func (p *page) head(text string) string { return p.paint("1", text) }

// invite prints what to paste while the demo goes on serving.
func (s *stage) invite(p *page) {
	p.line("")
	p.line(p.head("Still serving.") + " Paste into another terminal:")
	p.line(fmt.Sprintf(`
  TOKEN=$(curl -s -d user=ann %s/token | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')

  curl -s -o /dev/null -w "%%{http_code}\n" -X POST %s -H "Content-Type: application/json" \
    -d '{"jsonrpc":"2.0","method":"tools/list","id":1}'

  SESSION=$(curl -si -X POST %[2]s -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
    -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"curl-test","version":"1.0"}}}' \
    | grep -i "^mcp-session-id:" | awk '{print $2}' | tr -d '\r')

  curl -X POST %[2]s -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "Mcp-Session-Id: $SESSION" \
    -d '{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}'

Users: ann, bob, eve. A client's configuration:

  {"mcpServers": {"aws": {"type": "http", "url": "%[2]s", "headers": {"Authorization": "Bearer <token>"}}}}

Let the server refuse one request (the client sees it):

  curl -X POST %[3]s/_admin/fault -d '{"code":"ThrottlingException","times":1}'

Take STS away (callers with live credentials notice nothing), and heal it:

  curl -X POST %[4]s/_admin/fault -d '{"code":"ServiceUnavailable","status":503}'
  curl -X DELETE %[4]s/_admin/fault

Metrics: %[5]s/metrics   Documents: %[6]s   Ctrl-C ends it.`,
		s.world.IDP.URL(), s.endpoint, s.world.AWS.URL(), s.world.STS.URL(), s.admin, s.folder))
}

// record keeps the gateway's log lines.
type record struct {
	mu   sync.Mutex
	all  []byte
	also io.Writer // gets what is written from now on; nil for nobody
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, b...)
	if r.also != nil {
		return r.also.Write(b)
	}
	return len(b), nil
}

// follow has what is logged from now on written to w too.
func (r *record) follow(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.also = w
}

// last is the last line that holds text.
func (r *record) last(text string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []byte
	for line := range bytes.Lines(r.all) {
		if bytes.Contains(line, []byte(text)) {
			found = line
		}
	}
	return found
}

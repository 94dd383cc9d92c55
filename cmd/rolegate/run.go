package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// documents are the flags that say which documents are read.
type documents struct {
	files []string
	opts  config.LoadOptions
}

func (d *documents) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&d.files, "file", "f", nil, "document, or folder of documents, as `FILE|DIR` (*.yaml, *.yml, *.json); may be repeated")
	f.StringVar(&d.opts.Proxy, "proxy", "", "`NAME` of the MCPRemoteProxy, where the documents hold several")
	d.opts.Compile, d.opts.CompileAuthz = gateway.Compile, gateway.CompileAuthz
	f.StringVar(&d.opts.Refs, "refs", "", "`DIR` that references are read from: secrets/NAME/KEY and configmaps/NAME/KEY")
}

func (d *documents) load() (*config.Proxy, config.Problems, error) {
	if len(d.files) == 0 {
		return nil, nil, usageError{fmt.Errorf("no documents: name a file or a folder with -f")}
	}
	cfg, problems := config.Load(d.files, d.opts)
	return cfg, problems, nil
}

type runFlags struct {
	documents
	settings  gateway.Settings
	logFormat string
	logLevel  slog.Level
}

func newRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run -f FILE|DIR",
		Short: "Serve one proxy from its documents",
		Long: `Run reads MCPExternalAuthConfig and MCPRemoteProxy documents and serves the proxy that they describe.

SIGHUP reads the documents again and swaps the configuration in one step: streams go on, caches that still hold stay,
and documents with a mistake change nothing. SIGTERM or SIGINT drains and ends; a second one ends at once.

Exit codes: 0 ended by a signal, in order; 1 the address is taken, or serving failed; 2 a mistake in the documents or on
the command line.`,
		Example: `  rolegate run -f examples/aws.yaml
  rolegate run -f /etc/rolegate/ --proxy aws-mcp-proxy --refs /etc/rolegate/refs --log-format json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.settings.Listen, "listen", "", "`ADDRESS` of the MCP endpoint; without it, the document's proxyPort on every address")
	fl.StringVar(&f.settings.AdminListen, "admin-listen", "127.0.0.1:9090", "`ADDRESS` of /healthz, /readyz, /metrics and /console; \"\" for none")
	fl.StringVar(&f.settings.TLSCert, "tls-cert", "", "`FILE` with the PEM certificate chain; with --tls-key, serve TLS. Read again when it changes")
	fl.StringVar(&f.settings.TLSKey, "tls-key", "", "`FILE` with the PEM private key")
	fl.DurationVar(&f.settings.DrainDelay, "drain-delay", 0, "after SIGTERM, how long new connections are still served while not ready")
	fl.DurationVar(&f.settings.DrainTimeout, "drain-timeout", 30*time.Second, "after that, how long open requests and streams may take to end")
	fl.StringVar(&f.logFormat, "log-format", "text", "`FORMAT` of the log: text or json")
	fl.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "lowest `LEVEL` that is logged: debug, info, warn or error")
	return cmd
}

func newLog(w io.Writer, format string, level slog.Level) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, usageError{fmt.Errorf("--log-format %q: it is text or json", format)}
	}
}

func (f *runFlags) run(ctx context.Context, out, errs io.Writer) error {
	stderr := telemetry.NewSpool(errs)
	defer stderr.Flush()
	log, err := newLog(stderr, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	if (f.settings.TLSCert == "") != (f.settings.TLSKey == "") {
		return usageError{fmt.Errorf("--tls-cert and --tls-key go together")}
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // from here on: one that comes while starting must not end the process
	defer signal.Stop(hangups)
	cfg, problems, err := f.load()
	if err != nil {
		return err
	}
	if len(problems.Errors()) > 0 {
		printProblems(stderr, problems)
		return exitError{exitMistake}
	}
	warn(log, problems)
	limitMemory(log)
	b := readBuild()
	house, closeHouse, err := furnish(ctx, cfg, b, log, out)
	if err != nil {
		return err
	}
	defer closeHouse()
	defer context.AfterFunc(ctx, house.Book.Ending)()
	g, problems := gateway.New(cfg, house, nil)
	if printProblems(stderr, problems); len(problems) > 0 {
		return exitError{exitMistake}
	}
	f.settings.Version = b.Version
	server, err := gateway.NewServer(g, f.settings)
	if err != nil {
		return err
	}
	go f.reloads(ctx, hangups, server, house.Book, log)
	server.Announce()
	return server.Run(ctx)
}

// closeTime bounds how long records may take to get away at the end; telemetry, after them, takes five seconds at most.
const closeTime = 10 * time.Second

// furnish opens what outlives a configuration: where metrics, traces and records go.
func furnish(ctx context.Context, cfg *config.Proxy, b build, log *slog.Logger, out io.Writer) (*gateway.House, func(), error) {
	pipes, err := telemetry.Open(ctx, telemetry.Options{
		Config: cfg.Telemetry, Proxy: cfg.Name, Version: b.Version, Commit: b.Commit, Instance: rand.Text(), Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	options := audit.Options{Settings: cfg.Audit, Component: cmp.Or(cfg.Audit.Component, cfg.Name), Stdout: out, Log: log}
	if pipes.Records != nil {
		options.Also = append(options.Also, exported{pipes.Records})
	}
	book, err := audit.Open(options)
	if err != nil {
		_ = pipes.Close(ctx)
		return nil, nil, err
	}
	house := gateway.NewHouse(log, pipes.Metrics)
	house.Tracing, house.Book = pipes.Tracing, book
	house.Ways, house.Sampling = pipes.Ways, pipes.Sampling
	if pipes.Records != nil && !cfg.Audit.Enabled && (cfg.Telemetry == nil || cfg.Telemetry.Export == nil) { // else the documents were warned about
		log.Warn("audit records are to be sent, but there are none", slog.String(telemetry.KeyHint, "OTEL_LOGS_EXPORTER or OTEL_EXPORTER_OTLP_LOGS_ENDPOINT asks for them: set audit.enabled: true"))
	}
	return house, func() { inTurn(log, book.Close, pipes.Close) }, nil // records go out through the pipes
}

// inTurn ends one after the other. Each has its own time: one that hangs takes none from the next.
func inTurn(log *slog.Logger, ends ...func(context.Context) error) {
	for _, end := range ends {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		if err := end(ctx); err != nil {
			log.Error("not all could be written at the end", slog.Any(telemetry.KeyError, err))
		}
		cancel()
	}
}

// exported sends records as log records of OpenTelemetry.
type exported struct{ to *telemetry.Records }

// Write is for the book.
func (e exported) Write(ctx context.Context, batch []audit.Entry) error {
	records := make([]telemetry.Record, len(batch))
	for i, entry := range batch {
		records[i] = telemetry.Record{
			Time: entry.Time, Body: entry.Line, TraceID: entry.TraceID, SpanID: entry.SpanID,
			Attributes: []slog.Attr{slog.String("rolegate.type", entry.Type), slog.String("rolegate.outcome", entry.Outcome)},
		}
	}
	return e.to.Write(ctx, records)
}

// reloads reads the documents again at each SIGHUP, and opens the file of records anew.
func (f *runFlags) reloads(ctx context.Context, hangups <-chan os.Signal, server *gateway.Server, book *audit.Book, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		if err := book.Reopen(); err != nil {
			log.Error("audit records still go to the old file", slog.Any(telemetry.KeyError, err))
		}
		cfg, problems, _ := f.load()
		warn(log, problems)
		if wrong := problems.Errors(); len(wrong) > 0 {
			server.Refused(wrong)
			continue
		}
		server.Reload(cfg)
	}
}

// warn logs the warnings, in the log's own format.
func warn(log *slog.Logger, problems config.Problems) {
	for _, p := range problems.Warnings() {
		log.Warn("configuration", slog.String("problem", p.String()))
	}
}

func printProblems(w io.Writer, problems config.Problems) {
	for _, p := range problems {
		_, _ = fmt.Fprintln(w, p)
	}
}

// limitMemory gives the garbage collector the container's limit, unless GOMEMLIMIT is set. The number of processors
// Go takes from the container by itself.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(0.9), memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	if err == nil && limit > 0 {
		log.Debug("memory limit", slog.Int64("bytes", limit))
	}
}

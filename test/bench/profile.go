package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// serveProfiled is rolegate as a process of its own that writes a profile of its processor time. It serves as
// `rolegate run` does, and ends with in.
func serveProfiled(documents, listen, admin, profile string, in io.Reader) error {
	cfg, problems := config.Load([]string{documents}, config.LoadOptions{Compile: gateway.Compile})
	if err := problems.Err(); err != nil {
		return err
	}
	house := gateway.NewHouse(slog.New(slog.NewTextHandler(os.Stderr, nil)), telemetry.NewMetrics("bench", "bench"))
	g, problems := gateway.New(cfg, house, nil)
	if err := problems.Err(); err != nil {
		return err
	}
	server, err := gateway.NewServer(g, gateway.Settings{Listen: listen, AdminListen: admin, DrainTimeout: time.Second})
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, in); end() }()
	return profiled(profile, func() error { return server.Run(ctx) })
}

// profiled runs something and writes a profile of its processor time to a file; "" for none.
func profiled(file string, run func() error) (err error) {
	if file == "" {
		return run()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = run()
	pprof.StopCPUProfile()
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}

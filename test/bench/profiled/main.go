// Command profiled is rolegate that writes a profile of its processor time.
//
// It promises to serve as `rolegate run` does, from the same packages. It must never be what figures are taken from: that
// is the binary that is shipped.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/test/bench/profile"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: profiled DOCUMENTS ADDRESS ADMIN PROFILE")
		os.Exit(2)
	}
	err := profile.CPU(os.Args[4], func() error { return serve(os.Args[1], os.Args[2], os.Args[3], os.Stdin) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		os.Exit(1)
	}
}

// serve serves documents at an address, and ends with in.
func serve(documents, listen, admin string, in io.Reader) error {
	cfg, problems := config.Load([]string{documents}, config.LoadOptions{Compile: gateway.Compile, CompileAuthz: gateway.CompileAuthz})
	if err := problems.Err(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	pipes, err := telemetry.Open(context.Background(), telemetry.Options{Config: cfg.Telemetry, Proxy: cfg.Name, Version: "bench", Commit: "bench", Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = pipes.Close(context.Background()) }() // what a collector misses is of no interest here
	book, err := audit.Open(audit.Options{Settings: cfg.Audit, Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = book.Close(context.Background()) }()
	house := gateway.NewHouse(log, pipes.Metrics)
	house.Tracing, house.Book = pipes.Tracing, book
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
	return server.Run(ctx)
}

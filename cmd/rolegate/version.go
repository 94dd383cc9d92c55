package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/internal/mcp"
)

// version and commit are set by the linker in releases; else the build information tells.
var version, commit string

type build struct{ Version, Commit string }

func readBuild() build {
	b := build{version, commit}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b.orUnknown()
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && b.Commit == "" {
			b.Commit = s.Value
		}
	}
	return b.orUnknown()
}

func (b build) orUnknown() build {
	if b.Version == "" {
		b.Version = "dev"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go and protocol revisions",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := readBuild()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "rolegate %s\ncommit   %s\ngo       %s %s/%s\nmcp      %s\n",
				b.Version, b.Commit, strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH,
				strings.Join(mcp.SupportedVersions(), " "))
			return err
		},
	}
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/config"
)

func newCheckCommand() *cobra.Command {
	var d documents
	cmd := &cobra.Command{
		Use:   "check -f FILE|DIR",
		Short: "Report every mistake in the documents",
		Long: `Check loads, resolves, validates and compiles the documents as run does, and reports every mistake at once:

  file:line: field: what is wrong; what would be right

It checks every proxy in the documents, or the one that --proxy names. It makes no network calls.

Exit codes: 0 no mistake, warnings or not; 2 a mistake in the documents or on the command line.`,
		Example: "  rolegate check -f examples/aws.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(d.files) == 0 {
				return usageError{fmt.Errorf("no documents: name a file or a folder with -f")}
			}
			proxies, problems := d.loadAll()
			printProblems(cmd.OutOrStdout(), problems)
			if n := len(problems.Errors()); n > 0 {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), counted(n, "mistake"))
				return exitError{exitMistake}
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s in order\n", counted(len(proxies), "proxy"))
			return nil
		},
	}
	d.flags(cmd)
	return cmd
}

// loadAll gives every proxy of the documents, or the one that is named.
func (d *documents) loadAll() ([]*config.Proxy, config.Problems) {
	if d.opts.Proxy == "" {
		return config.LoadAll(d.files, d.opts)
	}
	p, problems := config.Load(d.files, d.opts)
	if p == nil {
		return nil, problems
	}
	return []*config.Proxy{p}, problems
}

func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case noun == "proxy":
		return fmt.Sprintf("%d proxies", n)
	default:
		return fmt.Sprintf("%d %ss", n, noun)
	}
}

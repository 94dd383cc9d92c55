// Command rolegate is the front door: flags, signals and exit codes, nothing else.
//
// Exit codes: 0 success; 1 something went wrong while running; 2 a mistake in the documents or on the command line.
// Explain, policy test and audit have more, and say so.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

const (
	exitOK      = 0
	exitFailure = 1
	exitMistake = 2
)

// exitError is an error that was already told in full and only carries its exit code.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the whole program, for tests to call.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills at once
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	}
	_, _ = fmt.Fprintln(stderr, "rolegate:", err)
	var usage usageError
	if errors.As(err, &usage) {
		return exitMistake
	}
	return exitFailure
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "rolegate",
		Short: "An authentication gateway between a company's sign-in and AWS for AI agents",
		Long: `rolegate stands between MCP clients and the AWS MCP Server. A client sends its request with the token of its
company's identity provider; rolegate verifies it, picks an IAM role from its claims, trades it at AWS STS for
temporary credentials, signs the request and forwards it, streaming the answer back.`,
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newRunCommand(), newCheckCommand(), newExplainCommand(), newPolicyCommand(), newAuditCommand(), newDemoCommand(), newVersionCommand())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	return root
}

// knownCommand is what the root says of a word that is no command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	see := "see " + cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		see = "did you mean " + near[0] + "?"
	}
	return usageError{fmt.Errorf("unknown command %q; %s", args[0], see)}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

package main

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/internal/audit"
)

// The exit codes of the audit commands, besides those of every command.
const (
	exitBroken  = 3 // of verify: a chain does not hold
	exitNothing = 3 // of trail: no record matches
)

func newAuditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read audit logs",
		Long: `Audit holds the commands for whoever reads the audit log: the file of audit.logFile, or what was collected from standard
output, a record a line.

Exit codes: 0 as the command says; 2 a mistake on the command line.`,
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerifyCommand(), newAuditTrailCommand())
	return cmd
}

type auditVerifyFlags struct{ holds string }

func newAuditVerifyCommand() *cobra.Command {
	var f auditVerifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that no record was changed, removed or moved",
		Long: `Verify follows the chain of records that audit.tamperEvident makes, and names each place where it does not hold: a
record that was changed, is missing, stands twice or elsewhere, or is none.

Files that were rotated are given together, the oldest first; those that gzip compressed are read too. The first record
may be any: older files may have been put away.

What a chain can't show is that records are missing at its end, or that all of it was written anew: nothing in it is
secret. Note down the last record's hash that verify prints, somewhere else; --holds checks that it is still there.

Exit codes: 0 every record is in its place, as it was written; 1 a file can't be read to its end, and the chain holds
until there; 2 a mistake on the command line; 3 the chain does not hold.`,
		Example: `  rolegate audit verify audit.jsonl.2.gz audit.jsonl.1 audit.jsonl`,
		Args:    someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.verify(args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&f.holds, "holds", "", "a record with this `HASH`, which was noted down before, must be there")
	return cmd
}

// someFiles is the Args of commands that read log files.
func someFiles(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("name a log file; see %s --help", cmd.CommandPath())}
	}
	return nil
}

var hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (f *auditVerifyFlags) verify(files []string, out, stderr io.Writer) error {
	if f.holds != "" && !hashForm.MatchString(f.holds) {
		return usageError{fmt.Errorf("--holds %q: it is 64 hexadecimal digits in lower case", f.holds)}
	}
	var v audit.Verifier
	held := f.holds == ""
	v.OnRecord(func(hash string) { held = held || hash == f.holds })
	unread := readLogs(files, v.File) // what stands before that is told all the same
	p := &page{out: out, colour: isTerminal(out)}
	for _, b := range v.Breaks {
		p.line(plain(b.String()))
	}
	if v.Cut > 0 {
		p.line(fmt.Sprintf("and %d more", v.Cut))
	}
	if !held && unread == nil {
		p.line("no record that is intact has the hash " + f.holds)
	}
	switch {
	case len(v.Breaks) > 0 || !held && unread == nil:
		p.line(p.bad("broken") + "  " + counted(v.Records, "record"))
		if unread != nil {
			_, _ = fmt.Fprintln(stderr, "rolegate:", unread)
		}
		return exitError{exitBroken}
	case unread != nil:
		return unread
	case v.Records == 0:
		p.line(p.good("ok") + "  no records, so there is nothing to see")
	default:
		p.line(p.good("ok") + fmt.Sprintf("  %s, %d to %d; the last one's hash is %s", counted(v.Records, "record"), v.First, v.Last, v.LastHash))
	}
	return nil
}

// readLogs has files read, one after another.
func readLogs(files []string, read func(name string, r io.Reader) error) error {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = read(name, f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	return nil
}

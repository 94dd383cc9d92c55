package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/internal/gateway"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Work on the policies of a proxy",
		Long: `Policy holds the commands for whoever writes policies.

Exit codes: 0 as the command says; 2 a mistake on the command line.`,
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyTestCommand())
	return cmd
}

type policyTestFlags struct {
	documents
	run     string
	verbose bool
}

func newPolicyTestCommand() *cobra.Command {
	var f policyTestFlags
	cmd := &cobra.Command{
		Use:   "test -f FILE|DIR CASES",
		Short: "Run a folder of cases against the policies and role mappings",
		Long: `Test asks about every case what explain would, and compares it with what the case expects. It makes no network calls.

CASES is a folder, or one file; *.yaml, *.yml and *.json in it, and in the folders in it, hold a case each, or a list of
them under cases; a file without a case is a mistake. Links are followed, names that begin with a dot are not read:

  cases:
    - name: a reader may not write
      claims: {sub: ann, groups: [readers]}
      call: {tool: aws___call_aws, args: {service: s3}, hints: {readOnlyHint: false}}
      expect: {decision: deny, role: arn:aws:iam::123456789012:role/ReadOnly, policy: only-writers-write}

A call names a tool, a prompt or a resource (its URI), or only a method; without a call it is the initialize that every
client begins with. hints are the annotations of a tool, {} of one that has none; where the decision depends on them a
case without hints fails. Claims lack what explain assumes. The decision is allow, deny or step-up, and must be given;
role (an ARN, or none), policy (the ID of one that determined the decision) and scopes (all that a step-up asks for) are
compared where they are.

Exit codes: 0 every case is as expected; 2 a mistake in the documents, the cases or on the command line; 3 a
case failed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("name one folder of cases; see %s --help", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.test(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.run, "run", "", "run only the cases whose name (file/name) the `REGEXP` matches")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "name the cases that are as expected too")
	return cmd
}

func (f *policyTestFlags) test(ctx context.Context, folder string, out, stderr io.Writer) error {
	only, err := regexp.Compile(f.run)
	if err != nil {
		return usageError{fmt.Errorf("--run: %w", err)}
	}
	if len(f.files) == 0 {
		return usageError{fmt.Errorf("no documents: name a file or a folder with -f")}
	}
	all, passed, mistakes := readCases(folder)
	if len(passed) > 0 {
		_, _ = fmt.Fprintf(stderr, "warning: not read, since cases are in *.yaml, *.yml and *.json: %s\n", strings.Join(passed, ", "))
	}
	if len(mistakes) > 0 {
		for _, m := range mistakes {
			_, _ = fmt.Fprintln(stderr, m)
		}
		return exitError{exitMistake}
	}
	if all = slices.DeleteFunc(all, func(c testCase) bool { return !only.MatchString(c.Name) }); len(all) == 0 {
		return usageError{fmt.Errorf("--run %q matches no case", f.run)}
	}
	r, err := f.rehearse(stderr)
	if err != nil {
		return err
	}
	defer r.Close()
	p := &page{out: out, colour: isTerminal(out)}
	failed := 0
	for _, c := range all {
		wrong, err := c.run(ctx, r)
		if err != nil {
			return fmt.Errorf("run %s: %w", c.Name, err)
		}
		switch {
		case len(wrong) > 0:
			failed++
			p.line(p.bad("--- FAIL: ") + plain(c.Name))
			for _, line := range wrong {
				p.line("    " + plain(line))
			}
		case f.verbose:
			p.line("--- PASS: " + plain(c.Name))
		}
	}
	if failed > 0 {
		p.line(p.bad("FAIL") + fmt.Sprintf("  %d of %s", failed, counted(len(all), "case")))
		return exitError{exitDenied}
	}
	p.line(p.good("ok") + "  " + counted(len(all), "case"))
	return nil
}

// run asks about the case, and tells what is not as expected: nothing where all is.
func (c *testCase) run(ctx context.Context, r *gateway.Rehearsal) ([]string, error) {
	e, err := r.Try(ctx, gateway.Question{Claims: c.Claims, Message: c.Message, Hints: c.Hints})
	if err != nil {
		return nil, err
	}
	var wrong []string
	expect := func(what, got, want string) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s: %s is %s, want %s", c.Place, what, got, want))
		}
	}
	expect("decision", decisionOf(e), c.Expect.Decision)
	if want := c.Expect.Role; want != "" {
		got := "none"
		if e.Role != nil && e.Role.RoleARN != "" {
			got = e.Role.RoleARN
		}
		expect("role", got, want)
	}
	if want := c.Expect.Policy; want != "" && !slices.Contains(determined(e), want) {
		expect("policy", orNone(determined(e)), want)
	}
	if want := c.Expect.Scopes; want != nil {
		slices.Sort(want)
		expect("scopes", orNone(e.Answer.Scopes), orNone(want))
	}
	if e.Policy != nil && e.Policy.Depends && c.Hints == nil {
		wrong = append(wrong, c.Place+": the decision depends on the tool's annotations, and the case gives no hints; hints: {} for a tool that has none")
	}
	if len(wrong) == 0 {
		return nil, nil
	}
	return append(wrong, c.because(e)...), nil
}

// because tells why it came out as it did.
func (c *testCase) because(e *gateway.Explanation) []string {
	lines := []string{"why: " + e.Why}
	if e.Policy == nil {
		return lines
	}
	for _, f := range slices.Concat(e.Policy.Matched, e.Policy.Errors) {
		line := fmt.Sprintf("%s %s (%s)", f.Effect, f.ID, place(f))
		if f.Error != "" {
			line += ": " + f.Error
		}
		lines = append(lines, line)
		for text := range bytes.Lines([]byte(f.Text)) {
			lines = append(lines, "    "+strings.TrimRight(string(text), "\r\n"))
		}
	}
	return lines
}

// decisionOf is the outcome as cases spell it.
func decisionOf(e *gateway.Explanation) string {
	switch e.Outcome {
	case gateway.OutcomeAllowed:
		return decisionAllow
	case gateway.OutcomeDenied:
		return decisionDeny
	case gateway.OutcomeStepUp:
		return decisionStepUp
	case gateway.OutcomeToken:
		return "none: the token is refused"
	default:
		return fmt.Sprintf("none: the request fails with %d", e.Answer.Status)
	}
}

func determined(e *gateway.Explanation) []string {
	var ids []string
	if e.Policy != nil {
		for _, f := range e.Policy.Matched {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " ")
}

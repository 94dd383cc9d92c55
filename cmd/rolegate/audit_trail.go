package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/internal/audit"
)

type auditTrailFlags struct {
	user, issuer string
	request      string
	from, to     string
	store        string
	output       string
}

func newAuditTrailCommand() *cobra.Command {
	var f auditTrailFlags
	cmd := &cobra.Command{
		Use:   "trail FILE... (--user SUB | --request ID)",
		Short: "Print a user's or a request's records, and the queries that find the same actions at AWS",
		Long: `Trail prints the records of one user, or of one request, and how AWS CloudTrail is asked for what was done with the
credentials that were lent for them: a query of CloudTrail Lake, another one for the calls of STS that the credentials
come from, and the commands for those who have no event data store.

A user is found by the sub of the token, and by the e-mail address or user name where the records hold the claim email,
preferred_username or upn (audit.claims). Two issuers may give the same to different people: --issuer takes the records
of one alone. A request is found by the id that the client got as X-Request-Id, or by its trace id.

The query covers the time from a minute before the first of the records to five minutes after the last, and every
action of the same role and session name in it, those of other requests included. CloudTrail's event history is another
one in each region: the commands ask that of the region that the call was signed for, and what was done elsewhere is
there.

Where records are missing that there was no room for (audit.onFull), it says how many, and between which times: what is
looked for may be among them.

Exit codes: 0 records were found; 1 a file can't be read to its end, and what was found elsewhere is printed; 2 a
mistake on the command line; 3 no record was found.`,
		Example: `  rolegate audit trail audit.jsonl --user ann@example.com --from 24h
  rolegate audit trail audit.jsonl.1 audit.jsonl --request MFRGGZDFMZTWQ2LKNNWG23TPOB -o json`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.trail(args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.user, "user", "", "the caller's `SUB`, e-mail address or user name")
	fl.StringVar(&f.issuer, "issuer", "", "with --user: only records of tokens of this `ISS`")
	fl.StringVar(&f.request, "request", "", "the request's `ID`, or that of its trace")
	fl.StringVar(&f.from, "from", "", "only records from this `TIME` on: 2026-11-21, 2026-11-21T16:00:00Z, or how long ago, such as 24h")
	fl.StringVar(&f.to, "to", "", "only records before this `TIME`")
	fl.StringVar(&f.store, "store", "", "`ID` of the event data store that the queries name, the last part of its ARN")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT`: text or json")
	return cmd
}

func (f *auditTrailFlags) trail(files []string, out, stderr io.Writer) error {
	t, err := f.wanted(time.Now())
	if err != nil {
		return usageError{err}
	}
	var unread error
	for _, file := range files { // what one lacks the next may have
		unread = errors.Join(unread, readLogs([]string{file}, func(_ string, r io.Reader) error {
			return audit.Lines(r, func(line []byte, _ error) { t.Line(line) })
		}))
	}
	missing := t.Missing()
	tellMissing(stderr, missing)
	if t.Foreign > 0 {
		_, _ = fmt.Fprintf(stderr, "rolegate: skipped %s: no audit record\n", counted(t.Foreign, "line"))
	}
	if issuers := t.Issuers(); f.user != "" && len(issuers) > 1 {
		_, _ = fmt.Fprintf(stderr, "rolegate: these are records of %d issuers, who may mean different people; --issuer takes one of: %s\n", len(issuers), plain(strings.Join(issuers, ", ")))
	}
	ct := t.CloudTrail(f.store)
	for _, odd := range ct.Odd {
		_, _ = fmt.Fprintf(stderr, "rolegate: %s is nothing that AWS gives out, and is in no query\n", plain(odd))
	}
	if f.output == "json" {
		if err := printTrailJSON(out, t, missing, ct); err != nil {
			return err
		}
	} else {
		printTrail(&page{out: out, colour: isTerminal(out)}, t.Records, ct)
	}
	if unread != nil {
		return unread
	}
	if len(t.Records) == 0 {
		_, _ = fmt.Fprintln(stderr, "rolegate: no record was found; an e-mail address is found only where audit.claims has email")
		return exitError{exitNothing}
	}
	return nil
}

// wanted is what the flags ask for.
func (f *auditTrailFlags) wanted(now time.Time) (*audit.Trail, error) {
	if (f.user == "") == (f.request == "") {
		return nil, errors.New("name either a user (--user) or a request (--request)")
	}
	if f.issuer != "" && f.user == "" {
		return nil, errors.New("--issuer goes with --user")
	}
	if f.output != "text" && f.output != "json" {
		return nil, fmt.Errorf("--output %q: it is text or json", f.output)
	}
	if f.store != "" && !audit.GoodStore(f.store) {
		return nil, fmt.Errorf("--store %q: it is not the id of an event data store, 36 characters such as 01234567-89ab-cdef-0123-456789abcdef", f.store)
	}
	t := &audit.Trail{User: f.user, Issuer: f.issuer, Request: f.request}
	var err error
	if t.From, err = instant(f.from, now); err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if t.To, err = instant(f.to, now); err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	if !t.From.IsZero() && !t.To.IsZero() && !t.From.Before(t.To) {
		return nil, errors.New("--from is not before --to")
	}
	return t, nil
}

// instant reads a time, a day (in UTC), or how long ago; zero for "".
func instant(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-21, 2026-11-21T16:00:00Z, or 24h for a day ago", s)
}

// mostGaps is how many gaps are told one by one.
const mostGaps = 10

// tellMissing says where records are missing.
func tellMissing(stderr io.Writer, gaps []audit.Gap) {
	for i, g := range gaps {
		if i == mostGaps {
			var rest int64
			for _, g := range gaps[i:] {
				rest += g.Records
			}
			_, _ = fmt.Fprintf(stderr, "rolegate: and %d more in %s later; -o json has them all\n", rest, counted(len(gaps)-i, "place"))
			return
		}
		when := "from " + g.From.UTC().Format(trailTime) + " on"
		if !g.To.IsZero() {
			when = "between " + g.From.UTC().Format(trailTime) + " and " + g.To.UTC().Format(trailTime)
		}
		is := "are"
		if g.Records == 1 {
			is = "is"
		}
		_, _ = fmt.Fprintf(stderr, "rolegate: %s %s missing %s\n", counted(int(g.Records), "record"), is, when)
	}
}

const trailTime = "2006-01-02T15:04:05.000Z"

// printTrailJSON prints one object: the records as they stand in the log, where some are missing, and how AWS is asked.
func printTrailJSON(out io.Writer, t *audit.Trail, missing []audit.Gap, ct audit.CloudTrail) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Records    []json.RawMessage `json:"records"`
		Missing    []audit.Gap       `json:"missing,omitempty"`
		CloudTrail audit.CloudTrail  `json:"cloudtrail"`
	}{append([]json.RawMessage{}, t.Lines...), missing, ct})
}

func printTrail(p *page, found []audit.Record, ct audit.CloudTrail) {
	for i := range found {
		printRecord(p, &found[i])
	}
	if len(found) == 0 {
		return
	}
	p.line("")
	if ct.Actions == "" {
		if len(ct.Odd) == 0 {
			p.line("No credentials were lent for these requests, so AWS knows nothing of them.")
		}
		return
	}
	p.line("What was done with the credentials, in CloudTrail Lake:\n\n" + ct.Actions)
	if ct.Credentials != "" {
		p.line("\nWhere the credentials come from:\n\n" + ct.Credentials)
	}
	if len(ct.Lookup) > 0 {
		p.line("\nWithout an event data store, from the event history (management events, 90 days), which is another one in each region:\n\n" + strings.Join(ct.Lookup, "\n"))
	}
}

// answerOf says what the answer was: "200, JSON-RPC error -32602".
func answerOf(r *audit.Record) string {
	var all []string
	if r.Status != 0 {
		all = append(all, fmt.Sprint(r.Status))
	}
	if r.RPCCode != 0 {
		all = append(all, fmt.Sprintf("JSON-RPC error %d", r.RPCCode))
	}
	if r.IsError {
		all = append(all, "isError")
	}
	return strings.Join(all, ", ")
}

// printRecord prints what matters most of a record: when, what and how it ended, then who, as whom, and why.
func printRecord(p *page, r *audit.Record) {
	outcome := r.Outcome
	switch outcome {
	case audit.Success:
		outcome = p.good(outcome)
	case audit.Aborted:
	default:
		outcome = p.bad(plain(outcome))
	}
	what := strings.TrimSpace(cmp.Or(r.Method, r.HTTPMethod+" "+r.Path) + " " + r.Target)
	p.line(r.Time.UTC().Format(trailTime) + "  " + outcome + "  " + plain(what))
	for _, detail := range []struct{ name, value string }{
		{"request", r.RequestID},
		{"answer", answerOf(r)},
		{"caller", r.Caller},
		{"issuer", r.Issuer},
		{"source", r.Source},
		{"client", strings.TrimSpace(r.ClientName + " " + r.ClientVersion)},
		{"role", r.Role},
		{"why", r.Why},
		{"session name", r.SessionName},
		{"region", r.Region},
		{"access key", r.AccessKeyID},
		{"AWS request", r.AWSRequestID},
		{"STS request", r.STSRequestID},
		{"policies", strings.Join(r.Policies, ", ")},
		{"arguments", string(r.Arguments) + r.ArgumentsCut},
		{"response", string(r.Response) + r.ResponseCut},
		{"error", r.Error},
		{"hint", r.Hint},
	} {
		if detail.value != "" {
			p.line(fmt.Sprintf("    %-12s  %s", detail.name, plain(detail.value)))
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/internal/gateway"
)

// The exit codes of explain and policy test, besides those of every command.
const (
	exitDenied = 3 // refused, or a case that failed
	exitToken  = 4 // the token is no good
)

// maxInput bounds a token, claims or a call that is read from a file.
const maxInput = 1 << 20

type explainFlags struct {
	documents
	tokenFile, claims string
	call, tool, args  string
	hints             []string
	output            string
}

func newExplainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain -f FILE|DIR (--token-file FILE | --claims FILE)",
		Short: "Tell what would become of a caller's request, and why",
		Long: `Explain serves one request as run would, step by step, and tells what each step did: the checks of the token, the role
mappings, the call of STS, the policies, the answer that the client gets, and what would give another answer where that
is one step away.

The caller is a token, whose provider is asked for its keys, or claims alone, with no network at all: iss, aud and exp
that they lack are assumed. The request is a JSON-RPC message, a tool, or, without either, the initialize that every
client begins with. FILE may be - for standard input.

AWS is not asked: what a role's trust policy and permissions say is not known here. Nor is the remote: policies that
read a tool's annotations get those of --hints. Without --hints they count as unknown, as while a running gateway can't
list the remote's tools: no policy sees them, and what would be allowed because of that is refused with 503.

The output holds no token. It does hold claims, and the texts of policies.

  rolegate explain -f examples/policy --claims ann.json --tool aws___call_aws --args '{"service":"s3"}'

Exit codes: 0 allowed; 2 a mistake in the documents or on the command line; 3 refused; 4 the token is no good,
or could not be verified.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"token-file", "claims", "call", "tool", "args", "hints"} {
				if given := cmd.Flags().Lookup(name); given.Changed && (given.Value.String() == "" || given.Value.String() == "[]") {
					return usageError{fmt.Errorf("--%s is empty", name)} // as of a variable that is not set: another question
				}
			}
			return f.explain(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the caller's token")
	fl.StringVar(&f.claims, "claims", "", "`FILE` with claims instead, a JSON object")
	fl.StringVar(&f.call, "call", "", "`FILE` with the JSON-RPC message")
	fl.StringVar(&f.tool, "tool", "", "`NAME` of a tool to call instead, as clients see it")
	fl.StringVar(&f.args, "args", "", "arguments of --tool, a `JSON` object")
	fl.StringSliceVar(&f.hints, "hints", nil, "annotations of the tool, such as readOnlyHint=true, as `NAME=BOOL,...`; \"none\" where it has none")
	fl.StringVarP(&f.output, "output", "o", "text", "`FORMAT` of the output: text, json or html")
	return cmd
}

func (f *explainFlags) explain(ctx context.Context, stdin io.Reader, out, stderr io.Writer) error {
	write := map[string]func(io.Writer, *gateway.Explanation) error{"text": writeText, "json": writeJSON, "html": writeHTML}[f.output]
	if write == nil {
		return usageError{fmt.Errorf("--output %q: it is text, json or html", f.output)}
	}
	q, err := f.question(stdin)
	if err != nil {
		return usageError{err}
	}
	r, err := f.rehearse(stderr)
	if err != nil {
		return err
	}
	defer r.Close()
	if f.tokenFile == "" && f.claims == "" && !r.Anonymous() {
		return usageError{errors.New("who asks: name one of --token-file and --claims")}
	}
	e, err := r.Explain(ctx, q)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return usageError{err}
	}
	if err := write(out, e); err != nil {
		return fmt.Errorf("write explanation: %w", err)
	}
	switch e.Outcome {
	case gateway.OutcomeAllowed:
		return nil
	case gateway.OutcomeToken:
		return exitError{exitToken}
	default:
		return exitError{exitDenied}
	}
}

// rehearse loads the documents. Their mistakes are told, with exit code 2.
func (d *documents) rehearse(stderr io.Writer) (*gateway.Rehearsal, error) {
	cfg, problems, err := d.load()
	if err != nil {
		return nil, err
	}
	if len(problems.Errors()) > 0 {
		printProblems(stderr, problems)
		return nil, exitError{exitMistake}
	}
	r, problems := gateway.NewRehearsal(cfg)
	if len(problems) > 0 {
		printProblems(stderr, problems)
		return nil, exitError{exitMistake}
	}
	return r, nil
}

// question reads what the flags name.
func (f *explainFlags) question(stdin io.Reader) (q gateway.Question, err error) {
	switch {
	case f.tokenFile != "" && f.claims != "":
		return q, errors.New("--token-file and --claims exclude each other")
	case f.call != "" && f.tool != "":
		return q, errors.New("--call and --tool exclude each other")
	case f.args != "" && f.tool == "":
		return q, errors.New("--args are those of --tool")
	case f.call == "-" && (f.tokenFile == "-" || f.claims == "-"):
		return q, errors.New("standard input is one file")
	}
	if q.Hints, err = parseHints(f.hints); err != nil {
		return q, err
	}
	q.Header = http.Header{}
	if f.claims != "" {
		if q.Claims, err = readInput(stdin, f.claims); err != nil {
			return q, err
		}
	}
	if f.tokenFile != "" {
		text, err := readInput(stdin, f.tokenFile)
		if err != nil {
			return q, err
		}
		q.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(text)))
	}
	switch {
	case f.tool != "":
		q.Message, err = message("tools/call", callParams{Name: f.tool, Arguments: json.RawMessage(f.args)})
	case f.call != "":
		q.Message, err = readInput(stdin, f.call)
	}
	gateway.Mirror(q.Header, q.Message)
	return q, err
}

func readInput(stdin io.Reader, name string) ([]byte, error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		from = file
	}
	data, err := io.ReadAll(io.LimitReader(from, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(data) > maxInput:
		return nil, fmt.Errorf("read %s: it has more than %d bytes", name, maxInput)
	case len(strings.TrimSpace(string(data))) == 0:
		return nil, fmt.Errorf("read %s: it is empty", name)
	}
	return data, nil
}

// hintNames are the annotations that policies may read.
var hintNames = []string{"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}

// parseHints reads "name=true" and "name=false"; "none" alone is a tool without annotations. Nil: nothing is known.
func parseHints(given []string) (map[string]bool, error) {
	if len(given) == 0 {
		return nil, nil
	}
	hints := map[string]bool{}
	if len(given) == 1 && given[0] == "none" {
		return hints, nil
	}
	for _, h := range given {
		name, value, _ := strings.Cut(h, "=")
		yes, err := strconv.ParseBool(value)
		if err != nil || !slices.Contains(hintNames, name) {
			return nil, fmt.Errorf("--hints %q: write one of %s, then =true or =false", h, strings.Join(hintNames, ", "))
		}
		hints[name] = yes
	}
	return hints, nil
}

// callParams are the params of a request that names something.
type callParams struct {
	Name      string          `json:"name,omitempty"`
	URI       string          `json:"uri,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
}

// message is a JSON-RPC request.
func message(method string, params callParams) ([]byte, error) {
	if a := params.Arguments; len(a) > 0 && (!json.Valid(a) || strings.TrimSpace(string(a))[0] != '{') {
		return nil, errors.New("the arguments are no JSON object")
	}
	return json.Marshal(struct {
		JSONRPC string     `json:"jsonrpc"`
		ID      int        `json:"id"`
		Method  string     `json:"method"`
		Params  callParams `json:"params"`
	}{"2.0", 1, method, params})
}

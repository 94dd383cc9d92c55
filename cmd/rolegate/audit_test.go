package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

// auditLog makes the files that docs/audit.md speaks of in the working directory: audit.jsonl and, rotated before it,
// audit.jsonl.1 and audit.jsonl.2.gz, each with the records of three requests.
func auditLog(t *testing.T) {
	t.Helper()
	b, err := audit.Open(audit.Options{Settings: config.Audit{Enabled: true, LogFile: "audit.jsonl", TamperEvident: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, rotated := range []string{"audit.jsonl.2", "audit.jsonl.1", ""} {
		for _, id := range []string{"A" + rotated, "MFRGGZDFMZTWQ2LKNNWG23TPOB", "B" + rotated} {
			b.Write(t.Context(), &audit.Record{
				Schema: audit.Schema, Time: time.Now(), Type: "mcp_ping", Outcome: audit.Success, RequestID: id,
				Caller: "00u1ann", Claims: []byte(`{"email":"ann@example.com"}`),
			})
		}
		if rotated == "" {
			break
		}
		for b.Stats().Queued > 0 { // what waits would go to the next file
			time.Sleep(time.Millisecond)
		}
		if err := os.Rename("audit.jsonl", rotated); err != nil {
			t.Fatal(err)
		}
		if err := b.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(readFile(t, "audit.jsonl.2"))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("audit.jsonl.2.gz", zipped.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCommandsOfAudit types the commands of docs/audit.md and of the help texts, and each does what is said there.
func TestCommandsOfAudit(t *testing.T) {
	var typed []string
	for _, file := range []string{"docs/audit.md", "docs/reference/cli.md"} {
		for _, b := range fenced(t, file, "sh") {
			for _, c := range b.commands() {
				if strings.HasPrefix(c, "rolegate audit ") || strings.HasPrefix(c, "sed -n 3p audit.jsonl") {
					typed = append(typed, c)
				}
			}
		}
	}
	if len(typed) < 7 {
		t.Fatalf("only %d commands: %q", len(typed), typed)
	}
	t.Chdir(t.TempDir())
	auditLog(t)
	for _, c := range typed {
		words := strings.Fields(c)
		var out, stderr bytes.Buffer
		switch {
		case words[0] == "sed":
			if _, err := exec.LookPath("sha256sum"); err != nil {
				t.Log("skipped: no sha256sum here")
				continue
			}
			got, err := exec.Command("sh", "-c", c).Output()
			third := strings.Split(readFile(t, "audit.jsonl"), "\n")[2]
			if sum, _, _ := strings.Cut(string(got), " "); err != nil || !strings.HasSuffix(third, `,"hash":"`+sum+`"}`) {
				t.Errorf("%s: %v, %s\n%s", c, err, got, third)
			}
		case words[2] == "verify":
			if code := run(words[1:], &out, &stderr); code != exitOK || !strings.HasPrefix(out.String(), "ok  11 records, 1 to 11; ") {
				t.Errorf("%s: exit %d: %s%s", c, code, out.String(), stderr.String())
			}
		default:
			if code := run(words[1:], &out, &stderr); code != exitOK || !strings.Contains(out.String(), "MFRGGZDFMZTWQ2LKNNWG23TPOB") || stderr.Len() > 0 {
				t.Errorf("%s: exit %d: %s%s", c, code, out.String(), stderr.String())
			}
		}
	}
}

// What is printed of a record is enough to go on with at AWS, and of whose records they are nobody is left in doubt.
func TestTrailPrints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	var text []byte
	for i, issuer := range []string{"https://a.example.com", "https://b.example.com"} {
		r := audit.Record{
			Schema: audit.Schema, Time: time.Date(2026, 11, 21, 16, i, 0, 0, time.UTC), Type: "mcp_tool_call", Outcome: audit.ApplicationError,
			RequestID: fmt.Sprint("request", i), Issuer: issuer, Caller: "ann", Method: "tools/call", Target: "aws___call_aws", Region: "eu-west-1",
			AccessKeyID: "ASIAEXAMPLE12345678Q", AWSRequestID: "7a62c49f-347e-4fc4-9331-6e8e47a5d1a7", STSRequestID: "11111111-2222-3333-4444-555555555555",
			Status: 200, RPCCode: int64(-32602 * i), IsError: i == 0,
		}
		text = append(r.AppendJSON(text), '\n')
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	if code := run([]string{"audit", "trail", file, "--user", "ann"}, &out, &stderr); code != exitOK || !strings.Contains(stderr.String(), "2 issuers") ||
		!strings.Contains(stderr.String(), "https://a.example.com, https://b.example.com") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	for _, part := range []string{
		"    answer        200, isError\n", "    answer        200, JSON-RPC error -32602\n", "    issuer        https://a.example.com\n", "    region        eu-west-1\n",
		"    AWS request   7a62c49f-347e-4fc4-9331-6e8e47a5d1a7\n", "    STS request   11111111-2222-3333-4444-555555555555\n", "aws cloudtrail lookup-events --region eu-west-1 ",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in\n%s", part, out.String())
		}
	}
	out.Reset()
	stderr.Reset()
	if code := run([]string{"audit", "trail", file, "--user", "ann", "--issuer", "https://b.example.com"}, &out, &stderr); code != exitOK || stderr.Len() > 0 ||
		strings.Contains(out.String(), "request0") || !strings.Contains(out.String(), "request1") {
		t.Errorf("exit %d: %s\n%s", code, stderr.String(), out.String())
	}
	if code := run([]string{"audit", "trail", file, "--request", "request0", "--issuer", "https://b.example.com"}, &out, &stderr); code != exitMistake {
		t.Errorf("--issuer without a user: exit %d", code)
	}
}

// Of files that can't be read to their end, what is known is told; and where records are missing nobody is left to
// believe that these are all.
func TestFilesInBadShape(t *testing.T) {
	t.Chdir(t.TempDir())
	auditLog(t)
	whole, zipped := readFile(t, "audit.jsonl"), readFile(t, "audit.jsonl.2.gz")
	lines := strings.SplitAfter(whole, "\n")
	at := func(second int) string {
		return time.Date(2026, 11, 21, 16, 0, second, 0, time.UTC).Format("2006-01-02T15:04:05.000000Z")
	}
	gap := func(second, n int) string {
		return fmt.Sprintf(`{"schema":"rolegate.audit/v1","time":"%s","type":"audit_dropped","outcome":"failure","dropped":%d}`+"\n", at(second), n)
	}
	record := func(second int) string {
		return fmt.Sprintf(`{"schema":"rolegate.audit/v1","time":"%s","type":"mcp_ping","outcome":"success","request_id":"R","caller":"00u1ann"}`+"\n", at(second))
	}
	var many strings.Builder
	for i := range 12 {
		many.WriteString(gap(2*i, i+1) + record(2*i+1))
	}
	for name, text := range map[string]string{
		"long":       lines[0] + strings.Repeat("x", 17<<20) + "\n" + strings.Join(lines[1:], ""),
		"cut.gz":     zipped[:len(zipped)-30],
		"changed":    strings.Replace(whole, "success", "denied", 1),
		"incomplete": record(1) + gap(2, 5000) + record(41) + gap(50, 1),
		"many":       many.String(),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const user = " --user 00u1ann"
	for _, tt := range []struct {
		line        string
		code        int
		out, stderr string // what must be there; "" for nothing on stderr
	}{
		{"verify long", exitBroken, "long:2: is too long for an audit record", ""},
		{"verify cut.gz", exitFailure, "", "read cut.gz: unexpected EOF"},
		{"verify changed cut.gz", exitBroken, "was changed", "read cut.gz: unexpected EOF"},
		{"verify changed nowhere", exitBroken, "was changed", "no such file"},
		{"verify cut.gz --holds " + strings.Repeat("0", 64), exitFailure, "", "unexpected EOF"},
		{"trail long" + user, exitOK, "MFRGGZDFMZTWQ2LKNNWG23TPOB", "skipped 1 line: no audit record"},
		{"trail cut.gz changed" + user, exitFailure, "MFRGGZDFMZTWQ2LKNNWG23TPOB", "read cut.gz: unexpected EOF"},
		{"trail incomplete" + user, exitOK, "16:00:41.000Z", "5000 records are missing between 2026-11-21T16:00:02.000Z and 2026-11-21T16:00:41.000Z\n" +
			"rolegate: 1 record is missing from 2026-11-21T16:00:50.000Z on\n"},
		{"trail incomplete --request R --to 2026-11-21T16:00:45Z", exitOK, "16:00:41.000Z", "rolegate: 5000 records are missing between 2026-11-21T16:00:02.000Z and 2026-11-21T16:00:41.000Z\n"},
		{"trail incomplete --to 2026-11-21T16:00:02Z" + user, exitOK, "16:00:01.000Z", ""},
		{"trail incomplete --from 2026-11-21T16:00:30Z --to 2026-11-21T16:00:40Z" + user, exitNothing, "", "5000 records are missing"},
		{"trail many" + user, exitOK, "", "rolegate: and 23 more in 2 places later; -o json has them all\n"},
		{"trail incomplete -o json" + user, exitOK, `
  "missing": [
    {
      "from": "2026-11-21T16:00:02Z",
      "to": "2026-11-21T16:00:41Z",
      "records": 5000
    },
    {
      "from": "2026-11-21T16:00:50Z",
      "records": 1
    }
  ],
`, "are missing"},
	} {
		var out, stderr bytes.Buffer
		code := run(append([]string{"audit"}, strings.Fields(tt.line)...), &out, &stderr)
		if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
			t.Errorf("audit %s: exit %d\n%s%s", tt.line, code, out.String(), stderr.String())
		}
		if code == exitFailure && strings.HasPrefix(tt.line, "verify") && out.Len() > 0 {
			t.Errorf("audit %s: %s", tt.line, out.String())
		}
	}
}

func TestInstant(t *testing.T) {
	now := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"24h":                       now.Add(-24 * time.Hour),
		"2026-11-20":                time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		"2026-11-20T12:30:00+01:00": time.Date(2026, 11, 20, 11, 30, 0, 0, time.UTC),
	} {
		if got, err := instant(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1h", "0s", "yesterday", "2026-11-31", "2026-11-20 12:00:00"} {
		if got, err := instant(text, now); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

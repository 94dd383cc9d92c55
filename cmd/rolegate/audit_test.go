package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

// auditLog makes the files that docs/audit.md speaks of in the working directory: audit.jsonl and, rotated before it,
// audit.jsonl.1 and audit.jsonl.2.gz, each with three records.
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
			if code := run(words[1:], &out, &stderr); code != exitOK || !strings.HasPrefix(out.String(), "ok  9 records, 1 to 9; ") {
				t.Errorf("%s: exit %d: %s%s", c, code, out.String(), stderr.String())
			}
		default:
			if code := run(words[1:], &out, &stderr); code != exitOK || !strings.Contains(out.String(), "MFRGGZDFMZTWQ2LKNNWG23TPOB") || stderr.Len() > 0 {
				t.Errorf("%s: exit %d: %s%s", c, code, out.String(), stderr.String())
			}
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

package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

func unixOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has other ways")
	}
}

func openAt(t testing.TB, path string, chained bool, log *bytes.Buffer) *audit.Book {
	t.Helper()
	o := audit.Options{Settings: config.Audit{LogFile: path, TamperEvident: chained}}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	return open(t, o)
}

func shut(t testing.TB, b *audit.Book) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// settled waits until everything is written.
func settled(t testing.TB, b *audit.Book) {
	t.Helper()
	for range 2000 {
		if b.Stats().Queued == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not written: %+v", b.Stats())
}

func lines(t testing.TB, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range records(t, data) {
		if r.Type == audit.TypeContinued {
			r.RequestID = "goes on"
		}
		ids = append(ids, r.RequestID)
	}
	return ids
}

func equal(t testing.TB, path, want string) {
	t.Helper()
	if got := strings.Join(lines(t, path), " "); got != want {
		t.Errorf("%s: %q, want %q", filepath.Base(path), got, want)
	}
}

func TestFileIsItsOwnersAlone(t *testing.T) {
	unixOnly(t)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	var log bytes.Buffer
	b := openAt(t, path, false, &log)
	write(b, "1")
	shut(t, b)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || log.Len() > 0 {
		t.Error(info.Mode(), err, log.String())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	b = openAt(t, path, false, &log)
	write(b, "2")
	shut(t, b)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(log.String(), "others could read") {
		t.Error(info.Mode(), err, log.String())
	}
	equal(t, path, "1 2")
}

// A link may lead anywhere, and what is not a file can't be continued.
func TestOddFilesAreRefused(t *testing.T) {
	unixOnly(t)
	dir := t.TempDir()
	target, link, fifo := filepath.Join(dir, "target"), filepath.Join(dir, "link"), "/dev/null"
	if err := os.WriteFile(target, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		link:                              "is a symbolic link",
		filepath.Join(dir, "dangling"):    "is a symbolic link",
		dir:                               "is not a regular file",
		fifo:                              "is not a regular file",
		filepath.Join(dir, "none", "log"): "no such file",
	} {
		b, err := audit.Open(audit.Options{Settings: config.Audit{Enabled: true, LogFile: path}})
		if b != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o644 {
		t.Error("the target was changed:", info.Mode(), err)
	}
}

// After a rename and Reopen, records go to the new file; none is lost, and the chain goes on.
func TestRotation(t *testing.T) {
	unixOnly(t)
	for _, chained := range []bool{false, true} {
		dir := t.TempDir()
		path, old, older := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "audit.jsonl.1"), filepath.Join(dir, "audit.jsonl.2")
		b := openAt(t, path, chained, nil)
		write(b, "1", "2")
		settled(t, b)
		rename(t, path, older)
		write(b, "3") // nobody has told it yet
		settled(t, b)
		reopen(t, b)
		reopen(t, b) // nothing to do
		write(b, "4", "5")
		settled(t, b)
		rename(t, path, old)
		write(b, "6")
		reopen(t, b)
		shut(t, b)
		b = openAt(t, path, chained, nil)
		write(b, "7")
		shut(t, b)
		equal(t, older, "1 2 3")
		rest := append(lines(t, old), lines(t, path)...)
		if chained {
			intact(t, 3+len(rest), older, old, path)
			if rest[0] != "goes on" {
				t.Errorf("%q begins with no record of where the chain goes on", rest)
			}
		}
		if got := strings.ReplaceAll(strings.Join(rest, " "), "goes on ", ""); got != "4 5 6 7" {
			t.Errorf("%q", got)
		}
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func reopen(t testing.TB, b *audit.Book) {
	t.Helper()
	if err := b.Reopen(); err != nil {
		t.Fatal(err)
	}
}

// A file that was deleted is made again; while its folder is gone, records wait.
func TestDeletedFile(t *testing.T) {
	unixOnly(t)
	for _, chained := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "logs")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "audit.jsonl")
		var log bytes.Buffer
		b := openAt(t, path, chained, &log)
		write(b, "1")
		settled(t, b)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		write(b, "2", "3")
		for b.Stats().Retried == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := b.Reopen(); err == nil {
			t.Error("a folder that is gone was opened")
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		reopen(t, b) // also ends the pause
		shut(t, b)
		equal(t, path, "2 3")
		if got := b.Stats(); got.Written != 3 || got.Dropped != 0 || got.Failed != 0 {
			t.Errorf("%+v", got)
		}
		if n := strings.Count(log.String(), "can't be written"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log.String())
		}
	}
}

// A process that was killed while it wrote leaves the beginning of a line.
func TestUnfinishedLineIsCutOff(t *testing.T) {
	for _, chained := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		b := openAt(t, path, chained, nil)
		write(b, "1", "2")
		shut(t, b)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 20, 60} {
			torn := append(bytes.Clone(whole), whole[:n]...)
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			b := openAt(t, path, chained, &log)
			write(b, "3")
			shut(t, b)
			equal(t, path, "1 2 3")
			if !strings.Contains(log.String(), "cut off") {
				t.Error(log.String())
			}
			if chained {
				intact(t, 3, path)
			}
		}
	}
}

// What is not ours is not cut, and what can't be continued is not continued.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	b := openAt(t, path, true, nil)
	write(b, "1", "2")
	shut(t, b)
	chained, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text  string
		chain bool
		want  string
	}{
		"no record":       {"root:x:0:0", false, "does not end with an audit record"},
		"JSON":            {`{"a":1}`, true, "does not end with an audit record"},
		"not chained":     {`{"schema":"rolegate.audit/v1"}` + "\n", true, "its last line: it has no seq"},
		"a blank line":    {string(chained) + "\n", true, "its last line: it has no seq"},
		"only blank":      {"\n", true, "its last line: it has no seq"},
		"blank, and torn": {string(chained) + "\n" + string(chained[:30]), true, "its last line: it has no seq"},
		"a changed line":  {strings.Replace(string(chained), `"request_id":"2"`, `"request_id":"9"`, 1), true, "its last line was changed"},
	} {
		path := filepath.Join(dir, "other")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := audit.Open(audit.Options{Settings: config.Audit{Enabled: true, LogFile: path, TamperEvident: tt.chain}})
		if b != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != tt.text {
			t.Errorf("%s: the file was changed to %q", name, got)
		}
	}
}

// A chain has one writer.
func TestChainIsLocked(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("no locks here")
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	b := openAt(t, path, true, nil)
	if _, err := audit.Open(audit.Options{Settings: config.Audit{Enabled: true, LogFile: path, TamperEvident: true}}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	shut(t, b)
	shut(t, openAt(t, path, true, nil))
}

// The chain goes on over restarts, with lines of any length.
func TestChainGoesOnAfterRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	n := 0
	for _, length := range []int{0, 10, 70 << 10, 300 << 10, 1 << 20} {
		b := openAt(t, path, true, nil)
		for i := range 3 {
			b.Write(t.Context(), &audit.Record{Schema: audit.Schema, RequestID: fmt.Sprint(i), ArgumentsCut: strings.Repeat("x", length)})
			n++
		}
		shut(t, b)
	}
	intact(t, n, path)
}

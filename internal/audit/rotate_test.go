package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

// A restart right after a rotation finds where the chain goes on, also where nobody asked for anything in between.
func TestChainGoesOnAfterRotationAndRestart(t *testing.T) {
	unixOnly(t)
	for name, quiet := range map[string]func(t *testing.T, path string){
		"at once": func(*testing.T, string) {},
		"some time later": func(t *testing.T, path string) {
			for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(time.Millisecond) {
				if info, err := os.Stat(path); err == nil && info.Size() > 0 {
					return
				}
			}
			t.Error("the new file stays empty")
		},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "audit.jsonl")
		var files []string
		out := new(sink)
		for i := range 3 {
			b := open(t, audit.Options{Settings: config.Audit{LogFile: path, TamperEvident: true}, Component: "aws", Also: []audit.Sink{out}})
			write(b, fmt.Sprint(2*i+1), fmt.Sprint(2*i+2))
			settled(t, b)
			files = append(files, fmt.Sprintf("%s.%d", path, i))
			rename(t, path, files[i])
			reopen(t, b)
			quiet(t, path)
			reopen(t, b) // nothing to do
			shut(t, b)
			if got, want := b.Stats(), (audit.Stats{Written: 2}); got != want {
				t.Errorf("%s: %+v, want %+v: what no request made is not counted", name, got, want)
			}
		}
		equal(t, files[0], "1 2")
		equal(t, files[2], "goes on 5 6")
		equal(t, path, "goes on")
		intact(t, 9, append(files, path)...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all := records(t, data)
		if len(all) == 0 {
			t.Fatalf("%s: an empty file", name)
		}
		if r := all[0]; r.Schema != audit.Schema || r.Outcome != audit.Success || r.Component != "aws" || time.Since(r.Time) > time.Hour || r.Seq != 9 {
			t.Errorf("%s: %+v", name, r)
		}
		if len(out.got) != 9 {
			t.Errorf("%s: %d records went elsewhere, 9 in the files", name, len(out.got))
		}
	}
}

// Nothing is continued where nothing was begun, and nothing is told of a chain where there is none.
func TestNoRecordOfWhereNothingGoesOn(t *testing.T) {
	unixOnly(t)
	for _, chained := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		b := openAt(t, path, chained, nil)
		rename(t, path, path+".1")
		if !chained {
			write(b, "1")
			settled(t, b)
		}
		reopen(t, b)
		shut(t, b)
		equal(t, path, "")
	}
}

// Reopening finds a file that is there already: the end of it is seen to as at the start, and what can't be continued is
// left alone, while records go on into the old file.
func TestReopenOfAFileThatIsThere(t *testing.T) {
	unixOnly(t)
	other := filepath.Join(t.TempDir(), "other.jsonl")
	b := openAt(t, other, true, nil)
	write(b, "1", "2", "3")
	shut(t, b)
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	const torn = `{"schema":"rolegate.audit/v1","time":"20`
	for _, tt := range []struct {
		name, text string
		chained    bool
		want       string // of the error; "" for none
		file       string
	}{
		{"torn", torn, false, "", "2"},
		{"torn, chained", torn, true, "", "goes on 2"},
		{"records, and torn", `{"schema":"rolegate.audit/v1","request_id":"0"}` + "\n" + torn, false, "", "0 2"},
		{"not a record", "root:x:0:0", false, "does not end with an audit record", ""},
		{"not a record, chained", "root:x:0:0", true, "does not end with an audit record", ""},
		{"another chain", string(foreign), true, "does not end with the record that was written last", ""},
		{"another chain, and torn", string(foreign) + torn, true, "does not end with the record that was written last", ""},
		{"a blank line", "\n", true, "its last line: it has no seq", ""},
		{"no chain", `{"schema":"rolegate.audit/v1","request_id":"0"}` + "\n", true, "its last line: it has no seq", ""},
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		var log bytes.Buffer
		b := openAt(t, path, tt.chained, &log)
		write(b, "1")
		settled(t, b)
		rename(t, path, path+".1")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := b.Reopen()
		write(b, "2")
		shut(t, b)
		if tt.want == "" {
			if err != nil || !strings.Contains(log.String(), "cut off") {
				t.Errorf("%s: %v, %s", tt.name, err, log.String())
			}
			equal(t, path, tt.file)
			equal(t, path+".1", "1")
			if tt.chained {
				intact(t, 3, path+".1", path)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if got, _ := os.ReadFile(path); string(got) != tt.text {
			t.Errorf("%s: the file was changed to %q", tt.name, got)
		}
		equal(t, path+".1", "1 2")
	}
}

// A file that took the place of the one that is written to, which is gone, is not spoilt either: records wait.
func TestReplacedFile(t *testing.T) {
	unixOnly(t)
	dir := t.TempDir()
	path, other := filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "other.jsonl")
	b := openAt(t, other, true, nil)
	write(b, "a")
	shut(t, b)
	var log bytes.Buffer
	b = openAt(t, path, true, &log)
	write(b, "1")
	settled(t, b)
	rename(t, other, path) // over it
	write(b, "2")
	for began := time.Now(); b.Stats().Retried == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("it was written to")
		}
	}
	equal(t, path, "a")
	rename(t, path, other)
	reopen(t, b)
	shut(t, b)
	equal(t, path, "2")
	if !strings.Contains(log.String(), "is there already") {
		t.Error(log.String())
	}
}

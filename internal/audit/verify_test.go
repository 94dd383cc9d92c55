package audit_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

// intact checks that files hold a chain of n records.
func intact(t testing.TB, n int, files ...string) {
	t.Helper()
	var v audit.Verifier
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.File(filepath.Base(path), f); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	}
	if len(v.Breaks) > 0 || v.Records != n || v.Last != uint64(n) {
		t.Errorf("%d of %d records, up to %d: %v", v.Records, n, v.Last, v.Breaks)
	}
}

// chained is a chain of n records, as lines.
func chained(t testing.TB, n int) []string {
	t.Helper()
	out := new(slowOutput)
	b := open(t, audit.Options{Stdout: out, Settings: config.Audit{TamperEvident: true}})
	for i := range n {
		r := allowed().Record(options(config.Audit{}))
		r.RequestID = fmt.Sprint("request ", i+1)
		b.Write(t.Context(), &r)
	}
	shut(t, b)
	return strings.SplitAfter(strings.TrimSuffix(out.got.String(), "\n"), "\n")
}

func verify(text string) audit.Verifier {
	var v audit.Verifier
	if err := v.File("f", strings.NewReader(text)); err != nil {
		v.Breaks = append(v.Breaks, audit.Break{File: "f", What: err.Error()})
	}
	return v
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	l := chained(t, 6)
	l[5] += "\n"
	without := func(i ...int) string {
		var out []string
		for k, line := range l {
			if !slices.Contains(i, k+1) {
				out = append(out, line)
			}
		}
		return strings.Join(out, "")
	}
	other := chained(t, 2)
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"as it was written", without(), nil},
		{"nothing", "", nil},
		{"begun later", without(1, 2), nil},
		{"cut off at the end, between records", without(5, 6), nil}, // can't be seen
		{"a changed byte", strings.Replace(without(), "request 3", "request 8", 1), []string{"f:3: record 3 was changed: its hash is "}},
		{"a changed outcome", strings.Replace(without(), `"outcome":"success"`, `"outcome":"denied"`, 1), []string{"f:1: record 1 was changed"}},
		{"a changed link", strings.Replace(without(), `,"seq":4,`, `,"seq":5,`, 1), []string{"f:4: record 5 was changed"}},
		{"a changed record with a hash that fits", l[0] + rehash(t, strings.Replace(l[1], "request 2", "request 9", 1)) + l[2] + l[3], []string{"f:3: record 3 does not follow this record 2"}},
		{"one missing", without(3), []string{"f:3: record 4 comes after record 2: record 3 is missing, or stands elsewhere"}},
		{"several missing", without(2, 3, 4), []string{"f:2: record 5 comes after record 1: records 2 to 4 are missing"}},
		{"doubled", l[0] + l[1] + l[1] + l[2], []string{"f:3: record 2 stands here twice"}},
		{"moved", l[0] + l[2] + l[1] + l[3], []string{"f:2: record 3 comes after record 1: record 2 is missing, or stands elsewhere", "f:3: record 2 comes after record 3: it was moved or doubled"}},
		{"cut off within a line", without()[:len(without())-10], []string{"f:6: ends without a line break: it is cut off"}},
		{"the last line break is gone", strings.TrimSuffix(without(), "\n"), []string{"f:6: ends without a line break"}},
		{"changed, and the last line break is gone", strings.Replace(strings.TrimSuffix(without(), "\n"), "request 6", "request 8", 1), []string{"f:6: ends without a line break", "f:6: record 6 was changed"}},
		{"a blank line", l[0] + "\n" + l[1], []string{"f:2: it has no seq, prev and hash"}},
		{"a line of somebody's", l[0] + "{\"schema\":\"rolegate.audit/v1\"}\n" + l[1], []string{"f:2: it has no seq, prev and hash"}},
		{"another line break", l[0] + strings.TrimSuffix(l[1], "\n") + "\r\n", []string{"f:2: it has no seq, prev and hash"}},
		{"another chain behind", l[0] + l[1] + other[0], []string{"f:3: a new chain begins after record 2"}},
		{"another chain's record", l[0] + l[1] + forged(3, other[0]), []string{"f:3: record 3 does not follow this record 2"}},
		{"not JSON", l[0] + rehash(t, strings.Replace(l[1], `"type"`, `type`, 1)), []string{"f:2: record 2 is not JSON"}},
		{"a key twice", l[0] + rehash(t, strings.Replace(l[1], `"status":200`, `"status":200,"status":200`, 1)), []string{"f:2: record 2 is not JSON"}},
	} {
		v := verify(tt.text)
		if len(v.Breaks) != len(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, v.Breaks, tt.want)
			continue
		}
		for i, b := range v.Breaks {
			if !strings.HasPrefix(b.String(), tt.want[i]) {
				t.Errorf("%s: %s, want %s", tt.name, b, tt.want[i])
			}
		}
	}
}

// rehash gives a line the hash that its bytes have.
func rehash(t testing.TB, line string) string {
	t.Helper()
	at := strings.LastIndex(line, `,"hash":"`)
	if at < 0 {
		t.Fatal(line)
	}
	sum := sha256.Sum256([]byte(line[:at]))
	return line[:at] + `,"hash":"` + hex.EncodeToString(sum[:]) + "\"}\n"
}

// forged is a record in order by itself that claims a place in a chain.
func forged(seq int, line string) string {
	at := strings.LastIndex(line, `,"seq":`)
	line = fmt.Sprintf(`%s,"seq":%d,"prev":"%s"`, line[:at], seq, strings.Repeat("1", 64))
	sum := sha256.Sum256([]byte(line))
	return line + `,"hash":"` + hex.EncodeToString(sum[:]) + "\"}\n"
}

// Whatever byte is changed, and whichever is removed or doubled, it is seen.
func TestEveryByteCounts(t *testing.T) {
	l := chained(t, 3)
	text := []byte(strings.Join(l, "") + "\n")
	for i := range text {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			changed := bytes.Clone(text)
			changed[i] ^= flip
			if v := verify(string(changed)); len(v.Breaks) == 0 {
				t.Fatalf("byte %d may be %q for %q", i, changed[i], text[i])
			}
		}
		if v := verify(string(slices.Delete(bytes.Clone(text), i, i+1))); len(v.Breaks) == 0 {
			t.Fatalf("byte %d may be missing", i)
		}
		if v := verify(string(slices.Insert(bytes.Clone(text), i, text[i]))); len(v.Breaks) == 0 {
			t.Fatalf("byte %d may be there twice", i)
		}
	}
}

// Files follow each other as their lines do; compressed ones are read too.
func TestVerifyReadsFilesInOrder(t *testing.T) {
	l := chained(t, 6)
	first, second := strings.Join(l[:3], ""), strings.Join(l[3:], "")+"\n"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(first))
	_ = z.Close()
	var v audit.Verifier
	var seen []string
	v.OnRecord(func(hash string) { seen = append(seen, hash) })
	for _, f := range []string{zipped.String(), "", second} {
		if err := v.File("f", strings.NewReader(f)); err != nil {
			t.Fatal(err)
		}
	}
	if len(v.Breaks) > 0 || v.Records != 6 || v.First != 1 || v.Last != 6 || len(seen) != 6 || seen[5] != v.LastHash {
		t.Errorf("%+v", v)
	}
	v = audit.Verifier{}
	_ = v.File("second", strings.NewReader(second))
	_ = v.File("first", strings.NewReader(first))
	if len(v.Breaks) == 0 || !strings.Contains(v.Breaks[0].String(), "first:1: a new chain begins after record 6") {
		t.Errorf("%v", v.Breaks)
	}
	if err := v.File("broken.gz", strings.NewReader(zipped.String()[:40])); err == nil {
		t.Error("half a gzip file was read")
	}
}

// A line that no record can be takes nothing from what stands before and behind it.
func TestLinesThatAreTooLong(t *testing.T) {
	l := chained(t, 3)
	long := strings.Repeat("x", 17<<20)
	v := verify(l[0] + long + "\n" + l[1] + strings.Replace(l[2], "request 3", "request 8", 1) + "\n" + long)
	var got []string
	for _, b := range v.Breaks {
		what, _, _ := strings.Cut(b.String(), ": its hash")
		got = append(got, what)
	}
	want := []string{"f:2: is too long for an audit record", "f:4: record 3 was changed", "f:5: is too long for an audit record"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Of a file that can't be read to its end, what was read counts.
func TestFilesThatEndInAnError(t *testing.T) {
	text := strings.Replace(strings.Join(chained(t, 200), ""), `"outcome":"success"`, `"outcome":"denied"`, 1)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	var v audit.Verifier
	if err := v.File("f", bytes.NewReader(zipped.Bytes()[:zipped.Len()-20])); err == nil {
		t.Error("a file that is cut off was read")
	}
	if len(v.Breaks) != 1 || v.Records < 10 || v.Records > 200 {
		t.Errorf("%d records, %v", v.Records, v.Breaks)
	}
}

func TestBreaksAreBounded(t *testing.T) {
	v := verify(strings.Repeat("x\n", 1000))
	if len(v.Breaks) != 100 || v.Cut != 900 {
		t.Errorf("%d and %d", len(v.Breaks), v.Cut)
	}
}

// FuzzVerify: whatever the file holds, reading it ends; and what is called intact is a chain, by another way of computing
// it.
func FuzzVerify(f *testing.F) {
	l := chained(f, 3)
	f.Add([]byte(strings.Join(l, "") + "\n"))
	f.Add([]byte(l[1]))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"schema":"rolegate.audit/v1","seq":1,"prev":"` + strings.Repeat("0", 64) + `","hash":"` + strings.Repeat("0", 64) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v audit.Verifier
		if err := v.File("f", bytes.NewReader(data)); err != nil || len(v.Breaks) > 0 {
			return
		}
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			return
		}
		all := records(t, data)
		if len(all) != v.Records {
			t.Fatalf("%d lines, %d records", len(all), v.Records)
		}
		i := 0
		for line := range strings.Lines(string(data)) {
			r := all[i]
			if rehash(t, line) != line || i > 0 && (r.Prev != all[i-1].Hash || r.Seq != all[i-1].Seq+1) {
				t.Fatalf("line %d is not of the chain: %s", i+1, line)
			}
			i++
		}
	})
}

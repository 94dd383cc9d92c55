package audit

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A disk that is full takes a part of a write. Whatever part it takes, the file has every line whole and once in the end,
// also where it is opened anew between two attempts.
func TestPartsOfWrites(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		f, err := openFile(path, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		f.append = func(to *os.File, p []byte) (int, error) {
			if rnd.IntN(3) == 0 {
				return to.Write(p)
			}
			n, _ := to.Write(p[:rnd.IntN(len(p)+1)])
			return n, syscall.ENOSPC
		}
		var want strings.Builder
		names := []string{path}
		for batch := range 20 {
			var piece string
			for i := range 1 + rnd.IntN(4) {
				piece += fmt.Sprintf("%s%d.%d}\n", beginning, batch, i)
			}
			want.WriteString(piece)
			for off := 0; off < len(piece); {
				if off, err = f.write([]byte(piece), off); err != nil && rnd.IntN(4) == 0 {
					rotated := fmt.Sprintf("%s.%d", path, len(names))
					if err := os.Rename(path, rotated); err != nil {
						t.Fatal(err)
					}
					names = append(names[:len(names)-1], rotated, path)
					if err := f.reopen(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got.Write(data)
		}
		if got.String() != want.String() {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got.String(), want.String())
		}
	}
}

// Where the beginning of a line can't be cut off, the rest of it follows; and in another file the line begins again.
func TestBeginningThatStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f, err := openFile(path, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(beginning + "1}\n")
	n, err := f.f.Write(line[:10]) // as if it could not be cut off
	if err != nil {
		t.Fatal(err)
	}
	if n, err = f.write(line, n); n != len(line) || err != nil {
		t.Fatal(n, err)
	}
	if got, _ := os.ReadFile(path); string(got) != string(line) {
		t.Errorf("%q", got)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := f.reopen(); err != nil {
		t.Fatal(err)
	}
	if n, err = f.write(line, 10); n != len(line) || err != nil {
		t.Fatal(n, err)
	}
	if got, _ := os.ReadFile(path); string(got) != string(line) {
		t.Errorf("%q", got)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}

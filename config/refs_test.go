package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
)

const withKey = `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: aws}
spec:
  remoteUrl: https://mcp.example.com/mcp
  unauthenticated: {acknowledge: true}
  sessionKeyRef: {name: session, key: key}
`

// References are read as Kubernetes mounts them, and from nowhere else.
func TestReferences(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		name string
		lay  func(t *testing.T, secret string) // fills the folder <refs>/secrets/session
		want string                            // part of the mistake; "" for none
	}{
		{"a file", func(t *testing.T, secret string) { writeFile(t, filepath.Join(secret, "key"), []byte(key)) }, ""},
		{"a volume of Kubernetes", func(t *testing.T, secret string) {
			writeFile(t, filepath.Join(secret, "..2026_01_01", "key"), []byte(key))
			link(t, "..2026_01_01", filepath.Join(secret, "..data"))
			link(t, "..data/key", filepath.Join(secret, "key"))
		}, ""},
		{"nothing", func(*testing.T, string) {}, "secrets/session/key: no such file or directory"},
		{"31 bytes", func(t *testing.T, secret string) { writeFile(t, filepath.Join(secret, "key"), []byte(key[1:])) }, "holds 31 bytes"},
		{"empty", func(t *testing.T, secret string) { writeFile(t, filepath.Join(secret, "key"), nil) }, "is empty"},
		{"a folder", func(t *testing.T, secret string) { writeFile(t, filepath.Join(secret, "key", "key"), []byte(key)) }, "not a regular file"},
		{"a way out", func(t *testing.T, secret string) {
			outside := filepath.Join(t.TempDir(), "key")
			writeFile(t, outside, []byte(key))
			if err := os.MkdirAll(secret, 0o755); err != nil {
				t.Fatal(err)
			}
			link(t, outside, filepath.Join(secret, "key"))
		}, "path escapes"},
		{"2 MiB", func(t *testing.T, secret string) { writeFile(t, filepath.Join(secret, "key"), make([]byte, 2<<20)) }, "larger than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.lay(t, filepath.Join(dir, "secrets", "session"))
			file := filepath.Join(t.TempDir(), "proxy.yaml")
			writeFile(t, file, []byte(withKey))
			p, problems := config.Load([]string{file}, config.LoadOptions{Refs: dir})
			if tt.want == "" {
				if p == nil || p.SessionKey.Reveal() != key {
					t.Fatalf("%+v\n%s", p, problems)
				}
				return
			}
			if got := problems.Errors().String(); p != nil || !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %q", got, tt.want)
			}
			if strings.Contains(problems.String(), key[1:]) {
				t.Error("the key is told")
			}
		})
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Skip("no symlinks here:", err)
	}
}

// A file that can't be read, or is no document at all, is a mistake that names it.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		writeFile(t, name, []byte(text))
		return name
	}
	for _, tt := range []struct{ path, want string }{
		{filepath.Join(dir, "gone.yaml"), "can't be read"},
		{filepath.Dir(write("empty/readme.md", "x")), "holds no *.yaml"},
		{write("large.yaml", strings.Repeat("# comment\n", 1<<17)), "larger than 1 MiB"},
		{write("wide.yaml", withKey+"  resources: ["+strings.Repeat("1,", 100_000)+"]\n"), "more than 100000 values"},
		{write("deep.yaml", withKey+"  resources: "+strings.Repeat("[", 500)+strings.Repeat("]", 500)+"\n"), "nested deeper"},
		{write("nothing.yaml", "# nothing\n"), "hold no MCPRemoteProxy"},
		{write("binary.yaml", "\x00\x01"), "can't be parsed"},
		{write("bomb.yaml", withKey+"  resources: {a: &a [1,1], b: &b [*a,*a,*a,*a], c: [*b,*b,*b]}\n"), "aliases are refused"},
	} {
		p, problems := config.Load([]string{tt.path}, config.LoadOptions{})
		if p != nil || !strings.Contains(problems.Errors().String(), tt.want) {
			t.Errorf("%s: got %s, want %q", tt.path, problems, tt.want)
		}
	}
}

// Naming a file twice, or a folder and a file in it, is naming it once.
func TestFileNamedTwice(t *testing.T) {
	p, problems := config.Load([]string{"testdata/tutorial", "testdata/tutorial/aws-sts-auth-config.yaml", "./testdata/tutorial"}, config.LoadOptions{})
	if p == nil {
		t.Error(problems)
	}
}

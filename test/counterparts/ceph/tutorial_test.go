package ceph_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// page is the tutorial.
type page struct {
	t    *testing.T
	text string
}

func tutorial(t *testing.T) page {
	t.Helper()
	text, err := os.ReadFile("../../../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	return page{t, string(text)}
}

// section is the part of a heading.
func (p page) section(heading string) page {
	p.t.Helper()
	_, rest, ok := strings.Cut(p.text, "\n## "+heading)
	if !ok {
		p.t.Fatalf("the tutorial has no section %q", heading)
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return page{p.t, part}
}

var (
	fences   = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
	fileName = regexp.MustCompile("`([a-z0-9-]+\\.(?:json|yaml))`")
)

// blocks are the fenced texts of a language.
func (p page) blocks(language string) []string {
	var all []string
	for _, m := range fences.FindAllStringSubmatch(p.text, -1) {
		if m[1] == language {
			all = append(all, m[2])
		}
	}
	return all
}

// files are the fenced texts of a language by the file name that was said last before each.
func (p page) files(language string) map[string]string {
	p.t.Helper()
	all := map[string]string{}
	for _, m := range fences.FindAllStringSubmatchIndex(p.text, -1) {
		if p.text[m[2]:m[3]] != language {
			continue
		}
		said := fileName.FindAllStringSubmatch(p.text[:m[0]], -1)
		if len(said) == 0 {
			p.t.Fatalf("no file name before\n%s", p.text[m[4]:m[5]])
		}
		name := said[len(said)-1][1]
		if all[name] == "" { // later ones show parts
			all[name] = p.text[m[4]:m[5]]
		}
	}
	return all
}

// reader is who follows the tutorial, with Ceph for AWS and an issuer of their own.
type reader struct {
	t      *testing.T
	issuer *issuer
	dir    string   // where the files are saved
	env    []string // of the shell
}

// newReader puts an `aws` first on the PATH that goes to Ceph, so that commands are typed as they are written.
func newReader(t *testing.T, i *issuer, endpoint string) *reader {
	t.Helper()
	r := &reader{t: t, issuer: i, dir: t.TempDir()}
	bin := t.TempDir()
	script := lab.Write(t, bin, "aws", "#!/bin/sh\nexec "+cli(t)+" --endpoint-url "+endpoint+" \"$@\"\n")
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(bin, "none")
	r.env = lab.Environment("PATH="+bin+":"+os.Getenv("PATH"), "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none)
	return r
}

// fill puts this reader's values where the tutorial has placeholders. One thing differs: the test's issuer is http.
func (r *reader) fill(text string) string {
	r.t.Helper()
	text = strings.NewReplacer(
		"https://<YOUR_OIDC_ISSUER>", r.issuer.URL(), "<YOUR_OIDC_ISSUER>", r.issuer.bare(), "<YOUR_OIDC_AUDIENCE>", audience,
		"<YOUR_AWS_REGION>", "us-east-1", "<YOUR_AWS_ACCOUNT_ID>", account, "<YOUR_DOMAIN>", "mcp.example.com",
	).Replace(text)
	if left := regexp.MustCompile(`<YOUR_\w+>`).FindString(text); left != "" {
		r.t.Fatalf("a placeholder that this test does not know: %s", left)
	}
	return text
}

// What Ceph 16.2 wants that the tutorial does not say. This, and the http of fill, is all of it:
//
//   - A provider has thumbprints: here that of the certificate of the issuer's key. AWS finds them itself.
//   - There is no space in a policy: Ceph's IAM takes the "+" of a form, which stands for one, for a plus sign, and
//     refuses what is then no JSON.
//   - The issuer is http and has a port, which AWS refuses (fill).

// withThumbprint adds the thumbprint to the command that wants it.
func (r *reader) withThumbprint(command string) string {
	if strings.Contains(command, "create-open-id-connect-provider") {
		return strings.TrimSpace(command) + " \\\n  --thumbprint-list " + r.issuer.thumbprint(registered) + "\n"
	}
	return command
}

// withoutSpaces is a JSON document without the spaces between its words.
func (r *reader) withoutSpaces(document string) string {
	r.t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(document)); err != nil {
		r.t.Fatalf("%v in\n%s", err, document)
	}
	if strings.Contains(out.String(), " ") {
		r.t.Fatalf("a space within a word of\n%s", document)
	}
	return out.String()
}

// save saves the policies of a section under the names that it gives them.
func (r *reader) save(section page) {
	r.t.Helper()
	for name, text := range section.files("json") {
		lab.Write(r.t, r.dir, name, r.withoutSpaces(r.fill(text)))
	}
}

// enter types the commands of a section as an administrator of the account.
func (r *reader) enter(section page) string {
	r.t.Helper()
	var said strings.Builder
	for _, block := range section.blocks("sh") {
		said.WriteString(r.sh(administrator, r.withThumbprint(r.fill(block))))
	}
	return said.String()
}

// keys are what a command is signed with.
type keys struct{ id, secret, session string }

var administrator = keys{id: keyID, secret: secret}

// sh runs a script, which must succeed.
func (r *reader) sh(as keys, script string) string {
	r.t.Helper()
	env := append(r.env[:len(r.env):len(r.env)], "AWS_ACCESS_KEY_ID="+as.id, "AWS_SECRET_ACCESS_KEY="+as.secret)
	if as.session != "" {
		env = append(env, "AWS_SESSION_TOKEN="+as.session)
	}
	out, err := lab.Output(r.t, r.dir, time.Minute, env, lab.Program(r.t, "bash"), "-euo", "pipefail", "-c", script)
	if err != nil {
		r.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return out
}

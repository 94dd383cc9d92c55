package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	trouble "github.com/rolegate/rolegate/internal/fake/stage"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

const tutorial = "docs/tutorial.md"

// shell runs a script with bash. The programs that it needs are there, or the test is skipped.
func shell(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, environment(env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s%s", err, script, out, &stderr)
	}
	return string(out)
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("skipped: there is no %s here", p)
		}
	}
}

// swap replaces a text that must be there, once.
func swap(t *testing.T, s, old, with string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q is there %d times, not once, in\n%s", old, strings.Count(s, old), s)
	}
	return strings.Replace(s, old, with, 1)
}

// filled puts a world's values where the tutorial has placeholders.
func filled(t *testing.T, w *fake.World, text string) string {
	t.Helper()
	_, bare, _ := strings.Cut(w.IDP.URL(), "://")
	text = strings.NewReplacer(
		"https://<YOUR_OIDC_ISSUER>", w.IDP.URL(), "<YOUR_OIDC_ISSUER>", bare, "<YOUR_OIDC_AUDIENCE>", fake.Audience,
		"<YOUR_AWS_REGION>", fake.Region, "<YOUR_AWS_ACCOUNT_ID>", fake.Account, "<YOUR_DOMAIN>", "mcp.example.com",
	).Replace(text)
	if left := regexp.MustCompile(`<YOUR_\w+>`).FindString(text); left != "" {
		t.Fatalf("a placeholder that this test does not know: %s", left)
	}
	return text
}

// adapted makes the few changes that a world without TLS and AWS needs.
func adapted(t *testing.T, w *fake.World, proxy string, port int) string {
	t.Helper()
	proxy = swap(t, proxy, "https://aws-mcp.us-east-1.api.aws/mcp", w.RemoteURL())
	proxy = swap(t, proxy, "      audience: "+fake.Audience+"\n", "      audience: "+fake.Audience+"\n      insecureAllowHTTP: true\n")
	return swap(t, proxy, "proxyPort: 8080", "proxyPort: "+strconv.Itoa(port))
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := trouble.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestTutorial does what docs/tutorial.md says, with its documents, its trust policy and its commands as written.
func TestTutorial(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "curl", "grep", "awk", "tr")
	w := newWorld(t)
	trust := filled(t, w, blockWith(t, tutorial, "json", "sts:AssumeRoleWithWebIdentity"))
	for _, name := range []string{"DefaultMCPRole", "S3ReadOnlyMCPRole", "AdminMCPRole"} {
		if _, err := w.STS.AddRole(sts.Role{Name: name, Trust: trust}); err != nil {
			t.Fatal(err)
		}
	}
	play(t, w,
		filled(t, w, blockWith(t, tutorial, "yaml", "kind: MCPExternalAuthConfig")),
		filled(t, w, blockWith(t, tutorial, "yaml", "kind: MCPRemoteProxy")))
}

// TestTutorialOnKubernetes plays the same with the manifests that were made for a cluster.
func TestTutorialOnKubernetes(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "curl", "grep", "awk", "tr")
	w := newWorld(t)
	folder := filepath.Join(root, "config", "testdata", "tutorial")
	proxy := readFile(t, filepath.Join(folder, "aws-mcp-remote-proxy.yaml"))
	play(t, w, readFile(t, filepath.Join(folder, "aws-sts-auth-config.yaml")),
		regexp.MustCompile(`(?m)^(      issuer: ).*$`).ReplaceAllString(proxy, "${1}"+w.IDP.URL()))
}

// play plays steps 4 and 5.
func play(t *testing.T, w *fake.World, auth, proxy string) {
	dir, port := t.TempDir(), freePort(t)
	writeFile(t, filepath.Join(dir, "aws-sts-auth-config.yaml"), auth)
	writeFile(t, filepath.Join(dir, "aws-mcp-remote-proxy.yaml"), adapted(t, w, proxy, port))

	commands := block{text: blockWith(t, tutorial, "sh", "rolegate check")}.commands()
	if len(commands) != 2 || !strings.HasPrefix(commands[1], "rolegate run ") {
		t.Fatalf("commands %q; they should be check and run", commands)
	}
	if out := shell(t, dir, commands[0]); out != "" {
		t.Errorf("check says\n%s", out)
	}
	run := append(strings.Fields(commands[1])[1:], "--admin-listen", "127.0.0.1:0")
	p := start(t, dir, environment(w.Env()...), run...)
	p.says("msg=serving")

	here := strings.NewReplacer("localhost:8080", "localhost:"+strconv.Itoa(port))
	refused := here.Replace(blockWith(t, tutorial, "sh", "%{http_code}"))
	if got := shell(t, dir, refused); got != "401" {
		t.Errorf("without a token: %q; it should be 401", got)
	}
	list := here.Replace(blockWith(t, tutorial, "sh", "SESSION=$(curl"))
	out := shell(t, dir, list+"\nprintf '\\nSESSION=%s\\n' \"$SESSION\"", "TOKEN="+w.Token("ann"))
	answer, session, _ := strings.Cut(out, "\nSESSION=")
	if session = strings.TrimSpace(session); session == "" {
		t.Error("no session id")
	}
	wantTools(t, answer)

	grepped(t, dir, p, w, session)
}

// wantTools wants the answer to tools/list to be the remote's tools.
func wantTools(t *testing.T, answer string) {
	t.Helper()
	raw, err := resultOf([]byte(answer))
	var result struct{ Tools []struct{ Name string } }
	if err == nil {
		err = json.Unmarshal(raw, &result)
	}
	if err != nil || len(result.Tools) != 8 {
		t.Errorf("%d tools, %v; it should be the remote's 8:\n%s", len(result.Tools), err, answer)
	}
}

// grepped wants the tutorial's greps to find in the log what it promises.
func grepped(t *testing.T, dir string, p *process, w *fake.World, session string) {
	t.Helper()
	p.says("method=tools/list")
	expired := &client{url: "http://" + listening(t, p) + "/mcp", token: w.ExpiredToken("ann"), session: session}
	if _, err := expired.call(t.Context(), "tools/list", `{}`); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("an expired token: %v; it should be 401", err)
	}
	p.says("status=401", "expired")
	writeFile(t, filepath.Join(dir, "rolegate.log"), p.log.String())

	greps := block{text: blockWith(t, tutorial, "sh", "grep -i role")}.commands()
	if len(greps) != 2 {
		t.Fatalf("greps %q; they should be two", greps)
	}
	found := map[string]string{}
	for _, command := range greps {
		pipe := swap(t, command, "rolegate run -f ... 2>&1", "cat rolegate.log")
		found[pipe[strings.LastIndex(pipe, " ")+1:]] = shell(t, dir, pipe)
	}
	promised := []struct {
		word  string
		parts []string
	}{
		{"role", []string{
			"auth=ok", "caller=ann", "method=tools/list", "role=" + fake.S3Role, "why=", "s3-readers", "session_name=ann", "sts=hit", "status=200",
		}},
		{"role", []string{"method=initialize", "role=" + fake.S3Role, "sts=miss", "status=200"}},
		{"auth", []string{"auth=ok", "caller=ann", "decision=allowed"}},
		{"auth", []string{"auth=", "status=401", "decision=unauthenticated", "hint="}},
		{"auth", []string{"auth=", "expired", "status=401"}},
	}
	for _, want := range promised {
		if lineWith(found[want.word], want.parts...) == "" {
			t.Errorf("grep -i %s finds no line with %q:\n%s", want.word, want.parts, found[want.word])
		}
	}
}

// listening is the address that a process told, as one that can be dialled.
func listening(t *testing.T, p *process) string {
	t.Helper()
	m := regexp.MustCompile(` listen=\S*:(\d+) `).FindStringSubmatch(p.says("msg=serving"))
	if m == nil {
		t.Fatal("the log does not tell the address")
	}
	return "localhost:" + m[1]
}

// TestFragmentsOfTheTutorial: what the tutorial shows of a document fits into the document.
func TestFragmentsOfTheTutorial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	auth := filled(t, w, blockWith(t, tutorial, "yaml", "kind: MCPExternalAuthConfig"))
	upTo, _, ok := strings.Cut(auth, "    roleMappings:\n")
	if !ok {
		t.Fatal("the document has no roleMappings")
	}
	fragment := filled(t, w, blockWith(t, tutorial, "yaml", "- matcher:"))
	proxy := adapted(t, w, filled(t, w, blockWith(t, tutorial, "yaml", "kind: MCPRemoteProxy")), 8080)
	g := serve(t, w, upTo+fragment+"---\n"+proxy)
	wantRoleOf(t, g.caller("bob"), fake.AdminRole)
	wantRoleOf(t, g.caller("eve"), fake.DefaultRole)

	for _, b := range fenced(t, tutorial, "json") {
		if !json.Valid([]byte(b.text)) {
			t.Errorf("%s:%d: not JSON", b.file, b.line)
		}
	}
}

func wantRoleOf(t *testing.T, c *client, role string) {
	t.Helper()
	c.enter(t)
	if got, err := c.whoami(t.Context()); err != nil || got != role {
		t.Errorf("the server saw role %q (%v); it should be %q", got, err, role)
	}
}

// TestCommandsOfOperationsAndHelp runs what docs/operations.md and the help texts say, on folders of this test.
func TestCommandsOfOperationsAndHelp(t *testing.T) {
	t.Parallel()
	var commands []string
	for _, b := range fenced(t, "docs/operations.md", "sh") {
		commands = append(commands, b.commands()...)
	}
	for _, c := range newRoot().Commands() {
		commands = append(commands, block{text: c.Example}.commands()...)
	}
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc") + "/"
	w := newWorld(t)
	documents := swap(t, w.Documents(), "  transport: streamable-http\n", "  transport: streamable-http\n  sessionKeyRef: {name: session, key: key}\n")
	mkdir(t, filepath.Join(etc, "refs", "secrets", "session"))
	writeFile(t, filepath.Join(etc, "refs", "secrets", "session", "key"), strings.Repeat("0123456789", 4))
	writeFile(t, filepath.Join(etc, "aws.yaml"), documents)
	mkdir(t, filepath.Join(dir, "examples"))
	writeFile(t, filepath.Join(dir, "examples", "aws.yaml"), readFile(t, filepath.Join(root, "examples", "aws.yaml")))

	served := 0
	for _, command := range commands {
		args := strings.Fields(strings.ReplaceAll(command, "/etc/rolegate/", etc))
		switch {
		case len(args) < 2 || args[0] != "rolegate":
			t.Errorf("not a rolegate command: %s", command)
		case args[1] == "run":
			served++
			// Nothing may leave this machine: the example's issuer is out of reach, and rolegate starts all the same.
			env := environment(append(w.Env(), "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=")...)
			p := start(t, dir, env, append(args[1:], "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")...)
			admin := regexp.MustCompile(`admin"?[=:]"?([0-9.:]+)`).FindStringSubmatch(p.says("serving"))
			if admin == nil {
				t.Fatalf("%s: no admin address", command)
			}
			if resp, err := http.Get("http://" + admin[1] + "/healthz"); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: /healthz: %v, %v", command, resp, err)
			}
		case args[1] == "check":
			cmd := exec.Command("rolegate", args[1:]...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		case args[1] == "demo": // testdata/script/demo.txtar and TestCommandsOfTheDemo
		default:
			t.Errorf("this test does not know how to run %s", command)
		}
	}
	if served < 2 {
		t.Errorf("%d commands that serve", served)
	}
}

// TestCommandsOfTheDemo pastes what demo --stay prints.
func TestCommandsOfTheDemo(t *testing.T) {
	t.Parallel()
	needs(t, "bash", "curl", "grep", "awk", "tr", "sed")
	dir := t.TempDir()
	p := start(t, dir, environment(), "demo", "--stay", "--listen", "127.0.0.1:0")
	p.says("Ctrl-C ends it.")
	rest := p.log.String()
	upTo := func(text string) (before string) {
		t.Helper()
		before, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("the demo does not print %q:\n%s", text, p.log)
		}
		rest = after
		return strings.TrimSpace(before)
	}
	upTo("Paste into another terminal:\n")
	paste := upTo("Users: ") + "\nprintf '\\nSESSION=%s\\n' \"$SESSION\""
	upTo("A client's configuration:\n")
	configuration := upTo("Let the server refuse one request (the client sees it):\n")
	refuse := upTo("Take STS away (callers with live credentials notice nothing), and heal it:\n")
	away, heal, _ := strings.Cut(upTo("Metrics: "), "\n")

	pasted := func() (answer, session string) {
		status, out, _ := strings.Cut(shell(t, dir, paste), "\n")
		answer, session, _ = strings.Cut(out, "\nSESSION=")
		if status != "401" {
			t.Errorf("without a token: %s; it should be 401", status)
		}
		return answer, strings.TrimSpace(session)
	}
	answer, session := pasted()
	wantTools(t, answer)
	if session == "" {
		t.Error("no session id")
	}
	var configured struct {
		MCPServers map[string]struct{ Type, URL string }
	}
	if err := json.Unmarshal([]byte(configuration), &configured); err != nil || !strings.Contains(paste, configured.MCPServers["aws"].URL) {
		t.Errorf("client configuration: %v\n%s", err, configuration)
	}

	shell(t, dir, away)
	answer, _ = pasted()
	wantTools(t, answer)
	shell(t, dir, heal)
	shell(t, dir, refuse)
	token, _, _ := strings.Cut(paste, "\n")
	c := client{url: configured.MCPServers["aws"].URL, token: strings.TrimSpace(shell(t, dir, token+"\necho $TOKEN"))}
	if _, err := c.call(t.Context(), "initialize", `{}`); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("a request that the server refuses: %v; it should be 429", err)
	}
	answer, _ = pasted()
	wantTools(t, answer)
}

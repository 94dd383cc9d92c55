//go:build unix

package faults_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// process is the built rolegate, beside the test, in the stand's place.
type process struct {
	*stand
	cmd   *exec.Cmd
	file  string        // the documents
	admin string        // base URL
	ended chan struct{} // closed when it has ended; then code is its exit code
	code  int
}

// launch starts the binary for the stand's documents. Where stderr is nil its log goes to the stand's, and the addresses
// are read from there; else they have to be among the arguments.
func (s *stand) launch(stderr *os.File, args ...string) *process {
	t := s.t
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{stand: s, file: filepath.Join(t.TempDir(), "documents.yaml"), ended: make(chan struct{})}
	p.write(s.documents)
	if stderr == nil {
		args = append(args, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	}
	p.cmd = exec.Command(path, append([]string{"run", "-f", p.file, "--log-format", "json"}, args...)...)
	p.cmd.Dir = filepath.Dir(p.file)
	p.cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL_STS="+s.sts.url())
	if p.cmd.Stdout, p.cmd.Stderr = s.log, s.log; stderr != nil {
		p.cmd.Stderr = stderr // the records of audit go on to the stand's
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code says it
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if n := len(s.log.lines("DATA RACE")); n > 0 || t.Failed() {
			t.Errorf("%d data races; the end of its log:\n%s", n, tail(s.log.String()))
		}
	})
	if stderr == nil {
		p.addresses()
	}
	return p
}

func tail(text string) string { return text[max(0, len(text)-20_000):] }

func (p *process) addresses() {
	var told struct{ Listen, Admin string }
	eventually(p.t, "it tells where it serves", func() bool {
		lines := p.log.lines(`"msg":"serving"`)
		return len(lines) > 0 && json.Unmarshal([]byte(lines[0]), &told) == nil
	})
	p.url, p.admin = "http://"+told.Listen+"/mcp", "http://"+told.Admin
}

// serving waits until it is ready.
func (p *process) serving() *process {
	p.t.Helper()
	eventually(p.t, "it is ready", func() bool { status, _ := p.ask("/readyz"); return status == http.StatusOK })
	return p
}

// ask asks on the admin address; status 0 where nobody answers.
func (p *process) ask(path string) (status int, text string) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Close = true
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// write replaces the documents in one step, as an editor or Kubernetes does.
func (p *process) write(documents string) {
	p.t.Helper()
	if err := os.WriteFile(p.file+".new", []byte(documents), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.file+".new", p.file); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Error(err)
	}
}

// ends waits for its end: in order, and in time.
func (p *process) ends(begin time.Time, within time.Duration) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("it does not end")
	}
	if d := time.Since(begin); p.code != 0 || d > within {
		p.t.Errorf("it ended with exit code %d after %v; want 0 within %v", p.code, d, within)
	}
}

var number = regexp.MustCompile(`(?m)^(\S+) (\S+)$`)

// metric reads one number of its metrics; -1 where it is not there.
func (p *process) metric(name string) float64 {
	_, text := p.ask("/metrics")
	for _, m := range number.FindAllStringSubmatch(text, -1) {
		if m[1] == name {
			v, err := strconv.ParseFloat(m[2], 64)
			if err == nil {
				return v
			}
		}
	}
	return -1
}

// held is what the process holds when nobody is connected to it and it has no good connection: goroutines, descriptors.
// A call makes it look at the connections to the remote, all of which have been closed.
func (p *process) held() (goroutines float64, descriptors int) {
	for range 2 {
		for _, f := range []*front{p.idp, p.sts, p.aws} {
			f.cut()
		}
		p.do(whoami(p.world.Token(p.world.UserNames()[0])))
	}
	p.client.CloseIdleConnections()
	p.sts.cut()
	return p.metric("go_goroutines"), openFiles(strconv.Itoa(p.cmd.Process.Pid))
}

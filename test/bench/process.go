package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

// process is a program that runs beside this one.
type process struct {
	name   string
	cmd    *exec.Cmd
	in     io.Closer
	out    *bufio.Reader
	ended  chan struct{} // closed when it has ended
	err    error         // why, once it has
	gentle bool          // it ends with its input, and has something to write before
}

// launch starts a program. Its errors go to a file, which a process's log is a part of.
func launch(ctx context.Context, name string, env []string, errFile string, program string, args ...string) (*process, error) {
	log, err := os.Create(errFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p := &process{name: name, cmd: exec.CommandContext(ctx, program, args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stderr = env, log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	tie(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) stop() {
	if p.gentle {
		_ = p.in.Close()
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// cpu is the processor time that it has used so far.
func (p *process) cpu() (time.Duration, error) { return cpuTime(p.cmd.Process.Pid) }

// memory is a figure of the kernel's about its memory, in bytes: Rss or Pss, from /proc/PID/smaps_rollup, or VmHWM,
// from /proc/PID/status.
func (p *process) memory(figure string) (float64, error) {
	file := "smaps_rollup"
	if figure == "VmHWM" {
		file = "status"
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, figure+":"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", figure, file)
}

// until waits for something of a process to become true, looking every so often.
func (p *process) until(what string, every time.Duration, ok func() bool) error {
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(every) {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended (%w) before it was %s", p.name, p.err, what)
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is not %s", p.name, what)
		}
	}
	return nil
}

// environment is this one's without what would lead elsewhere, and with more.
func environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		if !strings.HasPrefix(name, "AWS_") && !strings.HasSuffix(name, "_PROXY") && name != "GOMEMLIMIT" && name != "GOGC" && name != "GODEBUG" {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// freeAddress is one of loopback that nobody listens on.
func freeAddress() (string, error) {
	port, err := stage.Port()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// listening says whether somebody does, at an address.
func listening(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// metric reads one of a process's own figures from its metrics; labelled ones are summed up.
func metric(admin, name string) (float64, error) {
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	sum, found := 0.0, false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if bare, _, _ := strings.Cut(series, "{"); bare != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, errors.Join(fmt.Errorf("no metric %s", name), lines.Err())
	}
	return sum, nil
}

//go:build unix

package faults_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/stage"
)

// TestTenThousandRequestsWhileTheDocumentsChange: SIGHUP every 100 ms swaps roles, key sets and the way to the remote
// under load. Every request is answered, with its own answer and in a role of its own caller, and afterwards the process
// holds what it held before.
func TestTenThousandRequestsWhileTheDocumentsChange(t *testing.T) {
	t.Parallel()
	total := 10_000
	if testing.Short() || underRace {
		total = 1500
	}
	const workers = 32
	all, users := members(20)
	p := placeEcho(t, users).mostlyQuick().launch(nil).serving()
	for _, m := range all {
		c := whoami(p.world.Token(m.name))
		p.do(c).allowed(t, c, patience)
	}
	goroutines, descriptors := p.held()

	over := make(chan struct{})
	var hangups sync.WaitGroup
	var sent int
	hangups.Go(func() { sent = p.hangups(over) })
	n, begin := seed(t), time.Now()
	var load sync.WaitGroup
	var next atomic.Int64
	for w := range workers {
		load.Go(func() {
			r := rand.New(rand.NewPCG(n, uint64(w)))
			tokens := map[int]string{}
			for i := next.Add(1); i <= int64(total); i = next.Add(1) {
				who := r.IntN(len(all))
				if tokens[who] == "" {
					tokens[who] = p.world.Token(all[who].name)
				}
				text, filling := nonce(who, w, i), pad(r, 1500)
				c := echoCall(tokens[who], text, filling)
				a := p.do(c)
				if a.err != nil || a.status != http.StatusOK {
					t.Errorf("%s: %d %s (%v)", text, a.status, a.body, a.err)
				} else if err := mine(a, c, all[who], text, filling); err != nil {
					t.Error(err)
				}
			}
		})
	}
	load.Wait()
	took := time.Since(begin)
	close(over)
	hangups.Wait()
	t.Logf("%d requests in %v, %d signals", total, took.Round(time.Millisecond), sent)

	if seen := p.signedByTheirOwn(all); len(seen) != total {
		t.Errorf("the remote saw %d of %d requests", len(seen), total)
	}
	reloads := p.metric(`rolegate_config_reloads_total{result="ok"}`)
	if refused := len(p.log.lines("configuration not reloaded")); refused > 0 || reloads < float64(sent)/2 {
		t.Errorf("%v reloads of %d, %d refused", reloads, sent, refused)
	}
	p.settles(goroutines, descriptors)
	p.signal(syscall.SIGTERM)
	p.ends(time.Now(), prompt)
}

// hangups sends SIGHUP with other documents every 100 ms until over.
func (p *process) hangups(over <-chan struct{}) (sent int) {
	keySet := replace("audience: "+fake.Audience, "audience: "+fake.Audience+"\n      jwksUrl: "+p.world.IDP.JWKSURL())
	wire := spec("limits: {responseTimeout: 4m}")
	variants := []string{swapRoles(p.documents), wire(p.documents), keySet(p.documents), wire(swapRoles(p.documents)), p.documents}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p.write(variants[sent%len(variants)])
		p.signal(syscall.SIGHUP)
		sent++
		select {
		case <-over:
			return sent
		case <-tick.C:
		}
	}
}

// settles waits until the process holds no more than before, but for the few goroutines with which the Go runtime comes
// and goes, and the connection that asks. A leak is one for each request or reload: dozens.
func (p *process) settles(goroutines float64, descriptors int) {
	p.t.Helper()
	var g float64
	var d int
	if !settle(func() bool { g, d = p.held(); return g > 0 && g <= goroutines+4 && d <= descriptors+2 }) {
		p.t.Errorf("it holds %v goroutines, %v before the load; %d descriptors, %d before: %q", g, goroutines, d, descriptors, named(strconv.Itoa(p.cmd.Process.Pid)))
		p.signal(syscall.SIGQUIT) // its log ends with all stacks
		<-p.ended
		p.t.FailNow()
	}
}

// TestNothingIsLeftOfALoadInTrouble: a process whose counterparts failed in every way under load, and whose clients hung
// up, holds what it held before, and serves.
func TestNothingIsLeftOfALoadInTrouble(t *testing.T) {
	t.Parallel()
	all, users := members(30)
	p := placeEcho(t, users, spec("limits: {responseTimeout: 1s}")).launch(nil).serving()
	c := whoami(p.world.Token(all[0].name))
	p.do(c).allowed(t, c, patience)
	goroutines, descriptors := p.held()
	for _, trouble := range []func(){
		func() { p.world.STS.Fail(stage.Trouble{Kind: stage.Hang}) },
		func() { p.world.AWS.Fail(stage.Trouble{Kind: stage.Hang}) },
		func() { p.world.AWS.Fail(stage.Trouble{Kind: stage.Cut}) },
		func() { p.sts.breakAfter(300, true) },
		func() { p.aws.breakAfter(300, true) },
		func() { p.aws.kill() },
		func() { p.sts.kill() },
		func() { p.idp.kill() },
	} {
		trouble()
		var load sync.WaitGroup
		for n := range 60 {
			load.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
				defer cancel() // most hang up
				a := send(ctx, p.client, p.url, echoCall(p.world.Token(all[n%len(all)].name), nonce(n%len(all), n), "x"))
				if a.status == http.StatusUnauthorized {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		load.Wait()
		p.heal()
	}
	p.settles(goroutines, descriptors)
	eventually(t, "everyone is served", func() bool {
		for _, m := range all {
			if p.do(whoami(p.world.Token(m.name))).status != http.StatusOK {
				return false
			}
		}
		return true
	})
	if n := p.metric("rolegate_requests_in_flight"); n != 0 {
		t.Errorf("%v requests are still in flight", n)
	}
}

// TestTerminationUnderLoadAnswersEveryAcceptedRequest: SIGTERM amid short calls, long ones and listening streams. What
// reached the remote is answered, whole and in order; what could not be served any more never reached it; and the
// process ends with 0 as soon as the last call is answered.
func TestTerminationUnderLoadAnswersEveryAcceptedRequest(t *testing.T) {
	t.Parallel()
	const (
		workers = 32
		delay   = 300 * time.Millisecond
		longest = 800 * time.Millisecond
	)
	all, users := members(20)
	p := placeEcho(t, users).launch(nil, "--drain-delay", delay.String(), "--drain-timeout", "20s").serving()
	streams := p.listen(all, 8)
	var (
		load     sync.WaitGroup
		mu       sync.Mutex
		answered = map[string]bool{}
		term     atomic.Bool
	)
	for w := range workers {
		load.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			for i := 0; ; i++ {
				who := r.IntN(len(all))
				text, filling := nonce(who, w, i), pad(r, 1500)
				c := echoCall(p.world.Token(all[who].name), text, filling)
				if long := w%4 == 0; long { // its progress is streamed
					c = tool(c.token, "aws___run_script", `{"code":"stream:8:100ms"}`)
					c.body = strings.Replace(c.body, `"_meta":{`, `"_meta":{"progressToken":1,"nonce":"`+text+`",`, 1)
					filling = ""
				}
				a := p.do(c)
				if a.err != nil {
					if !term.Load() {
						t.Errorf("%s before the signal: %v", text, a.err)
					}
					return
				}
				if err := p.whole(a, c, all[who], text, filling); err != nil {
					t.Errorf("%s: %v", text, err)
				}
				mu.Lock()
				answered[text] = true
				mu.Unlock()
			}
		})
	}
	time.Sleep(time.Second)
	begin := time.Now()
	term.Store(true)
	p.signal(syscall.SIGTERM)
	p.ends(begin, delay+longest+prompt)
	load.Wait()
	for range 8 {
		if err := <-streams; err != nil {
			t.Errorf("a listening stream ended in disorder: %v", err)
		}
	}
	seen := p.signedByTheirOwn(all)
	for text, times := range seen {
		if !answered[text] || times != 1 {
			t.Errorf("request %s reached the remote %d times; answered: %v", text, times, answered[text])
		}
	}
	t.Logf("%d requests answered", len(answered))
	if len(answered) < 100/slack || len(answered) != len(seen) {
		t.Errorf("%d requests answered, %d reached the remote", len(answered), len(seen))
	}
	if n := len(p.log.lines(`"msg":"drained"`)); n != 1 {
		t.Errorf("the log tells of its end %d times", n)
	}
}

// whole checks an answer of either tool.
func (p *process) whole(a answer, c call, who member, nonce, filling string) error {
	if a.status != http.StatusOK {
		return fmt.Errorf("%d %s", a.status, a.body)
	}
	if strings.Contains(c.body, `"name":"echo"`) {
		return mine(a, c, who, nonce, filling)
	}
	m, err := a.message()
	if err != nil || m.Error != nil || !strings.Contains(string(m.Result), "8 steps") || strings.Count(a.body, "notifications/progress") != 8 {
		return fmt.Errorf("the stream is not whole: %s (%w)", a.body, err)
	}
	return nil
}

// listen opens listening streams; what it gives tells how each ended, nil for an end in order.
func (p *process) listen(all []member, n int) <-chan error {
	p.t.Helper()
	ended := make(chan error, n)
	for i := range n {
		token := p.world.Token(all[i].name)
		a := p.do(call{token: token, body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"faults","version":"1"}}}`})
		header := http.Header{"Mcp-Session-Id": {a.header.Get("Mcp-Session-Id")}}
		p.do(call{token: token, header: header, body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`})
		req, err := call{token: token, header: header, method: http.MethodGet}.request(p.t.Context(), p.url)
		if err != nil {
			p.t.Fatal(err)
		}
		resp, err := p.client.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			p.t.Fatalf("listen: %v %v", resp, err)
		}
		go func() {
			_, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			ended <- err
		}()
	}
	return ended
}

// TestTerminationDoesNotWaitForCounterpartsThatHang: neither for STS, nor for the remote, nor for the provider.
func TestTerminationDoesNotWaitForCounterpartsThatHang(t *testing.T) {
	t.Parallel()
	hang := stage.Trouble{Kind: stage.Hang}
	for name, begin := range map[string]func(s *stand){
		"STS":      func(s *stand) { s.world.STS.Fail(hang) },
		"remote":   func(s *stand) { s.world.AWS.Fail(hang) },
		"provider": func(s *stand) { s.world.IDP.Fail(hang) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := place(t, fake.Options{})
			begin(s)
			p := s.launch(nil, "--drain-timeout", "1s")
			if name != "provider" {
				p.serving()
			}
			called := make(chan answer, 1)
			go func() { called <- p.do(whoami(p.world.Token("ann"))) }()
			eventually(t, "the call is in flight", func() bool { return p.metric("rolegate_requests_in_flight") == 1 })
			time.Sleep(50 * time.Millisecond)
			at := time.Now()
			p.signal(syscall.SIGTERM)
			p.ends(at, time.Second+prompt)
			if a := <-called; a.err == nil && a.status == http.StatusOK {
				t.Errorf("the call that hung got %d %s", a.status, a.body)
			}
		})
	}
}

// TestAFullDiskUnderTheLogStopsNothing: the log can't be written, from the first line on. Requests are served, refused,
// and their documents read again all the same, and the process ends in order.
func TestAFullDiskUnderTheLogStopsNothing(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here:", err)
	}
	defer func() { _ = full.Close() }()
	if _, err := full.WriteString("x"); err == nil {
		t.Fatal("/dev/full takes what is written to it")
	}
	s := place(t, fake.Options{})
	// Where it listens can't be read from its log: an address of loopback that nobody else uses.
	host := fmt.Sprintf("127.%d.%d.%d", 16+rand.N(200), rand.N(256), 1+rand.N(254))
	p := s.launch(full, "--listen", host+":8080", "--admin-listen", host+":9090")
	p.url, p.admin = "http://"+host+":8080/mcp", "http://"+host+":9090"
	p.serving()
	serves := func(role string) {
		t.Helper()
		c := whoami(p.world.Token("ann"))
		if who := p.do(c).allowed(t, c, prompt); who.Role != role {
			t.Errorf("she is %s, want %s", who.Role, role)
		}
		if a := p.do(whoami("")); a.status != http.StatusUnauthorized {
			t.Errorf("without a token: %d %s (%v)", a.status, a.body, a.err)
		}
	}
	for range 100 {
		serves(fake.S3Role)
	}
	p.write("a: [")
	p.signal(syscall.SIGHUP)
	eventually(t, "the bad documents are refused", func() bool { return p.metric(`rolegate_config_reloads_total{result="error"}`) == 1 })
	serves(fake.S3Role)
	p.write(swapRoles(p.documents))
	p.signal(syscall.SIGHUP)
	eventually(t, "the good ones are taken", func() bool { return p.metric(`rolegate_config_reloads_total{result="ok"}`) == 1 })
	serves(fake.AdminRole)
	p.signal(syscall.SIGTERM)
	p.ends(time.Now(), prompt)
}

// TestAProviderThatIsDeadAtStartIsWaitedFor: the process starts, says that it is not ready, refuses with 503, and gets
// ready by itself.
func TestAProviderThatIsDeadAtStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := place(t, fake.Options{})
	s.idp.kill()
	p := s.launch(nil)
	if status, _ := p.ask("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	if status, text := p.ask("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d %s", status, text)
	}
	c := whoami(p.world.Token("ann"))
	p.refused(c, p.do(c), verdict{status: 503, decision: "unavailable", later: soon, within: prompt, unread: true})
	p.heal()
	p.serving()
	c = whoami(p.world.Token("ann"))
	p.do(c).allowed(t, c, prompt)
	p.signal(syscall.SIGTERM)
	p.ends(time.Now(), prompt)
}

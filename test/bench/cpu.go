package main

import (
	"fmt"
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

// cpuCase is one kind of call whose processor time is measured.
type cpuCase struct {
	key    string
	size   int // of a call's body, in bytes
	secure bool
	modern bool
	light  bool // at a fixed rate instead of as fast as it goes
}

// The load while processor time is measured: a fixed number of calls over a few connections, each sending its next call
// when it has the answer. Latency is not measured here, so that nothing is omitted by it; and a proxy that is always busy
// spends its time on calls. At a fixed rate with pauses in it, most of a figure is what the runtime and the kernel take to
// go to sleep and to wake up, which is the same for both proxies and hides the difference: that is the light case,
// told beside it.
const (
	cpuPairs  = 20 // slices of each proxy in a round
	fewConns  = 4
	manyConns = 16
	lightRate = 1000 // calls per second
)

func (c cpuCase) rate() int {
	if c.light {
		return lightRate
	}
	return 0
}

// calls is how many there are in a slice: a tenth of a second or so of them, since the machine changes its pace.
func (c cpuCase) calls() int {
	if c.size > 10<<10 {
		return 200
	}
	return 500
}

func (c cpuCase) conns() int {
	if c.light {
		return manyConns
	}
	return fewConns
}

func (c cpuCase) what() string {
	what := fmt.Sprintf("CPU per 1000 calls of %d KiB", c.size>>10)
	if c.modern {
		what += ", protocol 2026-07-28"
	}
	if c.light {
		what += fmt.Sprintf(", at %d/s", lightRate)
	}
	return what
}

func (c cpuCase) request(addr, token, session string) load.Request {
	if c.modern {
		return post(addr, modernHeader(token, session), modernBody(c.size))
	}
	return post(addr, clientHeader(token, session), callBody(c.size))
}

// runner is a proxy with somebody who calls it.
type runner struct {
	*proxy
	load     *load.Generator
	requests []load.Request
	lent     bool // the process is not the runner's to stop
}

func (r *runner) stop() {
	r.load.Close()
	if !r.lent {
		r.proxy.stop()
	}
}

// pair starts both proxies and opens a session at each.
func (b *bench) pair(secure bool, conns int, request func(addr, token, session string) load.Request) (map[string]*runner, error) {
	both := map[string]*runner{}
	for _, name := range []string{nameRolegate, nameBare} {
		r, err := b.runner(name, secure, conns, request)
		if err != nil {
			stopAll(both)
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		both[name] = r
	}
	return both, nil
}

func stopAll(all map[string]*runner) {
	for _, r := range all {
		r.stop()
	}
}

func (b *bench) runner(name string, secure bool, conns int, request func(addr, token, session string) load.Request) (*runner, error) {
	p, err := b.start(b.ctx, name, secure)
	if err != nil {
		return nil, err
	}
	return b.attend(p, name == nameRolegate, conns, request)
}

// attend opens a session at a proxy, and connections to it. Where it can't, it stops the proxy.
func (b *bench) attend(p *proxy, signed bool, conns int, request func(addr, token, session string) load.Request) (*runner, error) {
	token := b.world.Token("ann")
	session, err := b.enter(p.target(), token, signed)
	if err != nil {
		p.stop()
		return nil, err
	}
	g, err := load.Open(p.target(), conns)
	if err != nil {
		p.stop()
		return nil, err
	}
	return &runner{p, g, []load.Request{request(p.addr, token, session)}, false}, nil
}

// all runs a plan of which every call must be answered.
func (r *runner) all(calls, rate int) (load.Result, error) {
	result := r.load.Run(load.Plan{Requests: r.requests, Calls: calls, Rate: float64(rate)})
	if result.Errors > 0 {
		return result, fmt.Errorf("%s: %d of %d calls failed, the first with: %w", r.name, result.Errors, calls, result.First)
	}
	return result, nil
}

// cpu measures the processor time of the proxy process for a kind of call.
func (b *bench) cpu(c cpuCase) error {
	row := Row{Key: c.key, What: c.what(), Backend: backendName(c.secure), Unit: "ms"}
	for round := range b.rounds {
		both, err := b.pair(c.secure, c.conns(), c.request)
		if err != nil {
			return err
		}
		used, err := b.cpuRound(c, round, both)
		stopAll(both)
		if err != nil {
			return err
		}
		row.Rolegate, row.Bare = append(row.Rolegate, used[nameRolegate]), append(row.Bare, used[nameBare])
		b.progress(row)
	}
	b.report.add(row)
	return nil
}

// cpuRound gives each proxy's milliseconds for 1000 calls.
func (b *bench) cpuRound(c cpuCase, round int, both map[string]*runner) (map[string]float64, error) {
	for _, r := range both { // caches, connections and the collector's pace
		if _, err := r.all(b.few(2000, 200), c.rate()); err != nil {
			return nil, err
		}
	}
	used, calls := map[string]float64{}, map[string]int{}
	perSlice := c.calls()
	for _, name := range turns(round, b.few(cpuPairs, 2)) {
		r := both[name]
		before, err := r.cpu()
		if err != nil {
			return nil, err
		}
		if _, err := r.all(perSlice, c.rate()); err != nil {
			return nil, err
		}
		after, err := r.cpu()
		if err != nil {
			return nil, err
		}
		used[name] += float64(after-before) / float64(time.Millisecond)
		calls[name] += perSlice
	}
	for name := range used {
		used[name] *= 1000 / float64(calls[name])
	}
	return used, nil
}

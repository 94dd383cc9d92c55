package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

// How often STS is called. The counts are exact, so one round is enough.

// vaultConns are the connections of many users: enough to find each other waiting for STS.
const vaultConns = 64

// vault counts the calls of STS in three situations, each with a rolegate of its own that knows nobody yet.
func (b *bench) vault() error {
	many := b.few(1000, 100)
	for _, c := range []struct {
		key, what           string
		users, calls, conns int
	}{
		{"sts-one", "STS calls, 1 user x 1000", 1, 1000, manyConns},
		{"sts-many", fmt.Sprintf("STS calls, %d users x 10", many), many, 10 * many, vaultConns},
		{"sts-first", "STS calls, 100 first calls of 1 user at once", 1, 100, 100},
	} {
		counted, err := b.count(c.users, c.calls, c.conns)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		row := Row{Key: c.key, What: c.what, Unit: "calls", Rolegate: []float64{float64(counted)}}
		if b.quick && c.key == "sts-many" {
			row.Key = "" // the goal is of the whole number
		}
		b.progress(row)
		b.report.add(row)
	}
	return nil
}

// count is how often STS is called for so many calls of so many users.
func (b *bench) count(users, calls, conns int) (int, error) {
	p, err := b.start(b.ctx, nameRolegate, false)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	before := b.world.STS.Count()
	r, err := b.send(p, load.Plan{Requests: b.calls(p, 0, users), Calls: calls}, conns)
	if err != nil {
		return 0, err
	}
	if r.Errors > 0 {
		return 0, r.First
	}
	return b.world.STS.Count() - before, nil
}

// calls are one call for each of so many users, counted from a number on.
func (b *bench) calls(p *proxy, from, users int) []load.Request {
	var all []load.Request
	for i := range users {
		all = append(all, post(p.addr, clientHeader(b.token(from+i), ""), callBody(1<<10)))
	}
	return all
}

// send runs a plan over connections of its own.
func (b *bench) send(p *proxy, plan load.Plan, conns int) (load.Result, error) {
	g, err := load.Open(p.target(), conns)
	if err != nil {
		return load.Result{}, err
	}
	defer g.Close()
	return g.Run(plan), nil
}

// Credentials that live for 70 s are no longer served 10 s after they were lent, a minute before their end, and are
// due for a refresh after 7. STS takes a second, so that whoever waits for it is seen.
const (
	shortLife   = 70 * time.Second
	slowRefresh = time.Second
	waited      = slowRefresh / 2
)

// refresh calls steadily while credentials are refreshed, and counts who waits for it.
func (b *bench) refresh() error {
	p, err := b.start(b.ctx, nameRolegate, false)
	if err != nil {
		return err
	}
	defer p.stop()
	b.world.STS.SetLifetime(shortLife)
	b.slowSTS(slowRefresh)
	defer func() {
		b.world.STS.SetLifetime(0)
		b.slowSTS(stsLatency)
	}()
	requests := b.calls(p, 0, 1)
	before := b.world.STS.Count()
	if r, err := b.send(p, load.Plan{Requests: requests, Calls: 1}, 1); err != nil || r.Errors > 0 {
		return errors.Join(err, r.First)
	}
	seconds := b.few(18, 9)
	b.say("%d s of calls across refreshes of credentials", seconds)
	r, err := b.send(p, load.Plan{Requests: requests, Calls: seconds * latencyRate, Rate: latencyRate}, manyConns)
	if err != nil {
		return err
	}
	if r.Errors > 0 {
		return r.First
	}
	refreshes := b.world.STS.Count() - before - 1
	if refreshes < 1 {
		return errors.New("no refresh fell into the run")
	}
	var waits float64
	for _, d := range r.Latencies {
		if d >= waited {
			waits++
		}
	}
	b.report.add(
		Row{Key: "refresh-sts", What: "STS calls of refreshes while 1 user calls", Unit: "calls", Rolegate: []float64{float64(refreshes)}},
		Row{Key: "refresh-waits", What: fmt.Sprintf("calls of %d that waited for a refresh", len(r.Latencies)), Unit: "calls", Rolegate: []float64{waits}},
		Row{Key: "refresh-longest", What: "longest call across refreshes, STS taking 1 s", Unit: "ms", Rolegate: []float64{float64(load.Percentile(r.Latencies, 100)) / 1e6}},
	)
	return nil
}

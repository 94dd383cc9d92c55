package main

import (
	"fmt"
	"net"
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

// The crowd: many users of a process that has little memory.
const (
	crowdUsers = 2000
	crowdRate  = 500 // calls per second
	crowdEach  = 10  // calls of each user, the first one apart
	crowdLimit = "GOMEMLIMIT=128MiB"
)

// crowded is what is seen of one proxy.
type crowded struct {
	errors, sts             float64
	first, later, streaming float64 // p99 of the users' first calls, of the others, and of those beside open streams, in ms
	peak, peakStreaming     float64 // largest resident set, in MiB
}

// crowd has 2000 users call through a process with 128 MiB, first one by one, then all along, then with a stream open
// for each of them.
func (b *bench) crowd() error {
	users := b.few(crowdUsers, 200)
	b.say("minting tokens for %d users", users)
	var tokens []string
	for i := range users {
		tokens = append(tokens, b.token(i))
	}
	rows := []Row{
		{Key: "many-sts", What: "STS calls", Unit: "calls"},
		{Key: "many-errors", What: "errors", Unit: "calls"},
		{Key: "many-first", What: "p99 of first calls", Unit: "ms"},
		{Key: "many-later", What: "p99 of later calls", Unit: "ms"},
		{Key: "many-rss", What: "peak resident memory", Unit: "MiB"},
		{Key: "many-streaming", What: "p99 beside a stream for each", Unit: "ms"},
		{Key: "many-rss-streams", What: "peak resident memory with a stream for each", Unit: "MiB"},
	}
	for _, name := range turns(0, 1) {
		seen, err := b.crowdOf(name, tokens)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for i, v := range []float64{seen.sts, seen.errors, seen.first, seen.later, seen.peak, seen.streaming, seen.peakStreaming} {
			switch {
			case name == nameRolegate:
				rows[i].Rolegate = []float64{v}
			case rows[i].Key != "many-sts":
				rows[i].Bare = []float64{v}
			}
		}
	}
	for i := range rows {
		rows[i].What = fmt.Sprintf("%d users, 128 MiB: %s", users, rows[i].What)
		if b.quick && rows[i].Key == "many-sts" {
			rows[i].Key = "" // the goal is of the whole number
		}
		b.progress(rows[i])
	}
	b.report.add(rows...)
	return nil
}

func (b *bench) crowdOf(name string, tokens []string) (seen crowded, err error) {
	p, err := b.start(b.ctx, name, false, crowdLimit)
	if err != nil {
		return seen, err
	}
	defer p.stop()
	var calls, listens []load.Request
	for _, token := range tokens {
		calls = append(calls, post(p.addr, clientHeader(token, ""), callBody(1<<10)))
		listens = append(listens, listenRequest(p.addr, token))
	}
	before := b.world.STS.Count()
	send := func(n int) (p99 float64, err error) {
		r, err := b.send(p, load.Plan{Requests: calls, Calls: n, Rate: crowdRate}, vaultConns)
		seen.errors += float64(r.Errors)
		if r.First != nil {
			b.say("%s: %v", name, r.First)
		}
		return float64(load.Percentile(r.Latencies, 99)) / float64(time.Millisecond), err
	}
	b.say("%s: %d users' first calls, and %d each after them", name, len(tokens), crowdEach)
	if seen.first, err = send(len(calls)); err != nil {
		return seen, err
	}
	if seen.later, err = send(crowdEach * len(calls)); err != nil {
		return seen, err
	}
	if seen.peak, err = p.memory("VmHWM"); err != nil {
		return seen, err
	}
	b.say("%s: a stream for each of them", name)
	open, err := listenAll(p, listens)
	defer closeAll(open)
	if err != nil {
		return seen, err
	}
	if seen.streaming, err = send(5 * len(calls)); err != nil {
		return seen, err
	}
	seen.peakStreaming, err = p.memory("VmHWM")
	seen.sts = float64(b.world.STS.Count() - before)
	seen.peak, seen.peakStreaming = seen.peak/(1<<20), seen.peakStreaming/(1<<20)
	return seen, err
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// listenAll opens a stream with each of the requests. Close what it gives, also where it fails.
func listenAll(p *proxy, requests []load.Request) ([]net.Conn, error) {
	var open []net.Conn
	for i, r := range requests {
		c, err := load.Listen(p.target(), r)
		if err != nil {
			return open, fmt.Errorf("open stream %d: %w", i, err)
		}
		open = append(open, c)
	}
	return open, nil
}

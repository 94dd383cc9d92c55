package main

import (
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

const (
	latencyRate  = 200 // calls per second
	latencyTurns = 10  // slices of a second, of each proxy and of the backend itself, in a round
	nameDirect   = "direct"
)

// suffixed names a row's variant.
func suffixed(key string, secure bool) string {
	if secure {
		return key + "-tls"
	}
	return key
}

// latency measures what a proxy adds to a call's time at a fixed rate: the percentile through it less that of the same
// calls to the backend itself in the same round.
func (b *bench) latency(secure bool) error {
	row := func(key, what string) Row {
		return Row{Key: suffixed(key, secure), What: what, Backend: backendName(secure), Unit: "us"}
	}
	p50, p99 := row("p50", "added latency at 200/s, median"), row("p99", "added latency at 200/s, p99")
	for round := range b.rounds {
		seen, err := b.latencyRound(round, secure)
		if err != nil {
			return err
		}
		added := func(name string, p float64) float64 {
			return micro(load.Percentile(seen[name], p) - load.Percentile(seen[nameDirect], p))
		}
		p50.Rolegate, p50.Bare = append(p50.Rolegate, added(nameRolegate, 50)), append(p50.Bare, added(nameBare, 50))
		p99.Rolegate, p99.Bare = append(p99.Rolegate, added(nameRolegate, 99)), append(p99.Bare, added(nameBare, 99))
		b.progress(p50)
		b.progress(p99)
	}
	b.report.add(p50, p99)
	return nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (b *bench) latencyRound(round int, secure bool) (map[string][]time.Duration, error) {
	all, err := b.pair(secure, manyConns, cpuCase{size: 1 << 10}.request)
	if err != nil {
		return nil, err
	}
	defer stopAll(all)
	if all[nameDirect], err = b.straight(secure); err != nil {
		return nil, err
	}
	for _, r := range all {
		if _, err := r.all(b.few(500, 100), 0); err != nil {
			return nil, err
		}
	}
	seen := map[string][]time.Duration{}
	order := []string{nameDirect, nameRolegate, nameBare}
	for turn := range b.few(latencyTurns, 1) {
		for i := range order {
			name := order[(i+turn+round)%len(order)]
			r, err := all[name].all(latencyRate, latencyRate)
			if err != nil {
				return nil, err
			}
			seen[name] = append(seen[name], r.Latencies...)
		}
	}
	return seen, nil
}

// straight is a caller of the backend itself.
func (b *bench) straight(secure bool) (*runner, error) {
	token, target := b.world.Token("ann"), b.direct(secure)
	session, err := b.enter(target, token, false)
	if err != nil {
		return nil, err
	}
	g, err := load.Open(target, manyConns)
	if err != nil {
		return nil, err
	}
	request := cpuCase{size: 1 << 10}.request(target.Addr, token, session)
	return &runner{&proxy{process: b.backend}, g, []load.Request{request}, true}, nil
}

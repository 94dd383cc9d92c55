package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/test/bench/load"
)

// Idle streams: as many as a company has open, of users of whom each has some, which is within the default limit of a
// hundred for each caller.
const (
	streamUsers   = 100
	streamsOfUser = 10
	streamSettle  = 5 * time.Second
)

// streams measures what an idle stream takes of a proxy's memory: the growth of its resident set from when every user
// has called once to when all streams have been quiet for a while. Both proxies are fresh, and nobody asks for a
// collection.
func (b *bench) streams(secure bool) error {
	resident := Row{Key: suffixed("stream", secure), What: "memory per idle stream", Backend: backendName(secure), Unit: "KiB"}
	inside := Row{Key: suffixed("stream-heap", secure), What: "growth of heap and stacks in use, per idle stream", Backend: backendName(secure), Unit: "KiB"}
	for round := range b.rounds {
		for _, name := range turns(round, 1) {
			took, held, err := b.streamsOf(name, secure)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if name == nameBare {
				resident.Bare = append(resident.Bare, took)
				continue
			}
			resident.Rolegate, inside.Rolegate = append(resident.Rolegate, took), append(inside.Rolegate, held)
		}
		b.progress(resident)
	}
	b.report.add(resident, inside)
	return nil
}

// streamsOf gives the KiB of a stream: resident, and in use by what the Go runtime says, where it can be asked.
func (b *bench) streamsOf(name string, secure bool) (resident, inUse float64, err error) {
	p, err := b.start(b.ctx, name, secure)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	requests, err := b.acquainted(p, b.few(streamUsers, 20))
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(streamSettle / 2)
	before, inUseBefore, err := p.holds()
	if err != nil {
		return 0, 0, err
	}
	open, err := listenAll(p, slices.Repeat(requests, streamsOfUser))
	defer closeAll(open)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(streamSettle)
	after, inUseAfter, err := p.holds()
	n := float64(len(open)) * 1024
	return (after - before) / n, (inUseAfter - inUseBefore) / n, err
}

// acquainted has every one of so many users call once, and gives the request by which each opens a stream.
func (b *bench) acquainted(p *proxy, users int) ([]load.Request, error) {
	g, err := load.Open(p.target(), manyConns)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	var calls, listens []load.Request
	for i := range users {
		token := b.token(i)
		calls = append(calls, post(p.addr, clientHeader(token, ""), callBody(1<<10)))
		listens = append(listens, listenRequest(p.addr, token))
	}
	if r := g.Run(load.Plan{Requests: calls, Calls: users, Rate: 200}); r.Errors > 0 {
		return nil, r.First
	}
	return listens, nil
}

// token is one of a user of that number.
func (b *bench) token(user int) string {
	return b.world.IDP.Mint(idp.Claims{"sub": fmt.Sprintf("user-%05d", user), "groups": []string{"s3-readers", "developers"}})
}

// holds is a proxy's resident set, and what of it heap and stacks are in use, both in bytes. The bare proxy tells no
// more than the former.
func (p *proxy) holds() (resident, inUse float64, err error) {
	if resident, err = p.memory("Rss"); err != nil || p.admin == "" {
		return resident, 0, err
	}
	for _, name := range []string{"go_memstats_heap_inuse_bytes", "go_memstats_stack_inuse_bytes"} {
		v, err := metric(p.admin, name)
		if err != nil {
			return 0, 0, err
		}
		inUse += v
	}
	return resident, inUse, nil
}

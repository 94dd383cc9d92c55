package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

// Streams of events: some are always open, and each event is alone on its way.
const (
	eventStreams = 20 // begun per second
	eventsEach   = 20
	eventsEvery  = 10 * time.Millisecond
	eventTurns   = 6 // slices of a second of each proxy in a round
)

// events measures how late server-sent events come: the first one of a stream from when its request was due, and every
// one from when the backend sent it. The bare proxy breaks some streams off: when the answer begins, its server closes the
// request's body, and where its transport was about to look for the body's end, that is an error which closes the
// connection. They are counted. rolegate may not break one.
func (b *bench) events(secure bool) error {
	rows := []Row{
		{Key: "first", What: "to the first event of a stream, median"},
		{Key: "first-p99", What: "to the first event of a stream, p99"},
		{Key: "event-p50", What: "delay of an event, median"},
		{Key: "event-p99", What: "delay of an event, p99"},
		{Key: "cut", What: "streams broken off", Unit: "%"},
	}
	for i := range rows {
		rows[i].Key, rows[i].Backend, rows[i].Unit = suffixed(rows[i].Key, secure), backendName(secure), cmp.Or(rows[i].Unit, "us")
	}
	for round := range b.rounds {
		seen, err := b.eventsRound(round, secure)
		if err != nil {
			return err
		}
		figures := func(s load.Streamed) []float64 {
			return []float64{
				micro(load.Percentile(s.First, 50)), micro(load.Percentile(s.First, 99)),
				micro(load.Percentile(s.Delays, 50)), micro(load.Percentile(s.Delays, 99)),
				100 * float64(s.Errors) / float64(s.Errors+len(s.First)),
			}
		}
		gate, bare := figures(seen[nameRolegate]), figures(seen[nameBare])
		for i := range rows {
			rows[i].Rolegate, rows[i].Bare = append(rows[i].Rolegate, gate[i]), append(rows[i].Bare, bare[i])
			b.progress(rows[i])
		}
	}
	b.report.add(rows...)
	return nil
}

func (b *bench) eventsRound(round int, secure bool) (map[string]load.Streamed, error) {
	both, err := b.pair(secure, manyConns, func(addr, token, session string) load.Request {
		return post(addr, clientHeader(token, session), eventsBody(eventsEach, eventsEvery))
	})
	if err != nil {
		return nil, err
	}
	defer stopAll(both)
	seen := map[string]load.Streamed{}
	for turn, name := range append([]string{nameRolegate, nameBare}, turns(round, b.few(eventTurns, 1))...) {
		r := both[name]
		s := r.load.Streams(load.Plan{Requests: r.requests, Calls: eventStreams, Rate: eventStreams})
		if s.Errors > 0 && name == nameRolegate {
			return nil, fmt.Errorf("%d of %d streams failed, the first with: %w", s.Errors, eventStreams, s.Why)
		}
		if want := (eventStreams - s.Errors) * eventsEach; len(s.Delays) != want {
			return nil, fmt.Errorf("%s: %d events of %d", name, len(s.Delays), want)
		}
		if turn < 2 {
			continue // to get warm
		}
		sum := seen[name]
		seen[name] = load.Streamed{First: append(sum.First, s.First...), Delays: append(sum.Delays, s.Delays...), Errors: sum.Errors + s.Errors}
	}
	return seen, nil
}

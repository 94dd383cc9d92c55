package main

import (
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

const (
	startsInRound = 5
	idleSettle    = 2 * time.Second
)

// starting measures how long a start takes, from exec to the first 200 of /readyz (the bare proxy: to the first
// connection that is taken), and what a process that has served nobody holds of memory.
func (b *bench) starting() error {
	ready := Row{Key: "ready", What: "start to ready", Unit: "ms"}
	idle := Row{Key: "idle", What: "resident memory, idle", Unit: "MB"}
	for round := range b.rounds {
		times, held := map[string][]float64{}, map[string]float64{}
		for i, name := range turns(round, startsInRound) {
			p, err := b.start(b.ctx, name, false)
			if err != nil {
				return err
			}
			times[name] = append(times[name], float64(p.ready)/float64(time.Millisecond))
			if i >= 2*(startsInRound-1) {
				time.Sleep(idleSettle)
				held[name], err = p.memory("Rss")
			}
			p.stop()
			if err != nil {
				return err
			}
		}
		ready.Rolegate = append(ready.Rolegate, load.Spreading(times[nameRolegate]).Median)
		ready.Bare = append(ready.Bare, load.Spreading(times[nameBare]).Median)
		idle.Rolegate, idle.Bare = append(idle.Rolegate, held[nameRolegate]/1e6), append(idle.Bare, held[nameBare]/1e6)
		b.progress(ready)
		b.progress(idle)
	}
	b.report.add(idle, ready)
	return nil
}

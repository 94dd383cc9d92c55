package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	recordsEvery = 200 * time.Millisecond
	lifeEvery    = time.Second
	patience     = 5 * time.Second // for a viewer to take what is written
	maxViewers   = 32
)

// events serves server-sent events until the viewer goes away: "life" once a second, "record" for each audit record,
// beginning with those that are kept, and "missed" with the number of records that were too many in too short a time.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	if !c.come() {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many are looking")
		return
	}
	defer c.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	tick := time.NewTicker(recordsEvery)
	defer tick.Stop()
	out := http.NewResponseController(w)
	var buf []byte
	var next, missed uint64
	var told time.Time
	for first := true; ; first = false {
		buf = buf[:0]
		if now := time.Now(); first || now.Sub(told) >= lifeEvery {
			told = now
			buf = event(buf, "life", c.alive())
		}
		buf, next, missed = c.ring.since(buf, next)
		if missed > 0 && !first {
			buf = event(buf, "missed", fmt.Append(nil, missed))
		}
		if len(buf) > 0 && !send(w, out, buf) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// send writes within the viewer's time, or says that it can't.
func send(w http.ResponseWriter, out *http.ResponseController, b []byte) bool {
	if out.SetWriteDeadline(time.Now().Add(patience)) != nil {
		return false // who can't be hurried could be waited for for ever
	}
	if _, err := w.Write(b); err != nil {
		return false
	}
	return out.Flush() == nil
}

func (c *Console) come() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.viewers >= maxViewers {
		return false
	}
	c.viewers++
	return true
}

func (c *Console) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.viewers--
}

// alive is the latest snapshot: all viewers share one, no older than a second.
func (c *Console) alive() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.life != nil && now.Sub(c.asked) < lifeEvery-recordsEvery {
		return c.life
	}
	told := struct {
		Snapshot
		At       time.Time `json:"at"`
		Viewers  int       `json:"viewers"`
		Withheld uint64    `json:"withheld"`
		TryOut   bool      `json:"try_out"`
	}{Snapshot: c.options.Snapshot(), At: now, Viewers: c.viewers, Withheld: c.ring.refused(), TryOut: c.options.Explain != nil}
	life, err := json.Marshal(told)
	if err != nil { // a number that JSON does not have, such as NaN
		life = []byte(`{}`)
	}
	c.life, c.asked = life, now
	return life
}

package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/stage"
)

// seedVariable names the seed of another run, to be repeated as far as the scheduler lets it.
const seedVariable = "ROLEGATE_FAULTS_SEED"

func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", seedVariable, n)
	return n
}

// mix is many users at once amid everything that takes credentials away and brings others.
type mix struct {
	*stand
	members []member
	done    chan struct{}

	mu       sync.Mutex
	sessions []session
	statuses map[int]int
	stolen   int
}

// session is one that the remote opened.
type session struct {
	id    string
	owner int
}

// TestNoCredentialOfOneCallerSignsAnothersRequest: over interleavings of many users in several roles, all at once, with
// leases that end within seconds, are dropped, refreshed and throttled, key rotation, reloads that change roles and key
// sets, broken connections and clients that hang up. Nor is any request answered by another's answer, nor a session
// opened for another.
func TestNoCredentialOfOneCallerSignsAnothersRequest(t *testing.T) {
	t.Parallel()
	workers, each := 24, 100
	if testing.Short() || underRace {
		each = 30
	}
	n := seed(t)
	all, users := members(40)
	m := &mix{stand: placeEcho(t, users), members: all, done: make(chan struct{}), statuses: map[int]int{}}
	m.start().ready()
	m.world.STS.SetLifetime(63 * time.Second)
	reloads := m.variants()
	var chaos, load sync.WaitGroup
	chaos.Go(func() { m.chaos(rand.New(rand.NewPCG(n, 0)), reloads) })
	for w := range workers {
		load.Go(func() {
			r := rand.New(rand.NewPCG(n, uint64(w)+1))
			for i := range each {
				m.step(r, w, i)
			}
		})
	}
	load.Wait()
	close(m.done)
	chaos.Wait()

	seen := m.signedByTheirOwn(all)
	t.Logf("%d requests signed, %d STS calls; answers by status: %v; %d stolen sessions", len(seen), m.world.STS.Count(), m.statuses, m.stolen)
	if total := workers * each; m.statuses[200] < total/2 || m.stolen == 0 || m.world.STS.Count() < len(all)*2 {
		t.Errorf("too little happened for a test: %v of %d, %d STS calls, %d stolen sessions", m.statuses, total, m.world.STS.Count(), m.stolen)
	}
	for status := range m.statuses {
		if status == http.StatusUnauthorized || status == http.StatusInternalServerError {
			t.Errorf("%d answers with status %d", m.statuses[status], status)
		}
	}
}

// variants are the documents that reloads go through.
func (m *mix) variants() []*config.Proxy {
	keySet := replace("audience: "+fake.Audience, "audience: "+fake.Audience+"\n      jwksUrl: "+m.world.IDP.JWKSURL())
	wire := spec("limits: {responseTimeout: 4m}")
	return []*config.Proxy{
		m.load(swapRoles(m.documents)), m.load(m.documents), m.load(keySet(m.documents)), m.load(wire(swapRoles(m.documents))), m.load(m.documents),
	}
}

// chaos goes on until the load is over.
func (m *mix) chaos(r *rand.Rand, reloads []*config.Proxy) {
	for n := 0; ; n++ {
		select {
		case <-m.done:
			return
		case <-time.After(time.Duration(r.IntN(20)) * time.Millisecond):
		}
		switch n { // once: the gateway answers a second time within 30 s, or 10 s, with a refusal
		case 30:
			m.world.STS.ExpireAll()
		case 60:
			m.world.IDP.Add("", jose.ES256)
		}
		switch r.IntN(10) {
		case 0, 1:
			m.world.STS.SetLifetime(time.Duration(62+r.IntN(4)) * time.Second)
		case 2:
			m.world.AWS.ExpireCredentials(1)
		case 3:
			m.world.STS.Throttle(1)
		case 4:
			m.world.STS.Fail(stage.Trouble{Kind: stage.Reset, Times: 1})
		case 5:
			m.world.STS.Fail(stage.Trouble{Delay: time.Duration(r.IntN(30)) * time.Millisecond, Times: 4})
		case 6, 7:
			m.server.Reload(reloads[n%len(reloads)])
		case 8:
			m.world.AWS.Fail(stage.Trouble{Kind: stage.Reset, Times: 1 + r.IntN(2)})
		case 9:
			if r.IntN(5) == 0 {
				m.aws.cut()
			}
		}
	}
}

// step is what one worker does next.
func (m *mix) step(r *rand.Rand, worker, n int) {
	who := r.IntN(len(m.members))
	c, text, filling := m.next(r, who, nonce(who, worker, n))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hangsUp := r.IntN(20) == 0
	if hangsUp {
		time.AfterFunc(time.Duration(r.IntN(5000))*time.Microsecond, cancel)
	}
	taken, theirs := m.borrowed(r, who)
	switch {
	case filling == "": // it opens a session
	case taken != "":
		c = legacy(c, text, filling, taken)
	}
	a := send(ctx, m.client, m.url, c)
	if a.err != nil {
		if ctx.Err() != nil && !hangsUp {
			m.t.Errorf("%s hangs", text)
		}
		return // broken off by the chaos: seen as such
	}
	m.note(a.status, theirs)
	switch {
	case a.status == http.StatusOK && theirs && taken != "" && filling != "":
		m.t.Errorf("%s: %q was let into a session of somebody else: %s", text, m.members[who].name, a.body)
	case a.status != http.StatusOK:
	case filling == "":
		m.mu.Lock()
		m.sessions = append(m.sessions, session{a.header.Get("Mcp-Session-Id"), who})
		m.mu.Unlock()
	default:
		if err := mine(a, c, m.members[who], text, filling); err != nil {
			m.t.Error(err)
		}
	}
}

func (m *mix) note(status int, theirs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.statuses[status]++
	if theirs && status == http.StatusNotFound {
		m.stolen++
	}
}

// next is a call of the tool or, without a filling, one that opens a session.
func (m *mix) next(r *rand.Rand, who int, text string) (c call, nonce, filling string) {
	token := m.world.Token(m.members[who].name)
	if r.IntN(12) == 0 {
		c = call{id: text, token: token}
		c.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"faults","version":"1","nonce":%q}}}`, c.id, text)
		return c, text, ""
	}
	filling = "x" + pad(r, 3000)
	return echoCall(token, text, filling), text, filling
}

// borrowed is a session for one call in six: their own, or somebody else's.
func (m *mix) borrowed(r *rand.Rand, who int) (id string, theirs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sessions) == 0 || r.IntN(6) > 0 {
		return "", false
	}
	s := m.sessions[r.IntN(len(m.sessions))]
	return s.id, s.owner != who
}

// legacy is the same call within a session.
func legacy(c call, nonce, filling, session string) call {
	arguments, _ := json.Marshal(echoed{Nonce: nonce, Pad: filling}) // strings marshal
	return call{
		id: c.id, token: c.token, header: http.Header{"Mcp-Session-Id": {session}},
		body: fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":"echo","arguments":%s}}`, c.id, arguments),
	}
}

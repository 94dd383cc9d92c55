package console_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/console"
)

const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"

// What has the form of a token is in no record that is shown, wherever it stands, and how many were left out is told.
func TestNoTokenIsShown(t *testing.T) {
	for _, text := range []string{jwt, "Bearer " + jwt, "x" + jwt, "eyJ0.eyJ1.", "eyJ eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.", "a.eyJ.b eyJa.b.c.d.e"} {
		c, s := serve(t, console.Options{})
		c.Publish([]byte(`{"target":"` + text + `"}`))
		c.Publish([]byte(`{"target":"fine"}`))
		next := watch(t, s.URL)
		if life := next(); !strings.Contains(life, `"withheld":1`) {
			t.Errorf("%s: %s", text, life)
		}
		if got := next(); got != `record {"target":"fine"}` {
			t.Errorf("%s: %s", text, got)
		}
	}
	c, s := serve(t, console.Options{})
	harmless := []string{"eyJ", "eyJust.one", "a.b.c", "eyJ a.b.c", "hey Jude...", "eyJ. . "}
	for _, text := range harmless {
		c.Publish([]byte(`{"target":"` + text + `"}`))
	}
	c.Publish([]byte(`{"target":"` + strings.Repeat("x", 32<<10) + `"}`)) // too long
	next := watch(t, s.URL)
	if life := next(); !strings.Contains(life, `"withheld":1`) {
		t.Error(life)
	}
	for _, text := range harmless {
		if got := next(); got != `record {"target":"`+text+`"}` {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// With nobody looking a record costs a copy into memory that is there, and nobody is asked for the gateway's life.
func TestPublishCostsNothing(t *testing.T) {
	var asked atomic.Int64
	c := console.New(console.Options{Snapshot: func() console.Snapshot { asked.Add(1); return console.Snapshot{} }})
	record := []byte(scene(1, "ann", "aws___call_aws", "success", writer))
	for range 400 {
		c.Publish(record)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Publish(record) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if asked.Load() != 0 {
		t.Errorf("asked for a snapshot %d times", asked.Load())
	}
	(*console.Console)(nil).Publish(record) // a gateway without a console publishes all the same
}

func BenchmarkPublish(b *testing.B) {
	c := console.New(console.Options{})
	record := []byte(scene(1, "ann", "aws___call_aws", "success", writer))
	b.ReportAllocs()
	for b.Loop() {
		c.Publish(record)
	}
}

// However a client writes, looking for a token goes over each byte once.
func BenchmarkPublishHostile(b *testing.B) {
	c := console.New(console.Options{})
	record := []byte(strings.Repeat("eyJ", 10_000))
	for b.Loop() {
		c.Publish(record)
	}
}

// pipes is a listener whose connections have no buffers.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error { return nil }

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// inMemory serves a console; dial gives a connection on which events were asked for with a token.
func inMemory(t *testing.T, c *console.Console) (dial func(token string) net.Conn, stop func()) {
	t.Helper()
	conns := make(pipes)
	server := &http.Server{Handler: c}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(conns)
	}()
	dial = func(token string) net.Conn {
		here, there := net.Pipe()
		conns <- there
		if _, err := io.WriteString(here, "GET /console/events HTTP/1.1\r\nHost: console.example\r\nAuthorization: Bearer "+token+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return here
	}
	return dial, func() {
		close(conns)
		_ = server.Close()
		<-done
	}
}

// A viewer who does not read is let go after five seconds. Nobody waits for that: not the gateway, not other viewers.
func TestSlowViewerIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := console.New(console.Options{Token: config.NewSecret(secret), Snapshot: func() console.Snapshot { return console.Snapshot{} }})
		dial, stop := inMemory(t, c)
		slow, quick := dial(secret), dial(secret)
		var read atomic.Int64
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := quick.Read(buf)
				read.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		began := time.Now()
		record := []byte(scene(1, "ann", "aws___call_aws", "success", writer))
		for range 1000 {
			c.Publish(record)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("publishing waited for %v", took)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if read.Load() < 200*int64(len(record)) {
			t.Errorf("the quick one got %d bytes", read.Load())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, err := io.Copy(io.Discard, slow); err != nil {
			t.Errorf("the slow one's connection: %v", err)
		}
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("the slow one was waited for %v", took)
		}
		_ = quick.Close()
		stop()
	})
}

// Wrong tokens are answered after a second, and more than a few at a time with 429; the right one is let in at once while
// they wait, from the same address too.
func TestWrongTokensAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := console.New(console.Options{Token: config.NewSecret(secret), Snapshot: func() console.Snapshot { return console.Snapshot{} }})
		dial, stop := inMemory(t, c)
		began := time.Now()
		answers := make(chan string, 20)
		var conns []net.Conn
		for range 20 {
			conn := dial("wrong")
			conns = append(conns, conn)
			go func() {
				status := make([]byte, len("HTTP/1.1 401"))
				_, _ = io.ReadFull(conn, status)
				answers <- string(status[9:]) + " after " + time.Since(began).String()
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
		synctest.Wait()
		right := dial(secret)
		status := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(right, status); err != nil || string(status) != "HTTP/1.1 200" || time.Since(began) != 0 {
			t.Errorf("%s after %v, %v", status, time.Since(began), err)
		}
		got := map[string]int{}
		for range 20 {
			got[<-answers]++
		}
		if got["429 after 0s"] != 16 || got["401 after 1s"] != 4 {
			t.Errorf("answers: %v", got)
		}
		for _, conn := range append(conns, right) {
			_ = conn.Close()
		}
		stop()
	})
}

// All who look share one snapshot a second.
func TestOneSnapshotForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		c := console.New(console.Options{Token: config.NewSecret(secret), Snapshot: func() console.Snapshot { asked.Add(1); return console.Snapshot{} }})
		dial, stop := inMemory(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 {
			conn := dial(secret)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			go func() { <-ctx.Done(); _ = conn.Close() }()
			time.Sleep(70 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		if n := asked.Load(); n < 25 || n > 40 {
			t.Errorf("asked %d times in 30 seconds", n)
		}
		cancel()
		time.Sleep(2 * time.Second)
		was := asked.Load()
		time.Sleep(10 * time.Second)
		if asked.Load() != was {
			t.Error("asked with nobody looking")
		}
		stop()
	})
}

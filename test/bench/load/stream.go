package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Stamp is the member of an event that says when it was sent, in nanoseconds of Unix time.
const Stamp = `"sentAt":`

// Streamed is what was seen of streams of events.
type Streamed struct {
	First  []time.Duration // from when each stream's request was due to its first event
	Delays []time.Duration // of every event, from its stamp to when it was read
	Errors int
	Why    error // the first of the errors
}

// Streams runs a plan whose answers are streams of events. Each stream needs a connection of its own while it lasts.
func (g *Generator) Streams(p Plan) Streamed {
	s := &schedule{calls: p.Calls, start: time.Now().Add(time.Millisecond), every: time.Duration(float64(time.Second) / p.Rate)}
	var (
		mu  sync.Mutex
		all sync.WaitGroup
		sum Streamed
	)
	for _, c := range g.conns {
		all.Go(func() {
			for {
				i, due, ok := s.take()
				if !ok {
					return
				}
				first, delays, err := c.stream(p.Requests[i%len(p.Requests)], i, due)
				mu.Lock()
				if err != nil {
					c.close()
					if sum.Errors++; sum.Why == nil {
						sum.Why = fmt.Errorf("stream %d: %w", i, err)
					}
				} else {
					sum.First = append(sum.First, first)
					sum.Delays = append(sum.Delays, delays...)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sum
}

// stream sends a request and reads the events of its answer.
func (c *conn) stream(r Request, number int, due time.Time) (first time.Duration, delays []time.Duration, err error) {
	if err := c.ready(); err != nil {
		return 0, nil, err
	}
	c.out, _ = r.fill(c.out, number)
	if _, err := c.wire.Write(c.out); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodPost})
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	lines := bufio.NewReaderSize(resp.Body, 4<<10)
	for {
		line, err := lines.ReadSlice('\n')
		now := time.Now()
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil {
			return 0, nil, err
		}
		sent, ok := stampOf(line)
		if !ok {
			continue
		}
		if first == 0 {
			first = now.Sub(due)
		}
		delays = append(delays, time.Duration(now.UnixNano()-sent))
	}
	if len(delays) == 0 {
		return 0, nil, errors.New("a stream without events")
	}
	return first, delays, nil
}

// stampOf finds an event's stamp in a line.
func stampOf(line []byte) (nanoseconds int64, ok bool) {
	_, after, ok := bytes.Cut(line, []byte(Stamp))
	if !ok {
		return 0, false
	}
	end := 0
	for end < len(after) && after[end] >= '0' && after[end] <= '9' {
		end++
	}
	nanoseconds, err := strconv.ParseInt(string(after[:end]), 10, 64)
	return nanoseconds, err == nil
}

// Listen opens a stream, waits for the headers of its answer, and leaves it to itself: close the connection when done.
func Listen(t Target, r Request) (net.Conn, error) {
	wire, err := t.dial()
	if err != nil {
		return nil, err
	}
	if err := begin(wire, r); err != nil {
		_ = wire.Close()
		return nil, err
	}
	return wire, nil
}

func begin(wire net.Conn, r Request) error {
	if err := wire.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := wire.Write(r.bytes); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(wire, 1<<10), &http.Request{Method: http.MethodGet})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		return fmt.Errorf("status %d, %s: not a stream", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return nil
}

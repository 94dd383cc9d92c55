package faults_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/stage"
)

// TestTroubleWithTheRemoteHasItsAnswer: before the answer has begun, a refusal; AWS's own refusals pass as they are.
func TestTroubleWithTheRemoteHasItsAnswer(t *testing.T) {
	t.Parallel()
	gone := verdict{status: 502, decision: "bad_upstream", within: prompt}
	late := verdict{status: 504, decision: "upstream_timeout", within: 2*slack*time.Second + prompt}
	fail := func(t stage.Trouble) func(*stand) { return func(s *stand) { s.world.AWS.Fail(t) } }
	for name, trouble := range map[string]struct {
		begin func(*stand)
		verdict
		passes string // the remote's own answer, which holds this, goes to the client
	}{
		"killed":                     {func(s *stand) { s.aws.kill() }, gone, ""},
		"resets":                     {fail(stage.Trouble{Kind: stage.Reset}), gone, ""},
		"breaks off in its headers":  {func(s *stand) { s.aws.breakAfter(40, false) }, gone, ""},
		"hung":                       {fail(stage.Trouble{Kind: stage.Hang}), late, ""},
		"silent in its headers":      {func(s *stand) { s.aws.breakAfter(40, true) }, late, ""},
		"redirects elsewhere":        {fail(stage.Trouble{Kind: stage.Redirect, Location: "http://127.0.0.1:1/mcp"}), gone, ""},
		"401":                        {fail(stage.Trouble{Status: 401, Code: "UnauthorizedException"}), gone, ""},
		"throttles":                  {fail(stage.Trouble{Status: 429, Code: "ThrottlingException", RetryAfter: "7"}), verdict{status: 429, later: 7}, "ThrottlingException"},
		"503":                        {fail(stage.Trouble{Status: 503, Code: "ServiceUnavailableException"}), verdict{status: 503}, "ServiceUnavailableException"},
		"garbage":                    {fail(stage.Trouble{Kind: stage.Garbage}), verdict{status: 200}, "It works!"},
		"our clock is wrong for AWS": {fail(stage.Trouble{Status: 403, Code: "SignatureDoesNotMatch", Message: "Signature not yet current"}), verdict{status: 403}, "not yet current"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := place(t, fake.Options{}, spec(fmt.Sprintf("limits: {responseTimeout: %ds}", 2*slack))).start().ready()
			ann := s.world.Token("ann")
			c := whoami(ann)
			s.do(c).allowed(t, c, prompt)
			calls, requests := s.world.STS.Count(), s.world.AWS.Count()
			trouble.begin(s)
			c = whoami(ann)
			a := s.do(c)
			if trouble.passes == "" {
				s.refused(c, a, trouble.verdict)
			} else {
				checkPassed(t, a, trouble.verdict, trouble.passes)
			}
			if n := s.world.AWS.Count() - requests; n > 1 {
				t.Errorf("the remote got one call %d times", n)
			}
			if n := s.world.STS.Count() - calls; n != 0 {
				t.Errorf("trouble with the remote cost %d STS calls", n)
			}
			s.heal()
			c = whoami(ann)
			s.do(c).allowed(t, c, prompt)
		})
	}
}

func checkPassed(t *testing.T, a answer, want verdict, holds string) {
	t.Helper()
	if a.err != nil || a.status != want.status || !strings.Contains(a.body, holds) || a.took > prompt {
		t.Errorf("%d %s (%v) after %v, want %d with %q", a.status, a.body, a.err, a.took, want.status, holds)
	}
	if got := a.header.Get("Retry-After"); want.later > 0 && got != fmt.Sprint(want.later) {
		t.Errorf("Retry-After %q, want %d", got, want.later)
	}
}

// breaking is a remote whose answers begin well. How an answer is sent and how it ends, a header of the request says.
func breaking(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var m struct{ ID json.RawMessage }
	_ = json.Unmarshal(body, &m) // a GET has none
	form, end, _ := strings.Cut(r.Header.Get("Accept-Language"), " ")
	first, rest := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"a":"`, m.ID), strings.Repeat("x", 100_000)+`"}}`
	if form != "short" {
		first += strings.Repeat("y", 10_000)
	}
	switch form {
	case "length", "short":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(first)+len(rest)))
	case "chunked":
		w.Header().Set("Content-Type", "application/json")
	default: // stream, listen
		w.Header().Set("Content-Type", "text/event-stream")
		first, rest = "data: one\n\n", "data: two\n\n"
	}
	_, _ = io.WriteString(w, first)
	_ = http.NewResponseController(w).Flush()
	if end == "well" {
		_, _ = io.WriteString(w, rest)
		return
	}
	time.Sleep(50 * time.Millisecond) // the client has the first part
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if end == "reset" {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	_ = conn.Close()
}

// TestAnAnswerThatBreaksOffIsSeenToBreakOff: in JSON, in an event stream and on a listening stream, by a reset or a
// plain end of the connection, the client has what came before, then an error and never a clean end; the call is not
// repeated, those beside it are not disturbed, and the log says whose fault it was.
func TestAnAnswerThatBreaksOffIsSeenToBreakOff(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		breaking(w, r)
	}))
	t.Cleanup(remote.Close)
	s := place(t, fake.Options{})
	s.documents = strings.Replace(s.documents, s.aws.url(), remote.URL, 1)
	s.start().ready()
	ann := s.world.Token("ann")
	ask := func(form, end string) (*http.Response, context.CancelFunc, error) {
		c := whoami(ann)
		if form == "listen" {
			c = call{token: ann, method: http.MethodGet, header: http.Header{}}
		}
		c.header["Accept-Language"] = []string{form + " " + end}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		req, err := c.request(ctx, s.url)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.client.Do(req)
		return resp, cancel, err
	}
	whole := func(form string) {
		resp, cancel, err := ask(form, "well")
		defer cancel()
		if err != nil {
			t.Errorf("%s, not broken: %v", form, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !strings.Contains(string(b), map[bool]string{true: "two", false: "xxx"}[form == "listen" || form == "stream"]) {
			t.Errorf("%s, not broken: %s %v", form, resp.Status, err)
		}
	}
	for _, form := range []string{"short", "length", "chunked", "stream", "listen"} {
		for _, end := range []string{"reset", "close"} {
			t.Run(form+" "+end, func(t *testing.T) {
				before, beside := calls.Load(), make(chan struct{})
				go func() { defer close(beside); whole(form) }()
				resp, cancel, err := ask(form, end)
				defer cancel()
				if form == "short" && err != nil && !os.IsTimeout(err) {
					<-beside
					return // not even the headers were on their way: no answer at all is honest too
				}
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				read := bufio.NewReader(resp.Body)
				begin, err := read.Peek(9)
				if err != nil || string(begin) != "data: one" && string(begin) != `{"jsonrpc` {
					t.Errorf("the beginning is %q (%v)", begin, err)
				}
				if _, err := io.ReadAll(read); err == nil {
					t.Error("the client read a clean end")
				} else if ctxErr := resp.Request.Context().Err(); ctxErr != nil {
					t.Errorf("the client was left waiting: %v", err)
				}
				<-beside
				if n := calls.Load() - before; n != 2 {
					t.Errorf("two calls came to the remote as %d", n)
				}
				id := resp.Header.Get("X-Request-Id")
				eventually(t, "the log says so", func() bool { return len(s.log.lines(id, `"decision":"bad_upstream"`, `"status":200`)) == 1 })
				whole(form)
			})
		}
	}
}

// TestAKilledRemoteEndsEveryStream: hundreds of open streams end, each with an error, and nothing of them is kept.
func TestAKilledRemoteEndsEveryStream(t *testing.T) {
	t.Parallel()
	const streams = 200
	s := place(t, fake.Options{Users: people("u0", "u1", "u2", "u3")}).start().ready()
	ended, opened := make(chan error, streams), make(chan error, streams)
	for n := range streams {
		go func() {
			c := tool(s.world.Token(fmt.Sprint("u", n%4)), "aws___run_script", `{"code":"stream:1000:100ms"}`)
			c.body = strings.Replace(c.body, `"_meta":{`, `"_meta":{"progressToken":1,`, 1)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			req, err := c.request(ctx, s.url)
			if err != nil {
				opened <- err
				return
			}
			resp, err := s.client.Do(req)
			if opened <- err; err != nil {
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if ctx.Err() != nil {
				err = nil // it was left waiting, and "err == nil" is the complaint
			}
			ended <- err
		}()
	}
	for range streams {
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the streams are open", func() bool { return strings.Contains(s.metrics(), fmt.Sprintf("rolegate_open_streams %d\n", streams)) })
	begin := time.Now()
	s.aws.kill()
	for range streams {
		if err := <-ended; err == nil {
			t.Error("a stream ended as if all were well, or did not end")
		}
	}
	if d := time.Since(begin); d > prompt {
		t.Errorf("the last stream ended after %v", d)
	}
	eventually(t, "nothing is open", func() bool {
		m := s.metrics()
		return strings.Contains(m, "rolegate_open_streams 0\n") && strings.Contains(m, "rolegate_requests_in_flight 0\n")
	})
	s.heal()
	c := whoami(s.world.Token("u0"))
	s.do(c).allowed(t, c, prompt)
}

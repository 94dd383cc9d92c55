package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestWhoLeavesWhileToolsAreListedIsAborted: a policy needs annotations, the remote's list hangs, and the client goes.
// That is neither a failure of the remote's nor of the gateway's.
func TestWhoLeavesWhileToolsAreListedIsAborted(t *testing.T) {
	asked, over := make(chan struct{}, 1), make(chan struct{})
	remote := &standIn{answer: func(w http.ResponseWriter, r *http.Request, method string, _ []byte) {
		if method == "tools/list" {
			asked <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-over: // the list is waited for longer than the client is there
			}
			return
		}
		answerJSON(w, okResult)
	}}
	s := watch(t, remote.before(t), policies(`permit(principal, action, resource);`,
		`forbid(principal, action, resource) when { resource has destructiveHint && resource.destructiveHint };`))
	defer close(over)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() {
		select {
		case <-asked:
		case <-time.After(5 * time.Second):
		}
		leave()
	}()
	req := s.request(ctx, call{user: "ann", body: callTool("any", `{}`), headers: map[string]string{"User-Agent": "left"}})
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatalf("answered %s", resp.Status)
	}
	want := facts{"outcome": "aborted", "status": 499, "decision": "aborted", "rpc_code": nil}
	if diff := want.holds(s.by("left")); diff != "" {
		t.Error(diff)
	}
}

// TestOptionsOfTheServerHaveARecord: net/http would answer OPTIONS * by itself, unseen.
func TestOptionsOfTheServerHaveARecord(t *testing.T) {
	s := watch(t)
	conn := s.dial()
	write(t, conn, "OPTIONS * HTTP/1.1\r\nHost: gateway\r\nUser-Agent: star\r\nConnection: close\r\n\r\n")
	rest(t, conn)
	want := facts{"outcome": "denied", "status": 404, "type": "http_request", "http_method": "OPTIONS"}
	if diff := want.holds(s.by("star")); diff != "" {
		t.Error(diff)
	}
}

// TestAPageIsNoResponse: without policies what the remote answers passes as it is, and the record tells what it is.
func TestAPageIsNoResponse(t *testing.T) {
	s := watch(t, behind(t, act))
	for _, tool := range []string{"page", "empty", "half", "no response"} {
		a := s.do(call{user: "ann", body: callTool(tool, `{}`), headers: map[string]string{"User-Agent": tool}})
		want := facts{"outcome": "failure", "status": 200, "decision": "allowed", "error": unanswered}
		if diff := want.holds(s.by(tool)); diff != "" || a.status != http.StatusOK {
			t.Errorf("%s: %d %s", tool, a.status, diff)
		}
	}
}

// TestBaggageStaysHere: what a client's own services know of a user is not for AWS, in a header or in a message.
func TestBaggageStaysHere(t *testing.T) {
	s := watch(t)
	body := rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"whoami"},"_meta":{"baggage":"user=ann,plan=secret"}}`)
	if a := s.do(call{user: "ann", session: s.open("ann"), body: body, headers: map[string]string{"Baggage": "user=ann"}}); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	last, _ := s.world.AWS.Last()
	if want := strings.Replace(body, "user=ann,plan=secret", "", 1); string(last.Body) != want || last.Header.Get("Baggage") != "" {
		t.Errorf("the remote got %s and %v", last.Body, last.Header)
	}
}

// TestTheTraceOfAMessageIsInItsRecord, also where no traces are made: a message may name its trace in _meta.
func TestTheTraceOfAMessageIsInItsRecord(t *testing.T) {
	const trace, other = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
	s := watch(t)
	body := rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"whoami"},"_meta":{"traceparent":"00-`+trace+`-00f067aa0ba902b7-01"}}`)
	s.do(call{user: "ann", body: body, headers: map[string]string{"User-Agent": "in the message"}})
	s.do(call{user: "ann", body: body, headers: map[string]string{"User-Agent": "in the header", "Traceparent": "00-" + other + "-00f067aa0ba902b7-01"}})
	for agent, want := range map[string]string{"in the message": trace, "in the header": other} {
		if got := s.by(agent).TraceID; got != want {
			t.Errorf("%s: trace %q, want %q", agent, got, want)
		}
	}
}

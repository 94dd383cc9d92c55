package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const readersOnly = `permit(principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`

// lister answers tools/list with pages, in one form or the other, and streams what is said on its channel.
type lister struct {
	pages  []string // of tools, as JSON
	stream bool
	extra  string        // more members of the result
	delay  time.Duration // of each page
	say    chan string   // for GET streams
	moved  int           // how many answers from the second page on say that the list has changed; each changes the first
	cursor []string      // asked for, in order
	mu     sync.Mutex
}

func (l *lister) answer(w http.ResponseWriter, r *http.Request, method string, body []byte) {
	var m struct {
		ID     json.RawMessage
		Params struct{ Cursor string }
	}
	_ = json.Unmarshal(body, &m) // a GET has none
	switch {
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case text := <-l.say:
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case method != "tools/list":
		answerJSON(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"content":[]}}`)
		return
	}
	time.Sleep(l.delay)
	n := 0
	_, _ = fmt.Sscanf(m.Params.Cursor, "page-%d", &n) // 0 for the first
	l.mu.Lock()
	l.cursor = append(l.cursor, m.Params.Cursor)
	l.mu.Unlock()
	next := ""
	if n+1 < len(l.pages) {
		next = fmt.Sprintf(`,"nextCursor":"page-%d"`, n+1)
	}
	message := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":%s%s%s}}`, m.ID, l.pages[n], next, l.extra)
	if !l.stream {
		answerJSON(w, message)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "id: 1\ndata: \n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n")
	if n > 0 && l.moved > 0 {
		l.moved--
		l.pages[0] = writers
		_, _ = io.WriteString(w, listChanged)
	}
	_, _ = io.WriteString(w, "data: "+message+"\n\n")
}

const listChanged = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"

func (l *lister) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.cursor)
}

const (
	readers = `[{"name":"reader","annotations":{"readOnlyHint":true}}]`
	writers = `[{"name":"writer","annotations":{"readOnlyHint":false}},{"name":"late","annotations":{"readOnlyHint":true}}]`
)

// TestAnnotationsOfAllPages: a tool on the last page counts as one on the first, in either form of an answer and in
// either era.
func TestAnnotationsOfAllPages(t *testing.T) {
	for _, stream := range []bool{false, true} {
		l := &lister{pages: []string{readers, "[]", writers}, stream: stream}
		s := stage(t, (&standIn{answer: l.answer}).before(t), policies(readersOnly))
		for tool, status := range map[string]int{"reader": 200, "late": 200, "writer": 403, "unknown": 403} {
			if a := s.do(call{user: "ann", body: callTool(tool, `{}`)}); a.status != status {
				t.Errorf("stream %v, %s: %d %s", stream, tool, a.status, a.body)
			}
		}
		modern := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"late","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
		a := s.do(call{user: "bob", body: modern, headers: map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "late"}})
		if a.status != 200 || l.asked() != 6 { // three pages for each of two roles
			t.Errorf("stream %v, modern: %d %s; pages asked for: %d", stream, a.status, a.body, l.asked())
		}
	}
}

// TestAnnotationsAreFetchedOnceForAll who need them at the same time.
func TestAnnotationsAreFetchedOnceForAll(t *testing.T) {
	l := &lister{pages: []string{readers}, delay: 100 * time.Millisecond}
	s := stage(t, (&standIn{answer: l.answer}).before(t), policies(readersOnly))
	requests := make([]*http.Request, 50)
	for i := range requests {
		requests[i] = s.request(t.Context(), call{user: "ann", body: callTool("reader", `{}`)})
	}
	var all sync.WaitGroup
	for _, r := range requests {
		all.Go(func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		})
	}
	all.Wait()
	if n := l.asked(); n != 1 {
		t.Errorf("%d fetches for 50 calls at once", n)
	}
}

// TestAChangedListIsFetchedAnew: when the remote says on any stream that its tools have changed.
func TestAChangedListIsFetchedAnew(t *testing.T) {
	l := &lister{pages: []string{readers}, say: make(chan string)}
	s := stage(t, (&standIn{answer: l.answer}).before(t), policies(readersOnly))
	for range 2 {
		s.do(call{user: "ann", body: callTool("late", `{}`)}).refused(t, 403)
	}
	resp, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", method: http.MethodGet}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	l.mu.Lock()
	l.pages = []string{writers}
	l.mu.Unlock()
	l.say <- listChanged
	got := make([]byte, len(listChanged))
	if _, err := io.ReadFull(resp.Body, got); err != nil || !strings.Contains(string(got), "list_changed") {
		t.Fatalf("%q %v", got, err)
	}
	if a := s.do(call{user: "ann", body: callTool("late", `{}`)}); a.status != 200 || l.asked() != 2 {
		t.Errorf("%d %s; %d fetches", a.status, a.body, l.asked())
	}
}

// TestAListThatChangesWhileItIsFetched is fetched anew, once: a remote whose list goes on changing is not asked for it
// with every call.
func TestAListThatChangesWhileItIsFetched(t *testing.T) {
	for moved, want := range map[int][2]int{1: {4, 4}, 9: {4, 4}} { // pages asked for after each of two calls
		l := &lister{pages: []string{`[{"name":"writer","annotations":{"readOnlyHint":true}}]`, "[]"}, stream: true, moved: moved}
		s := stage(t, (&standIn{answer: l.answer}).before(t), policies(readersOnly))
		for _, pages := range want {
			s.do(call{user: "ann", body: callTool("writer", `{}`)}).refused(t, 403)
			if l.asked() != pages {
				t.Errorf("changed %d times: %d pages, want %d", moved, l.asked(), pages)
			}
		}
	}
}

package gateway_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	everything  = `permit(principal, action, resource);`
	noDamage    = `forbid(principal, action, resource) when { resource has destructiveHint && resource.destructiveHint };`
	allButHarm  = `permit(principal, action, resource) unless { resource has destructiveHint && resource.destructiveHint };`
	mixedTools  = `[{"name":"rm","annotations":{"destructiveHint":true}},{"name":"ls","annotations":{"destructiveHint":false,"readOnlyHint":true}}]`
	calledTools = `{"content":[]}`
)

// listing answers tools/list with tools, a JSON array, where refuse gives no status instead; initialize begins a session.
func listing(tools string, refuse func(r *http.Request, method string) int) *standIn {
	return &standIn{answer: func(w http.ResponseWriter, r *http.Request, method string, body []byte) {
		var m struct{ ID json.RawMessage }
		_ = json.Unmarshal(body, &m) // every message of these tests that is answered has one
		if status := refuse(r, method); status > 0 {
			w.WriteHeader(status)
			return
		}
		result := calledTools
		switch method {
		case "tools/list":
			result = `{"tools":` + tools + `}`
		case "initialize":
			w.Header().Set("Mcp-Session-Id", fmt.Sprint("session-", strings.Count(string(body), "")))
			result = `{}`
		}
		answerJSON(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":`+result+`}`)
	}}
}

func never(*http.Request, string) int { return 0 }

// TestOddAnnotationsAreUnknown: what a list says of a tool in a way that could mean several things opens nothing.
func TestOddAnnotationsAreUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		tools string
		want  map[string]int // status by tool
	}{
		"another type":       {`[{"name":"rm","annotations":{"destructiveHint":"true"}},{"name":"ls"}]`, map[string]int{"rm": 503, "ls": 200}},
		"a number":           {`[{"name":"rm","annotations":{"destructiveHint":1}},{"name":"ls"}]`, map[string]int{"rm": 503, "ls": 200}},
		"another case":       {`[{"name":"rm","annotations":{"DestructiveHint":true}},{"name":"ls"}]`, map[string]int{"rm": 503, "ls": 200}},
		"a list":             {`[{"name":"rm","annotations":[]},{"name":"ls"}]`, map[string]int{"rm": 503, "ls": 200}},
		"another name":       {`[{"Name":"rm","annotations":{"destructiveHint":true}},{"name":"ls"}]`, map[string]int{"rm": 503, "ls": 200}},
		"two names":          {`[{"name":"cp","Name":"rm","annotations":{"destructiveHint":true}},{"name":"ls"}]`, map[string]int{"rm": 503, "cp": 503, "ls": 200}},
		"twice, not alike":   {`[{"name":"rm","annotations":{"destructiveHint":true}},{"name":"rm"},{"name":"ls"}]`, map[string]int{"rm": 503, "ls": 200, "cp": 200}},
		"and then as before": {`[{"name":"rm"},{"name":"rm","annotations":{"destructiveHint":true}},{"name":"rm"}]`, map[string]int{"rm": 503}},
		"twice, alike":       {`[{"name":"rm","annotations":{"destructiveHint":true}},{"name":"rm","annotations":{"destructiveHint":true}}]`, map[string]int{"rm": 403}},
		"null":               {`[{"name":"rm","annotations":{"destructiveHint":null}}]`, map[string]int{"rm": 200, "cp": 200}},
	} {
		t.Run(name, func(t *testing.T) {
			s := stage(t, listing(c.tools, never).before(t), policies(everything, noDamage))
			for tool, want := range c.want {
				a := s.do(call{user: "ann", body: callTool(tool, `{}`)})
				if a.status != want {
					t.Errorf("%s: %d %s, want %d", tool, a.status, a.body, want)
				}
				if want == 503 && a.header.Get("Retry-After") == "" {
					t.Errorf("%s: no Retry-After", tool)
				}
			}
		})
	}
}

// TestABadSessionHarmsNobodyElse: the list that fails in one caller's session is asked for again in the next one's.
func TestABadSessionHarmsNobodyElse(t *testing.T) {
	for name, set := range map[string][]string{
		"a forbid": {everything, noDamage}, "a permit": {allButHarm}, "a permit for readers": {readersOnly},
	} {
		t.Run(name, func(t *testing.T) {
			r := listing(mixedTools, func(r *http.Request, method string) int {
				if method != "initialize" && r.Header.Get("Mcp-Session-Id") == "" {
					return http.StatusBadRequest
				}
				return 0
			})
			s := stage(t, r.before(t), policies(set...))
			good := s.open("ann")
			s.do(call{user: "ann", body: callTool("rm", `{}`)}).refused(t, http.StatusBadRequest)
			s.do(call{user: "ann", session: good, body: callTool("rm", `{}`)}).refused(t, http.StatusForbidden)
			if a := s.do(call{user: "ann", session: good, body: callTool("ls", `{}`)}); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
			if n := len(r.asked(`"rm"`)); n != 0 {
				t.Errorf("the destructive tool was called %d times", n)
			}
		})
	}
}

// TestALostSessionIsTold, whatever policies read: only a new initialize can mend it.
func TestALostSessionIsTold(t *testing.T) {
	var lost atomic.Bool
	for name, set := range map[string][]string{
		"a forbid": {everything, noDamage}, "a permit": {allButHarm}, "a permit for readers": {readersOnly}, "no hints": {everything},
	} {
		t.Run(name, func(t *testing.T) {
			lost.Store(false)
			r := listing(mixedTools, func(_ *http.Request, method string) int {
				if method != "initialize" && lost.Load() {
					return http.StatusNotFound
				}
				return 0
			})
			s := stage(t, r.before(t), policies(set...))
			session := s.open("ann")
			lost.Store(true)
			if a := s.do(call{user: "ann", session: session, body: callTool("ls", `{}`)}); a.status != http.StatusNotFound {
				t.Fatalf("%d %s", a.status, a.body)
			}
			lost.Store(false)
			if a := s.do(call{user: "ann", session: s.open("ann"), body: callTool("ls", `{}`)}); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// TestAnAllowNeverRestsOnUnknownAnnotations: what does not need them is decided.
func TestAnAllowNeverRestsOnUnknownAnnotations(t *testing.T) {
	for name, c := range map[string]struct {
		policies []string
		want     int
	}{
		"a permit that reads them":            {[]string{allButHarm}, 503},
		"a forbid that reads them":            {[]string{everything, noDamage}, 503},
		"a permit that does not, beside":      {[]string{allButHarm, everything}, 200},
		"a permit that waits for them":        {[]string{readersOnly}, 403},
		"nothing permits it":                  {[]string{noDamage}, 403},
		"a forbid about another tool":         {[]string{everything, `forbid(principal, action, resource == Tool::"rm") when { resource.destructiveHint };`}, 200},
		"a forbid that can't do without them": {[]string{everything, `forbid(principal, action, resource) when { resource.destructiveHint };`}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := listing(mixedTools, func(_ *http.Request, method string) int {
				if method == "tools/list" {
					return http.StatusInternalServerError
				}
				return 0
			})
			s := stage(t, r.before(t), policies(c.policies...))
			a := s.do(call{user: "ann", body: callTool("plain", `{}`)})
			if a.status != c.want || (a.header.Get("Retry-After") != "") != (c.want == 503) || (len(r.asked(`"plain"`)) > 0) != (c.want == 200) {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
			if n := r.lists.Load(); n != 1 {
				t.Errorf("%d lists", n)
			}
			s.do(call{user: "ann", body: callTool("plain", `{}`)})
			if n := r.lists.Load(); n != 1 {
				t.Errorf("%d lists after a failure that all callers share", n)
			}
		})
	}
}

// TestAnnotationsOfARemoteThatAlwaysCompresses.
func TestAnnotationsOfARemoteThatAlwaysCompresses(t *testing.T) {
	inner := listing(mixedTools, never)
	r := &standIn{answer: func(w http.ResponseWriter, r *http.Request, method string, body []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		inner.answer(zipping{w, z}, r, method, body)
		_ = z.Close()
	}}
	s := stage(t, r.before(t), policies(readersOnly))
	for tool, want := range map[string]int{"ls": 200, "rm": 403} {
		if a := s.do(call{user: "ann", body: callTool(tool, `{}`)}); a.status != want {
			t.Errorf("%s: %d %s", tool, a.status, a.body)
		}
	}
}

type zipping struct {
	http.ResponseWriter
	z io.Writer
}

func (z zipping) Write(b []byte) (int, error) { return z.z.Write(b) }

// TestAnnotationsOutliveCredentials: credentials that AWS does not take any more are borrowed anew for a list as for a call.
func TestAnnotationsOutliveCredentials(t *testing.T) {
	var stale atomic.Pointer[string]
	inner := listing(mixedTools, never)
	r := &standIn{answer: func(w http.ResponseWriter, r *http.Request, method string, body []byte) {
		key, _, _ := strings.Cut(r.Header.Get("Authorization"), "/")
		stale.CompareAndSwap(nil, &key)
		if key == *stale.Load() {
			w.Header().Set("X-Amzn-Errortype", "ExpiredTokenException")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.answer(w, r, method, body)
	}}
	s := stage(t, r.before(t), policies(readersOnly))
	if a := s.do(call{user: "ann", body: callTool("ls", `{}`)}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestAListOfTheGatewaysOwnLeavesATrace: one line for each, with the request that it was made for.
func TestAListOfTheGatewaysOwnLeavesATrace(t *testing.T) {
	l := &lister{pages: []string{readers, writers}}
	inner := l.answer
	r := &standIn{answer: func(w http.ResponseWriter, r *http.Request, method string, body []byte) {
		if method == "tools/list" {
			w.Header().Set("X-Amzn-Requestid", fmt.Sprint("page-", l.asked()))
		}
		inner(w, r, method, body)
	}}
	s := stage(t, r.before(t), policies(readersOnly))
	first := s.do(call{user: "ann", body: callTool("reader", `{}`)})
	s.do(call{user: "ann", body: callTool("reader", `{}`)})
	lines := ownLists(t, s)
	if len(lines) != 1 {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	line := lines[0]
	for key, want := range map[string]any{
		"level": "INFO", "request_id": first.header.Get("X-Request-Id"), "tools": 3.0, "pages": 2.0, "aws_request_id": "page-0, page-1",
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	for _, key := range []string{"caller", "issuer", "role", "session_name", "duration_ms"} {
		if line[key] == nil {
			t.Errorf("no %s in %v", key, line)
		}
	}
	s = stage(t, listing(`[]`, func(*http.Request, string) int { return 500 }).before(t), policies(readersOnly))
	s.do(call{user: "ann", body: callTool("reader", `{}`)}).refused(t, 403)
	if lines := ownLists(t, s); len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["error"] == nil || lines[0]["hint"] == nil {
		t.Errorf("of a list that failed: %v", lines)
	}
}

// ownLists are the log's lines about lists that the gateway asked for itself.
func ownLists(t *testing.T, s *stand) (lines []map[string]any) {
	t.Helper()
	for text := range strings.Lines(s.log.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if msg, _ := line["msg"].(string); strings.Contains(msg, "the remote's tools") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestOneCallNamesAPolicyOnce, however many questions it is.
func TestOneCallNamesAPolicyOnce(t *testing.T) {
	var set, uris []string
	for i := range 100 {
		set = append(set, fmt.Sprintf(`@id("policy-number-%d") permit(principal, action, resource) when { resource.feature == "resource" };`, i))
	}
	set = append(set, `@id("fails") permit(principal, action, resource) when { resource.nothing };`)
	for i := range 1000 {
		uris = append(uris, fmt.Sprintf(`"u%d"`, i%500))
	}
	s := stage(t, toolsServer().before(t), policies(set...))
	a := s.do(call{user: "ann", body: rpc("subscriptions/listen", `{"notifications":{"resourceSubscriptions":[`+strings.Join(uris, ",")+`]}}`)})
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	eventually(t, "the request's line", func() bool { return strings.Contains(s.log.String(), `"policies":"policy-number-0, `) })
	for line := range strings.Lines(s.log.String()) {
		if len(line) > 6000 || strings.Count(line, "policy-number-7,") > 1 || strings.Count(line, "fails (permit)") > 1 {
			t.Errorf("%d bytes: %.3000s", len(line), line)
		}
	}
}

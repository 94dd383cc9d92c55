package gateway_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
)

// policies gives the proxy Cedar policies.
func policies(texts ...string) edit {
	var b strings.Builder
	b.WriteString("authzConfig:\n    type: inline\n    inline:\n      policies:\n")
	for _, text := range texts {
		fmt.Fprintf(&b, "        - %s\n", quoted(text))
	}
	return spec(strings.TrimSuffix(b.String(), "\n"))
}

func quoted(text string) string {
	b, _ := json.Marshal(text) // a JSON string is a YAML one
	return string(b)
}

// standIn answers instead of the AWS MCP Server, and writes down what it was asked.
type standIn struct {
	mu     sync.Mutex
	bodies []string
	lists  atomic.Int64
	answer func(w http.ResponseWriter, r *http.Request, method string, body []byte)
}

func (m *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	m.bodies = append(m.bodies, string(body))
	m.mu.Unlock()
	var message struct{ Method string }
	_ = json.Unmarshal(body, &message) // a GET has none
	if message.Method == "tools/list" {
		m.lists.Add(1)
	}
	m.answer(w, r, message.Method, body)
}

// asked are the bodies of what reached it, by a part of them.
func (m *standIn) asked(part string) (bodies []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.bodies {
		if strings.Contains(b, part) {
			bodies = append(bodies, b)
		}
	}
	return bodies
}

// before puts it in the place of the AWS MCP Server.
func (m *standIn) before(t *testing.T) edit {
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return func(w *fake.World, d string) string { return strings.Replace(d, w.RemoteURL(), server.URL+"/mcp", 1) }
}

func answerJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// toolsAnswer is a list of tools, some with annotations.
const toolsAnswer = `{"jsonrpc":"2.0","id":1,"result":{"tools":[` +
	`{"name":"read_doc","annotations":{"readOnlyHint":true}}, ` +
	`{"name":"drop_table","description":"drops","annotations":{"destructiveHint":true},"inputSchema":{"type":"object","$ref":"#/x"}},` +
	`{"name":"plain"}],"ttlMs":60000,"x":{"kept":1}}}`

func toolsServer() *standIn {
	return &standIn{answer: func(w http.ResponseWriter, _ *http.Request, method string, body []byte) {
		var m struct{ ID json.RawMessage }
		if _ = json.Unmarshal(body, &m); m.ID == nil {
			m.ID = []byte("null") // of a notification, which nobody needs to answer
		}
		switch method {
		case "tools/list":
			answerJSON(w, strings.Replace(toolsAnswer, `"id":1`, `"id":`+string(m.ID), 1))
		default:
			answerJSON(w, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"content":[]}}`)
		}
	}}
}

func callTool(name, arguments string) string {
	return rpc("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, arguments))
}

func TestPolicyDecidesEveryCall(t *testing.T) {
	r := toolsServer()
	s := stage(t, r.before(t), policies(
		`@id("readers") permit(principal in THVGroup::"s3-readers", action == Action::"call_tool", resource == Tool::"read_doc");`,
		`@id("small") permit(principal, action == Action::"call_tool", resource == Tool::"plain") when { context.arg_n < 5 };`,
		`@id("uri") permit(principal, action == Action::"read_resource", resource) when { resource.uri == "s3://b/k" };`))
	for name, c := range map[string]struct {
		user, body string
		status     int
		policy     string // in the log
	}{
		"permitted by group":     {"ann", callTool("read_doc", `{}`), 200, `"policies":"readers"`},
		"not in the group":       {"eve", callTool("read_doc", `{}`), 403, `"decision":"denied"`},
		"no policy":              {"ann", callTool("drop_table", `{}`), 403, `"decision":"denied"`},
		"a number":               {"eve", callTool("plain", `{"n":4}`), 200, `"policies":"small"`},
		"too large a number":     {"eve", callTool("plain", `{"n":5}`), 403, ""},
		"an argument is missing": {"eve", callTool("plain", `{}`), 403, `"policy_errors":"small (permit)`},
		"a resource":             {"eve", rpc("resources/read", `{"uri":"s3://b/k"}`), 200, `"policies":"uri"`},
		"another resource":       {"eve", rpc("resources/read", `{"uri":"s3://b/other"}`), 403, ""},
		"subscribing to it":      {"eve", rpc("resources/subscribe", `{"uri":"s3://b/other"}`), 403, ""},
		"a prompt":               {"eve", rpc("prompts/get", `{"name":"p"}`), 403, ""},
		"an unknown method":      {"eve", rpc("tasks/list", `{}`), 403, ""},
		"a call without an id":   {"eve", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"drop_table"}}`, 403, ""},
		"a ping":                 {"eve", rpc("ping", `{}`), 200, ""},
		"a notification":         {"eve", `{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(r.asked(""))
			a := s.do(call{user: c.user, body: c.body})
			reached := len(r.asked("")) - before
			if c.status != 200 {
				message := a.refused(t, c.status)
				if reached != 0 || !strings.Contains(message, "policy") || strings.Contains(a.body, "permit") {
					t.Errorf("%d calls reached the remote; the client read %s", reached, a.body)
				}
			} else if a.status != 200 || reached != 1 {
				t.Errorf("%d %s; %d calls reached the remote", a.status, a.body, reached)
			}
			if id := a.header.Get("X-Request-Id"); c.policy != "" {
				eventually(t, "the log tells "+c.policy, func() bool {
					return slices.ContainsFunc(strings.Split(s.log.String(), "\n"), func(l string) bool { return strings.Contains(l, id) && strings.Contains(l, c.policy) })
				})
			}
		})
	}
}

// TestForbidThatFailsDenies: an error in a forbid must not open what it closes.
func TestForbidThatFailsDenies(t *testing.T) {
	s := stage(t, toolsServer().before(t), policies(`permit(principal, action, resource);`,
		`@id("limit") forbid(principal, action == Action::"call_tool", resource) when { context.arg_n > 100 };`))
	if a := s.do(call{user: "ann", body: callTool("plain", `{"n":1}`)}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.do(call{user: "ann", body: callTool("plain", `{"n":"x"}`)}).refused(t, 403)
	if !strings.Contains(s.log.String(), `"policies":"limit"`) {
		t.Error("the log does not name the forbid")
	}
}

// TestAnnotationsComeFromTheRemote: once for each role, whatever a client sends, and again when its list has changed.
func TestAnnotationsComeFromTheRemote(t *testing.T) {
	r := toolsServer()
	s := stage(t, r.before(t), policies(
		`permit(principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`))
	forged := `{"name":"drop_table","arguments":{"readOnlyHint":true},"annotations":{"readOnlyHint":true},"_meta":{"readOnlyHint":true}}`
	for range 3 {
		if a := s.do(call{user: "ann", body: callTool("read_doc", `{}`)}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		s.do(call{user: "ann", body: rpc("tools/call", forged)}).refused(t, 403)
	}
	if n := r.lists.Load(); n != 1 {
		t.Errorf("the tools were listed %d times", n)
	}
	s.do(call{user: "bob", body: callTool("plain", `{}`)}).refused(t, 403)
	if n := r.lists.Load(); n != 2 {
		t.Errorf("the tools were listed %d times for two roles", n)
	}
}

func namesIn(t *testing.T, body string) (names []string) {
	t.Helper()
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok && !strings.HasPrefix(line, "{") {
			continue
		}
		if !ok {
			data = line
		}
		var m struct {
			Result struct {
				Tools, Resources, ResourceTemplates, Prompts []struct{ Name, URI, URITemplate string }
			}
		}
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, list := range [][]struct{ Name, URI, URITemplate string }{m.Result.Tools, m.Result.Resources, m.Result.ResourceTemplates, m.Result.Prompts} {
			for _, item := range list {
				names = append(names, item.Name+item.URI+item.URITemplate)
			}
		}
	}
	return names
}

// TestListsShowWhatMayBeUsed: in every form in which a list can come.
func TestListsShowWhatMayBeUsed(t *testing.T) {
	event := "event: message\nid: 7\ndata: " + toolsAnswer + "\n\n"
	for name, answer := range map[string]func(w http.ResponseWriter){
		"JSON": func(w http.ResponseWriter) { answerJSON(w, toolsAnswer) },
		"a stream": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": hello\n\n"+event)
		},
		"gzip": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, toolsAnswer)
			_ = z.Close()
		},
		"a stream in gzip": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, event)
			_ = z.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &standIn{answer: func(w http.ResponseWriter, _ *http.Request, _ string, _ []byte) { answer(w) }}
			s := stage(t, r.before(t), policies(`permit(principal, action, resource) when { resource has readOnlyHint && resource.readOnlyHint };`))
			a := s.do(call{user: "ann", body: listTools})
			if got := namesIn(t, a.body); a.status != 200 || !slices.Equal(got, []string{"read_doc"}) {
				t.Errorf("%d %v %s", a.status, got, a.body)
			}
			if !strings.Contains(a.body, `"ttlMs":60000,"x":{"kept":1}`) || a.header.Get("Content-Encoding") != "" {
				t.Errorf("%v %s", a.header, a.body)
			}
			session := s.do(call{user: "ann", method: http.MethodGet})
			if strings.Contains(name, "stream") && slices.Contains(namesIn(t, session.body), "drop_table") {
				t.Errorf("on a GET stream: %s", session.body)
			}
			if !strings.Contains(s.log.String(), `"hidden":2`) {
				t.Error("the log does not tell how many were hidden")
			}
		})
	}
}

// TestFailuresInListsAreTold: a forbid that can't be evaluated empties a list, and who looks for the reason finds it, once.
func TestFailuresInListsAreTold(t *testing.T) {
	s := stage(t, toolsServer().before(t), policies(`permit(principal, action, resource);`,
		`@id("broken") forbid(principal, action == Action::"call_tool", resource) when { context.arg_x == "y" };`))
	a := s.do(call{user: "ann", body: listTools})
	if got := namesIn(t, a.body); a.status != 200 || len(got) != 0 {
		t.Errorf("%d %v", a.status, got)
	}
	eventually(t, "the log names the policy", func() bool { return strings.Contains(s.log.String(), `"policy_errors":"broken (forbid): `) })
	if n := strings.Count(s.log.String(), "broken (forbid)"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	scraped := httptest.NewRecorder()
	s.house.Metrics.Handler().ServeHTTP(scraped, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(scraped.Body.String(), `rolegate_policy_errors_total{effect="forbid",policy="broken"} 1`) {
		t.Error("it is not counted, or more than once")
	}
}

// TestListsThatCantBeUnderstoodAreWithheld: an unfiltered list is worse than none.
func TestListsThatCantBeUnderstoodAreWithheld(t *testing.T) {
	for name, answer := range map[string]struct{ header, body string }{
		"an unknown coding":  {"br", toolsAnswer},
		"no JSON":            {"", `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop_table"}`},
		"a folded name":      {"", `{"jsonrpc":"2.0","id":1,"result":{"Tools":[{"name":"drop_table"}]}}`},
		"twice":              {"", `{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"drop_table"}]}}`},
		"a batch":            {"", `[` + toolsAnswer + `]`},
		"no list":            {"", `{"jsonrpc":"2.0","id":1,"result":{"content":[{"name":"drop_table"}]}}`},
		"not what was asked": {"", `{"jsonrpc":"2.0","id":1,"result":{"tools":{"name":"drop_table"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := &standIn{answer: func(w http.ResponseWriter, _ *http.Request, _ string, _ []byte) {
				if answer.header != "" {
					w.Header().Set("Content-Encoding", answer.header)
				}
				answerJSON(w, answer.body)
			}}
			s := stage(t, r.before(t), policies(`permit(principal, action, resource == Tool::"read_doc");`))
			a := s.do(call{user: "ann", body: listTools})
			a.refused(t, 502)
			if strings.Contains(a.body, "drop_table") {
				t.Error(a.body)
			}
		})
	}
}

// TestAStreamedListIsNotHeldBack: each event is on its way before the next one comes.
func TestAStreamedListIsNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	r := &standIn{answer: func(w http.ResponseWriter, r *http.Request, _ string, _ []byte) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range []string{": ready\n\n", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n", "data: " + toolsAnswer + "\n\n"} {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	}}
	s := stage(t, r.before(t), policies(`permit(principal, action, resource == Tool::"plain");`))
	resp, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", body: listTools}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{": ready", "notifications/progress", `{"name":"plain"}`} {
		got := make(chan string, 1)
		go func() {
			line, _ := lines.ReadString('\n')
			_, _ = lines.ReadString('\n')
			got <- line
		}()
		select {
		case line := <-got:
			if !strings.Contains(line, want) || strings.Contains(line, "drop_table") {
				t.Errorf("%q, want %q", line, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q is held back", want)
		}
		next <- struct{}{}
	}
}

const toolConfig = `
---
apiVersion: toolhive.stacklok.dev/v1alpha1
kind: MCPToolConfig
metadata: {name: tools, namespace: toolhive-system}
spec:
  toolsFilter: [delete, read_doc]
  toolsOverride:
    drop_table: {name: delete, description: Deletes a table.}
`

// TestRenamedTools: decided under the real name, which no client sees, and translated both ways.
func TestRenamedTools(t *testing.T) {
	r := toolsServer()
	s := stage(t, r.before(t), spec("toolConfigRef: {name: tools}"), func(_ *fake.World, d string) string { return d + toolConfig },
		policies(`permit(principal, action == Action::"call_tool", resource in MCP::"aws-mcp-proxy") when { resource.name == "drop_table" };`))
	a := s.do(call{user: "ann", body: listTools})
	want := `{"name":"delete","description":"Deletes a table.","annotations":{"destructiveHint":true},"inputSchema":{"type":"object","$ref":"#/x"}}`
	if !strings.Contains(a.body, `"tools":[`+want+`]`) {
		t.Error(a.body)
	}
	if a := s.do(call{user: "ann", body: callTool("delete", `{"table":"t"}`), headers: map[string]string{"Mcp-Name": "delete", "Mcp-Method": "tools/call"}}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := r.asked(`"table"`); len(got) != 1 || got[0] != callTool("drop_table", `{"table":"t"}`) {
		t.Errorf("the remote got %v", got)
	}
	for _, name := range []string{"drop_table", "plain", "read_doc"} { // renamed away, not offered, not permitted
		s.do(call{user: "ann", body: callTool(name, `{}`)}).refused(t, 403)
	}
	for name, words := range map[string]string{
		"plain":    `the tool \"plain\" is not offered here`,
		"read_doc": `policy refuses tool \"read_doc\"`,
	} {
		if a := s.do(call{user: "ann", body: callTool(name, `{}`)}); !strings.Contains(a.body, words) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// TestARefusalNamesTheToolThatWasCalled: the name that the remote has is none of the client's business.
func TestARefusalNamesTheToolThatWasCalled(t *testing.T) {
	s := stage(t, toolsServer().before(t), spec("toolConfigRef: {name: tools}"), func(_ *fake.World, d string) string { return d + toolConfig },
		policies(`permit(principal, action == Action::"call_tool", resource == Tool::"nothing");`))
	a := s.do(call{user: "ann", body: callTool("delete", `{}`)})
	if a.status != 403 || !strings.Contains(a.body, `policy refuses tool \"delete\"`) || strings.Contains(a.body, "drop_table") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestScopes(t *testing.T) {
	users := append(fake.Users(),
		idp.User{Name: "read", Claims: idp.Claims{"scope": "mcp"}},
		idp.User{Name: "write", Claims: idp.Claims{"scope": "mcp aws:write"}})
	r := toolsServer()
	s := stageWith(t, fake.Options{Users: users}, r.before(t), spec("requiredScopes: [mcp]"), policies(
		`permit(principal, action == Action::"call_tool", resource == Tool::"read_doc");`,
		`@scopes("aws:write") permit(principal, action == Action::"call_tool", resource == Tool::"drop_table");`))
	for _, c := range []struct {
		user, tool string
		status     int
		challenge  string
	}{
		{"ann", "read_doc", 403, `scope="mcp"`},
		{"read", "read_doc", 200, ""},
		{"read", "drop_table", 403, `scope="aws:write mcp"`},
		{"write", "drop_table", 200, ""},
		{"write", "plain", 403, ""},
	} {
		a := s.do(call{user: c.user, body: callTool(c.tool, `{}`)})
		got := a.header.Get("WWW-Authenticate")
		if a.status != c.status || c.challenge == "" && got != "" || c.challenge != "" && !(strings.Contains(got, `error="insufficient_scope"`) && strings.Contains(got, c.challenge)) {
			t.Errorf("%s, %s: %d, %q %s", c.user, c.tool, a.status, got, a.body)
		}
	}
	if got := namesIn(t, s.do(call{user: "read", body: listTools}).body); !slices.Equal(got, []string{"read_doc", "drop_table"}) {
		t.Errorf("the list shows %v, not what may be used with more scopes too", got)
	}
}

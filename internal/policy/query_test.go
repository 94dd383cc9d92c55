package policy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
)

// message reads a body as the gateway does.
func message(t testing.TB, body string) *mcp.Call {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	c, err := mcp.Read(httptest.NewRecorder(), r, mcp.Limits{})
	if err != nil {
		t.Fatalf("read %s: %v", body, err)
	}
	return c
}

func request(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc": "2.0", "id": 1, "method": %q, "params": %s}`, method, params)
}

func notification(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc": "2.0", "method": %q, "params": %s}`, method, params)
}

func TestQueries(t *testing.T) {
	p := compile(t, texts(`permit(principal, action, resource);`))
	for body, want := range map[string][]policy.Query{
		request("tools/call", `{"name": "rm", "arguments": {"path": "/"}}`):                                             {call("rm", `{"path": "/"}`)},
		request("tools/call", `{"arguments" : { "a":[1, {"b":2}] } , "name":"rm","_meta":{}}`):                          {call("rm", `{ "a":[1, {"b":2}] }`)},
		request("tools/call", `{"name": "rm", "\u0061rguments": {"path": "/"}}`):                                        {call("rm", `{"path": "/"}`)},
		request("tools/call", `{"name": "rm"}`):                                                                         {{Method: "tools/call", Target: "rm"}},
		request("tools/call", `{"name": "rm", "arguments": null}`):                                                      {{Method: "tools/call", Target: "rm"}},
		request("prompts/get", `{"name": "p", "arguments": {"a": "b"}}`):                                                {{Method: "prompts/get", Target: "p", Args: []byte(`{"a": "b"}`)}},
		request("resources/read", `{"uri": "s3://b/k"}`):                                                                {read("s3://b/k")},
		request("resources/subscribe", `{"uri": "s3://b/k"}`):                                                           {read("s3://b/k")},
		request("resources/unsubscribe", `{"uri": "s3://b/k"}`):                                                         {read("s3://b/k")},
		request("tasks/get", `{"taskId": "1"}`):                                                                         {{Method: "tasks/get"}},
		request("sampling/createMessage", `{}`):                                                                         {{Method: "sampling/createMessage"}},
		request("elicitation/create", `{}`):                                                                             {{Method: "elicitation/create"}},
		request("Tools/call", `{"name": "rm"}`):                                                                         {{Method: "Tools/call"}},
		request("notifications/initialized", `{}`):                                                                      {{Method: "notifications/initialized"}},
		notification("tools/call", `{"name": "rm", "arguments": {}}`):                                                   {call("rm", `{}`)},
		notification("resources/read", `{"uri": "file:///etc/passwd"}`):                                                 {read("file:///etc/passwd")},
		notification("tasks/cancel", `{"taskId": "1"}`):                                                                 {{Method: "tasks/cancel"}},
		notification("notifications/cancelled", `{"requestId": 1}`):                                                     nil,
		notification("notifications/anything", `{"name": "rm"}`):                                                        nil,
		request("initialize", `{}`):                                                                                     nil,
		request("server/discover", `{}`):                                                                                nil,
		request("ping", `{}`):                                                                                           nil,
		request("logging/setLevel", `{"level": "info"}`):                                                                nil,
		request("completion/complete", `{"ref": {"type": "ref/prompt", "name": "p"}}`):                                  nil,
		request("tools/list", `{}`):                                                                                     nil,
		request("prompts/list", `{}`):                                                                                   nil,
		request("resources/list", `{"cursor": "x"}`):                                                                    nil,
		request("resources/templates/list", `{}`):                                                                       nil,
		`{"jsonrpc": "2.0", "id": 1, "result": {}}`:                                                                     nil,
		request("subscriptions/listen", `{}`):                                                                           nil,
		request("subscriptions/listen", `{"notifications": null}`):                                                      nil,
		request("subscriptions/listen", `{"notifications": {"toolsListChanged": true}}`):                                nil,
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": null}}`):                           nil,
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": []}}`):                             nil,
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": ["a:b", "c\u003ad"]}}`):            {read("a:b"), read("c:d")},
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": ["b", "a", "b", "\u0061", "b"]}}`): {read("b"), read("a")},
	} {
		got, err := p.Queries(message(t, body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	for _, kind := range []mcp.Kind{mcp.Stream, mcp.Delete} {
		if got, err := p.Queries(&mcp.Call{Kind: kind}); got != nil || err != nil {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
}

func TestQueriesRefuse(t *testing.T) {
	p := compile(t, texts(`permit(principal, action, resource);`))
	many := `["u"` + strings.Repeat(`, "u"`, 1000) + `]`
	for _, body := range []string{
		request("tools/call", `{"name": "rm", "arguments": []}`),
		request("tools/call", `{"name": "rm", "arguments": "x"}`),
		request("prompts/get", `{"name": "rm", "arguments": 7}`),
		request("subscriptions/listen", `{"notifications": []}`),
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": "s3://b/k"}}`),
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": ["a", 1]}}`),
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": [["a"]]}}`),
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": `+many+`}}`),
		request("tools/call", `{"name": "rm", "arguments": true}`),
		request("subscriptions/listen", `{"notifications": {"resourceSubscriptions": {"a": "b"}}}`),
	} {
		queries, err := p.Queries(message(t, body))
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Malformed || e.RPCCode() != mcp.CodeInvalidParams || queries != nil {
			t.Errorf("%s: %v, %v", body, queries, err)
		}
	}
	if _, err := p.Queries(&mcp.Call{}); err == nil {
		t.Error("a call that was not read needs no decision")
	}
}

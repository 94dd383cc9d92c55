package mcp_test

import (
	"testing"

	"github.com/rolegate/rolegate/internal/mcp"
)

// told is what a call tells besides its method and target.
type told struct {
	arguments, subscriptions string
	filtered                 bool
	client, version          string
	parent, state            string
}

func tell(c *mcp.Call) told {
	var got told
	list, ok := c.Subscriptions()
	got.arguments, got.subscriptions, got.filtered = string(c.Arguments()), string(list), ok
	got.client, got.version = c.Client()
	got.parent, got.state = c.Trace()
	return got
}

func TestMembers(t *testing.T) {
	legacy := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	}
	const info, meta = "io.modelcontextprotocol/clientInfo", `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"`
	for _, tt := range []struct {
		name, body string
		modern     string // the method, for its header; "" for the legacy era
		want       told
	}{
		{"nothing", legacy("ping", `{}`), "", told{}},
		{"no params", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, "", told{}},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{"arguments":{"a":1},"clientInfo":{"name":"x"}}}`, "", told{}},
		{"arguments", legacy("tools/call", `{"name":"t","\u0061rguments" : {"a":{"arguments":[]}} ,"x":1}`), "", told{arguments: `{"a":{"arguments":[]}}`}},
		{"arguments of any kind", legacy("tools/call", `{"name":"t","arguments":[1]}`), "", told{arguments: `[1]`}},
		{"null arguments", legacy("tools/call", `{"name":"t","arguments":null}`), "", told{}},
		{"arguments elsewhere", legacy("tools/call", `{"name":"t","x":{"arguments":{}},"_meta":{"arguments":{}}}`), "", told{}},

		{"initialize", legacy("initialize", `{"clientInfo":{"version":"1.0","na\u006de":"\u00e9","title":"T"}}`), "", told{client: "é", version: "1.0"}},
		{"client of another method", legacy("ping", `{"clientInfo":{"name":"x"}}`), "", told{}},
		{"client in arguments", legacy("initialize", `{"arguments":{"clientInfo":{"name":"x"}}}`), "", told{arguments: `{"clientInfo":{"name":"x"}}`}},
		{"client that is a list", legacy("initialize", `{"clientInfo":[{"name":"x"}]}`), "", told{}},
		{"client that is no text", legacy("initialize", `{"clientInfo":{"name":7,"version":null}}`), "", told{}},
		{"client deeper down", legacy("initialize", `{"clientInfo":{"icons":[{"name":"x"}],"a":{"version":"x"}}}`), "", told{}},
		{"meta in the legacy era", legacy("ping", `{"_meta":{"`+info+`":{"name":"x"}}}`), "", told{}},
		{"modern", legacy("ping", `{`+meta+`,"`+info+`":{"name":"a","version":"2"}}}`), "ping", told{client: "a", version: "2"}},
		{"modern, without a name", legacy("initialize", `{"clientInfo":{"name":"b"},`+meta+`,"`+info+`":{"version":"2"}}}`), "initialize", told{version: "2"}},
		{"modern, in the old place", legacy("initialize", `{"clientInfo":{"name":"b"},`+meta+`}}`), "initialize", told{client: "b"}},
		{"modern, elsewhere", legacy("ping", `{"a":{"_meta":{"`+info+`":{"name":"x"}}},`+meta+`}}`), "ping", told{}},

		{"trace", legacy("ping", `{"_meta":{"traceparent":"00-1","tracestate":"a=b"}}`), "", told{parent: "00-1", state: "a=b"}},
		{"trace that is no text", legacy("ping", `{"_meta":{"traceparent":"00-1","tracestate":{}},"traceparent":"x"}`), "", told{parent: "00-1"}},

		{"listen", legacy("subscriptions/listen", `{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}}`), "", told{subscriptions: `["a:b"]`}},
		{"listen to nothing", legacy("subscriptions/listen", `{"notifications":{"resourceSubscriptions":null}}`), "", told{}},
		{"listen, null", legacy("subscriptions/listen", `{"notifications":null}`), "", told{}},
		{"listen to a list", legacy("subscriptions/listen", `{"notifications":[{"resourceSubscriptions":["a:b"]}]}`), "", told{filtered: true}},
	} {
		r := post(tt.body)
		if tt.modern != "" {
			r = post(tt.body, "Mcp-Protocol-Version: "+mcp.Version20260728, "Mcp-Method: "+tt.modern)
		}
		c, err := read(t, r, mcp.Limits{})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		tt.want.filtered = !tt.want.filtered // true is the rule
		if got := tell(c); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		c.Release()
		if got := tell(c); got != (told{filtered: true}) {
			t.Errorf("%s: after Release %+v", tt.name, got)
		}
	}
}

// TestSubscriptionsAreFoundByAllOrNone: a name that some readers take for resourceSubscriptions is refused.
func TestSubscriptionsAreFoundByAllOrNone(t *testing.T) {
	for _, filter := range []string{
		`{"resourcesubscriptions":["a"]}`, `{"resourceSub\u017fcriptions":["a"],"resourceSubscriptions":[]}`, `{"resourceSubscrıptions":["a"]}`,
		`{"resourceSubscriptions":[],"resourceSubscriptions":["a"]}`, `{"resourceSubscriptions\u0000":["a"]}`,
	} {
		_, err := read(t, post(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":`+filter+`}}`), mcp.Limits{})
		if err == nil {
			t.Errorf("%s was read", filter)
			continue
		}
		if e := asFault(t, err); e.RPCCode() != mcp.CodeInvalidRequest {
			t.Errorf("%s: %v", filter, err)
		}
	}
}

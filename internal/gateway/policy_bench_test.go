package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/internal/token"
)

// teams are policies as the teams of an organization write them; %[1]d is the team. The caller is in every second team.
var teams = []string{
	`@id("t%[1]d-read") permit(principal in THVGroup::"team-%[1]d", action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`,
	`@id("t%[1]d-tool") permit(principal in THVGroup::"team-%[1]d", action == Action::"call_tool", resource == Tool::"tool_%[1]d");`,
	`@id("t%[1]d-bucket") permit(principal, action == Action::"call_tool", resource) when { principal in THVGroup::"team-%[1]d" && context has arg_bucket && context.arg_bucket like "team-%[1]d-*" };`,
	`@id("t%[1]d-area") permit(principal, action, resource) when { principal has claim_area && principal.claim_area == "area-%[1]d" };`,
	`@id("t%[1]d-files") permit(principal in THVGroup::"team-%[1]d", action == Action::"read_resource", resource) when { resource.uri like "s3://team-%[1]d/*" };`,
	`@id("t%[1]d-limit") forbid(principal in THVGroup::"team-%[1]d", action == Action::"call_tool", resource) when { context has arg_max && context.arg_max > 1000 };`,
	`@id("t%[1]d-prompt") permit(principal in THVGroup::"team-%[1]d", action == Action::"get_prompt", resource == Prompt::"prompt_%[1]d");`,
	`@id("t%[1]d-danger") forbid(principal, action == Action::"call_tool", resource == Tool::"drop_%[1]d") unless { principal in THVGroup::"team-%[1]d" };`,
	`@id("t%[1]d-write") @scopes("team-%[1]d:write") permit(principal in THVGroup::"team-%[1]d", action == Action::"call_tool", resource == Tool::"write_%[1]d");`,
	`@id("t%[1]d-tags") permit(principal, action == Action::"call_tool", resource) when { context has arg_tags && context.arg_tags.contains("team-%[1]d") };`,
}

// every are policies that can't be told apart by caller, action or resource: each is evaluated for each call.
var every = []string{`@id("t%[1]d-every") permit(principal, action, resource) when { context has arg_max && context.arg_max == %[1]d };`}

// bench is a gateway with n policies, for a caller in 50 groups; the hints of the remote's tools are known.
func bench(b *testing.B, mix []string, n int) (*Gateway, *token.Caller) {
	b.Helper()
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(mix[i%len(mix)], i/len(mix))
	}
	cfg := &config.Proxy{Name: "aws", RemoteURL: "https://remote.example.com/mcp", Authz: &config.Authz{Policies: texts, GroupEntityType: "THVGroup"}}
	policies, problems := newPolicies(cfg.Authz, cfg.Name)
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	g := &Gateway{House: NewHouse(nil, telemetry.NewMetrics("test", "test")), cfg: cfg, policies: policies}
	yes := true
	landed := &flight{done: make(chan struct{}), hints: &hints{tools: map[string]*policy.Hints{"tool_4": {ReadOnly: &yes}}}}
	close(landed.done)
	g.annotations.known[place{cfg.RemoteURL, ""}] = &catalogue{flight: landed, until: time.Now().Add(time.Hour)}

	groups := make([]any, 50)
	for i := range groups {
		groups[i] = fmt.Sprintf("team-%d", 2*i)
	}
	c := caller("https://idp.example.com", "ann")
	c.Subject.Claims = map[string]any{"sub": "ann", "groups": groups, "area": "north", "email": "ann@example.com", "level": int64(3)}
	return g, c
}

// readCall reads a message as a request brings it.
func readCall(b *testing.B, body string) (*http.Request, *mcp.Call) {
	b.Helper()
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	call, err := mcp.Read(httptest.NewRecorder(), r, mcp.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	return r, call
}

// BenchmarkAuthorize is the decision about one call of 1 KiB, from the message that was read to the record, for a caller
// who is known.
func BenchmarkAuthorize(b *testing.B) {
	head := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool_4","arguments":{"bucket":"team-4-logs","max":20,"tags":["x","y"],"code":"`
	body := head + strings.Repeat("x", 1<<10-len(head)-5) + `"}}}`
	for _, mix := range []struct {
		name string
		list []string
	}{{"teams", teams}, {"every", every}} {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", mix.name, n), func(b *testing.B) {
				g, c := bench(b, mix.list, n)
				r, call := readCall(b, body)
				defer call.Release()
				allowed := mix.name == "teams" || n > 20 // of every, that of number 20 permits it
				b.ReportAllocs()
				for b.Loop() {
					ev := &audit.Event{Caller: c, Call: call}
					if err := g.authorize(r, ev, "", nil); (err == nil) != allowed {
						b.Fatalf("%v by %v", err, ev.Policies)
					}
				}
			})
		}
	}
}

// BenchmarkFilterList is what an answer with 500 tools costs, of which the caller may use a part.
func BenchmarkFilterList(b *testing.B) {
	var list strings.Builder
	list.WriteString(`{"jsonrpc":"2.0","id":1,"result":{"tools":[`)
	for i := range 500 {
		if i > 0 {
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, `{"name":"tool_%d","description":%q,"inputSchema":{"type":"object","properties":{"bucket":{"type":"string"},"max":{"type":"integer"}},`+
			`"required":["bucket"]},"annotations":{"readOnlyHint":%t,"openWorldHint":true}}`, i, strings.Repeat("what it does, ", 50), i%3 == 0)
	}
	list.WriteString(`]}}`)
	answer := []byte(list.String())
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, c := bench(b, teams, n)
			_, call := readCall(b, `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`)
			defer call.Release()
			b.ReportAllocs()
			b.SetBytes(int64(len(answer)))
			for b.Loop() {
				ev := &audit.Event{Caller: c, Call: call}
				resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(answer))}
				if _, err := g.filter(ev, resp); err != nil {
					b.Fatal(err)
				}
				if ev.Hidden == 0 || ev.Hidden == 500 {
					b.Fatalf("%d of 500 tools are hidden", ev.Hidden)
				}
			}
		})
	}
}

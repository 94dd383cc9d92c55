package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
)

// TestAllScopesAreAskedForAtOnce: those that every call needs and those of policies come in one challenge, of which the
// client sees what it belongs to; a call that no scope would let in is denied; and without them nothing is asked of STS
// or the remote, for hints neither.
func TestAllScopesAreAskedForAtOnce(t *testing.T) {
	users := append(fake.Users(),
		idp.User{Name: "use", Claims: idp.Claims{"scope": "mcp:use", "groups": []string{"s3-readers"}}}, // of the role of ann
		idp.User{Name: "write", Claims: idp.Claims{"scope": "aws:write"}})
	r := toolsServer()
	s := stageWith(t, fake.Options{Users: users}, r.before(t), spec(`requiredScopes: ["mcp:use"]`), policies(
		`permit(principal, action == Action::"call_tool", resource) when { resource has readOnlyHint && resource.readOnlyHint };`,
		`@scopes("aws:write") permit(principal, action == Action::"call_tool", resource) when { !(resource has readOnlyHint) && context has arg_w };`,
		`forbid(principal, action, resource == Tool::"never");`,
		`@scopes("far") permit(principal, action, resource == Tool::"far") when { resource has openWorldHint };`,
		`@scopes("aws:write") permit(principal, action == Action::"get_prompt", resource == Prompt::"p");`,
		`@scopes("a") permit(principal, action == Action::"read_resource", resource) when { resource.uri == "x:a" };`,
		`@scopes("b") permit(principal, action == Action::"read_resource", resource) when { resource.uri == "x:b" };`))
	listen := func(uris string) string {
		return rpc("subscriptions/listen", `{"notifications":{"resourceSubscriptions":[`+uris+`]}}`)
	}
	calls := []struct {
		user, body  string
		scope, then string // of the challenge, before and after hints are known; "" for none
	}{
		{"ann", listTools, "mcp:use", "mcp:use"},
		{"ann", rpc("prompts/get", `{"name":"p"}`), "aws:write mcp:use", "aws:write mcp:use"},
		{"write", rpc("prompts/get", `{"name":"p"}`), "mcp:use", "mcp:use"},
		{"use", rpc("prompts/get", `{"name":"p"}`), "aws:write mcp:use", "aws:write mcp:use"},
		{"ann", rpc("prompts/get", `{"name":"q"}`), "", ""},
		{"ann", listen(`"x:a","x:b"`), "a b mcp:use", "a b mcp:use"},
		{"use", listen(`"x:a","x:b"`), "a b mcp:use", "a b mcp:use"},
		{"use", listen(`"x:a","x:c"`), "", ""},
		{"ann", callTool("never", `{}`), "", ""},
		{"ann", callTool("drop_table", `{"w":1}`), "mcp:use", "aws:write mcp:use"},
		{"ann", callTool("plain", `{}`), "mcp:use", ""},
		{"ann", callTool("read_doc", `{}`), "mcp:use", "mcp:use"},
		{"ann", callTool("far", `{}`), "mcp:use", ""},
	}
	ask := func(known bool) {
		for _, c := range calls {
			scope := c.scope
			if known {
				scope = c.then
			}
			a := s.do(call{user: c.user, body: c.body})
			a.refused(t, http.StatusForbidden)
			challenge := a.header.Get("WWW-Authenticate")
			if has := strings.Contains(challenge, ` scope="`+scope+`"`); has != (scope != "") || (challenge != "") != has {
				t.Errorf("%s, %s: %s; want scope %q", c.user, c.body, challenge, scope)
			}
			if !strings.Contains(a.body, `"id":1`) {
				t.Errorf("%s, %s: %s has no id", c.user, c.body, a.body)
			}
		}
	}
	lists, lent := r.lists.Load(), s.world.STS.Count()
	ask(false)
	if n, m := r.lists.Load()-lists, s.world.STS.Count()-lent; n != 0 || m != 0 {
		t.Errorf("without the scopes the remote was asked for %d lists, and STS %d times", n, m)
	}
	// Once the hints are known they count.
	if a := s.do(call{user: "use", body: callTool("read_doc", `{}`)}); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ask(true)
	if n := r.lists.Load() - lists; n != 1 {
		t.Errorf("the remote was asked for %d lists", n)
	}
}

// TestRequiredScopesWithoutOthers: where no policy asks for scopes, the body is not read.
func TestRequiredScopesWithoutOthers(t *testing.T) {
	s := stage(t, toolsServer().before(t), spec("requiredScopes: [mcp]"), policies(`permit(principal, action, resource);`))
	a := s.do(call{user: "ann", body: "{"})
	a.refused(t, http.StatusForbidden)
	if got := a.header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="mcp"`) {
		t.Error(got)
	}
}

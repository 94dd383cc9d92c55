package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// modernCall is a tools/call of the protocol without sessions, with one more header.
func modernCall(name, arguments, header, value string) call {
	return call{
		user: "ann",
		headers: map[string]string{
			"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": name, header: value,
		},
		body: rpc("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",`+
			`"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}`, name, arguments)),
	}
}

// TestNoHeaderSaysOtherwiseOfAnArgument: policy decides on the arguments of the body, so none that it has not seen
// reaches the remote in a header.
func TestNoHeaderSaysOtherwiseOfAnArgument(t *testing.T) {
	var got atomic.Value
	answer := func(w http.ResponseWriter, r *http.Request, _ string, _ []byte) {
		got.Store(r.Header.Get("Mcp-Param-Region"))
		answerJSON(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
	}
	s := stage(t, (&standIn{answer: answer}).before(t), policies(`permit(principal, action, resource) when { context.arg_region == "eu" };`))
	legacy := call{user: "ann", body: callTool("plain", `{"region":"eu"}`), headers: map[string]string{"Mcp-Param-Region": "eu"}}
	for name, c := range map[string]struct {
		call
		status int
		header string // that reaches the remote
	}{
		"as the body says":           {modernCall("plain", `{"region":"eu"}`, "Mcp-Param-Region", "eu"), 200, "eu"},
		"otherwise":                  {modernCall("plain", `{"region":"eu"}`, "Mcp-Param-Region", "us-prod"), 400, ""},
		"of an argument that is not": {modernCall("plain", `{"region":"eu"}`, "Mcp-Param-Zone", "us-prod"), 200, ""},
		"in the legacy era":          {legacy, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got.Store("")
			a := s.do(c.call)
			if a.status != c.status || got.Load() != c.header || strings.Contains(a.body, "us-prod") {
				t.Errorf("%d %s, the remote got %q", a.status, a.body, got.Load())
			}
			if c.status == http.StatusBadRequest {
				a.refused(t, c.status)
			}
		})
	}
	if strings.Contains(s.log.String(), "us-prod") {
		t.Error("an argument is in the log")
	}
}

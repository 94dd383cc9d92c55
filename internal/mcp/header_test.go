package mcp_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// accepted is the code in the tables below where nothing is refused.
const accepted = 0

const (
	mismatch    = mcp.CodeHeaderMismatch
	unsupported = mcp.CodeUnsupportedVersion
	version     = "Mcp-Protocol-Version: 2026-07-28"
	call        = "Mcp-Method: tools/call"
)

var (
	tool   = modern("tools/call", `"name":"t"`)
	list   = modern("tools/list", "")
	legacy = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}`
)

// claim is list with another protocol version in _meta.
func claim(v string) string { return strings.ReplaceAll(list, "2026-07-28", v) }

// b64 is an encoded Mcp-Name header.
func b64(s string) string {
	return "Mcp-Name: =?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

var headerTests = []struct {
	name    string
	body    string
	headers []string
	code    int
}{
	{"modern, all there", tool, []string{version, call, "Mcp-Name: t"}, accepted},
	{"modern, no name needed", list, []string{version, "Mcp-Method: tools/list"}, accepted},
	{"modern, a name nobody knows of", list, []string{version, "Mcp-Method: tools/list", "Mcp-Name: x"}, accepted},
	{"modern, a name nobody knows of, twice", list, []string{version, "Mcp-Method: tools/list", "Mcp-Name: x", "Mcp-Name: x"}, mismatch},
	{"a very long unknown version", legacy, []string{"Mcp-Protocol-Version: " + strings.Repeat("9", 200)}, unsupported},
	{"modern body, no version header", list, []string{"Mcp-Method: tools/list"}, mismatch},
	{"modern body, legacy version header", list, []string{"Mcp-Protocol-Version: 2025-11-25", "Mcp-Method: tools/list"}, mismatch},
	{"modern body, empty version header", list, []string{"Mcp-Protocol-Version: ", "Mcp-Method: tools/list"}, mismatch},
	{"modern header, legacy claim", claim("2025-11-25"), []string{version, "Mcp-Method: tools/list"}, mismatch},
	{"modern header, unknown claim", claim("2099-01-01"), []string{version, "Mcp-Method: tools/list"}, mismatch},
	{"modern header, no claim", legacy, []string{version, call, "Mcp-Name: t"}, mcp.CodeInvalidParams},
	{"modern header, empty claim", claim(""), []string{version, "Mcp-Method: tools/list"}, mcp.CodeInvalidParams},
	{"version header twice", list, []string{version, version, "Mcp-Method: tools/list"}, mismatch},
	{"version header as a list", list, []string{version + ", 2026-07-28", "Mcp-Method: tools/list"}, mismatch},
	{"unknown version, both say so", claim("2099-01-01"), []string{"Mcp-Protocol-Version: 2099-01-01"}, unsupported},
	{"unknown version in the header", legacy, []string{"Mcp-Protocol-Version: 2000-01-01"}, unsupported},
	{"no version at all in the header", legacy, []string{"Mcp-Protocol-Version: invalid"}, unsupported},
	{"another spelling of a version", legacy, []string{"Mcp-Protocol-Version: 2025-6-18"}, unsupported},
	{"a version outside ASCII", legacy, []string{"Mcp-Protocol-Version: 2026–07–28"}, mismatch},
	{"a claim without a header", claim("2025-11-25"), nil, mismatch},
	{"a legacy claim that agrees", claim("2025-11-25"), []string{"Mcp-Protocol-Version: 2025-11-25"}, accepted},
	{"method missing", tool, []string{version, "Mcp-Name: t"}, mismatch},
	{"method empty", tool, []string{version, "Mcp-Method: ", "Mcp-Name: t"}, mismatch},
	{"method differs", tool, []string{version, "Mcp-Method: tools/list", "Mcp-Name: t"}, mismatch},
	{"method in capitals", tool, []string{version, "Mcp-Method: TOOLS/CALL", "Mcp-Name: t"}, mismatch},
	{"method twice", tool, []string{version, call, call, "Mcp-Name: t"}, mismatch},
	{"method encoded", tool, []string{version, "Mcp-Method: =?base64?dG9vbHMvY2FsbA==?=", "Mcp-Name: t"}, mismatch},
	{"name missing", tool, []string{version, call}, mismatch},
	{"name empty", tool, []string{version, call, "Mcp-Name: "}, mismatch},
	{"name differs", tool, []string{version, call, "Mcp-Name: u"}, mismatch},
	{"name in capitals", tool, []string{version, call, "Mcp-Name: T"}, mismatch},
	{"name twice", tool, []string{version, call, "Mcp-Name: t", "Mcp-Name: u"}, mismatch},
	{"name encoded without need", tool, []string{version, call, b64("t")}, accepted},
	{"another name encoded", tool, []string{version, call, b64("u")}, mismatch},
	{"a marker in capitals is no marker", tool, []string{version, call, "Mcp-Name: =?BASE64?dA==?="}, mismatch},
	{"name with broken base64", tool, []string{version, call, "Mcp-Name: =?base64?dA=?="}, mismatch},
	{"name with unpadded base64", tool, []string{version, call, "Mcp-Name: =?base64?dA?="}, mismatch},
	{"name with base64 of loose ends", tool, []string{version, call, "Mcp-Name: =?base64?dB==?="}, mismatch},
	{"prefix and suffix overlap", modern("tools/call", `"name":"=?base64?="`), []string{version, call, "Mcp-Name: =?base64?="}, mismatch},
	{"a foreign name", modern("tools/call", `"name":"世界"`), []string{version, call, b64("世界")}, accepted},
	{"a foreign name, not encoded", modern("tools/call", `"name":"世界"`), []string{version, call, "Mcp-Name: 世界"}, mismatch},
	{"a name with spaces around", modern("tools/call", `"name":" p "`), []string{version, call, b64(" p ")}, accepted},
	{"a name like a marker, encoded", modern("tools/call", `"name":"=?base64?dA==?="`), []string{version, call, b64("=?base64?dA==?=")}, accepted},
	{"a name like a marker, as it is", modern("tools/call", `"name":"=?base64?dA==?="`), []string{version, call, "Mcp-Name: =?base64?dA==?="}, mismatch},
	{"a resource", modern("resources/read", `"uri":"file:///a"`), []string{version, "Mcp-Method: resources/read", "Mcp-Name: file:///a"}, accepted},
	{"a resource, name missing", modern("resources/read", `"uri":"file:///a"`), []string{version, "Mcp-Method: resources/read"}, mismatch},
	{"a prompt, name differs", modern("prompts/get", `"name":"p"`), []string{version, "Mcp-Method: prompts/get", "Mcp-Name: q"}, mismatch},
	{"a task that agrees", modern("tasks/get", `"taskId":"t-1"`), []string{version, "Mcp-Method: tasks/get", "Mcp-Name: t-1"}, accepted},
	{"a task that differs", modern("tasks/get", `"taskId":"t-1"`), []string{version, "Mcp-Method: tasks/get", "Mcp-Name: t-2"}, mismatch},
	{"a task, not named", modern("tasks/get", `"taskId":"t-1"`), []string{version, "Mcp-Method: tasks/get"}, accepted},
	{"a response in the modern era", `{"jsonrpc":"2.0","id":7,"result":{}}`, []string{version}, mcp.CodeInvalidRequest},
	{"a modern notification that disagrees", `{"jsonrpc":"2.0","method":"a"}`, []string{version, "Mcp-Method: b"}, mismatch},
	{"legacy, no headers", legacy, nil, accepted},
	{"legacy, headers that agree", legacy, []string{call, b64("t")}, accepted},
	{"legacy, method differs", legacy, []string{"Mcp-Method: tools/list"}, mismatch},
	{"legacy, method empty", legacy, []string{"Mcp-Method: "}, mismatch},
	{"legacy, name differs", legacy, []string{"Mcp-Name: u"}, mismatch},
	{"legacy, name twice", legacy, []string{"Mcp-Name: t", "Mcp-Name: t"}, mismatch},
	{"legacy, a method on a response", `{"jsonrpc":"2.0","id":7,"result":{}}`, []string{call}, mismatch},
	{"session twice", legacy, []string{"Mcp-Session-Id: a", "Mcp-Session-Id: a"}, mcp.CodeInvalidRequest},
	{"session empty", legacy, []string{"Mcp-Session-Id: "}, mcp.CodeInvalidRequest},
	{"session with a space", legacy, []string{"Mcp-Session-Id: a b"}, mcp.CodeInvalidRequest},
	{"session outside ASCII", legacy, []string{"Mcp-Session-Id: é"}, mcp.CodeInvalidRequest},
	{"session at its longest", legacy, []string{"Mcp-Session-Id: " + strings.Repeat("s", 2048)}, accepted},
	{"session too long", legacy, []string{"Mcp-Session-Id: " + strings.Repeat("s", 2049)}, mcp.CodeInvalidRequest},
}

func TestHeaders(t *testing.T) {
	for _, tt := range headerTests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := read(t, post(tt.body, tt.headers...), mcp.Limits{})
			if tt.code == accepted {
				era := "legacy"
				if strings.HasPrefix(strings.Join(tt.headers, "\n"), version) {
					era = "modern"
				}
				if err != nil || c.Era.String() != era {
					t.Errorf("%v era, want %s; %v", c.Era, era, err)
				}
				return
			}
			e := asFault(t, err)
			if e.Status() != http.StatusBadRequest || e.RPCCode() != tt.code {
				t.Errorf("%v: %d, %d; want 400, %d", e, e.Status(), e.RPCCode(), tt.code)
			}
			if strings.Contains(tt.body, `"id":7`) && string(c.ID) != "7" {
				t.Errorf("id %q, want 7", c.ID)
			}
		})
	}
}

// TestUnsupportedVersion: a client learns what it may speak, on every HTTP method.
func TestUnsupportedVersion(t *testing.T) {
	requests := []*http.Request{
		post(`{"jsonrpc":"2.0","id":7,"method":"ping"}`),
		httptest.NewRequest("GET", "/mcp", http.NoBody),
		httptest.NewRequest("DELETE", "/mcp", http.NoBody),
	}
	for _, r := range requests {
		r.Header.Set(mcp.HeaderVersion, "1900-01-01")
		c, err := read(t, r, mcp.Limits{})
		e := asFault(t, err)
		want := mcp.UnsupportedVersion{
			Supported: []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"},
			Requested: "1900-01-01",
		}
		if diff := cmp.Diff(any(want), e.Data); diff != "" || e.Kind != fault.Malformed || e.RPCCode() != -32022 {
			t.Errorf("%s: %v, data (-want +got):\n%s", r.Method, e, diff)
		}
		if c.Version != "" {
			t.Errorf("%s: version %q of the client's own making", r.Method, c.Version)
		}
	}
}

package cedar_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/token"
)

// question is one: who asks for what, and what the remote says of it.
type question struct {
	claims map[string]any // as the reader of tokens gives them
	method string         // of the message
	target string         // within its params; "" for none
	args   string         // JSON, within its params; "" for none
	hints  policy.Hints
}

func (s source) newQuestion() question {
	q := question{claims: s.claims(), method: s.pick("tools/call", "tools/call", "tools/call", "prompts/get", "resources/read", "resources/subscribe", "tasks/get", "sampling/createMessage")}
	switch q.method {
	case "tools/call":
		q.target = s.pick("weather", "delete", "s3___b_k", "aws___run")
		q.hints = policy.Hints{ReadOnly: s.perhaps(), Destructive: s.perhaps(), Idempotent: s.perhaps(), OpenWorld: s.perhaps()}
	case "prompts/get":
		q.target = s.pick("greet", "weather")
	case "resources/read", "resources/subscribe":
		q.target = s.pick("s3://b/k", `s3:\\b&k?v=1`, "s3.#=b k", "weather", "s3___b_k")
	}
	if s.chance(85) {
		q.args = s.arguments()
	}
	return q
}

// perhaps is a bool that may be missing.
func (s source) perhaps() *bool {
	if s.chance(40) {
		return nil
	}
	return new(s.chance(50))
}

// claims are those of a token, some of them of another type than is usual.
func (s source) claims() map[string]any {
	c := map[string]any{"sub": s.pick("ann", "bob", "eve")}
	set := func(chance int, name string, of ...any) {
		if s.chance(chance) {
			c[name] = of[s.IntN(len(of))]
		}
	}
	names := func() any {
		list := []any{}
		for _, name := range s.some(40, "dev", "ops", "eng", "admins") {
			list = append(list, name)
		}
		return list
	}
	set(70, "groups", names(), names(), names(), s.pick("dev", "eng", "dev ops", " eng  admins"), nil)
	set(50, "roles", names(), names(), s.pick("dev", "admins", "eng dev"))
	set(40, "realm_access", map[string]any{"roles": names(), "at": int64(5)}, "none")
	set(60, "team", s.pick(words...), s.pick("eng", "ops"), []any{"dev", "eng"}, nil)
	set(50, "https://example.com/team", s.pick("eng", "dev"), map[string]any{"name": "eng"})
	set(70, "level", int64(1), int64(5), int64(100), int64(9007199254740993), int64(9223372036854775807), "5", token.Number("5.0"), token.Number("4.5"))
	set(50, "big", token.Number("1e19"), token.Number("18446744073709551617"), token.Number("1.50"), token.Number("922337203685477.5"), int64(-9223372036854775808), token.Number("-1e-5"), token.Number("0.0"), token.Number("1.50e300"), token.Number("-10.0e-8"))
	set(60, "ratio", token.Number("0.5"), token.Number("1.0"), token.Number("0.1234"), token.Number("1.23456"), token.Number("-2.25"), token.Number("100.0"), int64(3), token.Number("3.0"))
	set(60, "admin", true, false, "true")
	set(60, "tags", []any{"eng", "x*y"}, []any{"ops", int64(5), true, nil, []any{"eng"}}, "eng ops", []any{}, token.Number("0.5"))
	set(60, "scope", "mcp", "mcp aws:write", "aws:read  aws:write mcp", []any{"aws:write", "mcp"})
	set(60, "org", map[string]any{"name": "eng", "tier": int64(5), "at": map[string]any{"x": token.Number("0.5")}, "roles": names(), "mode": nil}, map[string]any{}, "eng")
	return c
}

// arguments are those of a call, written in every way that JSON has.
func (s source) arguments() string {
	var members []string
	set := func(chance int, name string, of ...string) {
		if s.chance(chance) {
			members = append(members, jsonText(name)+s.pick(":", " : ")+s.pick(of...))
		}
	}
	number := func() string {
		return s.pick("1", "5", "42", "-3", "0", "-0", "1.0", "1e2", "0.5", "100.0000", "0.12345", "1.23456", "-2.25", "5E-1", "9007199254740993",
			"9223372036854775807", "9223372036854775808", "-9223372036854775809", "922337203685477.5807", "922337203685477.5808", "1e-9", "0e5", "123456789012345678901234567890",
			"5.0", "50e-1", "4.2e1", "0.42E+2", "9223372036854775807.0", "9.223372036854775808e18", "1.50e300", "150e298", "0.0000015", "-12345E-6", "1e40", "1e39")
	}
	word := func() string { return jsonText(s.pick(words...)) }
	deep := s.pick(`{"at": 7}`, `{"at": 1, "list": [1]}`, `[1]`, "5")
	for range max(s.IntN(14), s.IntN(14)) {
		deep = `{"at": ` + number() + `, "low": ` + deep + "}"
	}
	set(70, "n", number(), number(), number(), word(), "null")
	set(50, "m", s.pick("1", "5", "100"))
	set(60, "f", number(), "0.5", "1.0")
	set(70, "path", word(), word(), word(), `"s3:\/\/b\/k"`, `"A\u00e9"`, "true", number())
	set(50, "a b", word())
	set(50, "addr", `"10.1.2.3"`, `"192.168.0.1"`, `"::1"`, `"10.0.0.0/24"`, `"10.1"`, "7")
	set(60, "flag", "true", "false", "null", `"true"`)
	set(60, "list", "[]", "["+word()+", "+word()+"]", "["+number()+", null, "+word()+", [true, {}]]", `{"name": "eng"}`, "5")
	set(20, "list_present", "false", `"yes"`)
	set(60, "opts", `{"mode": `+word()+`, "depth": `+number()+`, "tier": `+number()+`}`, `{"name": `+word()+`, "roles": ["eng"], "at": null}`, "{}", "[1]", "null")
	set(20, "opts_present", "false", "7")
	set(60, "deep", deep)
	set(30, "https://example.com/team", word()) // no claim
	return "{" + strings.Join(members, ", ") + "}"
}

// caller is who asks.
func (q question) caller() *token.Caller {
	c := &token.Caller{Subject: token.Subject{ID: q.claims["sub"].(string), Claims: q.claims}}
	c.Scopes = scopesOf(q.claims)
	return c
}

// scopesOf are the scopes of a token: words of the scope claim.
func scopesOf(claims map[string]any) (all []string) {
	switch v := claims["scope"].(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, member := range v {
			all = append(all, member.(string))
		}
	}
	return all
}

// message is the call as a client sends it.
func (q question) message() string {
	var params []string
	switch {
	case strings.HasPrefix(q.method, "resources/"):
		params = append(params, `"uri":`+jsonText(q.target))
	case q.target != "":
		params = append(params, `"name":`+jsonText(q.target))
	}
	if q.args != "" {
		params = append(params, `"arguments": `+q.args)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, q.method, strings.Join(params, ","))
}

// decide asks rolegate: the message is read as the gateway reads it.
func (q question) decide(p *policy.Policies, who *policy.Principal) (policy.Decision, error) {
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(q.message()))
	r.Header.Set("Content-Type", "application/json")
	call, err := mcp.Read(httptest.NewRecorder(), r, mcp.Limits{})
	defer call.Release()
	if err != nil {
		return policy.Decision{}, fmt.Errorf("read %s: %w", q.message(), err)
	}
	queries, err := p.Queries(call)
	if err != nil || len(queries) != 1 {
		return policy.Decision{}, fmt.Errorf("%d queries of %s: %w", len(queries), q.message(), err)
	}
	queries[0].Hints = q.hints
	return p.Decide(who, queries[0]), nil
}

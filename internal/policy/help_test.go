package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/token"
)

const proxyName = "s3"

// compile makes policies that must be without mistakes.
func compile(t testing.TB, a *config.Authz) *policy.Policies {
	t.Helper()
	p, mistakes := policy.New(a, proxyName)
	if mistakes != nil {
		t.Fatalf("mistakes: %+v", mistakes)
	}
	return p
}

func texts(policies ...string) *config.Authz { return &config.Authz{Policies: policies} }

// caller has the claims of a JSON object, as a token's reader gives them; sub is "alice" where it is not among them.
func caller(t testing.TB, claims string, scopes ...string) *token.Caller {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(claims))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	c := &token.Caller{Scopes: scopes, Subject: token.Subject{ID: "alice", Claims: asToken(m).(map[string]any)}}
	if sub, ok := m["sub"].(string); ok {
		c.Subject.ID = sub
	}
	return c
}

// asToken turns json.Number into what a token's reader makes of numbers.
func asToken(v any) any {
	switch v := v.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if n, err := v.Int64(); err == nil {
				return n
			}
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = asToken(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = asToken(v[k])
		}
	}
	return v
}

func call(name, args string) policy.Query {
	return policy.Query{Method: mcp.MethodToolsCall, Target: name, Args: []byte(args)}
}

func get(name string) policy.Query {
	return policy.Query{Method: mcp.MethodPromptsGet, Target: name}
}

func read(uri string) policy.Query {
	return policy.Query{Method: mcp.MethodResourcesRead, Target: uri}
}

func hinted(name string, h policy.Hints) policy.Query {
	return policy.Query{Method: mcp.MethodToolsCall, Target: name, Hints: h}
}

// ids are the names of policies.
func ids(found []policy.Found) []string {
	var all []string
	for _, f := range found {
		all = append(all, f.ID)
	}
	return all
}

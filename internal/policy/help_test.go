package policy_test

import (
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
	if p == nil {
		t.Fatalf("mistakes: %+v", mistakes)
	}
	return p
}

func texts(policies ...string) *config.Authz { return &config.Authz{Policies: policies} }

// caller has the claims of a JSON object, as a token's reader gives them; sub is "alice" where it is not among them.
func caller(t testing.TB, claims string, scopes ...string) *token.Caller {
	t.Helper()
	m, err := token.ClaimsOf([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	c := &token.Caller{Scopes: scopes, Subject: token.Subject{ID: "alice", Claims: m}}
	if sub, ok := m["sub"].(string); ok {
		c.Subject.ID = sub
	}
	return c
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

package gateway

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/token"
)

// CompileAuthz reports the mistakes in policies and entities that only parsing them can tell: config.LoadOptions wants
// it.
func CompileAuthz(a *config.Authz, proxy string) config.Problems {
	_, problems := newPolicies(a, proxy)
	return problems
}

// newPolicies parses the policies of a configuration; nil where no decision is asked for.
func newPolicies(a *config.Authz, proxy string) (*policy.Policies, config.Problems) {
	if a == nil {
		return nil, nil
	}
	p, mistakes := policy.New(a, proxy)
	var problems config.Problems
	for _, m := range mistakes {
		problems = append(problems, a.Problem(m.Place, m.What, m.Mend))
	}
	return p, problems
}

// checkScopes refuses a token that lacks a scope which every call needs.
func (g *Gateway) checkScopes(c *token.Caller) error {
	if c == nil {
		return nil
	}
	for _, s := range g.cfg.RequiredScopes {
		if !slices.Contains(c.Scopes, s) {
			return fault.New(fault.Denied, "the token lacks a scope that this resource requires").
				Challenged(challengeScope, g.cfg.RequiredScopes...).Hint("requiredScopes: %v; the token has %v", g.cfg.RequiredScopes, c.Scopes)
		}
	}
	return nil
}

// challengeScope tells a client to come back with more scopes (RFC 6750, section 3.1).
const challengeScope = "insufficient_scope"

// authorize asks policy about everything that the call is to do. One refusal refuses the call.
func (g *Gateway) authorize(r *http.Request, ev *audit.Event, session string) error {
	if g.policies == nil {
		return nil
	}
	queries, err := g.policies.Queries(ev.Call)
	if err != nil {
		return err
	}
	ev.Judged = true
	who := g.know(ev.Caller).principal
	for _, q := range queries {
		known := true
		if q.Method == mcp.MethodToolsCall && g.policies.ReadsHints() {
			q.Hints, known = g.hints(r.Context(), ev, session, q.Target)
		}
		began := time.Now()
		decision, err := g.policies.Authorize(who, q)
		g.Metrics.PolicyDecided(decisionLabel(decision), time.Since(began))
		ev.Policies = append(ev.Policies, decision.Policies...)
		ev.PolicyErrors = append(ev.PolicyErrors, decision.Errors...)
		for _, e := range decision.Errors {
			g.Metrics.PolicyFailed(e.ID, e.Effect)
		}
		if err != nil {
			return g.stepUp(err)
		}
		if !known && g.policies.ForbidReadsHints() {
			return fault.New(fault.Unavailable, "the tool's annotations can't be fetched for now").
				Hint("a forbid reads them, and the remote's tools/list is not to be had: see the warning about it").Later(hintsRetry)
		}
	}
	return nil
}

// stepUp adds what every call needs to the scopes that a policy asks for, so that a client asks for them at once.
func (g *Gateway) stepUp(err error) error {
	f := fault.Of(err)
	if f.Challenge != challengeScope {
		return err
	}
	scopes := slices.Concat(g.cfg.RequiredScopes, f.Scopes)
	slices.Sort(scopes)
	f.Scopes = slices.Compact(scopes)
	return f
}

func decisionLabel(d policy.Decision) string {
	switch {
	case d.Allowed:
		return "allow"
	case len(d.Scopes) > 0:
		return "step_up"
	default:
		return "deny"
	}
}

// judge says what of a list a caller sees: what they may use, or may with more scopes.
func (g *Gateway) judge(c *token.Caller) mcp.Judge {
	var who *policy.Principal
	if g.policies != nil {
		who = g.know(c).principal
	}
	return func(item *mcp.Item) bool {
		if !g.tools.show(item) {
			return false
		}
		if g.policies == nil {
			return true
		}
		d := g.policies.Decide(who, policy.Query{Method: item.Method, Target: item.Target, Hints: policy.Hints(item.Hints)})
		return d.Allowed || len(d.Scopes) > 0
	}
}

// edits says whether lists pass through a filter.
func (g *Gateway) edits() bool { return g.policies != nil || g.tools != nil }

// hints gives the annotations of a tool as the remote declares them; false where they could not be learnt.
func (g *Gateway) hints(ctx context.Context, ev *audit.Event, session, tool string) (policy.Hints, bool) {
	all, ok := g.annotations.of(ctx, place{g.cfg.RemoteURL, ev.Role.RoleARN}, func(ctx context.Context) (map[string]policy.Hints, time.Duration, error) {
		return g.fetchHints(ctx, ev, session)
	})
	return all[tool], ok
}

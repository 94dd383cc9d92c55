package gateway

import (
	"context"
	"errors"
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
		problem := a.Problem(m.Place, m.What, m.Mend)
		problem.Warning = m.Warning
		problems = append(problems, problem)
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

// authorize asks policy about everything that the call is to do. One refusal refuses the call. lacking is that of a token
// without the scopes that every call needs, nil otherwise: such a call is refused in any case, with these scopes and
// those of policies together, and nobody is asked for its hints.
func (g *Gateway) authorize(r *http.Request, ev *audit.Event, session string, lacking error) error {
	if g.policies == nil {
		return lacking
	}
	queries, err := g.policies.Queries(ev.Call)
	if err != nil {
		return err
	}
	ev.Judged = true
	who := g.know(ev.Caller).principal
	var policies, failed told
	if len(queries) > 1 {
		policies, failed = told{}, told{}
	}
	var asked *fault.Error
	for _, q := range queries {
		var unknown *fault.Error
		if q.Method == mcp.MethodToolsCall && g.policies.ReadsHints() {
			if lacking != nil {
				q.Hints, unknown = g.remembered(ev.Role.RoleARN, q.Target, lacking)
			} else {
				q.Hints, unknown = g.hints(r.Context(), ev, session, q.Target)
			}
		}
		q.Called = g.tools.shown(q)
		began := time.Now()
		decision, err := g.policies.Authorize(who, q)
		g.Metrics.PolicyDecided(decisionLabel(decision), time.Since(began))
		ev.Policies = policies.add(ev.Policies, decision.Policies)
		ev.PolicyErrors = failed.add(ev.PolicyErrors, decision.Errors)
		for _, e := range decision.Errors {
			g.Metrics.PolicyFailed(e.ID, e.Effect)
		}
		// Without hints a default deny is an answer, and an allow that rests on them is none. Where it is this caller's own
		// session or credentials that are no good, they hear of that, whatever they asked for.
		if unknown != nil && (decision.Allowed || unknown.Kind != fault.Unavailable) && g.policies.DependsOnHints(who, q) {
			return unknown
		}
		if err != nil {
			f := fault.Of(err)
			if f.Challenge != challengeScope {
				return err
			}
			asked = g.stepUp(asked, f)
		}
	}
	if asked != nil {
		return asked
	}
	return lacking
}

// told are the policies that an event names already: one call may ask a thousand questions, and get one answer. It is
// nil where there is one question.
type told map[string]bool

func (t told) add(list, more []policy.Found) []policy.Found {
	if t == nil {
		return append(list, more...)
	}
	for _, f := range more {
		if !t[f.ID] {
			t[f.ID] = true
			list = append(list, f)
		}
	}
	return list
}

// stepUp adds what every call needs, and what other parts of this one do, to the scopes that a policy asks for, so that
// a client asks for them at once. before is the refusal of the other parts; nil for none.
func (g *Gateway) stepUp(before, f *fault.Error) *fault.Error {
	scopes := slices.Concat(g.cfg.RequiredScopes, f.Scopes)
	if before != nil {
		scopes, f = append(scopes, before.Scopes...), before
	}
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

// judge says what of a list the caller of ev sees: what they may use, or may with more scopes. What could not be
// evaluated is noted once, however many items it concerns.
func (g *Gateway) judge(ev *audit.Event) mcp.Judge {
	var who *policy.Principal
	if g.policies != nil {
		who = g.know(ev.Caller).principal
	}
	failed := told{}
	return func(item *mcp.Item) bool {
		if !g.tools.show(item) {
			return false
		}
		if g.policies == nil {
			return true
		}
		d := g.policies.Decide(who, policy.Query{Method: item.Method, Target: item.Target, Hints: policy.Hints(item.Hints)})
		n := len(ev.PolicyErrors)
		ev.PolicyErrors = failed.add(ev.PolicyErrors, d.Errors)
		for _, e := range ev.PolicyErrors[n:] {
			g.Metrics.PolicyFailed(e.ID, e.Effect)
		}
		return d.Allowed || len(d.Scopes) > 0
	}
}

// edits says whether lists pass through a filter.
func (g *Gateway) edits() bool { return g.policies != nil || g.tools != nil }

// hints gives the annotations of a tool as the remote declares them, or why they could not be learnt: Unavailable, or
// what the call itself would meet.
func (g *Gateway) hints(ctx context.Context, ev *audit.Event, session, tool string) (policy.Hints, *fault.Error) {
	all, err := g.annotations.of(ctx, place{g.cfg.RemoteURL, ev.Role.RoleARN}, func(ctx context.Context) (*hints, time.Duration, error) {
		return g.fetchHints(ctx, ev, session)
	})
	if own, ok := errors.AsType[personal](err); ok {
		return policy.Hints{}, own.why
	}
	if err != nil {
		return policy.Hints{}, fault.New(fault.Unavailable, "the tool's annotations can't be fetched for now").
			Hint("policies read them, and the remote's tools/list is not to be had").Later(hintsRetry).Because(err)
	}
	h, ok := all.of(tool)
	if !ok {
		return h, fault.New(fault.Unavailable, "the tool's annotations can't be understood").
			Hint("policies read them, and the remote's tools/list tells them in a way that could mean several things").Later(minHintsLife)
	}
	return h, nil
}

// remembered gives the annotations of a tool if they are known, and asks nobody: the caller is refused in any case, as
// why says.
func (g *Gateway) remembered(roleARN, tool string, why error) (policy.Hints, *fault.Error) {
	if all := g.annotations.peek(place{g.cfg.RemoteURL, roleARN}); all != nil {
		if h, ok := all.of(tool); ok {
			return h, nil
		}
	}
	return policy.Hints{}, fault.Of(why)
}

package gateway

import (
	"net"
	"net/http"
	"time"

	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/internal/token"
)

// serveMCP is the life of a request. The order of its steps is its meaning: each step may trust the ones above it.
func (g *Gateway) serveMCP(w http.ResponseWriter, r *http.Request, ev *audit.Event) (err error) {
	if preflight, err := g.checkOrigin(w, r); preflight || err != nil {
		return err
	}
	step := ev.Span.Step(telemetry.StepToken)
	ev.Caller, err = g.verify(r)
	step.End(failure(err))
	if err != nil {
		return err
	}
	g.verified(ev, r)
	lacking := g.checkScopes(ev.Caller)
	if lacking != nil && (g.policies == nil || !g.policies.AsksScopes()) {
		return lacking // else policies may ask for more of them: that takes the call
	}
	leave, err := g.admit(r, ev.Caller)
	if err != nil {
		return err
	}
	defer leave()
	ev.Call, err = mcp.Read(w, r, g.limits)
	defer ev.Call.Release()
	if err != nil {
		return err
	}
	g.understood(ev)
	ev.Call.DropBaggage()
	if err = g.tools.translate(ev.Call); err != nil {
		return err
	}
	if ev.Role, ev.Grant, err = g.choose(ev.Caller); err != nil {
		return err
	}
	session, err := g.binder.open(ev.Caller, ev.Role.RoleARN, ev.Call.Session)
	if err != nil {
		g.Metrics.SessionRefused()
		return err
	}
	step = ev.Span.Step(telemetry.StepPolicy)
	err = g.authorize(r, ev, session, lacking)
	step.Set(telemetry.AttrDecision, decided(ev, err))
	step.Set(telemetry.AttrPolicies, ev.PolicyIDs())
	step.End(failure(err))
	if err != nil {
		return err
	}
	return g.forward(w, r, ev, session)
}

func notServed(http.ResponseWriter, *http.Request, *audit.Event) error {
	return fault.New(fault.NotFound, "there is nothing at this path").Hint("the MCP endpoint is the path of oidcConfig.resourceUrl")
}

// verify turns the request's bearer token into its caller; nil where callers are not authenticated.
func (g *Gateway) verify(r *http.Request) (*token.Caller, error) {
	if g.verifier == nil {
		return nil, nil
	}
	raw, err := token.Bearer(r.Header)
	if err != nil {
		g.Metrics.Verified(token.Result(err), false)
		return nil, err
	}
	return g.verifier.Verify(r.Context(), raw)
}

// admit counts the caller's open requests, before a body takes memory. Callers who are not authenticated are told
// apart by their address.
func (g *Gateway) admit(r *http.Request, c *token.Caller) (leave func(), err error) {
	var who person
	if c != nil {
		who = person{c.Issuer, c.Subject.ID}
	} else if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		who.subject = host
	}
	leave, ok := g.streams.enter(who, int(g.cfg.Limits.MaxStreamsPerCaller))
	if !ok {
		return nil, fault.New(fault.TooMany, "too many requests open at once").
			Hint("limits.maxStreamsPerCaller is %d", g.cfg.Limits.MaxStreamsPerCaller).Later(time.Second)
	}
	return leave, nil
}

// known is what follows from a verified token alone: computed once for each. Where requests leave unsigned, role and
// grant are empty; where policy is not asked, principal is nil.
type known struct {
	role      role.Choice
	grant     sts.Grant
	err       error
	principal *policy.Principal
}

func (g *Gateway) know(c *token.Caller) *known {
	if c == nil {
		k := new(known)
		if g.policies != nil {
			k.principal = g.policies.Principal(nil)
		}
		return k
	}
	return c.Once(g, func() any {
		k := new(known)
		if g.chooser != nil {
			k = g.newChoice(c)
		}
		if g.policies != nil {
			k.principal = g.policies.Principal(c)
		}
		return k
	}).(*known)
}

// choose picks the caller's role and names the session. Where requests leave unsigned both are empty.
func (g *Gateway) choose(c *token.Caller) (role.Choice, sts.Grant, error) {
	if g.chooser == nil {
		return role.Choice{}, sts.Grant{}, nil
	}
	k := g.know(c)
	return k.role, k.grant, k.err
}

func (g *Gateway) newChoice(c *token.Caller) *known {
	var made known
	made.role, made.err = g.chooser.Select(c.Subject.Claims)
	g.Metrics.RoleChosen(made.role.RoleARN, reasonLabel(made), string(made.role.Claim))
	for _, e := range made.role.Errors {
		g.Metrics.MatcherFailed(e.Mapping, e.What)
	}
	if made.err != nil {
		return &made
	}
	cfg := g.cfg.AWSSTS
	made.grant = sts.Grant{RoleARN: made.role.RoleARN, Region: cfg.Region, Duration: time.Duration(*cfg.SessionDuration) * time.Second}
	made.grant.SessionName, made.err = sts.SessionName(c.Subject.Claims, cfg.SessionNameClaim)
	return &made
}

func reasonLabel(c known) string {
	switch {
	case c.role.Failed:
		return "error"
	case c.err != nil:
		return "none"
	case c.role.Mapping == role.Fallback:
		return "fallback"
	default:
		return "mapping"
	}
}

package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// An explanation is a request that was served: by the gateway of the documents, from the door on and step by step as
// any other, but for the two it would call, AWS STS and the remote, which are played by this process (explain_play.go).
// What is told is what the steps left behind. Nothing is decided here.

// Question is a request to be explained.
type Question struct {
	Header  http.Header     // as a client would send it; with a token there is Authorization in it
	Claims  []byte          // JSON object: whoever has these claims asks, and there is no token; nil: the token is looked at
	Message []byte          // JSON-RPC message; nil: the initialize that every client begins with
	Hints   map[string]bool // annotations of the tool, such as readOnlyHint; nil: not known
}

// The outcomes of a Question.
const (
	OutcomeAllowed = "allowed"
	OutcomeDenied  = "denied"        // known caller, refused
	OutcomeStepUp  = "step-up"       // refused, and let in with more scopes
	OutcomeToken   = "token refused" // the token is no good, or it could not be verified
	OutcomeFailed  = "failed"        // anything else: a message that breaks the protocol, annotations that are not known
)

// Explanation is what would become of a request, and why. It holds claims' values where a setting names them, and never
// a token.
type Explanation struct {
	Proxy   string      `json:"proxy"`   // namespace/name
	Outcome string      `json:"outcome"` // one of the Outcome words
	Why     string      `json:"why"`     // one line
	Token   TokenFacts  `json:"token"`
	Call    *CallFacts  `json:"call,omitempty"` // absent: the message was not read
	Role    *RoleFacts  `json:"role,omitempty"` // absent: no caller, or requests leave unsigned
	STS     *STSFacts   `json:"sts,omitempty"`  // absent: nothing is asked of STS for this caller
	Policy  *PolicyFact `json:"policy,omitempty"`
	Answer  Answer      `json:"answer"`
	Changes []Change    `json:"changes"`           // what would give another answer, or another role, as far as it was tried; may be empty
	Untried int         `json:"untried,omitempty"` // further changes, which were too many to try
}

// TokenFacts are how the token fared and whose it is.
type TokenFacts struct {
	Source  string        `json:"source"`           // token, claims, or none: callers are not authenticated
	Checks  []token.Check `json:"checks,omitempty"` // in the order in which they are made
	Subject string        `json:"subject,omitempty"`
	Party   string        `json:"authorized_party,omitempty"`
	Scopes  []string      `json:"scopes,omitempty"`
}

// CallFacts are the message as it was read.
type CallFacts struct {
	Kind   string `json:"kind"`             // request, notification, response
	Method string `json:"method,omitempty"` // of the JSON-RPC message
	Target string `json:"target,omitempty"` // tool, prompt or URI, as the remote names it
	Shown  string `json:"shown,omitempty"`  // a renamed tool, as the client named it
	Asked  bool   `json:"asked"`            // false: nothing was asked about, and this is the initialize of every client
}

// RoleFacts are the mappings and the choice.
type RoleFacts struct {
	Mappings    []Mapping `json:"mappings"`           // in the order in which they are tried
	Fallback    string    `json:"fallback,omitempty"` // fallbackRoleArn; "" for none
	RoleARN     string    `json:"role_arn,omitempty"` // "": no role
	Reason      string    `json:"reason"`
	Claim       string    `json:"claim,omitempty"` // state of the role claim: present, missing or mistyped; "": not read
	SessionName string    `json:"session_name,omitempty"`
	Error       string    `json:"error,omitempty"` // why there is no role, or no session name
}

// Mapping is one of roleMappings.
type Mapping struct {
	Index   int    `json:"mapping"` // in the document
	RoleARN string `json:"role_arn"`
	Test    string `json:"test"`
	Verdict string `json:"verdict"` // matched, no match, error or not reached
	Error   string `json:"error,omitempty"`
}

// STSFacts are the call of STS.
type STSFacts struct {
	Sent    bool         `json:"sent"` // false: the request would be refused before
	Request *sts.Request `json:"request,omitempty"`
	Class   []sts.Field  `json:"class"`           // callers for whom all of these are the same share one lease
	Error   string       `json:"error,omitempty"` // why the call can't be made, or will be refused
}

// PolicyFact is what policy decided.
type PolicyFact struct {
	Policies int         `json:"policies"`         // how many there are
	Decided  bool        `json:"decided"`          // false: the request did not come so far, or needs no decision
	Matched  []FoundFact `json:"matched"`          // that determined the decision: permits of an allow, forbids of a deny; none: a default deny
	Errors   []FoundFact `json:"errors,omitempty"` // that could not be evaluated
	Scopes   []string    `json:"scopes,omitempty"` // that the token needs besides
	Hints    string      `json:"hints"`            // not read, given or unknown
	Depends  bool        `json:"depends_on_hints"` // with other annotations of the tool it could be allowed, or not
}

// FoundFact is one policy.
type FoundFact struct {
	ID     string `json:"id"` // its @id, else its place
	Place  string `json:"place"`
	Line   int    `json:"line"`
	Effect string `json:"effect"`
	Text   string `json:"text"`
	Error  string `json:"error,omitempty"`
}

// How the annotations of tools come into a decision.
const (
	HintsNotRead = "not read" // no policy looks at them
	HintsGiven   = "given"
	HintsUnknown = "unknown" // policies look at them, and they were not given
)

// Answer is what the client would get.
type Answer struct {
	Relayed   bool            `json:"relayed"` // the remote's own answer, which is not known here
	Status    int             `json:"status,omitempty"`
	Challenge string          `json:"www_authenticate,omitempty"`
	Scopes    []string        `json:"scopes,omitempty"` // that the challenge asks for, all of them
	Retry     string          `json:"retry_after,omitempty"`
	Body      json.RawMessage `json:"body,omitempty"`
	Hint      string          `json:"hint,omitempty"` // what only the operator reads, in the log
}

// Explain serves a request as the gateway would, and tells what became of it. The error is a question that can't be
// asked, such as claims that are no JSON object, or ctx at its end.
func (r *Rehearsal) Explain(ctx context.Context, q Question) (*Explanation, error) {
	p, err := r.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	e := r.tell(ctx, p, q)
	if e.Changes, e.Untried, err = r.changes(ctx, p, q); err != nil {
		return nil, err
	}
	return e, nil
}

// Try is Explain without the changes: what tests of policies need.
func (r *Rehearsal) Try(ctx context.Context, q Question) (*Explanation, error) {
	p, err := r.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	return r.tell(ctx, p, q), nil
}

func (r *Rehearsal) tell(ctx context.Context, p *played, q Question) *Explanation {
	e := &Explanation{
		Proxy: r.cfg.Namespace + "/" + r.cfg.Name, Outcome: p.outcome(), Why: p.why(), Token: p.token(), Call: p.call(q.Message != nil),
		Answer: p.answered(), Changes: []Change{},
	}
	if k := p.known(); k != nil && p.gate.chooser != nil {
		e.Role = p.roles(k)
		if k.err == nil {
			e.STS = p.describe(ctx, k.grant)
		}
	}
	if p.gate.policies != nil {
		e.Policy = p.policy(q.Hints)
	}
	return e
}

// outcome is the one word for what became of the request.
func (p *played) outcome() string {
	f := fault.Of(p.event.Err)
	switch {
	case f == nil:
		return OutcomeAllowed
	case p.gate.verifier != nil && p.event.Caller == nil:
		return OutcomeToken
	case f.Challenge == challengeScope:
		return OutcomeStepUp
	case f.Kind == fault.Denied:
		return OutcomeDenied
	default:
		return OutcomeFailed
	}
}

func (p *played) why() string {
	f := fault.Of(p.event.Err)
	if f == nil {
		why := cmp.Or(p.event.Role.Reason, "requests leave unsigned")
		if ids := ids(p.event.Policies); ids != "" {
			why += "; permitted by " + ids
		}
		return why
	}
	why := f.Public
	if hint := f.Hinted(); hint != "" && !strings.Contains(hint, "\n") {
		why += ": " + hint
	}
	return why
}

func ids(policies []policy.Found) string {
	var all []string
	for _, f := range policies {
		all = append(all, f.ID)
	}
	return strings.Join(all, ", ")
}

func (p *played) token() TokenFacts {
	if p.gate.verifier == nil {
		return TokenFacts{Source: "none"}
	}
	t := TokenFacts{Source: "token"}
	err := p.event.Err
	if c := p.event.Caller; c != nil {
		err = nil
		t.Subject, t.Party, t.Scopes = c.Subject.ID, c.AuthorizedParty, c.Scopes
	}
	t.Checks = p.gate.verifier.Checks(p.raw, err)
	if p.claims {
		t.Source, t.Checks = "claims", token.Hypothetical(t.Checks, p.assumed)
	}
	return t
}

func (p *played) call(asked bool) *CallFacts {
	c := p.event.Call
	if c == nil || c.Method == "" && p.event.Err != nil {
		return nil
	}
	facts := &CallFacts{Kind: c.Kind.String(), Method: c.Method, Target: c.Target, Asked: asked}
	if p.named != c.Target {
		facts.Shown = p.named
	}
	return facts
}

// known is what follows from the token; nil where there is no caller.
func (p *played) known() *known {
	if p.event.Caller == nil {
		return nil
	}
	return p.gate.know(p.event.Caller)
}

func (p *played) roles(k *known) *RoleFacts {
	facts := &RoleFacts{
		Mappings: []Mapping{}, Fallback: p.gate.cfg.AWSSTS.FallbackRoleArn,
		RoleARN: k.role.RoleARN, Reason: k.role.Reason, Claim: string(k.role.Claim), SessionName: k.grant.SessionName,
	}
	for _, s := range p.gate.chooser.Explain(p.event.Caller.Subject.Claims) {
		facts.Mappings = append(facts.Mappings, Mapping{Index: s.Mapping, RoleARN: s.RoleARN, Test: s.Test, Verdict: s.Verdict, Error: s.Error})
	}
	if f := fault.Of(k.err); f != nil {
		facts.Error = f.Public
		if hint := f.Hinted(); hint != "" {
			facts.Error += ": " + hint
		}
	}
	return facts
}

// describe tells the call of STS that lends to this caller for the first time.
func (p *played) describe(ctx context.Context, g sts.Grant) *STSFacts {
	facts := &STSFacts{Sent: p.event.STS != "", Class: sts.Class(p.event.Caller, g)}
	vault := sts.Rehearse(func(r sts.Request) { facts.Request = &r })
	if _, _, err := vault.Credentials(ctx, p.event.Caller, g); err != nil {
		facts.Error = fault.Of(err).Error()
	}
	if alg := token.STSRefuses(p.raw); alg != "" && !p.claims {
		facts.Error = "STS refuses tokens that are signed with " + alg + "; let the provider sign with RS256 or ES256"
	}
	return facts
}

func (p *played) policy(hints map[string]bool) *PolicyFact {
	ev := p.event
	facts := &PolicyFact{
		Policies: len(p.gate.policies.All()), Decided: p.decided(), Hints: HintsNotRead,
		Matched: found(ev.Policies), Errors: found(ev.PolicyErrors),
	}
	if facts.Decided {
		facts.Scopes = p.stepUp()
		who := p.gate.know(ev.Caller).principal
		facts.Depends = slices.ContainsFunc(p.asks, func(q policy.Query) bool { return p.gate.policies.DependsOnHints(who, q) })
	}
	if p.gate.policies.ReadsHints() {
		facts.Hints = HintsUnknown
		if hints != nil {
			facts.Hints = HintsGiven
		}
	}
	return facts
}

// stepUp are the scopes that the caller is asked for, sorted; nil for none.
func (p *played) stepUp() []string {
	if f := fault.Of(p.event.Err); f != nil && f.Challenge == challengeScope {
		return slices.Compact(slices.Sorted(slices.Values(f.Scopes)))
	}
	return nil
}

func found(policies []policy.Found) []FoundFact {
	all := []FoundFact{}
	for _, f := range policies {
		all = append(all, FoundFact{ID: f.ID, Place: f.Place, Line: f.Line, Effect: f.Effect, Text: strings.TrimSpace(f.Text), Error: f.Message})
	}
	return all
}

func (p *played) answered() Answer {
	f := fault.Of(p.event.Err)
	if f == nil {
		return Answer{Relayed: true}
	}
	h := p.answer.header
	a := Answer{Status: p.event.Status, Challenge: h.Get("WWW-Authenticate"), Scopes: p.stepUp(), Retry: h.Get("Retry-After"), Hint: f.Hinted()}
	if body := p.answer.body.Bytes(); json.Valid(body) {
		a.Body = body
	}
	return a
}

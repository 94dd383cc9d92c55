package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/internal/token"
)

// Rehearsal is a Gateway that serves requests to nobody: in the place of AWS STS stands one that lends worthless
// credentials, and in the place of the remote one that answers every request with an empty result. Where claims alone
// are asked about, the identity provider is in memory too. It is not safe for concurrent use.
type Rehearsal struct {
	cfg    *config.Proxy
	house  *House
	remote *understudy
	real   *Gateway // verifies tokens with the provider's keys; nil before the first token
	claims *Gateway // verifies what sign signs
	sign   func(map[string]any) (http.Header, []string, error)
}

// NewRehearsal makes a Rehearsal of a proxy. The problems are those that New finds. Close it when done.
func NewRehearsal(documents *config.Proxy) (*Rehearsal, config.Problems) {
	quiet := *documents
	quiet.Audit, quiet.Console = config.Audit{}, nil // nobody called, so nothing is to be recorded
	cfg := &quiet
	r := &Rehearsal{cfg: cfg, house: NewHouse(nil, telemetry.NewMetrics("", "")), remote: &understudy{}}
	r.house.Vault = sts.Rehearse(func(sts.Request) {})
	var inMemory *Gateway
	if o := cfg.OIDC; o != nil {
		verifier, sign, err := token.Rehearse(*o)
		if err != nil {
			return nil, config.Problems{cfg.At("oidcConfig", err.Error(), "check the issuer")}
		}
		// New takes over the verifier of a Gateway before it whose provider is the same.
		inMemory = &Gateway{House: r.house, cfg: cfg, verifier: verifier, keys: &keyWatch{log: r.house.Log}, wire: &wire{}}
		r.sign = sign
	}
	claims, problems := r.gateway(inMemory)
	if len(problems) > 0 {
		if inMemory != nil {
			inMemory.verifier.Close()
		}
		return nil, problems
	}
	r.claims = claims
	return r, nil
}

// gateway makes a Gateway whose requests end at the understudy.
func (r *Rehearsal) gateway(previous *Gateway) (*Gateway, config.Problems) {
	g, problems := New(r.cfg, r.house, previous)
	if len(problems) > 0 {
		return nil, problems
	}
	if seal, signs := g.seal.(*sigv4.Transport); signs {
		seal.Base = r.remote
	} else {
		g.seal = r.remote
	}
	return g, nil
}

// Anonymous says whether callers of the proxy are not authenticated: then nobody's token or claims are looked at.
func (r *Rehearsal) Anonymous() bool { return r.cfg.OIDC == nil }

// Close ends what works in the background.
func (r *Rehearsal) Close() {
	for _, g := range []*Gateway{r.real, r.claims} {
		if g != nil && g.verifier != nil {
			g.verifier.Close()
		}
	}
}

// played is a request that was served.
type played struct {
	named   string // target of the call as the client named it
	gate    *Gateway
	event   *audit.Event
	answer  *sheet
	raw     token.Raw      // zero without one
	claims  bool           // raw was made of claims
	assumed []string       // claims that were filled in
	asks    []policy.Query // what of the message policy decides on
	target  string         // of the call as the remote names it
}

// ask serves a question: that of claims with the provider in memory, that of a token with the real one.
func (r *Rehearsal) ask(ctx context.Context, q Question) (*played, error) {
	if q.Claims != nil {
		claims, err := token.ClaimsOf(q.Claims)
		if err != nil {
			return nil, err
		}
		return r.askAs(ctx, claims, q)
	}
	if r.real == nil {
		if r.cfg.OIDC == nil {
			r.real = r.claims
		} else {
			real, problems := r.gateway(nil)
			if err := problems.Err(); err != nil {
				return nil, err
			}
			r.real = real
		}
	}
	p := &played{gate: r.real}
	return p, r.play(ctx, p, q.Header, q)
}

// askAs serves a question for whoever has these claims.
func (r *Rehearsal) askAs(ctx context.Context, claims map[string]any, q Question) (p *played, err error) {
	p = &played{gate: r.claims, claims: true}
	header := http.Header{}
	if r.sign != nil {
		if header, p.assumed, err = r.sign(claims); err != nil {
			return nil, err
		}
	}
	for name, values := range q.Header {
		if name != "Authorization" {
			header[name] = values
		}
	}
	return p, r.play(ctx, p, header, q)
}

const beginning = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"rolegate","version":"1"}}}`

// request is a question as a client sends it.
func (r *Rehearsal) request(ctx context.Context, header http.Header, message []byte) (*http.Request, error) {
	url := cmp.Or(r.cfg.ResourceURL, fmt.Sprintf("http://localhost:%d%s", r.cfg.Port, r.cfg.Endpoint))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(cmp.Or(string(message), beginning)))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// play has the door serve the request.
func (r *Rehearsal) play(ctx context.Context, p *played, header http.Header, q Question) (err error) {
	req, err := r.request(ctx, header, q.Message)
	if err != nil {
		return err
	}
	if raw, err := token.Bearer(header); err == nil {
		p.raw = raw
	}
	if err := r.read(ctx, p, header, q.Message); err != nil {
		return err
	}
	p.answer = &sheet{header: http.Header{}}
	r.house.annotations = r.learnt(p, q.Hints) // what was learnt for another question is forgotten
	defer func() {
		if recover() != nil || ctx.Err() != nil { // the door cuts the connection of one who went away
			err = cmp.Or(ctx.Err(), errors.New("serve request: interrupted"))
		}
	}()
	p.gate.door(p.answer, req, func(w http.ResponseWriter, req *http.Request, ev *audit.Event) error {
		p.event = ev
		r.remote.part(p, q.Hints)
		return p.gate.serveMCP(w, req, ev)
	})
	return nil
}

// read notes what the message asks for. What is wrong with it the door tells.
func (r *Rehearsal) read(ctx context.Context, p *played, header http.Header, message []byte) error {
	req, err := r.request(ctx, header, message)
	if err != nil {
		return err
	}
	call, err := mcp.Read(&sheet{header: http.Header{}}, req, p.gate.limits)
	defer call.Release()
	if err != nil {
		return nil
	}
	p.named = call.Target
	if p.gate.tools.translate(call) != nil {
		return nil
	}
	p.target = call.Target
	if p.gate.policies != nil {
		p.asks, _ = p.gate.policies.Queries(call) // nil where it can't tell
		for i := range p.asks {
			p.asks[i].Args = bytes.Clone(p.asks[i].Args)
		}
	}
	return nil
}

// learnt is what the gateway remembers of the tool's annotations where they are given, whatever the role: a caller whose
// token lacks scopes does not have them asked for.
func (r *Rehearsal) learnt(p *played, given map[string]bool) *annotations {
	a := newAnnotations()
	if given == nil || p.gate.policies == nil || p.target == "" {
		return a
	}
	said := func(name string) *bool {
		if yes, ok := given[name]; ok {
			return &yes
		}
		return nil
	}
	h := &hints{tools: map[string]*policy.Hints{p.target: {
		ReadOnly: said("readOnlyHint"), Destructive: said("destructiveHint"), Idempotent: said("idempotentHint"), OpenWorld: said("openWorldHint"),
	}}}
	roles := []string{""}
	if s := r.cfg.AWSSTS; s != nil {
		roles = append(roles, s.FallbackRoleArn)
		for _, m := range s.RoleMappings {
			roles = append(roles, m.RoleArn)
		}
	}
	for _, role := range roles {
		a.known[place{r.cfg.RemoteURL, role}] = &catalogue{hints: h, end: time.Now().Add(time.Hour)}
	}
	return a
}

// decided says whether the request came as far as policy, and was one for it.
func (p *played) decided() bool { return len(p.asks) > 0 && p.event.Judged }

// sheet is the answer, kept.
type sheet struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *sheet) Header() http.Header { return s.header }

func (s *sheet) WriteHeader(status int) { s.status = status }

func (s *sheet) Write(b []byte) (int, error) { return s.body.Write(b) }

// understudy plays the remote. Of a tool's annotations it knows what the question tells; where it tells none the list
// of tools is not to be had.
type understudy struct {
	now   *played
	hints map[string]bool
}

func (u *understudy) part(p *played, hints map[string]bool) { u.now, u.hints = p, hints }

func (u *understudy) RoundTrip(r *http.Request) (*http.Response, error) {
	var message struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read message: %w", err)
		}
	}
	result := map[string]any{}
	switch message.Method {
	case mcp.MethodToolsList:
		if u.hints == nil {
			return u.say(r, http.StatusServiceUnavailable, nil), nil
		}
		result["tools"] = []any{map[string]any{"name": u.now.event.Call.Target, "inputSchema": map[string]any{"type": "object"}, "annotations": u.hints}}
	case mcp.MethodResourcesList:
		result["resources"] = []any{}
	case mcp.MethodTemplatesList:
		result["resourceTemplates"] = []any{}
	case mcp.MethodPromptsList:
		result["prompts"] = []any{}
	}
	if message.ID == nil {
		return u.say(r, http.StatusAccepted, nil), nil
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": message.ID, "result": result})
	if err != nil {
		return nil, fmt.Errorf("write answer: %w", err)
	}
	return u.say(r, http.StatusOK, body), nil
}

func (u *understudy) say(r *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

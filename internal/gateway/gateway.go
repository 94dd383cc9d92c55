// Package gateway is the hall: it wires the rooms together, and the life of a request is one straight function in it.
//
// It promises that a request reaches the remote only after every step before it said yes, that the bytes which were
// judged are the bytes that are signed and sent, and that every request gets one answer and one record. It must never
// decide anything that a room decides, and never write an error's cause, a token or a credential to a client.
package gateway

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/console"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/telemetry"
	"github.com/rolegate/rolegate/internal/token"
)

// House is what outlives one configuration: caches, counters and open streams stay when the documents are read again.
type House struct {
	Log     *slog.Logger
	Metrics *telemetry.Metrics
	Vault   *sts.Vault

	Tracing *telemetry.Tracing // nil: requests are not traced
	Book    *audit.Book        // nil: no records are kept
	Console *console.Console   // nil: nobody can look

	Ways     []telemetry.Way // where signals are sent
	Sampling string          // of traces; "" without any

	streams     *streams
	annotations *annotations
	known       *telemetry.Known
	sessions    sessionKey // made at start; used where the documents name no key
}

// NewHouse makes the lasting parts. A nil log discards.
func NewHouse(log *slog.Logger, metrics *telemetry.Metrics) *House {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &House{Log: log, Metrics: metrics, streams: newStreams(), annotations: newAnnotations(), known: new(telemetry.Known), sessions: newSessionKey()}
	h.Vault = sts.New(sts.Options{Log: log, OnCall: metrics.STSCalled, OnCache: metrics.STSCached})
	return h
}

// Gateway serves the MCP endpoint of one proxy under one configuration. It is immutable; another configuration is
// another Gateway.
type Gateway struct {
	*House
	cfg      *config.Proxy
	verifier *token.Verifier  // nil: callers are not authenticated
	keys     *keyWatch        // beside verifier
	chooser  *role.Chooser    // nil: requests leave unsigned
	policies *policy.Policies // nil: no decision is asked for
	tools    *toolbox         // nil: tools are offered as the remote names them
	remote   *url.URL
	wire     *wire
	seal     http.RoundTripper // the wire, behind the signature where there is one
	binder   binder
	records  *audit.RecordOptions // nil: none are made
	limits   mcp.Limits
	write    time.Duration
	made     time.Time
	metadata func(http.ResponseWriter, *http.Request) error
}

// New wires the rooms for cfg, taking over from previous (may be nil) what is still true. The problems are mistakes
// that only compiling can find, such as in a matcher; with any the Gateway is nil.
func New(cfg *config.Proxy, house *House, previous *Gateway) (*Gateway, config.Problems) {
	g := &Gateway{House: house, cfg: cfg, write: cfg.Limits.WriteTimeout.Std(), made: time.Now()}
	g.limits = mcp.Limits{MaxBody: cfg.Limits.MaxBodyBytes, BodyTimeout: cfg.Limits.BodyTimeout.Std()}

	g.records = recordOptions(cfg, house)

	chooser, problems := newChooser(cfg)
	policies, more := newPolicies(cfg.Authz, cfg.Name)
	if problems = append(problems, more...).Errors(); len(problems) > 0 {
		return nil, problems
	}
	g.chooser, g.policies, g.tools = chooser, policies, newToolbox(cfg.Tools)

	var err error
	if g.remote, err = url.Parse(cfg.RemoteURL); err != nil {
		return nil, config.Problems{cfg.At("remoteURL", "this is no URL", "write it as https://host/path")}
	}
	if g.wire, err = g.newWire(previous); err != nil {
		return nil, config.Problems{environment(err)}
	}
	g.seal = g.wire
	if sts := cfg.AWSSTS; sts != nil {
		g.seal = &sigv4.Transport{Base: g.wire, Region: sts.Region, Service: sts.Service}
		if err := house.Vault.Check(sts.Region); err != nil {
			return nil, config.Problems{environment(err)}
		}
	}
	g.binder = binder{key: house.sessions, resource: cfg.Namespace + "/" + cfg.Name}
	if secret := cfg.SessionKey.Reveal(); secret != "" {
		g.binder.key = sessionKey(secret)
	}
	if o := cfg.OIDC; o != nil && cfg.ResourceURL != "" {
		g.metadata = token.Metadata(cfg.ResourceURL, []string{o.Issuer}, o.Scopes)
	}
	// Last, since it begins to work in the background.
	if g.verifier, g.keys, err = g.newVerifier(previous); err != nil {
		return nil, config.Problems{cfg.At("oidcConfig", err.Error(), "check the issuer and the CA bundle")}
	}
	return g, nil
}

// environment is a mistake that no document holds.
func environment(err error) config.Problem {
	return config.Problem{What: err.Error(), Mend: "check the AWS_* environment variables and the files that they name"}
}

// Compile reports the matchers of an awsSts block that don't compile: config.LoadOptions wants it.
func Compile(a *config.AWSSTS) config.Problems {
	var problems config.Problems
	_, mistakes := role.New(a)
	for _, m := range mistakes {
		if strings.HasSuffix(m.Field, ".matcher") { // the rest is Validate's to tell
			problems = append(problems, config.Problem{Field: "awsSts." + m.Field, What: m.What, Mend: m.Mend})
		}
	}
	return problems
}

// newChooser makes the chooser of a configuration; nil where requests leave unsigned.
func newChooser(cfg *config.Proxy) (*role.Chooser, config.Problems) {
	if cfg.AWSSTS == nil {
		return nil, nil
	}
	chooser, mistakes := role.New(cfg.AWSSTS)
	var problems config.Problems
	for _, m := range mistakes {
		problems = append(problems, cfg.At("awsSts."+m.Field, m.What, m.Mend))
	}
	return chooser, problems
}

func (g *Gateway) newVerifier(previous *Gateway) (*token.Verifier, *keyWatch, error) {
	o := g.cfg.OIDC
	if o == nil {
		return nil, nil, nil
	}
	if previous != nil && previous.verifier != nil && sameProvider(previous.cfg.OIDC, o) {
		if g.cfg.AWSSTS != nil {
			previous.keys.begin(previous.verifier)
		}
		return previous.verifier, previous.keys, nil
	}
	keys := &keyWatch{log: g.Log}
	v, err := token.New(token.Options{OIDC: *o, Log: g.Log, OnVerify: g.Metrics.Verified, OnRefresh: func(err error) {
		g.Metrics.Refreshed(err)
		keys.look()
	}})
	if err != nil {
		return nil, nil, err
	}
	if g.cfg.AWSSTS != nil {
		keys.begin(v)
	}
	return v, keys, nil
}

// keyWatch warns, once, where the provider has keys whose tokens STS will refuse.
type keyWatch struct {
	log      *slog.Logger
	verifier atomic.Pointer[token.Verifier] // nil while nothing is asked of STS
	warned   atomic.Bool
}

func (k *keyWatch) begin(v *token.Verifier) {
	k.verifier.Store(v)
	k.look() // the first keys may have come before
}

func (k *keyWatch) look() {
	v := k.verifier.Load()
	if v == nil {
		return
	}
	if refused := v.STSRefuses(); len(refused) > 0 && k.warned.CompareAndSwap(false, true) {
		k.log.Warn("the identity provider has keys whose tokens AWS STS refuses", slog.Any("keys", refused),
			slog.String(telemetry.KeyHint, "let it sign with RS256 or ES256"))
	}
}

// sameProvider says whether two configurations verify tokens alike, so that one verifier serves both.
func sameProvider(a, b *config.OIDCProvider) bool {
	return a != nil && a.Issuer == b.Issuer && a.Audience == b.Audience && a.JWKSURL == b.JWKSURL &&
		a.InsecureAllowHTTP == b.InsecureAllowHTTP && slices.Equal(a.CABundle, b.CABundle)
}

// Retire lets go of what next does not use any more. Requests still in flight are not disturbed.
func (g *Gateway) Retire(next *Gateway) {
	if g.verifier != nil && (next == nil || next.verifier != g.verifier) {
		g.verifier.Close()
	}
	if next == nil || next.wire != g.wire {
		g.wire.CloseIdleConnections()
	}
}

// Ready says whether requests can be served: the provider's keys were fetched once.
func (g *Gateway) Ready() bool { return g.verifier == nil || g.verifier.Ready() }

// readyWithin waits until requests can be served.
func (g *Gateway) readyWithin(most time.Duration) bool {
	for end := time.Now().Add(most); !g.Ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

const metadataPath = "/.well-known/oauth-protected-resource"

// ServeHTTP serves the MCP endpoint and its protected-resource metadata; any other path is 404.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == g.cfg.Endpoint:
		g.door(w, r, g.serveMCP)
	case g.verifier != nil && (path == metadataPath || path == metadataPath+g.cfg.Endpoint):
		g.door(w, r, g.serveMetadata)
	default:
		g.door(w, r, notServed)
	}
}

func (g *Gateway) serveMetadata(w http.ResponseWriter, r *http.Request, _ *audit.Event) error {
	metadata := g.metadata
	if metadata == nil {
		metadata = token.Metadata(ownURL(r)+g.cfg.Endpoint, []string{g.cfg.OIDC.Issuer}, g.cfg.OIDC.Scopes)
	}
	return metadata(w, r)
}

// metadataURL is where a client finds the metadata (RFC 9728, section 3.1: the well-known path goes before the
// resource's own path).
func (g *Gateway) metadataURL(r *http.Request) string {
	origin := ownURL(r)
	if g.cfg.ResourceURL != "" {
		origin = originOf(g.cfg.ResourceURL)
	}
	return origin + metadataPath + g.cfg.Endpoint
}

// ownURL is this server as the client addressed it: all there is to go by where the document has no resourceUrl.
func ownURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// What is protected, and how, is said in the log: all of it at start, and after a reload what is no longer as it was said.
// It is made from the configuration that is in force, without its secrets.

// statement is one line about it. A line with a hint is a warning.
type statement struct {
	about string // the same for the same subject, for whoever filters
	says  string // in plain words
	hint  string // what to mend; "" where there is nothing
	attrs []slog.Attr
	from  []any // the settings that it says; where they are the same, it is
}

// Announce says in plain words what is served and how it is protected.
func (s *Server) Announce() {
	for _, line := range s.statements(s.Gateway()) {
		s.state(line)
	}
}

// announceChanges says again what is not as it was under old.
func (s *Server) announceChanges(old, now *Gateway) {
	before := s.statements(old)
	for i, line := range s.statements(now) {
		if !reflect.DeepEqual(line.from, before[i].from) {
			s.state(line)
		}
	}
}

func (s *Server) state(line statement) {
	level, attrs := slog.LevelInfo, line.attrs
	if line.about != "" {
		attrs = append([]slog.Attr{slog.String("about", line.about)}, attrs...)
	}
	if line.hint != "" {
		level, attrs = slog.LevelWarn, append(attrs, slog.String(telemetry.KeyHint, line.hint))
	}
	s.house.Log.LogAttrs(context.Background(), level, line.says, attrs...)
}

// statements are those about a gateway, always as many, in the order of a request's life.
func (s *Server) statements(g *Gateway) []statement {
	cfg := s.inForce(g.cfg)
	return []statement{
		s.aboutPlace(cfg), aboutCallers(cfg), aboutRoles(cfg), aboutPolicy(g, cfg), aboutTools(cfg),
		aboutAudit(cfg), s.aboutTelemetry(cfg), s.aboutAdmin(cfg),
	}
}

// inForce is a configuration with what is read at start as it was then.
func (s *Server) inForce(cfg *config.Proxy) *config.Proxy {
	now, was := *cfg, s.opened.Audit
	now.Telemetry, now.Console = s.opened.Telemetry, s.opened.Console
	now.Audit.Enabled, now.Audit.LogFile, now.Audit.OnFull = was.Enabled, was.LogFile, was.OnFull
	now.Audit.QueueSize, now.Audit.TamperEvident = was.QueueSize, was.TamperEvident
	return &now
}

func (s *Server) aboutPlace(cfg *config.Proxy) statement {
	line := statement{says: "serving", from: []any{cfg.Endpoint, cfg.RemoteURL, cfg.ResourceURL}, attrs: []slog.Attr{
		slog.String("version", s.settings.Version), slog.String("proxy", cfg.Name), slog.String("listen", s.main.Addr().String()),
		slog.String("endpoint", cfg.Endpoint), slog.Bool("tls", s.certs != nil), slog.String("remote", withoutQuery(cfg.RemoteURL)),
	}}
	if cfg.ResourceURL != "" {
		line.attrs = append(line.attrs, slog.String("url", cfg.ResourceURL))
	}
	if s.admin != nil {
		line.attrs = append(line.attrs, slog.String("admin", s.admin.Addr().String()))
	}
	var hints []string
	if s.certs == nil && !within(s.main.Addr()) && !strings.HasPrefix(cfg.ResourceURL, "https://") {
		hints = append(hints, "tokens cross the network in the clear: end TLS before this address, or set --tls-cert and --tls-key")
	}
	if inTheClear(cfg.RemoteURL) {
		hints = append(hints, "requests leave in the clear: write remoteURL with https")
	}
	line.hint = strings.Join(hints, "; ")
	return line
}

func aboutCallers(cfg *config.Proxy) statement {
	line := statement{about: "callers", from: []any{cfg.OIDC, cfg.RequiredScopes, cfg.AllowedOrigins}}
	o := cfg.OIDC
	if o == nil {
		line.says, line.hint = "callers need no token: whoever reaches this address is let in", "set oidcConfig, so that callers sign in"
	} else {
		line.says = "callers need a token of this issuer, for this audience"
		line.attrs = append(line.attrs, slog.String("issuer", o.Issuer), slog.String("audience", o.Audience))
		if o.JWKSURL != "" {
			line.attrs = append(line.attrs, slog.String("keys", withoutQuery(o.JWKSURL)))
		}
		if inTheClear(o.Issuer) || inTheClear(o.JWKSURL) {
			line.hint = "the issuer's keys come in the clear, and whoever can change them can sign tokens: write the issuer with https"
		}
	}
	line.list("required_scopes", cfg.RequiredScopes)
	line.list("browsers_from", cfg.AllowedOrigins)
	return line
}

func aboutRoles(cfg *config.Proxy) statement {
	line := statement{about: "roles", from: []any{cfg.AWSSTS}}
	a := cfg.AWSSTS
	if a == nil {
		line.says = "requests leave without AWS credentials"
		return line
	}
	line.says = "a caller's claims choose the role whose credentials AWS STS lends"
	fallback := a.FallbackRoleArn
	if fallback == "" {
		fallback = "none: whom no mapping matches is refused"
	}
	line.attrs = []slog.Attr{
		slog.String("region", a.Region), slog.String("service", a.Service), slog.String("role_claim", a.RoleClaim),
		slog.Int("role_mappings", len(a.RoleMappings)),
	}
	line.list("roles", mapped(a.RoleMappings))
	line.attrs = append(line.attrs, slog.String("fallback_role", fallback), slog.String("session_name_claim", a.SessionNameClaim),
		slog.String("session_duration", (time.Duration(*a.SessionDuration)*time.Second).String()))
	return line
}

// mapped are the roles of mappings, in the order of the document, each with how many lead to it.
func mapped(all []config.RoleMapping) []string {
	var roles []string
	count := map[string]int{}
	for _, m := range all {
		if count[m.RoleArn]++; count[m.RoleArn] == 1 {
			roles = append(roles, m.RoleArn)
		}
	}
	for i, role := range roles {
		roles[i] = fmt.Sprintf("%s (%s)", role, counted(count[role], "mapping"))
	}
	return roles
}

func aboutPolicy(g *Gateway, cfg *config.Proxy) statement {
	line := statement{about: "policy", from: []any{cfg.AWSSTS == nil}}
	a := cfg.Authz
	if a == nil {
		who := "every caller"
		if cfg.AWSSTS != nil {
			who = "every caller with a role"
		}
		line.says, line.hint = "no policy: "+who+" may call everything that is offered", "say in authzConfig what callers may do; without it only IAM does"
		return line
	}
	line.from = append(line.from, a.Policies, a.EntitiesJSON, a.GroupClaim, a.RoleClaim, a.GroupEntityType, a.MultiValuedClaims, a.Schema, a.Source())
	line.says = "calls are decided by policy, and refused where none permits them"
	forbids, checked := 0, a.Schema
	for _, p := range g.policies.All() {
		if p.Effect == "forbid" {
			forbids++
		}
	}
	if checked == "" {
		checked = "unchecked"
	}
	all := len(g.policies.All())
	line.attrs = []slog.Attr{
		slog.Int("policies", all), slog.Int("permits", all-forbids), slog.Int("forbids", forbids),
		slog.String("source", a.Source()), slog.String("schema", checked),
	}
	return line
}

func aboutTools(cfg *config.Proxy) statement {
	line := statement{about: "tools", says: "tools are offered as the remote has them", from: []any{cfg.Authz == nil, cfg.Tools}}
	if t := cfg.Tools; t != nil {
		line.says = "tools are offered as the settings have them"
		offered, renamed, described := "all", 0, 0
		if n := len(t.Filter); n > 0 {
			offered = strconv.Itoa(n)
		}
		for real, o := range t.Override {
			if o.Name != "" && o.Name != real {
				renamed++
			}
			if o.Description != "" {
				described++
			}
		}
		line.attrs = []slog.Attr{slog.String("offered", offered), slog.Int("renamed", renamed), slog.Int("described", described)}
	}
	if cfg.Authz != nil {
		line.says += ", and lists show callers those that policy lets them use"
	}
	return line
}

func aboutAudit(cfg *config.Proxy) statement {
	a := &cfg.Audit
	line := statement{about: "audit", from: []any{*a, cfg.TrustedProxies}}
	if !a.Enabled {
		line.says, line.hint = "no audit records are kept", "audit: {enabled: true} keeps one of each request"
		return line
	}
	line.says = "each request leaves an audit record"
	if len(a.EventTypes)+len(a.ExcludeEventTypes) > 0 {
		line.says = "requests of some types leave an audit record"
	}
	to, full := "standard output", "requests wait for room"
	if a.LogFile != "" {
		to = a.LogFile
	}
	if a.OnFull == config.OnFullDrop {
		full = "records are dropped and counted"
	}
	line.attrs = []slog.Attr{
		slog.String("to", to), slog.Int("queue_size", int(a.QueueSize)), slog.String("when_full", full), slog.Bool("tamper_evident", a.TamperEvident),
		slog.String("request_data", recorded(a.IncludeRequestData, a)), slog.String("response_data", recorded(a.IncludeResponseData, a)),
	}
	line.list("types", a.EventTypes)
	line.list("types_excluded", a.ExcludeEventTypes)
	line.list("claims", a.Claims)
	return line
}

func recorded(on bool, a *config.Audit) string {
	if !on {
		return "none"
	}
	return fmt.Sprintf("%d bytes at most, redacted", a.MaxDataSize)
}

func (s *Server) aboutTelemetry(cfg *config.Proxy) statement {
	line := statement{about: "telemetry", says: "nothing is sent to a collector", from: []any{cfg.Telemetry}}
	for _, way := range s.house.Ways {
		if way.Signal == telemetry.AuditRecords && !cfg.Audit.Enabled {
			continue
		}
		line.says = "telemetry is sent to a collector"
		line.attrs = append(line.attrs, slog.String(way.Signal, way.To))
		if inTheClear(way.To) {
			line.hint = "who did what crosses the network in the clear: write the collector's endpoint with https"
		}
	}
	if s.house.Sampling != "" {
		line.attrs = append(line.attrs, slog.String("sampling", s.house.Sampling))
	}
	return line
}

func (s *Server) aboutAdmin(cfg *config.Proxy) statement {
	line := statement{about: "admin", says: "health is told on the admin address", from: []any{cfg.Telemetry, cfg.Console}}
	if s.admin == nil {
		line.says = "there is no admin address, and so no health, metrics or console"
		if cfg.Console != nil {
			line.hint = "the console needs --admin-listen"
		}
		return line
	}
	console := "off"
	switch c := cfg.Console; {
	case c != nil && c.Token == config.Secret{}:
		console = "/console, open to this machine"
	case c != nil:
		console = "/console, with a bearer token"
		if !within(s.admin.Addr()) {
			line.hint = "the console's token crosses the network in the clear: end TLS before the admin address"
		}
	}
	line.attrs = []slog.Attr{slog.Bool("metrics", cfg.Telemetry == nil || cfg.Telemetry.Prometheus), slog.String("console", console)}
	return line
}

// list adds what there is of a list.
func (line *statement) list(key string, all []string) {
	if len(all) > 0 {
		line.attrs = append(line.attrs, slog.String(key, strings.Join(all, ", ")))
	}
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// withoutQuery cuts what may hold a key.
func withoutQuery(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}

// within tells whether only this machine reaches an address.
func within(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// inTheClear tells whether what is sent to a URL crosses a network without TLS.
func inTheClear(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, section 6.3
		return false
	}
	a, err := netip.ParseAddr(host)
	return err != nil || !a.IsLoopback()
}

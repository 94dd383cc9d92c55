package gateway_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/gateway"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// saying are the lines that do logs, by what they are about; "serving" and the like are about themselves.
func (s *stand) saying(do func()) map[string]facts {
	s.t.Helper()
	before := len(s.log.String())
	do()
	said := map[string]facts{}
	for line := range strings.Lines(s.log.String()[before:]) {
		var f facts
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			s.t.Fatal(err)
		}
		if f["msg"] == "key set fetched" { // when that is done is its own affair
			continue
		}
		about, ok := f["about"].(string)
		if !ok {
			about, _ = f["msg"].(string)
		}
		delete(f, "time")
		delete(f, "about")
		said[about] = f
	}
	return said
}

const onePolicy = `authzConfig: {type: inline, inline: {policies: ['permit (principal, action, resource); forbid (principal, action == Action::"get_prompt", resource);']}}`

// TestAnnouncement: every subject has its line, which says what is so; what a security engineer would mend has a hint.
func TestAnnouncement(t *testing.T) {
	role := func(name, mappings string) string { return name + " (" + mappings + ")" }
	for _, tc := range []struct {
		name  string
		edits []edit
		house func(*gateway.House)
		about string
		want  facts
	}{
		{name: "callers", about: "callers", want: facts{
			"level": "INFO", "msg": "callers need a token of this issuer, for this audience", "audience": fake.Audience, "browsers_from": "http://localhost:8080",
		}},
		{name: "scopes", edits: []edit{spec("requiredScopes: [openid, mcp]"), replace("    resourceUrl:", "    scopes: [openid, mcp]\n    resourceUrl:")}, about: "callers", want: facts{
			"level": "INFO", "msg": "callers need a token of this issuer, for this audience", "audience": fake.Audience, "browsers_from": "http://localhost:8080",
			"required_scopes": "openid, mcp",
		}},
		{name: "an issuer in the clear", edits: []edit{issuerInTheClear}, about: "callers", want: facts{
			"level": "WARN", "msg": "callers need a token of this issuer, for this audience", "audience": fake.Audience, "browsers_from": "http://localhost:8080",
			"hint": "the issuer's keys come in the clear, and whoever can change them can sign tokens: write the issuer with https",
		}},
		{name: "roles", about: "roles", want: facts{
			"level": "INFO", "msg": "a caller's claims choose the role whose credentials AWS STS lends", "region": "us-east-1", "service": "aws-mcp", "role_claim": "groups",
			"role_mappings": 2.0, "roles": role(fake.S3Role, "1 mapping") + ", " + role(fake.AdminRole, "1 mapping"), "fallback_role": fake.DefaultRole,
			"session_name_claim": "sub", "session_duration": "1h0m0s",
		}},
		{name: "one role by two mappings, and none else", edits: []edit{
			replace("    fallbackRoleArn: >-\n      "+fake.DefaultRole+"\n", ""), replace("roleArn: "+fake.AdminRole, "roleArn: "+fake.S3Role),
		}, about: "roles", want: facts{
			"level": "INFO", "msg": "a caller's claims choose the role whose credentials AWS STS lends", "region": "us-east-1", "service": "aws-mcp", "role_claim": "groups",
			"role_mappings": 2.0, "roles": role(fake.S3Role, "2 mappings"), "fallback_role": "none: whom no mapping matches is refused",
			"session_name_claim": "sub", "session_duration": "1h0m0s",
		}},
		{name: "no policy", about: "policy", want: facts{
			"level": "WARN", "msg": "no policy: every caller with a role may call everything that is offered",
			"hint": "say in authzConfig what callers may do; without it only IAM does",
		}},
		{name: "policy", edits: []edit{spec(onePolicy)}, about: "policy", want: facts{
			"level": "INFO", "msg": "calls are decided by policy, and refused where none permits them",
			"policies": 2.0, "permits": 1.0, "forbids": 1.0, "source": "authzConfig.inline", "schema": "unchecked",
		}},
		{name: "strict policy of several proxies", edits: []edit{spec("authzConfigRef: {name: shared}"), func(_ *fake.World, d string) string {
			return d + "---\napiVersion: toolhive.stacklok.dev/v1alpha1\nkind: MCPAuthzConfig\nmetadata: {name: shared, namespace: toolhive-system}\n" +
				"spec: {type: cedarv1, config: {schema: strict, policies: ['permit (principal, action, resource);']}}\n"
		}}, about: "policy", want: facts{
			"level": "INFO", "msg": "calls are decided by policy, and refused where none permits them",
			"policies": 1.0, "permits": 1.0, "forbids": 0.0, "source": "MCPAuthzConfig shared", "schema": "strict",
		}},
		{name: "tools", about: "tools", want: facts{"level": "INFO", "msg": "tools are offered as the remote has them"}},
		{name: "tools of a list, under policy", edits: []edit{spec("tools: [a, b]", onePolicy)}, about: "tools", want: facts{
			"level": "INFO", "msg": "tools are offered as the settings have them, and lists show callers those that policy lets them use",
			"offered": "2", "renamed": 0.0, "described": 0.0,
		}},
		{name: "audit", about: "audit", want: facts{
			"level": "INFO", "msg": "each request leaves an audit record", "to": "standard output", "queue_size": 4096.0, "when_full": "requests wait for room",
			"tamper_evident": false, "request_data": "none", "response_data": "none",
		}},
		{name: "audit, all of it", edits: []edit{replace("    enabled: true\n", "    enabled: true\n    logFile: /var/log/audit.jsonl\n    onFull: drop\n    tamperEvident: true\n    includeRequestData: true\n"+
			"    eventTypes: [mcp_tool_call]\n    claims: [email]\n")}, about: "audit", want: facts{
			"level": "INFO", "msg": "requests of some types leave an audit record", "to": "/var/log/audit.jsonl", "queue_size": 4096.0,
			"when_full": "records are dropped and counted", "tamper_evident": true, "request_data": "1024 bytes at most, redacted", "response_data": "none",
			"types": "mcp_tool_call", "claims": "email",
		}},
		{name: "no audit", edits: []edit{replace("    enabled: true\n", "    enabled: false\n")}, about: "audit", want: facts{
			"level": "WARN", "msg": "no audit records are kept", "hint": "audit: {enabled: true} keeps one of each request",
		}},
		{name: "no telemetry", about: "telemetry", want: facts{"level": "INFO", "msg": "nothing is sent to a collector"}},
		{name: "telemetry", house: func(h *gateway.House) {
			h.Sampling, h.Ways = "0.1", []telemetry.Way{{Signal: "traces", To: "https://collector:4318"}, {Signal: telemetry.AuditRecords, To: "https://collector:4318"}}
		}, about: "telemetry", want: facts{
			"level": "INFO", "msg": "telemetry is sent to a collector", "traces": "https://collector:4318", "audit_records": "https://collector:4318", "sampling": "0.1",
		}},
		{name: "telemetry in the clear, and no records to send", edits: []edit{replace("    enabled: true\n", "    enabled: false\n")}, house: func(h *gateway.House) {
			h.Ways = []telemetry.Way{{Signal: "metrics", To: "http://collector:4318"}, {Signal: telemetry.AuditRecords, To: "https://collector:4318"}}
		}, about: "telemetry", want: facts{
			"level": "WARN", "msg": "telemetry is sent to a collector", "metrics": "http://collector:4318",
			"hint": "who did what crosses the network in the clear: write the collector's endpoint with https",
		}},
		{name: "telemetry within this machine", house: func(h *gateway.House) { h.Ways = []telemetry.Way{{Signal: "metrics", To: "http://localhost:4318"}} }, about: "telemetry", want: facts{
			"level": "INFO", "msg": "telemetry is sent to a collector", "metrics": "http://localhost:4318",
		}},
		{name: "admin", about: "admin", want: facts{"level": "INFO", "msg": "health is told on the admin address", "metrics": true, "console": "off"}},
		{name: "console, and no metrics", edits: []edit{spec("console: {enabled: true}", "telemetry: {prometheus: {enabled: false}}")}, about: "admin", want: facts{
			"level": "INFO", "msg": "health is told on the admin address", "metrics": false, "console": "/console, open to this machine",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, tc.edits...)
			if tc.house != nil {
				tc.house(s.house)
			}
			said := s.saying(server.Announce)
			if len(said) != 8 {
				t.Errorf("%d lines", len(said))
			}
			got := said[tc.about]
			if tc.about == "callers" {
				delete(got, "issuer") // another one in each world
				delete(got, "keys")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.about, diff)
			}
		})
	}
}

// issuerInTheClear names one that is elsewhere, without TLS; its keys are this world's.
func issuerInTheClear(w *fake.World, d string) string {
	return strings.Replace(d, "issuer: "+w.IDP.URL(), "issuer: http://sign-in.example.com\n      jwksUrl: "+w.IDP.JWKSURL(), 1)
}

// TestAnnouncementOfThePlace: where it listens and what it protects, and what there is in the clear.
func TestAnnouncementOfThePlace(t *testing.T) {
	const noTLS = "tokens cross the network in the clear: end TLS before this address, or set --tls-cert and --tls-key"
	for _, tc := range []struct {
		name, listen string
		edits        []edit
		hint         any
	}{
		{name: "this machine", listen: "127.0.0.1:0"},
		{name: "beyond it", listen: "0.0.0.0:0", hint: noTLS},
		{name: "beyond it, and TLS ends before", listen: "0.0.0.0:0", edits: []edit{replace("resourceUrl: http://localhost:8080/mcp", "resourceUrl: https://mcp.example.com/mcp")}},
		{name: "a remote in the clear", listen: "0.0.0.0:0", edits: []edit{spec("allowInsecureRemote: true"), func(w *fake.World, d string) string {
			return strings.Replace(d, "remoteURL: "+w.RemoteURL(), "remoteURL: http://mcp.example.com/mcp?key=hidden", 1)
		}}, hint: noTLS + "; requests leave in the clear: write remoteURL with https"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := net.Listen("tcp", tc.listen)
			if err != nil {
				t.Fatal(err)
			}
			s, server, _ := serve(t, gateway.Settings{Listener: l, DrainTimeout: time.Second, Version: "v1"}, tc.edits...)
			got := s.saying(server.Announce)["serving"]
			level := map[bool]string{true: "WARN", false: "INFO"}[tc.hint != nil]
			want := facts{"level": level, "listen": l.Addr().String(), "admin": server.AdminAddr().String(), "version": "v1", "proxy": "aws-mcp-proxy", "endpoint": "/mcp", "tls": false}
			if tc.hint != nil {
				want["hint"] = tc.hint
			}
			for key, value := range want {
				if got[key] != value {
					t.Errorf("%s is %v, want %v", key, got[key], value)
				}
			}
			if tc.hint == nil && got["hint"] != nil {
				t.Errorf("hint: %v", got["hint"])
			}
			if strings.Contains(s.log.String(), "hidden") {
				t.Error("the log holds the remote's query")
			}
		})
	}
}

// TestAnnouncementOfAnOpenDoor: nobody is asked for a token, and nothing chooses a role.
func TestAnnouncementOfAnOpenDoor(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second}, func(w *fake.World, _ string) string {
		return "apiVersion: toolhive.stacklok.dev/v1alpha1\nkind: MCPRemoteProxy\nmetadata: {name: open}\nspec: {remoteURL: " + w.RemoteURL() + ", unauthenticated: {acknowledge: true}}\n"
	})
	said := s.saying(server.Announce)
	want := map[string]facts{
		"callers": {"level": "WARN", "msg": "callers need no token: whoever reaches this address is let in", "hint": "set oidcConfig, so that callers sign in"},
		"roles":   {"level": "INFO", "msg": "requests leave without AWS credentials"},
		"policy": {
			"level": "WARN", "msg": "no policy: every caller may call everything that is offered",
			"hint": "say in authzConfig what callers may do; without it only IAM does",
		},
	}
	for about, line := range want {
		if diff := cmp.Diff(line, said[about]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", about, diff)
		}
	}
}

// TestReloadSaysWhatChanged, and nothing of what did not. What is read at start is said as it still is.
func TestReloadSaysWhatChanged(t *testing.T) {
	s, server, _ := serve(t, gateway.Settings{DrainTimeout: time.Second})
	before := s.world.Documents()
	const restart = "a setting that is read at start has changed"
	for _, tc := range []struct {
		name  string
		edits []edit
		want  []string // besides that it was reloaded
	}{
		{name: "nothing"},
		{name: "limits", edits: []edit{spec("limits: {responseTimeout: 4m}")}},
		{name: "a role", edits: []edit{replace("claim: s3-readers", "claim: readers")}, want: []string{"roles"}},
		{name: "policy", edits: []edit{spec(onePolicy)}, want: []string{"policy", "roles", "tools"}},
		{name: "the words of a policy", edits: []edit{spec(strings.Replace(onePolicy, "get_prompt", "read_resource", 1))}, want: []string{"policy"}},
		{name: "contents of records", edits: []edit{replace("    enabled: true\n", "    enabled: true\n    includeRequestData: true\n"), spec(strings.Replace(onePolicy, "get_prompt", "read_resource", 1))}, want: []string{"audit"}},
		{name: "all back", want: []string{"audit", "policy", "tools"}},
		{name: "no records, a console", edits: []edit{replace("    enabled: true\n", "    enabled: false\n"), spec("console: {enabled: true}")}, want: []string{restart}},
	} {
		documents := before
		for _, e := range tc.edits {
			documents = e(s.world, documents)
		}
		said := s.saying(func() { server.Reload(load(t, documents)) })
		if said["configuration reloaded"] == nil {
			t.Errorf("%s: %v", tc.name, said)
		}
		delete(said, "configuration reloaded")
		for _, about := range tc.want {
			if said[about] == nil {
				t.Errorf("%s: nothing is said about %s", tc.name, about)
			}
			delete(said, about)
		}
		for about, line := range said {
			t.Errorf("%s: something is said about %s: %v", tc.name, about, line)
		}
	}
	if line := s.saying(server.Announce)["audit"]; line["msg"] != "each request leaves an audit record" {
		t.Errorf("records are kept until the end, and the log says %v", line)
	}
}

// TestTheBookStaysOpen: a reload that turns records off takes effect at the next start, as the log says. Until then every
// request leaves one, at the end of which watch looks.
func TestTheBookStaysOpen(t *testing.T) {
	s := watch(t)
	s.enter()
	s.server.Reload(load(t, replace("    enabled: true\n", "    enabled: false\n")(s.world, s.world.Documents())))
	if r := s.do(call{token: s.tokens["ann"], session: s.session, body: whoami, headers: map[string]string{"User-Agent": "after"}}); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if diff := (facts{"caller": "ann", "outcome": "success"}).holds(s.by("after")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(s.log.String(), `"setting":"audit"`) {
		t.Error("the log does not say that it takes a restart")
	}
}

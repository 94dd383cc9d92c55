package audit_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

func line(t *testing.T, e *audit.Event) map[string]any {
	t.Helper()
	var buf bytes.Buffer
	e.Log(t.Context(), slog.New(slog.NewJSONHandler(&buf, nil)))
	got := map[string]any{}
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", buf.String(), err)
	}
	delete(got, "time")
	return got
}

func TestOneLineTellsWhoWhatAndWhy(t *testing.T) {
	start := time.Now()
	got := line(t, &audit.Event{
		Start: start, End: start.Add(5 * time.Millisecond), ID: "R1", HTTPMethod: "POST", Path: "/mcp", RemoteAddr: "10.0.0.1:9",
		Caller: &token.Caller{Issuer: "https://idp", Subject: token.Subject{ID: "ann", Token: token.NewRaw("secret")}},
		Call:   &mcp.Call{Method: "tools/call", Target: "aws___run_script", Params: []byte(`{"arguments":"private"}`)},
		Role:   role.Choice{RoleARN: "arn:aws:iam::1:role/R", Reason: "mapping 0", Errors: []role.MatchError{{Mapping: 3, What: role.FailureNoKey}}}, Grant: sts.Grant{SessionName: "ann"},
		STS: sts.Hit, Status: 200, Bytes: 7, Stream: true, AWSRequestID: "A1",
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", ClientName: "claude", AccessKeyID: "ASIA1", RPCCode: -32602, IsError: true,
	})
	want := map[string]any{
		"level": "INFO", "msg": "request", "request_id": "R1", "http_method": "POST", "path": "/mcp", "remote_addr": "10.0.0.1:9",
		"auth": "ok", "caller": "ann", "issuer": "https://idp", "era": "legacy", "method": "tools/call", "target": "aws___run_script",
		"decision": "allowed", "role": "arn:aws:iam::1:role/R", "why": "mapping 0", "matcher_errors": "mapping 3: no such key", "session_name": "ann", "sts": "hit",
		"aws_request_id": "A1", "status": 200.0, "bytes": 7.0, "duration_ms": 5.0, "stream": true,
		"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "source": "10.0.0.1", "client_name": "claude", "access_key_id": "ASIA1",
		"outcome": "application_error", "rpc_code": -32602.0, "is_error": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefusalsSayHowToMend(t *testing.T) {
	hint := "look at " + strings.Repeat("x", 500)
	got := line(t, &audit.Event{Err: fault.New(fault.Unauthenticated, "the token has expired").Hint("%s", hint)})
	if got["auth"] != "the token has expired" || got["hint"] != hint || got["decision"] != "unauthenticated" || got["level"] != "WARN" {
		t.Errorf("%v", got)
	}
	if got := line(t, &audit.Event{Err: fault.New(fault.Unavailable, "away")}); got["level"] != "ERROR" || got["auth"] != "none" {
		t.Errorf("%v", got)
	}
	if got := line(t, &audit.Event{Err: fault.New(fault.Aborted, "gone")}); got["level"] != "INFO" {
		t.Errorf("%v", got)
	}
}

// What the remote answered is passed on as it came; that it failed, and what to look at, is told here all the same.
func TestFailuresOfTheRemoteSayWhatToLookAt(t *testing.T) {
	for _, c := range []struct {
		event   audit.Event
		level   string
		outcome string
	}{
		{audit.Event{Status: 503}, "ERROR", audit.Failure},
		{audit.Event{Status: 429}, "WARN", audit.ApplicationError},
		{audit.Event{Status: 200, Flaw: fault.New(fault.BadUpstream, "no answer").Hint("look")}, "ERROR", audit.Failure},
	} {
		got := line(t, &c.event)
		if got["level"] != c.level || got["outcome"] != c.outcome || got["error"] == nil || got["hint"] == nil {
			t.Errorf("%d: %v", c.event.Status, got)
		}
		record := c.event.Record(audit.NewRecordOptions(&config.Proxy{Audit: config.Audit{Enabled: true}}))
		if record.Outcome != c.outcome || record.Error != got["error"] || record.Hint != got["hint"] {
			t.Errorf("%d: record %+v", c.event.Status, record)
		}
	}
	if got := line(t, &audit.Event{Status: 404}); got["level"] != "INFO" || got["error"] != nil {
		t.Errorf("%v", got)
	}
}

// A client must not be able to fill the disk; but a long subject is what tells whose hash the session name is.
func TestWordsOfClientsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 4000)
	got := line(t, &audit.Event{
		Path: long, Call: &mcp.Call{Method: long, Target: long},
		Caller: &token.Caller{Subject: token.Subject{ID: strings.Repeat("s", 300)}},
	})
	for _, key := range []string{"path", "method", "target"} {
		if n := len(got[key].(string)); n > 300 {
			t.Errorf("%s has %d bytes", key, n)
		}
	}
	if n := len(got["caller"].(string)); n != 300 {
		t.Errorf("the subject was cut to %d bytes", n)
	}
}

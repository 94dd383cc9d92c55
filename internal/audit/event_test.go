package audit_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	})
	want := map[string]any{
		"level": "INFO", "msg": "request", "request_id": "R1", "http_method": "POST", "path": "/mcp", "remote_addr": "10.0.0.1:9",
		"auth": "ok", "caller": "ann", "issuer": "https://idp", "era": "legacy", "method": "tools/call", "target": "aws___run_script",
		"decision": "allowed", "role": "arn:aws:iam::1:role/R", "why": "mapping 0", "matcher_errors": "mapping 3: no such key", "session_name": "ann", "sts": "hit",
		"aws_request_id": "A1", "status": 200.0, "bytes": 7.0, "duration_ms": 5.0, "stream": true,
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

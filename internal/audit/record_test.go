package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sigv4"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// options are those of a proxy with these settings.
func options(a config.Audit) *audit.RecordOptions {
	a.Enabled = true
	if a.MaxDataSize == 0 {
		a.MaxDataSize = 1024
	}
	return audit.NewRecordOptions(&config.Proxy{Name: "aws", Audit: a})
}

// allowed is the event of a call that went through.
func allowed() *audit.Event {
	start := time.Date(2026, 11, 21, 16, 0, 0, 123456789, time.UTC)
	ev := &audit.Event{
		Start: start, End: start.Add(1500 * time.Microsecond), ID: "MFRGGZDFMZTWQ2LKNNWG23TPOB", HTTPMethod: "POST", Path: "/mcp",
		RemoteAddr: "10.0.0.1:54321", UserAgent: "agent/1", TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331",
		Caller: &token.Caller{Issuer: "https://idp.example.com", Subject: token.Subject{
			ID: "auth0|ann", Token: token.NewRaw("eyJ.secret.token"), Claims: map[string]any{"email": "ann@example.com", "sub": "auth0|ann"},
		}},
		Call:       &mcp.Call{Kind: mcp.Request, Method: "tools/call", Target: "aws___run_script", Session: "rg1.secret-session"},
		ClientName: "inspector", ClientVersion: "1.2",
		Role:     role.Choice{RoleARN: "arn:aws:iam::123456789012:role/team/Readers", Mapping: 0, Reason: `mapping 0: claim "readers" in groups`},
		Grant:    sts.Grant{SessionName: "ann@example.com", Region: "eu-west-1"},
		STS:      sts.Hit,
		Policies: []policy.Found{{ID: "read"}}, Status: 200, Bytes: 1024, AWSRequestID: "7a62c49f-347e-4fc4-9331-6e8e47a5d1a7",
	}
	ev.Lent(&sts.Lease{
		Credentials:    sigv4.NewCredentials("ASIAEXAMPLE12345678Q", "secret-key", "secret-session-token"),
		AssumedRoleARN: "arn:aws:sts::123456789012:assumed-role/Readers/ann@example.com", RequestID: "11111111-2222-3333-4444-555555555555",
	})
	return ev
}

func TestRecordTellsWhoWhatAndWhy(t *testing.T) {
	r := allowed().Record(options(config.Audit{Claims: []string{"email", "department"}}))
	got := string(r.AppendJSON(nil))
	want := `{"schema":"rolegate.audit/v1","time":"2026-11-21T16:00:00.123456Z","type":"mcp_tool_call","outcome":"success","component":"aws",` +
		`"request_id":"MFRGGZDFMZTWQ2LKNNWG23TPOB","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331",` +
		`"remote_addr":"10.0.0.1:54321","source":"10.0.0.1","user_agent":"agent/1","client_name":"inspector","client_version":"1.2",` +
		`"http_method":"POST","path":"/mcp","auth":"ok","issuer":"https://idp.example.com","caller":"auth0|ann","claims":{"email":"ann@example.com"},` +
		`"era":"legacy","session":"` + audit.SessionDigest("rg1.secret-session") + `","method":"tools/call","target":"aws___run_script",` +
		`"decision":"allowed","policies":["read"],"role":"arn:aws:iam::123456789012:role/team/Readers","mapping":0,` +
		`"why":"mapping 0: claim \"readers\" in groups","session_name":"ann@example.com","region":"eu-west-1","sts":"hit","sts_request_id":"11111111-2222-3333-4444-555555555555",` +
		`"assumed_role":"arn:aws:sts::123456789012:assumed-role/Readers/ann@example.com","access_key_id":"ASIAEXAMPLE12345678Q",` +
		`"aws_request_id":"7a62c49f-347e-4fc4-9331-6e8e47a5d1a7","status":200,"bytes":1024,"duration_ms":1.5}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(got, "secret") {
		t.Error("a token, a key or a session id is in the record")
	}
}

func TestOutcomes(t *testing.T) {
	refused := func(k fault.Kind) error { return fault.New(k, "no") }
	for _, tt := range []struct {
		name string
		ev   audit.Event
		want string
		code int64
	}{
		{"an answer", audit.Event{Status: 200}, audit.Success, 0},
		{"accepted", audit.Event{Status: 202}, audit.Success, 0},
		{"a tool's error", audit.Event{Status: 200, IsError: true}, audit.ApplicationError, 0},
		{"a JSON-RPC error", audit.Event{Status: 200, RPCCode: -32602}, audit.ApplicationError, -32602},
		{"the remote refuses", audit.Event{Status: 404, RPCCode: -30001}, audit.ApplicationError, -30001},
		{"the remote is asked too much", audit.Event{Status: 429}, audit.ApplicationError, 0},
		{"the remote fails", audit.Event{Status: 500, RPCCode: -32603}, audit.Failure, -32603},
		{"no token", audit.Event{Status: 401, RPCCode: -32001, Err: refused(fault.Unauthenticated)}, audit.Denied, -32001},
		{"policy", audit.Event{Status: 403, RPCCode: -32003, Err: refused(fault.Denied)}, audit.Denied, -32003},
		{"malformed", audit.Event{Status: 400, RPCCode: -32700, Err: fault.New(fault.Malformed, "no").Code(-32700)}, audit.Denied, -32700},
		{"too many", audit.Event{Status: 429, RPCCode: -32000, Err: refused(fault.TooMany)}, audit.Denied, -32000},
		{"STS is away", audit.Event{Status: 503, RPCCode: -32000, Err: refused(fault.Unavailable)}, audit.Failure, -32000},
		{"the remote breaks off in mid-stream", audit.Event{Status: 200, Stream: true, Err: refused(fault.BadUpstream)}, audit.Failure, 0},
		{"a panic", audit.Event{Status: 500, RPCCode: -32603, Err: errors.New("boom")}, audit.Failure, -32603},
		{"the client hung up", audit.Event{Status: 499, Err: refused(fault.Aborted)}, audit.Aborted, 0},
		{"the client hung up in mid-stream", audit.Event{Status: 200, Stream: true, Err: refused(fault.Aborted)}, audit.Aborted, 0},
	} {
		r := tt.ev.Record(options(config.Audit{}))
		if r.Outcome != tt.want || r.RPCCode != tt.code {
			t.Errorf("%s: %s %d, want %s %d", tt.name, r.Outcome, r.RPCCode, tt.want, tt.code)
		}
	}
}

// The names are those of settings that exist, so none may change.
func TestTypes(t *testing.T) {
	request := func(method string) *mcp.Call { return &mcp.Call{Kind: mcp.Request, Method: method} }
	notification := func(method string) *mcp.Call { return &mcp.Call{Kind: mcp.Notification, Method: method} }
	reached := map[string]bool{}
	for _, tt := range []struct {
		call *mcp.Call
		want string
	}{
		{nil, "http_request"},
		{&mcp.Call{}, "http_request"},
		{request("initialize"), "mcp_initialize"},
		{request("server/discover"), "mcp_initialize"},
		{request("tools/call"), "mcp_tool_call"},
		{request("tools/list"), "mcp_tools_list"},
		{request("resources/read"), "mcp_resource_read"},
		{request("resources/list"), "mcp_resources_list"},
		{request("resources/templates/list"), "mcp_resources_list"},
		{request("prompts/get"), "mcp_prompt_get"},
		{request("prompts/list"), "mcp_prompts_list"},
		{notification("notifications/initialized"), "mcp_notification"},
		{notification("notifications/roots/list_changed"), "mcp_roots_list_changed"},
		{request("ping"), "mcp_ping"},
		{request("logging/setLevel"), "mcp_logging"},
		{request("completion/complete"), "mcp_completion"},
		{request("resources/subscribe"), "mcp_request"},
		{request("tasks/get"), "mcp_request"},
		{&mcp.Call{Kind: mcp.Response}, "mcp_response"},
		{&mcp.Call{Kind: mcp.Stream}, "sse_connection"},
		{request("subscriptions/listen"), "sse_connection"},
		{&mcp.Call{Kind: mcp.Delete}, "mcp_session_end"},
	} {
		got := (&audit.Event{Call: tt.call}).Type()
		if reached[got] = true; got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.call, got, tt.want)
		}
	}
	for _, known := range config.EventTypes() {
		if !reached[known] {
			t.Errorf("settings can name %s, which nothing is", known)
		}
		delete(reached, known)
	}
	for other := range reached {
		t.Errorf("settings can't name %s", other)
	}
}

func TestWants(t *testing.T) {
	var off *audit.RecordOptions
	if off.Wants("mcp_ping") || audit.NewRecordOptions(&config.Proxy{}) != nil {
		t.Error("records are made though nobody asked for them")
	}
	if !options(config.Audit{}).Wants("mcp_ping") {
		t.Error("everything is recorded by default")
	}
	o := options(config.Audit{EventTypes: []string{"mcp_tool_call", "mcp_ping"}, ExcludeEventTypes: []string{"mcp_ping"}})
	for name, want := range map[string]bool{"mcp_tool_call": true, "mcp_ping": false, "mcp_initialize": false} {
		if o.Wants(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// Every field that a Record has is encoded under its name, with its value: what the encoder writes, encoding/json reads.
func TestEveryFieldIsEncoded(t *testing.T) {
	var r audit.Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString(v.Type().Field(i).Name + " \"\\\n\x00é\u2028")
		case time.Time:
			r.Time = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
		case json.RawMessage:
			f.SetBytes([]byte(`{"a":[1,"b"]}`))
		case []string:
			f.Set(reflect.ValueOf([]string{"one", "", "t\"wo"}))
		case *int:
			f.Set(reflect.ValueOf(new(-1)))
		case bool:
			f.SetBool(true)
		case int, int64:
			f.SetInt(int64(i) - 100)
		case uint64:
			f.SetUint(1 << 63)
		case float64:
			f.SetFloat(0.001)
		default:
			t.Fatalf("%s: a type that this test does not know", v.Type().Field(i).Name)
		}
	}
	for name, want := range map[string]audit.Record{"all": r, "none": {Time: r.Time}} {
		line := want.AppendJSON(nil)
		var got audit.Record
		dec := json.NewDecoder(strings.NewReader(string(line)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s\n%s", name, diff, line)
		}
		if slices.Contains(line, '\n') {
			t.Errorf("%s: more than a line", name)
		}
	}
}

// A client must not be able to fill the disk with one request, or write what is not a line of UTF-8.
func TestRecordsOfHostileRequestsAreBounded(t *testing.T) {
	long := strings.Repeat("\xff\x00\n\"", 1<<20)
	ev := &audit.Event{
		HTTPMethod: long, Path: long, UserAgent: long, ClientName: long, ClientVersion: long, AWSRequestID: long,
		Caller: &token.Caller{Issuer: "i", Subject: token.Subject{ID: long, Claims: map[string]any{"email": long, "list": []any{long}}}},
		Call:   &mcp.Call{Kind: mcp.Request, Method: long, Target: long, Session: long},
		Err:    fault.New(fault.Denied, "no").Hint("%s", long).Because(errors.New(long)),
	}
	r := ev.Record(options(config.Audit{Claims: []string{"email", "list"}}))
	line := r.AppendJSON(nil)
	if len(line) > 128<<10 || !json.Valid(line) || !utf8.Valid(line) || bytes.ContainsAny(line, "\n\x00") {
		t.Errorf("%d bytes, valid: %v", len(line), json.Valid(line))
	}
}

package audit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/token"
)

// X-Forwarded-For is believed only as far as trusted proxies vouch for it.
func TestSource(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
		{"a stranger's word", "203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
		{"one proxy", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1", []string{"198.51.100.1, 10.2.2.2"}, "198.51.100.1"},
		{"made up by the client", "10.0.0.1:1", []string{"127.0.0.1, 198.51.100.1, 10.2.2.2"}, "198.51.100.1"},
		{"a trusted address made up by the client", "10.0.0.1:1", []string{"10.9.9.9, 198.51.100.1"}, "198.51.100.1"},
		{"two headers", "10.0.0.1:1", []string{"127.0.0.1", "198.51.100.1,10.2.2.2"}, "198.51.100.1"},
		{"all trusted", "10.0.0.1:1", []string{"10.3.3.3,10.2.2.2"}, "10.3.3.3"},
		{"nonsense ends it", "10.0.0.1:1", []string{"198.51.100.1, unknown, 10.2.2.2"}, "10.2.2.2"},
		{"an empty element ends it", "10.0.0.1:1", []string{"198.51.100.1,"}, "10.0.0.1"},
		{"a port", "10.0.0.1:1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6", "[fd00::1]:1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "[fd00::1]:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", "[fd00::1]:1", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"no address of the connection", "@", []string{"198.51.100.1"}, ""},
		{"a long chain", "10.0.0.1:1", []string{strings.Repeat("10.0.0.2,", 5000) + "10.0.0.3"}, "10.0.0.2"},
	} {
		o := audit.NewRecordOptions(&config.Proxy{Audit: config.Audit{Enabled: true}, TrustedProxies: trusted})
		ev := &audit.Event{RemoteAddr: tt.remote}
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = tt.remote, tt.forwarded
		o.Arrived(ev, r)
		if got := ev.Record(o).Source; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestClaims(t *testing.T) {
	claims := map[string]any{
		"email": "ann@\"example.com", "groups": []any{"a", "b"}, "n": int64(7), "nested": map[string]any{"roles": []any{"x"}},
		"none": nil, "long": strings.Repeat("é", 3000), "secret": "not asked for",
	}
	ev := &audit.Event{Caller: &token.Caller{Subject: token.Subject{ID: "ann", Claims: claims}}}
	pick := func(names ...string) string { return string(ev.Record(options(config.Audit{Claims: names})).Claims) }
	if got, want := pick("email", "absent", "groups", "n", "nested.roles", "none", "email"), `{"email":"ann@\"example.com","groups":["a","b"],"n":7,"nested.roles":["x"],"none":null}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := pick(); got != "" {
		t.Errorf("claims that nobody asked for: %s", got)
	}
	if got := pick("absent"); got != "" {
		t.Errorf("absent: %s", got)
	}
	if got := pick("long"); len(got) > 2100 || !strings.HasSuffix(got, `é..."}`) {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// message reads a request as the gateway does.
func message(method, params string, headers ...string) (*mcp.Call, error) {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return mcp.Read(httptest.NewRecorder(), r, mcp.Limits{})
}

func TestClient(t *testing.T) {
	const modern = `{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"é","version":"2"}},"name":"t"}`
	headers := []string{mcp.HeaderVersion, mcp.Version20260728, mcp.HeaderMethod, "tools/call", mcp.HeaderName, "t"}
	for _, tt := range []struct {
		name, method, params string
		headers              []string
		client, version      string
	}{
		{"initialize", "initialize", `{"protocolVersion":"2025-11-25","clientInfo":{"version":"1.0","name":"inspector"}}`, nil, "inspector", "1.0"},
		{"another method", "tools/call", `{"name":"t","arguments":{"clientInfo":{"name":"x"}}}`, nil, "", ""},
		{"modern", "tools/call", modern, headers, "é", "2"},
		{"not a string", "initialize", `{"clientInfo":{"name":7,"version":null}}`, nil, "", ""},
	} {
		c, err := message(tt.method, tt.params, tt.headers...)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		ev := &audit.Event{Call: c}
		options(config.Audit{}).Read(ev)
		if ev.ClientName != tt.client || ev.ClientVersion != tt.version {
			t.Errorf("%s: %q %q", tt.name, ev.ClientName, ev.ClientVersion)
		}
		c.Release()
	}
}

// arguments gives what is recorded of a call's arguments, "" for a call without any.
func arguments(t *testing.T, a config.Audit, args string) (whole, cut string) {
	t.Helper()
	params := `{"name":"t"}`
	if args != "" {
		params = `{"name":"t","arguments":` + args + `}`
	}
	c, err := message("tools/call", params)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	defer c.Release()
	return recorded(a, c)
}

func recorded(a config.Audit, c *mcp.Call) (whole, cut string) {
	ev := &audit.Event{Call: c}
	o := options(a)
	o.Read(ev)
	r := ev.Record(o)
	return string(r.Arguments), r.ArgumentsCut
}

func TestArguments(t *testing.T) {
	if whole, cut := arguments(t, config.Audit{}, `{"a":1}`); whole != "" || cut != "" {
		t.Errorf("recorded, though nobody asked: %s %s", whole, cut)
	}
	on := config.Audit{IncludeRequestData: true, RedactKeys: []string{"id", "Patient Name", "kürzel"}}
	for _, tt := range []struct{ args, want string }{
		{"", ""},
		{`[1]`, ""},
		{`null`, ""},
		{`{ "a" : [1, {"b" : 1.50e3}] , "c":"é\u00e9" } `, `{"a":[1,{"b":1.50e3}],"c":"é\u00e9"}`},
		{`{"password":"x","PassWord":{"a":"x"},"db_password":["x"],"dbPassword":1,"passwordless":1}`, `{"password":"[redacted]","PassWord":"[redacted]","db_password":"[redacted]","dbPassword":"[redacted]","passwordless":1}`},
		{`{"a":[{"Authorization":"Bearer x"},{"X-API-Key":"x","apiKey":"x","APIKey":"x"}]}`, `{"a":[{"Authorization":"[redacted]"},{"X-API-Key":"[redacted]","apiKey":"[redacted]","APIKey":"[redacted]"}]}`},
		{`{"maxTokens":5,"token":"x","p\u0061ssword":"x","AWS_SECRET_ACCESS_KEY":"x","refreshToken":"x","idtoken":"x"}`, `{"maxTokens":5,"token":"[redacted]","p\u0061ssword":"[redacted]","AWS_SECRET_ACCESS_KEY":"[redacted]","refreshToken":"[redacted]","idtoken":"[redacted]"}`},
		{`{"userId":1,"width":2,"ID":3,"patient-name":4,"nameOfPatient":5,"KÜRZEL":6}`, `{"userId":"[redacted]","width":2,"ID":"[redacted]","patient-name":"[redacted]","nameOfPatient":5,"KÜRZEL":"[redacted]"}`},
	} {
		whole, cut := arguments(t, on, tt.args)
		if diff := cmp.Diff(tt.want, whole); diff != "" || cut != "" {
			t.Errorf("%s: %s (cut: %q)", tt.args, diff, cut)
		}
	}
}

func TestLongArgumentsAreCutAfterTheyWereRedacted(t *testing.T) {
	on := config.Audit{IncludeRequestData: true, MaxDataSize: 20}
	if whole, cut := arguments(t, on, `{"secret":"`+strings.Repeat("x", 9000)+`","a":"`+strings.Repeat("é", 9000)+`"}`); whole != "" || cut != `{"secret":"[redacted` {
		t.Errorf("%q %q", whole, cut)
	}
	if whole, cut := arguments(t, on, `{"a":"ééééééééé"}`); whole != "" || cut != `{"a":"ééééééé` {
		t.Errorf("%q %q", whole, cut)
	}
	if whole, cut := arguments(t, on, `{"a":"12345678901"}`); whole != `{"a":"12345678901"}` || cut != "" {
		t.Errorf("%q %q", whole, cut)
	}
}

// FuzzArguments: whatever arguments hold, what is recorded of them is JSON or marked as cut, not longer than allowed, the
// same but for what is redacted, and no value of the name password is in it.
func FuzzArguments(f *testing.F) {
	f.Add(`{"a":{"PASSWORD":[1,{"b":2}]},"c":"password"}`, uint16(1024))
	f.Add(`{"p\u0061ssword":"\ud83d\ude00","x":[[[]]],"password":1}`, uint16(10))
	f.Add(`{"paſsword":1,"PAſſWORD":2}`, uint16(1024))
	f.Add(`{}`, uint16(1))
	f.Add(`{"u":"a://b:c@d/?sig=e&f#token=g","o":[{"value":"x","name":"pin1"},{"values":[{"value":0}]}]}`, uint16(99))
	f.Fuzz(func(t *testing.T, args string, most uint16) {
		var given map[string]any
		if json.Unmarshal([]byte(args), &given) != nil || given == nil || !jsontext.Value(args).IsValid() {
			return
		}
		limit := int(most) + 1
		c, err := message("tools/call", `{"name":"t","arguments":`+args+`}`)
		defer c.Release()
		if err != nil {
			return // nested more deeply than a message may be
		}
		whole, cut := recorded(config.Audit{IncludeRequestData: true, MaxDataSize: int32(limit)}, c)
		if (whole == "") == (cut == "") || len(whole) > limit || len(cut) > limit {
			t.Fatalf("%q and %q of %q", whole, cut, args)
		}
		if cut != "" {
			return
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(whole), &got); err != nil {
			t.Fatalf("%v: %q of %q", err, whole, args)
		}
		same(t, given, got)
	})
}

// same compares values, but for what is redacted.
func same(t *testing.T, given, got any) {
	t.Helper()
	if got == "[redacted]" {
		return
	}
	switch given := given.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(given) {
			t.Fatalf("%v became %v", given, got)
		}
		for name, value := range given {
			if strings.EqualFold(name, "password") && m[name] != "[redacted]" {
				t.Fatalf("%q has the value %v", name, m[name])
			}
			same(t, value, m[name])
		}
	case []any:
		l, ok := got.([]any)
		if !ok || len(l) != len(given) {
			t.Fatalf("%v became %v", given, got)
		}
		for i := range given {
			same(t, given[i], l[i])
		}
	default:
		if text, ok := got.(string); ok && strings.Contains(text, "[redacted]") && strings.Contains(given.(string), "://") {
			return
		}
		if given != got {
			t.Fatalf("%v became %v", given, got)
		}
	}
}

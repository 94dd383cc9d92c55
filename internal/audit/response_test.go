package audit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/mcp"
)

// responded gives what is recorded of a response, of which as much is there as a Watcher keeps.
func responded(a config.Audit, raw string) (whole, cut string) {
	ev := &audit.Event{Call: &mcp.Call{Kind: mcp.Request, Method: "tools/call"}}
	o := options(a)
	o.Answered(ev, []byte(raw[:min(len(raw), o.Keeps(ev))]))
	r := ev.Record(o)
	return string(r.Response), r.ResponseCut
}

func TestResponses(t *testing.T) {
	if whole, cut := responded(config.Audit{IncludeRequestData: true}, `{"a":1}`); whole != "" || cut != "" {
		t.Errorf("recorded, though nobody asked: %s %s", whole, cut)
	}
	if n := options(config.Audit{IncludeResponseData: true, ExcludeEventTypes: []string{"mcp_tool_call"}}).Keeps(&audit.Event{Call: &mcp.Call{Kind: mcp.Request, Method: "tools/call"}}); n != 0 {
		t.Errorf("%d bytes are kept of what is not recorded", n)
	}
	long := strings.Repeat("x", 9000)
	for _, tt := range []struct {
		name, raw  string
		most       int32
		whole, cut string
	}{
		{"nothing", ``, 0, "", ""},
		{"whole", `{ "content" : [ {"type":"text", "text":"a"} ] }`, 0, `{"content":[{"type":"text","text":"a"}]}`, ""},
		{"more behind it", `{"a":1} , "id": 1}`, 0, `{"a":1}`, ""},
		{"redacted", `{"structuredContent":[{"credentials":{"SecretAccessKey":"s"},"shoe-size":"s","n":null}]}`, 0, `{"structuredContent":[{"credentials":"[redacted]","shoe-size":"[redacted]","n":null}]}`, ""},
		{"JSON in a text", `{"content":[{"text":"{\"password\":\"p\"}"}]}`, 0, `{"content":[{"text":"{\"password\":\"p\"}"}]}`, ""},
		{"a long text", `{"a":"` + long + `"}`, 20, "", `{"a":"xxxxxxxxxxxxxx`},
		{"a long secret", `{"password":"` + long + `","a":1}`, 24, "", `{"password":"[redacted]"`},
		{"a long object that is a secret", `{"token":{"a":["` + long + `"]},"a":1}`, 24, "", `{"token":"[redacted]"`},
		{"a long name", `{"` + long + `":1}`, 20, "", `{`},
		{"many", `{"a":[1,2,3,4,5,6,7,8,9]}`, 10, "", `{"a":[1,2,`},
		{"ends behind a name", `{"a":1,"b"`, 20, "", `{"a":1,"b":`},
		{"ends behind a colon", `{"a":1,"b": `, 20, "", `{"a":1,"b":`},
		{"ends behind a comma", `{"a":1, `, 20, "", `{"a":1`},
		{"ends in an escape", `{"a":"b\u00`, 20, "", `{"a":"b\u00`},
		{"ends in a character", `{"a":"ééé"}`, 9, "", `{"a":"é`},
		{"ends in a number", `{"a":12`, 20, "", `{"a":12`},
		{"names twice", `{"a":1,"a":2}`, 20, `{"a":1,"a":2}`, ""},
		{"not UTF-8", "{\"a\":\"\xff\",\"pin\xff\":1}", 40, `{"a":"` + "\ufffd" + `","pin` + "\ufffd" + `":"[redacted]"}`, ""},
		{"half a surrogate", `{"a":"\ud800","pin\ud800":1}`, 40, `{"a":"\ud800","pin\ud800":"[redacted]"}`, ""},
		{"no JSON", `{"a":x}`, 40, "", ""},
	} {
		whole, cut := responded(config.Audit{IncludeResponseData: true, MaxDataSize: tt.most, RedactKeys: []string{"shoe size"}}, tt.raw)
		if whole != tt.whole || cut != tt.cut {
			t.Errorf("%s: %q and %q, want %q and %q", tt.name, whole, cut, tt.whole, tt.cut)
		}
	}
}

// FuzzResponse: wherever the beginning of a response ends, what is recorded is bounded, text, of a whole one JSON, and the
// value of the name password is not in it.
func FuzzResponse(f *testing.F) {
	f.Add(`{"a":{"PASSWORD":[1,{"b":"%"}]},"c":["x",{"password":"%%%%"}]}`, uint16(30), uint16(12))
	f.Add(`{"p\u0061ssword":"%","x":[[[]]],"password":1}`, uint16(17), uint16(1024))
	f.Add("{\"\xffpassword\":\"%\"}", uint16(100), uint16(100))
	f.Fuzz(func(t *testing.T, raw string, end, most uint16) {
		if !jsontext.Value(raw).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) || raw[0] != '{' || strings.Contains(raw, "[redacted]") || outside(raw) {
			return
		}
		limit := int(most) + 1
		given := raw[:min(len(raw), int(end)+1)]
		whole, cut := responded(config.Audit{IncludeResponseData: true, MaxDataSize: int32(limit)}, given)
		if (whole == "") == (cut == "") || len(whole) > limit || len(cut) > limit || !utf8.ValidString(whole+cut) {
			t.Fatalf("%q and %q of %q", whole, cut, given)
		}
		if whole != "" && !json.Valid([]byte(whole)) {
			t.Fatalf("%q of %q", whole, given)
		}
		if strings.Contains(whole+cut, "%") {
			t.Fatalf("a secret is in %q, of %q", whole+cut, given)
		}
	})
}

// outside says whether a % stands elsewhere than in the value of a password.
func outside(raw string) bool {
	dec := jsontext.NewDecoder(strings.NewReader(raw), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return false
		}
		if tok.Kind() != '"' {
			continue
		}
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 1 && strings.EqualFold(tok.String(), "password") {
			if dec.SkipValue() != nil {
				return false
			}
			continue
		}
		if strings.ContainsAny(tok.String(), "%") {
			return true
		}
	}
}

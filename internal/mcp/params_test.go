package mcp_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/mcp"
)

// TestMirroredArguments: a header that mirrors an argument goes on where it says what an argument says; what no argument
// says stays here, and what another value than that of its own argument says is refused.
func TestMirroredArguments(t *testing.T) {
	encoded := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("X%d: eu", i)
	}
	for name, c := range map[string]struct {
		arguments string
		headers   []string // without Mcp-Param-
		want      []string // that go on
		code      int
	}{
		"the argument":                {`{"region":"eu"}`, []string{"Region: eu"}, []string{"Region"}, accepted},
		"another value":               {`{"region":"eu"}`, []string{"Region: us-prod"}, nil, mismatch},
		"a value in another case":     {`{"region":"eu"}`, []string{"Region: EU"}, nil, mismatch},
		"another argument's value":    {`{"region":"eu","x":"us-prod"}`, []string{"Region: us-prod"}, nil, mismatch},
		"a namesake further in":       {`{"region":"eu","x":{"region":"us-prod"}}`, []string{"Region: us-prod"}, nil, mismatch},
		"another spelling":            {`{"tenant_id":"7"}`, []string{"TenantId: 7", "Tenant-Id: 7"}, []string{"TenantId", "Tenant-Id"}, accepted},
		"another spelling and value":  {`{"tenant_id":"7"}`, []string{"Tenant-Id: 8"}, nil, mismatch},
		"null":                        {`{"region":null}`, []string{"Region: null"}, nil, mismatch},
		"of another name":             {`{"db":"eu","o":{"deep":"far"}}`, []string{"Region: eu", "Where: far"}, []string{"Region", "Where"}, accepted},
		"what nobody says":            {`{"db":"eu","l":["us",{"k":"us"}]}`, []string{"Region: us"}, nil, accepted},
		"a name is no value":          {`{"us":"eu"}`, []string{"Region: us"}, nil, accepted},
		"no arguments":                {``, []string{"Region: us"}, nil, accepted},
		"an empty one":                {`{"region":""}`, []string{"Region: "}, []string{"Region"}, accepted},
		"numbers":                     {`{"a":42,"b":42.0,"c":-7,"d":1.5}`, []string{"A: 42.0", "B: 42", "C: -7", "D: 1.5"}, []string{"A", "B", "C", "D"}, accepted},
		"another number":              {`{"a":9007199254740993}`, []string{"A: 9007199254740992"}, nil, mismatch},
		"a number written as no JSON": {`{"a":16}`, []string{"A: 0x10"}, nil, mismatch},
		"booleans":                    {`{"a":true,"b":false}`, []string{"A: true", "B: false"}, []string{"A", "B"}, accepted},
		"another boolean":             {`{"a":true}`, []string{"A: false"}, nil, mismatch},
		"an object of its name":       {`{"region":{"name":"eu"}}`, []string{"Region: eu"}, []string{"Region"}, accepted},
		"encoded":                     {`{"a":"é","b":"b"}`, []string{"A: " + encoded("é"), "B: " + encoded("b")}, []string{"A", "B"}, accepted},
		"encoded, another":            {`{"a":"é"}`, []string{"A: " + encoded("e")}, nil, mismatch},
		"badly encoded":               {`{"a":"é"}`, []string{"A: =?base64?!?="}, nil, mismatch},
		"a text that looks encoded":   {`{"a":"=?base64?Yg==?="}`, []string{"A: =?base64?Yg==?="}, nil, mismatch},
		"repeated":                    {`{"a":"x"}`, []string{"A: x", "A: x"}, nil, mismatch},
		"too many":                    {`{"a":"eu"}`, many, nil, mismatch},
		"arguments of another type":   {`["eu"]`, []string{"A: eu"}, nil, mcp.CodeInvalidParams},
	} {
		t.Run(name, func(t *testing.T) {
			params := `"name":"t"`
			if c.arguments != "" {
				params += `,"arguments":` + c.arguments
			}
			r := post(modern("tools/call", params), version, call, "Mcp-Name: t")
			for _, h := range c.headers {
				name, value, _ := strings.Cut(h, ": ")
				r.Header.Add("Mcp-Param-"+name, value)
			}
			read, err := read(t, r, mcp.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := read.Mirrored(r.Header)
			if err != nil {
				if f := asFault(t, err); f.RPCCode() != c.code || strings.Contains(f.Public+f.Hinted(), "us-prod") {
					t.Errorf("code %d, want %d: %v", f.RPCCode(), c.code, f)
				}
				return
			}
			if c.code != accepted {
				t.Fatalf("%v goes on, want code %d", got, c.code)
			}
			want := map[string][]string{}
			for _, name := range c.want {
				name = http.CanonicalHeaderKey("Mcp-Param-" + name)
				want[name] = r.Header[name]
			}
			if diff := cmp.Diff(want, map[string][]string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOnlyModernToolCallsMirror: headers that mean nothing stay here.
func TestOnlyModernToolCallsMirror(t *testing.T) {
	for name, c := range map[string][]string{
		"legacy":         {`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{"region":"eu"}}}`},
		"another method": {modern("prompts/get", `"name":"t","arguments":{"region":"eu"}`), version, "Mcp-Method: prompts/get", "Mcp-Name: t"},
	} {
		r := post(c[0], append(c[1:], "Mcp-Param-Region: eu")...)
		read, err := read(t, r, mcp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read.Mirrored(r.Header); len(got) > 0 || err != nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

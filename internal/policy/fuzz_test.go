package policy_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/policy"
)

// FuzzPolicies: whatever stands in the configuration, it is refused with a sentence or it decides; and Cedar's own
// parser finds as many policies in the same text.
func FuzzPolicies(f *testing.F) {
	for _, seed := range []string{
		`permit(principal, action, resource);`, `permit(principal, action, resource) when { context.arg_n < 5 };`, `forbid(principal in THVGroup::"a", action in [Action::"call_tool"], resource is Tool in MCP::"s3") unless { resource has x.y };`,
		`@id("a") @scopes("b c") permit(principal == Client::"x", action == Action::"tasks/get", resource == Tool::"t");`, "// c\n/* d; */ permit(principal,action,resource);\n\"", `permit(principal, action, resource) when { "\u{1F600}\x41" like "a\*b*" };`,
		`permit(principal, action, resource) when { if principal in [THVGroup::"a", Client::"b"] then {a: [context]}.a == 1 else -9223372036854775808 < principal.claim_a.b };`,
		`permit(principal, action, resource) when { principal["\0in x"] };`, `permit(principal, action, resource) when { if !(-resource.name < 5) then {a: [resource.name + 1]}.a.b.contains("x") else principal in "x" || resource["uri"] > 2 && resource.nme == "nme" };`, "permit(", ";;;", "\xff", "@", `permit(principal, action, resource) when { ip("1.2.3.4").isInRange(ip(context.arg_ip)) && principal.getTag("a") == principal.claim_b };`,
	} {
		f.Add(seed, "", "strict")
		f.Add(seed, `[{"uid": "THVGroup::a", "parents": ["Role::r"], "attrs": {"x": {"__entity": {"type": "Tool", "id": "t"}}}}]`, "")
	}
	f.Fuzz(func(t *testing.T, text, entities, schema string) {
		p, mistakes := policy.New(&config.Authz{Policies: []string{text}, EntitiesJSON: entities, Schema: schema}, "s3")
		if p == nil {
			for _, m := range mistakes {
				if m.Place == "" || m.What == "" || m.Mend == "" {
					t.Errorf("mistake %+v", m)
				}
			}
			if len(mistakes) == 0 {
				t.Error("refused without a reason")
			}
			return
		}
		whole, err := cedar.NewPolicyListFromBytes("", []byte(text))
		if err != nil || len(whole) != len(p.All()) {
			t.Fatalf("%d policies; Cedar finds %d, %v", len(p.All()), len(whole), err)
		}
		for i, found := range p.All() {
			var one cedar.Policy
			if err := one.UnmarshalCedar([]byte(found.Text)); err != nil || !bytes.Equal(one.MarshalCedar(), whole[i].MarshalCedar()) {
				t.Errorf("policy %d is %q, Cedar finds %s", i, found.Text, whole[i].MarshalCedar())
			}
		}
		who := p.Principal(caller(t, `{"sub": "b", "groups": ["a", "t"], "a": {"b": 1}, "b": "x"}`))
		for _, q := range []policy.Query{call("t", `{"n": 3, "x": {"y": [1.5, null]}, "ip": "1.2.3.5"}`), get("p"), read("a:b"), {Method: "tasks/get"}, {}} {
			if d := p.Decide(who, q); d.Allowed && len(d.Policies) == 0 {
				t.Error("allowed by nobody")
			}
		}
	})
}

// FuzzArguments: arguments are what encoding/json reads in the same bytes, with numbers that are never rounded.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		`{"x": 1}`, `{"x": -0}`, `{"x": 1.50}`, `{"x": 1e-4}`, `{"x": 9223372036854775808}`, `{"x": 123456789012345.67891}`, `{"x": 0.00001}`, `{"x": 1E+2}`, `{"x": 22.0}`, `{"x": 2200e-2}`, `{"x": 1.50e300}`, `{"x": 22.00000000000000000001}`, `{"x": 92233720368547758070e-1}`, `{"x": 12345678901234567890.50}`,
		`{"x": null}`, `{"x": [1, [2.5, "a"], {}]}`, `{"x": {"a": {"b": null}, "a_present": 1}}`, `{"x": "\u00e9\n"}`, `{"x_present": false, "x": []}`, `{"y": 1}`, `{"x": 1, "x": 2}`,
		`{"x": ` + strings.Repeat(`[`, 12) + strings.Repeat(`]`, 12) + `}`, `{"x": ` + strings.Repeat(`{"a":`, 11) + `1` + strings.Repeat(`}`, 11) + `}`, `[]`, ``, `{"x": 1} 2`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) == 0 {
			return // no arguments
		}
		var members map[string]any
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		err := dec.Decode(&members)
		if _, more := dec.Token(); err == nil && more != io.EOF {
			err = io.ErrUnexpectedEOF
		}
		probe := compile(t, texts(`permit(principal, action, resource) when { context has arg_x || context has arg_x_present };`))
		d := probe.Decide(nil, call("t", text))
		if err != nil || members == nil {
			if d.Allowed || len(d.Errors) == 0 {
				t.Fatalf("encoding/json: %v; but decided: %+v", err, d)
			}
			return
		}
		if len(d.Errors) > 0 { // stricter: duplicates, UTF-8
			return
		}
		want, there := oracle(members["x"], 0)
		if there && unspelled(want) {
			return
		}
		when := `!(context has arg_x)`
		if there {
			when = "context.arg_x == " + string(want.MarshalCedar()) + " && resource.arg_x == context.arg_x"
		}
		switch members["x"].(type) {
		case []any, map[string]any:
			when += " && context.arg_x_present == true"
		}
		if len(when) > 20_000 {
			return // Cedar's parser is not under test
		}
		p, mistakes := policy.New(texts(`permit(principal, action, resource) when { `+when+` };`), "s3")
		if mistakes != nil {
			t.Skip(mistakes)
		}
		if d := p.Decide(nil, call("t", text)); !d.Allowed {
			t.Errorf("not true of %s: %s (%v)", text, when, d.Errors)
		}
	})
}

// unspelled says whether there is a number in a value that oracleNumber leaves open.
func unspelled(v types.Value) bool {
	switch v := v.(type) {
	case types.Set:
		return slices.ContainsFunc(v.Slice(), unspelled)
	case types.Record:
		return slices.ContainsFunc(slices.Collect(v.Values()), unspelled)
	}
	return v == open
}

// open stands for a number that the oracle leaves open.
const open = types.String("\x00open")

// oracle is what a value of encoding/json becomes; numbers go through math/big.
func oracle(v any, level int) (types.Value, bool) {
	switch v := v.(type) {
	case bool:
		return types.Boolean(v), true
	case string:
		return types.String(v), true
	case json.Number:
		return oracleNumber(v.String()), true
	case []any:
		if level == 10 {
			return nil, false
		}
		var all []types.Value
		for _, m := range v {
			if x, ok := oracle(m, level+1); ok {
				all = append(all, x)
			}
		}
		return types.NewSet(all...), true
	case map[string]any:
		if level == 10 {
			return nil, false
		}
		all := types.RecordMap{}
		for k, m := range v {
			if x, ok := oracle(m, level+1); ok {
				all[types.String(k)] = x
			}
		}
		for k, m := range v {
			if _, ok := oracle(m, level+1); !ok && m != nil {
				all[types.String(k)+"_present"] = types.True
			}
		}
		return types.NewRecord(all), true
	}
	return nil, false
}

// oracleNumber goes through math/big. A whole number that no Long holds, and a fraction that no Decimal does, is a String
// in one spelling, which math/big makes of it where it is not too long.
func oracleNumber(text string) types.Value {
	digits, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if strings.Trim(digits, "-0.") == "" {
		return types.Long(0)
	}
	if far := strings.TrimLeft(exponent, "+-0"); len(far) > 3 || len(text) > 3000 { // too far for math/big to spell out
		return open
	}
	x, ok := new(big.Rat).SetString(text)
	if !ok {
		return open
	}
	if x.IsInt() && x.Num().IsInt64() {
		return types.Long(x.Num().Int64())
	}
	y := new(big.Rat).Mul(x, big.NewRat(10_000, 1))
	if !x.IsInt() && y.IsInt() && y.Num().IsInt64() {
		if d, err := types.NewDecimal(y.Num().Int64(), -4); err == nil {
			return d
		}
	}
	spelled := x.FloatString(5000)
	if x.IsInt() {
		spelled = x.Num().String()
	} else {
		spelled = strings.TrimRight(spelled, "0")
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(spelled, "-"), ".")
	if len(whole) > 40 && x.IsInt() || whole == "0" && strings.HasPrefix(fraction, "000000") {
		return open // told with an exponent
	}
	return types.String(spelled)
}

package sts

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// policy is a role's trust policy (IAM JSON policy elements reference), as far as web identities need it.
type policy struct{ statements []statement }

type statement struct {
	deny       bool
	federated  []string // principals; "*" is anybody
	actions    []string
	conditions []condition
}

// condition is one operator on one key.
type condition struct {
	compare  func(pattern, value string) bool
	negated  bool
	ifExists bool
	all      bool // ForAllValues
	key      string
	patterns []string
}

// request is what a trust policy is asked about.
type request struct {
	principal string
	action    string
	keys      map[string][]string
}

// words is a string or a list of strings.
type words []string

func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// parsePolicy reads a trust policy. What it does not know is an error, as it would be malformed to IAM.
func parsePolicy(doc string) (policy, error) {
	type rawStatement struct {
		Sid, Effect string
		Principal   json.RawMessage
		Action      words
		Condition   map[string]map[string]words
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strict(doc, &raw); err != nil {
		return policy{}, fmt.Errorf("read trust policy: %w", err)
	}
	var list []rawStatement
	if err := strict(string(raw.Statement), &list); err != nil {
		var one rawStatement
		if strict(string(raw.Statement), &one) != nil {
			return policy{}, fmt.Errorf("read trust policy: Statement: %w", err)
		}
		list = []rawStatement{one}
	}
	var p policy
	for n, r := range list {
		st, err := newStatement(r.Effect, r.Principal, r.Action, r.Condition)
		if err != nil {
			return policy{}, fmt.Errorf("read trust policy: Statement[%d]: %w", n, err)
		}
		p.statements = append(p.statements, st)
	}
	return p, nil
}

func strict(doc string, into any) error {
	d := json.NewDecoder(strings.NewReader(doc))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func newStatement(effect string, principal json.RawMessage, actions words, conditions map[string]map[string]words) (statement, error) {
	if effect != "Allow" && effect != "Deny" {
		return statement{}, fmt.Errorf("effect %q is neither Allow nor Deny", effect)
	}
	st := statement{deny: effect == "Deny", actions: actions}
	if len(actions) == 0 {
		return statement{}, errors.New("no Action")
	}
	var anybody string
	var p map[string]words
	switch {
	case json.Unmarshal(principal, &anybody) == nil && anybody == "*":
		st.federated = []string{"*"}
	case json.Unmarshal(principal, &p) == nil:
		st.federated = p["Federated"]
	default:
		return statement{}, errors.New("no Principal")
	}
	for op, keys := range conditions {
		for key, patterns := range keys {
			c, err := newCondition(op)
			if err != nil {
				return statement{}, err
			}
			c.key, c.patterns = key, patterns
			st.conditions = append(st.conditions, c)
		}
	}
	return st, nil
}

func newCondition(op string) (condition, error) {
	var c condition
	name := op
	if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		name, c.all = rest, true
	} else {
		name = strings.TrimPrefix(name, "ForAnyValue:")
	}
	name, c.ifExists = strings.CutSuffix(name, "IfExists")
	if strings.HasPrefix(name, "StringNot") {
		name, c.negated = "String"+strings.TrimPrefix(name, "StringNot"), true
	}
	switch name {
	case "StringEquals":
		c.compare = func(p, v string) bool { return p == v }
	case "StringEqualsIgnoreCase":
		c.compare = strings.EqualFold
	case "StringLike":
		c.compare = like
	default:
		return c, fmt.Errorf("condition operator %q is unknown", op)
	}
	return c, nil
}

// like compares with * and ? as wildcards.
func like(pattern, value string) bool {
	expr := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
	ok, err := regexp.MatchString(`(?s)^`+expr+`$`, value)
	return err == nil && ok
}

// allows reports whether a statement allows and none denies.
func (p policy) allows(r request) bool {
	allowed := false
	for _, st := range p.statements {
		if !st.applies(r) {
			continue
		}
		if st.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (st statement) applies(r request) bool {
	who := slices.ContainsFunc(st.federated, func(f string) bool { return f == "*" || f == r.principal })
	what := slices.ContainsFunc(st.actions, func(a string) bool { return like(strings.ToLower(a), strings.ToLower(r.action)) })
	return who && what && !slices.ContainsFunc(st.conditions, func(c condition) bool { return !c.holds(r.keys) })
}

func (c condition) holds(keys map[string][]string) bool {
	values, ok := keys[c.key]
	if !ok || len(values) == 0 {
		return c.ifExists || c.negated || c.all
	}
	matches := func(v string) bool {
		hit := slices.ContainsFunc(c.patterns, func(p string) bool { return c.compare(p, v) })
		return hit != c.negated
	}
	if c.all || c.negated {
		return !slices.ContainsFunc(values, func(v string) bool { return !matches(v) })
	}
	return slices.ContainsFunc(values, matches)
}

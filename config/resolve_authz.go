package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Authz is what policies say and how claims become groups: the authzConfig of a proxy, inline or from a ConfigMap, or
// the MCPAuthzConfig that it refers to, with the defaults filled in. The policies are text here; whoever decides by
// them compiles them, and Problem places what is wrong with them.
//
// +kubebuilder:object:generate=false
type Authz struct {
	Policies          []string // Cedar texts, at least one; each may hold several policies
	EntitiesJSON      string   // Cedar entities; "" for none
	GroupClaim        string   // "": groups, roles or cognito:groups, the first that a token has
	RoleClaim         string   // "": none
	GroupEntityType   string   // such as THVGroup
	MultiValuedClaims []string
	Schema            string // "" or "strict"

	from authzPlace
}

// authzPlace says where the settings of an Authz were written.
type authzPlace struct {
	kind   string               // of the document
	text   *textPlace           // of the document in a ConfigMap; nil without one
	places map[string]*document // by kind; nil without files
}

// Problem is a mistake in what place names: "policies[2]", "entitiesJson" or another setting as authzConfig spells it.
// It stands where the document has the setting; one in a ConfigMap stands where the ConfigMap is named, and tells the
// ConfigMap, the key and the line.
func (a *Authz) Problem(place, what, mend string) Problem {
	p := Problem{Kind: a.from.kind, Field: "authzConfig." + place, What: what, Mend: mend}
	text := strings.HasPrefix(place, "policies") || place == "entitiesJson"
	switch {
	case a.from.kind == KindAuthz:
		p.Field = "config." + snake(place)
	case text && a.from.text != nil:
		p.Field = "cedar." + snake(place)
		p = a.from.text.problem(at(a.from.text.document, p))
	case text:
		p.Field = "authzConfig.inline." + place
	}
	return at(a.from.places[p.Kind], p)
}

// Shared says whether the policies stand in a document of their own, which other proxies may refer to as well.
func (a *Authz) Shared() bool { return a.from.kind == KindAuthz || a.from.text != nil }

// Source says where the policies were written, as people find it.
func (a *Authz) Source() string {
	switch d := a.from.places[KindAuthz]; {
	case a.from.kind == KindAuthz && d != nil:
		return KindAuthz + " " + d.name
	case a.from.kind == KindAuthz:
		return KindAuthz
	case a.from.text != nil:
		return fmt.Sprintf("ConfigMap %s, key %s", a.from.text.name, a.from.text.key)
	}
	return "authzConfig.inline"
}

// snake is a key of authzConfig as documents of type cedarv1 spell it: entities_json for entitiesJson.
func snake(camel string) string {
	var b strings.Builder
	for _, c := range camel {
		if 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// authz is what an MCPAuthzConfig says; nil where it has no policies.
func (a *AuthzConfig) authz() *Authz {
	if a.Config == nil {
		return nil
	}
	return a.Config.authz(authzPlace{kind: KindAuthz})
}

// authz is what the policies and the settings beside them say; nil without policies.
func (s *Cedar) authz(from authzPlace) *Authz {
	if len(s.Policies) == 0 {
		return nil
	}
	return &Authz{
		Policies: s.Policies, EntitiesJSON: s.EntitiesJSON, GroupClaim: s.GroupClaimName, RoleClaim: s.RoleClaimName,
		GroupEntityType: s.GroupEntityType, MultiValuedClaims: s.MultiValuedClaims, Schema: s.Schema, from: from,
	}
}

// authz is what an authzConfig says, with the document of its ConfigMap, which is nil for inline policies; nil without
// policies. What the authzConfig sets wins.
func (a *ProxyAuthz) authz(document *Cedar, text *textPlace) *Authz {
	s := Cedar{}
	switch {
	case document != nil:
		s = *document
	case a.Inline != nil:
		s.Policies, s.EntitiesJSON = a.Inline.Policies, a.Inline.EntitiesJSON
	}
	s.GroupClaimName = cmp.Or(a.GroupClaimName, s.GroupClaimName)
	s.RoleClaimName = cmp.Or(a.RoleClaimName, s.RoleClaimName)
	s.GroupEntityType = cmp.Or(a.GroupEntityType, s.GroupEntityType)
	s.MultiValuedClaims = firstOf(a.MultiValuedClaims, s.MultiValuedClaims)
	s.Schema = cmp.Or(a.Schema, s.Schema)
	return s.authz(authzPlace{kind: KindProxy, text: text})
}

// authz follows a proxy's policies; nil for none.
func (r *resolver) authz(spec *RemoteProxy) *Authz {
	if a := spec.AuthzConfig; a != nil {
		if a.Type != "configMap" {
			return a.authz(nil, nil)
		}
		if document, text := r.policyDocument(a.ConfigMap); document != nil {
			return a.authz(document, text)
		}
		return nil
	}
	ref := spec.AuthzConfigRef
	if ref == nil || !dnsSubdomain.MatchString(ref.Name) {
		return nil
	}
	shared, err := r.from.AuthzConfig(ref.Name)
	if err != nil {
		r.proxy.mistake("authzConfigRef.name", err.Error(), "the name of an "+KindAuthz)
		return nil
	}
	shared = clone(shared)
	shared.Default()
	r.shared = append(r.shared, shared.Validate()...)
	return shared.authz()
}

// policyDocument reads the policies that a ConfigMap holds; nil where it can't.
func (r *resolver) policyDocument(ref *AuthzConfigMap) (*Cedar, *textPlace) {
	if ref == nil || !goodRef(ref.Name, ref.Key) {
		return nil, nil
	}
	data, err := r.from.ConfigMap(ref.Name, ref.Key)
	if err != nil {
		r.proxy.mistake("authzConfig.configMap", err.Error(), "a document of type cedarv1 there")
		return nil, nil
	}
	read, d, problems := readAuthz(data)
	text := &textPlace{name: ref.Name, key: ref.Key, document: d}
	for _, p := range problems { // all of them: the field that they share is not what is wrong
		r.proxy.problems = append(r.proxy.problems, text.problem(p))
	}
	return read.Cedar, text
}

// textPlace is a document that a ConfigMap holds.
type textPlace struct {
	name, key string
	document  *document
}

// problem is a problem of the document, placed at the reference to it.
func (t *textPlace) problem(p Problem) Problem {
	if p.Field != "" {
		p.What = p.Field + ": " + p.What
	}
	return Problem{
		Kind: KindProxy, Field: "authzConfig.configMap", Mend: p.Mend, Warning: p.Warning,
		What: fmt.Sprintf("ConfigMap %s, key %s, line %d: %s", t.name, t.key, p.Line, p.What),
	}
}

// readAuthz reads a document of policies as strictly as the documents of files are read, and validates it. The problems
// are in the order of their lines.
func readAuthz(data []byte) (*AuthzDocument, *document, Problems) {
	read, r := new(AuthzDocument), newReader("")
	d := &document{line: 1, lines: r.lines, told: r.told}
	root, problem := onlyDocument(data)
	if root == nil {
		return read, d, Problems{problem}
	}
	d.line = root.Line
	if !r.bounded(root) {
		return read, d, r.problems
	}
	r.value(root, reflect.ValueOf(read).Elem(), "")
	read.Cedar.setDefaults()
	problems := r.problems
	for _, p := range read.validate() {
		if !r.told[""] && !d.silent(p.Field) {
			problems = append(problems, at(d, p))
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return read, d, problems
}

// onlyDocument parses YAML or JSON that holds one document; nil where it doesn't.
func onlyDocument(data []byte) (*yaml.Node, Problem) {
	const right = "one document, in YAML or JSON"
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) {
		return nil, Problem{Line: 1, What: "holds no document", Mend: right}
	}
	if err == nil {
		err = dec.Decode(&more)
	}
	switch {
	case err == nil:
		return nil, Problem{Line: more.Line, What: "holds another document", Mend: right}
	case !errors.Is(err, io.EOF):
		p := syntax("", err)
		p.Line = max(p.Line, 1)
		return nil, p
	}
	return root.Content[0], Problem{}
}

// formats are the versions of a document of policies that are read here.
var formats = regexp.MustCompile(`^v?1(\.[0-9]+)*$`)

func (a *AuthzDocument) validate() Problems {
	c := newChecker("")
	c.inspect(reflect.ValueOf(a), "")
	if a.Version != "" && !formats.MatchString(string(a.Version)) {
		c.mistake("version", quote(string(a.Version))+" is not known", `"1.0"`)
	}
	if c.cedarType(a.Type) {
		c.cedar("cedar", a.Cedar)
	}
	return c.problems
}

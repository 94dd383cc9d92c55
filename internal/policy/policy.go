// Package policy judges one caller's one call by Cedar policies.
//
// It promises that every mistake in the policies and entities is told when the configuration is loaded, with its line
// and column; that a decision follows from the claims of the verified token, the message that was read and the hints
// that the remote declared, and from nothing else; that what is skipped for speed never changes a decision, which a test
// compares with plain Cedar; and that it fails closed: nothing is allowed unless a permit says so, a forbid that can't be
// evaluated denies, and a permit that can't be evaluated does not permit.
//
// It must never show the text of a policy to a caller, look at a header, read a clock or the network, or change what it
// is given.
package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/rolegate/rolegate/config"
)

// Mistake is something wrong with the policies or entities.
type Mistake struct {
	Place string // "policies[2]" or "entitiesJson"
	What  string // what is wrong; "line 3, column 7: ..." counts within that text, columns in characters, both from 1
	Mend  string // what would be right
	// Warning marks what is allowed but hardly meant; with any other mistake there are no policies.
	Warning bool
}

// Found is one policy, as decisions and listings name it.
type Found struct {
	ID      string // its @id annotation, or else "policies[2]"; "policies[2]#1" for the second policy in that text; "x#2" for the second x
	Place   string // "policies[2]": the text that holds it; "" where Message is about the call, not about a policy
	Line    int    // within that text, from 1
	Column  int    // in characters, from 1
	Effect  string // "permit" or "forbid"
	Text    string // the policy as it was written, from its first annotation to its semicolon
	Message string // of an error: why it could not be evaluated; it may hold the caller's name
}

// Hints are a tool's annotations as the remote declared them; nil where it did not.
type Hints struct{ ReadOnly, Destructive, Idempotent, OpenWorld *bool }

// Query is one question: may this caller do this?
type Query struct {
	Method string // JSON-RPC method: tools/call, prompts/get, resources/read, or another
	Target string // tool or prompt name, or URI
	Args   []byte // raw JSON object of the arguments; nil for none
	Hints  Hints  // of a tool
	Called string // what the caller calls the target, for words to the caller; "" for the same
}

// Decision is the answer to a Query.
type Decision struct {
	Allowed bool
	// Scopes is set where the call is not allowed, but would be to a token with these scopes: all that the permit asks
	// for, sorted. The caller lacks at least one.
	Scopes []string
	// Policies determined it: the permits of an allow, the forbids of a deny, the permit whose scopes are missing;
	// none of a default deny.
	Policies []Found
	// Errors are the policies that could not be evaluated, and arguments that could not be read.
	Errors []Found
}

// Policies are the policies of one proxy, ready to judge. They are immutable and for concurrent use.
type Policies struct {
	list       []policy
	groupClaim string
	roleClaim  string
	groupType  string
	multi      []string
	static     statics
	reads      reads
	parents    map[types.EntityUID]bool // what static entities are directly in
	self       types.EntityUID          // MCP::"<proxy>"
	inSelf     types.EntityUIDSet
	marks      marks
	selections []*selection // of each kind
	nobody     *Principal

	readsHints bool
}

// New makes the policies of a proxy ready, or tells everything that is wrong with them, in the order of the document.
// Warnings come beside policies too. Everything that is decided about is in MCP::"<proxy>"; a proxy without a name is one
// that is not known yet.
func New(a *config.Authz, proxy string) (*Policies, []Mistake) {
	p := &Policies{groupClaim: a.GroupClaim, roleClaim: a.RoleClaim, groupType: a.GroupEntityType, multi: a.MultiValuedClaims}
	p.self = types.NewEntityUID(typeProxy, types.String(proxy))
	p.inSelf = types.NewEntityUIDSet(p.self)
	p.marks = marks{}
	if p.groupType == "" {
		p.groupType = defaultGroupType
	}
	list, mistakes := parseAll(a.Policies)
	static, wrong := parseEntities(a.EntitiesJSON)
	mistakes = append(mistakes, wrong...)
	p.list, p.static, p.parents = list, static, parentsOf(static)
	mistakes = append(mistakes, p.check(a.Schema == "strict", proxy != "" && !a.Shared())...)
	if slices.ContainsFunc(mistakes, func(m Mistake) bool { return !m.Warning }) {
		return nil, mistakes
	}
	p.reads = readsOf(p.list)
	for i := range p.list {
		p.list[i].fast = faster(p.list[i].ast, p.self, p.marks)
		p.readsHints = p.readsHints || p.list[i].hints
		p.list[i].about, p.list[i].parts = p.tests(p.list[i].ast)
	}
	for i := range kinds {
		p.selections = append(p.selections, p.selectFor(&kinds[i]))
	}
	p.nobody = p.Principal(nil)
	return p, mistakes
}

// All gives every policy, in the order of the document.
func (p *Policies) All() []Found {
	all := make([]Found, len(p.list))
	for i := range p.list {
		all[i] = p.list[i].found
	}
	return all
}

// ReadsHints says whether some policy looks at readOnlyHint, destructiveHint, idempotentHint or openWorldHint.
func (p *Policies) ReadsHints() bool { return p.readsHints }

// AsksScopes says whether some permit counts for tokens with certain scopes only.
func (p *Policies) AsksScopes() bool {
	for i := range p.list {
		if len(p.list[i].scopes) > 0 {
			return true
		}
	}
	return false
}

// byPlace orders mistakes as the texts stand in the document. The sort is stable: within a text the order stays.
func byPlace(a, b Mistake) int {
	if len(a.Place) != len(b.Place) {
		return len(a.Place) - len(b.Place)
	}
	return strings.Compare(a.Place, b.Place)
}

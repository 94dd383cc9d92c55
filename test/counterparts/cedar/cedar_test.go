package cedar_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/policy"
)

const (
	worlds    = 250 // configurations
	questions = 40  // of each
	shown     = 10  // disagreements
	// seedName is the environment variable that makes the questions of an earlier run again.
	seedName = "ROLEGATE_CEDAR_SEED"
)

// decision is what rolegate says, or should say.
type decision struct {
	Allowed  bool
	Scopes   []string
	Policies []string // that determined it
	Errors   []string // that could not be evaluated
}

// TestDecisions: what policies decide is what Cedar's own engine says of the same policies, and where rolegate has rules
// of its own, what they make of what the engine says.
func TestDecisions(t *testing.T) {
	e := newEngine(t)
	seed := rand.Uint64()
	if text := os.Getenv(seedName); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedName, err)
		}
	}
	t.Logf("to have these questions again: %s=%d", seedName, seed)
	s := newSource(seed)
	count := map[string]int{}
	for range worlds {
		w := s.newWorld(questions)
		p, mistakes := policy.New(&w.authz, proxy)
		if p == nil {
			t.Fatalf("policies that are refused: %v\n%s", mistakes, strings.Join(w.authz.Policies, "\n\n"))
		}
		if err := e.load(w.policies); err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(w.authz.Policies, "\n\n"))
		}
		for _, q := range w.questions {
			w.compare(t, e, p, q, count)
		}
	}
	t.Log(count)
	for _, what := range []string{"allowed", "step-up", "forbidden", "forbidden by an error", "not permitted", "with errors", "unknown method"} {
		if count[what] < worlds*questions/100 {
			t.Errorf("only %d of %d questions are %s", count[what], worlds*questions, what)
		}
	}
}

// several are n questions about one configuration. Some are of one caller.
func (s source) several(n int) []question {
	all := make([]question, n)
	for i := range all {
		if all[i] = s.newQuestion(); i > 0 && s.chance(50) {
			all[i].claims = all[i-1].claims
		}
	}
	return all
}

func (w world) compare(t *testing.T, e *engine, p *policy.Policies, q question, count map[string]int) {
	t.Helper()
	ask := w.forEngine(q)
	said, err := e.ask(ask)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, strings.Join(w.authz.Policies, "\n\n"), ask)
	}
	want := w.expect(q, said, count)
	d, err := q.decide(p, p.Principal(q.caller()))
	if err != nil {
		t.Fatal(err)
	}
	got := decision{Allowed: d.Allowed, Scopes: d.Scopes, Policies: ids(d.Policies), Errors: ids(d.Errors)}
	slices.Sort(want.Policies)
	slices.Sort(got.Policies)
	slices.Sort(want.Errors)
	slices.Sort(got.Errors)
	if diff := cmp.Diff(want, got); diff != "" && count["disagreed"] < shown {
		count["disagreed"]++
		t.Errorf("(-engine +rolegate)\n%s\n%s\n\nentities: %s\n\n%s\n\nclaims: %v\n%s", diff, w.texts(slices.Concat(want.Policies, want.Errors, got.Policies, got.Errors)), w.authz.EntitiesJSON, ask, q.claims, q.message())
	}
}

func ids(list []policy.Found) (all []string) {
	for _, f := range list {
		all = append(all, f.ID)
	}
	return all
}

// texts are those of some policies.
func (w world) texts(ids []string) string {
	var all []string
	for _, p := range w.policies {
		if slices.Contains(ids, p.id) {
			all = append(all, "// "+p.id+"\n"+p.text)
		}
	}
	return strings.Join(all, "\n\n")
}

// expect is what rolegate should say where the engine has said this.
func (w world) expect(q question, said verdict, count map[string]int) decision {
	known := slices.Contains([]string{"tools/call", "prompts/get", "resources/read", "resources/subscribe"}, q.method)
	action := uid("Action", q.method)
	var want decision
	var forbids, permits, granted []written
	for _, p := range w.policies {
		// A permit opens a method outside of the vocabulary only where it names it.
		if !known && !p.forbid && !slices.Contains(p.names, action) {
			continue
		}
		failed := slices.Contains(said.errors, p.id)
		if failed {
			want.Errors = append(want.Errors, p.id)
		}
		switch {
		case p.forbid && (failed || !said.allow && slices.Contains(said.reason, p.id)):
			forbids = append(forbids, p)
		case !p.forbid && said.allow && slices.Contains(said.reason, p.id):
			permits = append(permits, p)
			if !slices.ContainsFunc(p.scopes, func(s string) bool { return !slices.Contains(scopesOf(q.claims), s) }) {
				granted = append(granted, p)
			}
		}
	}
	what := "not permitted"
	switch {
	case len(forbids) > 0:
		want.Policies = idsOf(forbids)
		what = "forbidden"
		if said.allow {
			what = "forbidden by an error"
		}
	case len(granted) > 0:
		want.Allowed, want.Policies = true, idsOf(granted)
		what = "allowed"
	case len(permits) > 0:
		want.Policies, want.Scopes = idsOf(permits[:1]), permits[0].scopes
		what = "step-up"
	}
	count[what]++
	if len(want.Errors) > 0 {
		count["with errors"]++
	}
	if !known {
		count["unknown method"]++
	}
	return want
}

func idsOf(list []written) (all []string) {
	for _, p := range list {
		all = append(all, p.id)
	}
	return all
}

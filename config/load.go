package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LoadOptions say what to load, besides the files.
//
// +kubebuilder:object:generate=false
type LoadOptions struct {
	// Proxy picks one proxy where the files hold several: its name, or namespace/name.
	Proxy string
	// Refs is the folder that references are read from: secrets/<name>/<key> and configmaps/<name>/<key>. Where it
	// is "", a reference is a mistake.
	Refs string
	// Compile finds the mistakes of an awsSts block that only compiling its matchers can tell; nil finds none. Their
	// fields are paths within the spec, such as awsSts.roleMappings[2].matcher. It is asked for every block, also
	// beside other mistakes, so that all of them are reported at once.
	Compile func(*AWSSTS) Problems
	// CompileAuthz finds the mistakes of policies that only compiling them can tell, placed by Authz.Problem; nil finds
	// none. It is asked for the policies of every proxy, also beside other mistakes, and for those of every
	// MCPAuthzConfig by itself, with "" for the proxy.
	CompileAuthz func(a *Authz, proxy string) Problems
}

// Load reads the documents of files and folders and makes the one proxy that they describe, or that o.Proxy names. It
// reports every mistake of every document, not of the proxy's alone; the proxy is nil exactly when there is one. A
// folder stands for its *.yaml, *.yml and *.json, in the order of their names; folders within it are not read.
func Load(paths []string, o LoadOptions) (*Proxy, Problems) {
	proxies, problems := load(paths, o, true)
	if len(proxies) != 1 {
		return nil, problems
	}
	return proxies[0], problems
}

// LoadAll is Load for all the proxies that the documents describe, in their order; o.Proxy is not looked at. It gives
// no proxy at all when there is a mistake.
func LoadAll(paths []string, o LoadOptions) ([]*Proxy, Problems) {
	return load(paths, o, false)
}

func load(paths []string, o LoadOptions, one bool) ([]*Proxy, Problems) {
	l := &loader{options: o, seen: map[string]*document{}}
	for _, path := range paths {
		l.path(path)
	}
	chosen := l.choose(one)
	var proxies []*Proxy
	for _, d := range l.docs {
		if d.kind == KindProxy && slices.Contains(chosen, d) {
			proxies = append(proxies, l.resolve(d))
		} else {
			l.validate(d)
		}
	}
	l.compile()
	problems := l.sorted()
	if len(problems.Errors()) > 0 {
		return nil, problems
	}
	return proxies, problems
}

// loader holds what one load has read.
type loader struct {
	options  LoadOptions
	files    []string
	docs     []*document
	seen     map[string]*document // by kind, namespace and name
	problems Problems
}

func (l *loader) mistake(path, what, mend string) {
	l.problems = append(l.problems, Problem{File: path, What: what, Mend: mend})
}

func (l *loader) path(path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		l.mistake(path, "can't be read: "+reason(err), "name a file or a folder that is there, and that you may read")
	case info.IsDir():
		l.folder(path)
	default:
		l.file(path)
	}
}

func (l *loader) folder(path string) {
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		l.mistake(path, "can't be read: "+reason(err), "a folder that rolegate may read")
		return
	}
	found := false
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if ext := filepath.Ext(name); strings.HasPrefix(e.Name(), ".") || ext != ".yaml" && ext != ".yml" && ext != ".json" {
			continue
		}
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
			continue
		}
		found = true
		l.file(name)
	}
	if !found {
		l.mistake(path, "holds no *.yaml, *.yml or *.json", "a folder that does")
	}
}

func (l *loader) file(path string) {
	path = filepath.Clean(path)
	if slices.Contains(l.files, path) {
		return
	}
	l.files = append(l.files, path)
	data, err := readFile(path)
	if err != nil {
		l.mistake(path, "can't be read: "+reason(err), "a file of at most 1 MiB")
		return
	}
	docs, problems := parse(path, data)
	l.problems = append(l.problems, problems...)
	for _, d := range docs {
		key := d.kind + "/" + d.namespace + "/" + d.name
		if first := l.seen[key]; first != nil && d.name != "" {
			l.problems = append(l.problems, Problem{
				File: d.file, Line: d.lineOf("metadata.name"), Kind: d.kind, Field: "metadata.name",
				What: fmt.Sprintf("%s %s of namespace %s is here and at %s:%d", d.kind, bare(d.name), bare(d.namespace), first.file, first.lineOf("metadata.name")),
				Mend: "one document for it",
			})
			continue
		}
		l.seen[key] = d
		l.docs = append(l.docs, d)
	}
}

// readFile reads what the user named, which may be a pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return readBounded(f)
}

// choose says which proxies to make.
func (l *loader) choose(one bool) []*document {
	var all, named []*document
	var names []string
	for _, d := range l.docs {
		if d.kind == KindProxy {
			all = append(all, d)
			names = append(names, bare(d.namespace+"/"+d.name))
			if l.options.Proxy == d.name || l.options.Proxy == d.namespace+"/"+d.name {
				named = append(named, d)
			}
		}
	}
	switch {
	case len(all) == 0:
		if len(l.problems.Errors()) == 0 {
			l.mistake("", "the files hold no "+KindProxy, "a document of that kind")
		}
		return nil
	case !one:
		return all
	case l.options.Proxy == "" && len(all) > 1:
		l.mistake("", "the files hold several proxies", "name one with --proxy: "+strings.Join(names, ", "))
		return nil
	case l.options.Proxy != "" && len(named) == 0:
		l.mistake("", "the files hold no proxy "+quote(l.options.Proxy), "name one with --proxy: "+strings.Join(names, ", "))
		return nil
	case len(named) > 1:
		l.mistake("", "several proxies are named "+quote(l.options.Proxy), "name one with --proxy as namespace/name: "+strings.Join(names, ", "))
		return nil
	case l.options.Proxy != "":
		return named
	}
	return all
}

// validate checks a document by itself.
func (l *loader) validate(d *document) {
	var s spec
	switch v := d.spec.(type) {
	case *RemoteProxy:
		s = clone(v)
	case *ExternalAuth:
		s = clone(v)
	case *OIDCConfig:
		s = clone(v)
	case *AuthzConfig:
		s = clone(v)
	case *ToolConfig:
		s = clone(v)
	case *TelemetryConfig:
		s = clone(v)
	}
	s.Default()
	places := map[string]*document{d.kind: d}
	l.place(s.Validate(), places)
	switch v := s.(type) {
	case *RemoteProxy:
		if v.AuthzConfig != nil {
			l.compileAuthz(v.AuthzConfig.authz(nil, nil), d.name, places)
		}
	case *AuthzConfig:
		l.compileAuthz(v.authz(), "", places)
	}
}

// compileAuthz reports what only compiling policies can tell. What the documents were seen to be wrong about is not
// told again.
func (l *loader) compileAuthz(a *Authz, proxy string, places map[string]*document) {
	if a == nil {
		return
	}
	a.from.places = places
	if l.options.CompileAuthz != nil {
		l.place(l.options.CompileAuthz(a, proxy), places)
	}
}

// compile reports what only compiling can tell.
func (l *loader) compile() {
	for _, d := range l.docs {
		a, ok := d.spec.(*ExternalAuth)
		if !ok || a.AWSSTS == nil || l.options.Compile == nil {
			continue
		}
		problems := l.options.Compile(a.AWSSTS)
		for i := range problems {
			problems[i].Kind = KindAuth
		}
		l.place(problems, map[string]*document{KindAuth: d})
	}
}

// resolve makes the proxy of a document.
func (l *loader) resolve(d *document) *Proxy {
	s := d.spec.(*RemoteProxy)
	places := map[string]*document{KindProxy: d}
	refs := map[string]*Ref{KindAuth: s.ExternalAuthConfigRef, KindAuthz: s.AuthzConfigRef, KindTools: s.ToolConfigRef}
	if s.OIDCRef != nil {
		refs[KindOIDC] = &Ref{Name: s.OIDCRef.Name}
	}
	if s.TelemetryConfigRef != nil {
		refs[KindTelemetry] = &Ref{Name: s.TelemetryConfigRef.Name}
	}
	for kind, ref := range refs {
		if ref != nil {
			places[kind] = l.find(kind, d.namespace, ref.Name)
		}
	}
	p, problems := resolve(d.name, d.namespace, s, l.sources(d.namespace))
	l.place(problems, places)
	l.compileAuthz(p.Authz, d.name, places)
	p.places = places
	return p
}

// place adds problems, each with the place of its field.
func (l *loader) place(problems Problems, places map[string]*document) {
	for _, p := range problems {
		d := places[p.Kind]
		if d == nil || !d.silent(p.Field) {
			l.problems = append(l.problems, at(d, p))
		}
	}
}

// at puts a problem where its field stands.
func at(d *document, p Problem) Problem {
	if d != nil {
		p.File, p.Line = d.file, d.lineOf(p.Field)
	}
	return p
}

// sorted are the problems in the order of files and lines, each once.
func (l *loader) sorted() Problems {
	var out Problems
	told := map[Problem]bool{}
	for _, p := range l.problems {
		if !told[p] {
			told[p] = true
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(slices.Index(l.files, a.File), slices.Index(l.files, b.File)), cmp.Compare(a.Line, b.Line))
	})
	return out
}

// At is a problem with a setting of the proxy, placed where the documents have it: for mistakes that only the rooms
// behind can see, such as a matcher that doesn't compile. A field of awsSts is looked for in the external
// authentication; the rest in the proxy's own document, or the MCPOIDCConfig that it refers to.
func (p *Proxy) At(field, what, mend string) Problem {
	kind := KindProxy
	if strings.HasPrefix(field, "awsSts") {
		kind = KindAuth
	} else if inline, ok := strings.CutPrefix(field, "oidcConfig.inline"); ok && p.places[KindOIDC] != nil {
		kind, field = KindOIDC, "inline"+inline
	}
	return at(p.places[kind], Problem{Kind: kind, Field: field, What: what, Mend: mend})
}

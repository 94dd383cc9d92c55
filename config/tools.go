package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Tools says which of the remote's tools are offered, and as what: an MCPToolConfig, or the proxy's own list.
//
// +kubebuilder:object:generate=false
type Tools struct {
	Filter   []string                // the names that clients see; empty: all
	Override map[string]ToolOverride // by the remote's name
}

// ToolConfig is the spec of an MCPToolConfig: which of the remote's tools are offered, and as what.
type ToolConfig struct {
	// ToolsFilter are the tools that are offered, by the names that clients see. A call of another one is refused.
	// Default: all of them.
	// +listType=atomic
	// +optional
	ToolsFilter []string `json:"toolsFilter,omitempty"`
	// ToolsOverride gives tools other names and descriptions, by the names that the remote has for them. Policies decide
	// by the remote's names.
	// +optional
	ToolsOverride map[string]ToolOverride `json:"toolsOverride,omitempty"`
}

// ToolOverride is a tool's other name, description or both.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) || has(self.description)",message="at least one of name and description is required"
type ToolOverride struct {
	// Name is what clients see and call. Default: the remote's name.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Name string `json:"name,omitempty"`
	// Description is what clients are told about the tool. Default: the remote's description.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Description string `json:"description,omitempty" inspect:"-"`
	// Annotations are other hints about the tool.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Annotations *Opaque `json:"annotations,omitempty" refused:"this version takes hints from the remote alone, and policies and clients would see different ones"`
}

// Default fills in what the document leaves open: nothing.
func (*ToolConfig) Default() {}

// Validate checks what the spec itself says, with its defaults filled in.
func (t *ToolConfig) Validate() Problems {
	c := newChecker(KindTools)
	c.inspect(reflect.ValueOf(t), "")
	if len(t.ToolsFilter) == 0 && len(t.ToolsOverride) == 0 {
		c.warn("", "names no tool, so all of them are offered as they are", "toolsFilter, toolsOverride or both")
	}
	c.toolNames("toolsFilter", t.ToolsFilter)
	c.overrides(t.ToolsOverride)
	c.hiddenNames(t)
	return c.problems
}

// tools checks what a proxy says about tools.
func (c *checker) tools(p *RemoteProxy) {
	c.toolNames("tools", p.Tools)
	if ref := p.ToolConfigRef; ref != nil {
		c.objectName("toolConfigRef.name", ref.Name)
		if len(p.Tools) > 0 {
			c.warn("tools", "has no effect: toolConfigRef is set, and wins", "toolsFilter of the "+KindTools)
		}
	}
}

func (c *checker) toolNames(field string, names []string) {
	for i, name := range names {
		if name == "" {
			c.mistake(fmt.Sprintf("%s[%d]", field, i), "is empty", "the name of a tool, as clients see it")
		}
	}
}

// overrides checks that no two tools come to have one name, as far as the document can tell.
func (c *checker) overrides(all map[string]ToolOverride) {
	shown := map[string]string{} // the remote's name, by the one that clients see
	for _, remote := range slices.Sorted(maps.Keys(all)) {
		if all[remote].Name == "" { // these keep theirs
			shown[remote] = remote
		}
	}
	for _, remote := range slices.Sorted(maps.Keys(all)) {
		o, field := all[remote], join("toolsOverride", pathName(remote))
		switch other, taken := shown[o.Name]; {
		case remote == "":
			c.mistake(field, "overrides a tool without a name", "the remote's name of a tool")
		case o.Name == "" && o.Description == "":
			c.mistake(field+".name", "is missing, and so is description", "one of them")
		case o.Name == "":
		case taken:
			c.mistake(field+".name", fmt.Sprintf("clients would see both %s and %s as %s", quote(other), quote(remote), quote(o.Name)), "a name for each tool")
		default:
			shown[o.Name] = remote
		}
	}
}

// hiddenNames warns of a filter that names a tool as the remote does, though clients see it under another name.
func (c *checker) hiddenNames(t *ToolConfig) {
	shown := map[string]bool{}
	for _, o := range t.ToolsOverride {
		shown[o.Name] = true
	}
	for i, name := range t.ToolsFilter {
		if o := t.ToolsOverride[name]; o.Name != "" && o.Name != name && !shown[name] {
			c.warn(fmt.Sprintf("toolsFilter[%d]", i), fmt.Sprintf("%s is the remote's name of what clients see as %s", quote(name), quote(o.Name)), quote(o.Name))
		}
	}
}

// tools follows what a proxy says about tools; nil where all of them are offered as they are.
func (r *resolver) tools(spec *RemoteProxy) *Tools {
	ref := spec.ToolConfigRef
	if ref == nil {
		if len(spec.Tools) == 0 {
			return nil
		}
		return &Tools{Filter: spec.Tools}
	}
	if !dnsSubdomain.MatchString(ref.Name) {
		return nil
	}
	shared, err := r.from.ToolConfig(ref.Name)
	if err != nil {
		r.proxy.mistake("toolConfigRef.name", err.Error(), "the name of an "+KindTools)
		return nil
	}
	shared = clone(shared)
	shared.Default()
	r.shared = append(r.shared, shared.Validate()...)
	if len(shared.ToolsFilter) == 0 && len(shared.ToolsOverride) == 0 {
		return nil
	}
	return &Tools{Filter: shared.ToolsFilter, Override: shared.ToolsOverride}
}

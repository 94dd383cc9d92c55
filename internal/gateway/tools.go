package gateway

import (
	"net/http"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/policy"
)

// toolbox knows which tools are offered, and under which names.
type toolbox struct {
	override map[string]config.ToolOverride // by the remote's name
	real     map[string]string              // the remote's name of a tool that is offered under another one, by that one
	filter   map[string]bool                // names as clients see them; nil: all are offered
}

func newToolbox(t *config.Tools) *toolbox {
	if t == nil {
		return nil
	}
	b := &toolbox{override: t.Override, real: map[string]string{}}
	for real, o := range t.Override {
		if o.Name != "" {
			b.real[o.Name] = real
		}
	}
	if len(t.Filter) > 0 {
		b.filter = map[string]bool{}
		for _, name := range t.Filter {
			b.filter[name] = true
		}
	}
	return b
}

// find gives the remote's name of a tool that clients know as shown; false where none of that name is offered.
func (b *toolbox) find(shown string) (real string, ok bool) {
	if b == nil {
		return shown, true
	}
	if b.filter != nil && !b.filter[shown] {
		return "", false
	}
	if real, ok := b.real[shown]; ok {
		return real, true
	}
	return shown, b.override[shown].Name == "" || b.override[shown].Name == shown
}

// shown is the name that clients know the target of a query by.
func (b *toolbox) shown(q policy.Query) string {
	if b == nil || q.Method != mcp.MethodToolsCall || b.override[q.Target].Name == "" {
		return q.Target
	}
	return b.override[q.Target].Name
}

// show gives a tool of the remote's the name and the description that clients see; false where it is not offered.
func (b *toolbox) show(item *mcp.Item) bool {
	if b == nil || item.Method != mcp.MethodToolsCall {
		return true
	}
	o := b.override[item.Target]
	shown := item.Target
	if o.Name != "" {
		shown = o.Name
	}
	if real, ok := b.find(shown); !ok || real != item.Target {
		return false // filtered, or hidden behind another tool that took its name
	}
	if shown != item.Target {
		item.Rename = shown
	}
	item.Describe = o.Description
	return true
}

// translate makes a call of a tool name the tool as the remote does.
func (b *toolbox) translate(call *mcp.Call) error {
	if b == nil || call.Method != mcp.MethodToolsCall {
		return nil
	}
	real, ok := b.find(call.Target)
	if !ok {
		return fault.New(fault.Denied, "the tool "+fault.Quote(call.Target)+" is not offered here").Hint("see toolsFilter and toolsOverride")
	}
	if real != call.Target {
		call.Retarget(real)
	}
	return nil
}

// named says what the header is that repeats a tool's name, after the name was translated.
func named(header http.Header, call *mcp.Call) {
	if call.Method == mcp.MethodToolsCall && len(header[mcp.HeaderName]) > 0 {
		header[mcp.HeaderName] = []string{mcp.HeaderText(call.Target)}
	}
}

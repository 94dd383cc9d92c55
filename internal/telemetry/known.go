package telemetry

import "sync"

// maxKnown bounds the names that become parts of span names.
const maxKnown = 1000

// Known are the names of tools and prompts that a span's name may hold: few, and none that a client made up. What is
// Learnt must come from the configuration, from the remote's lists, or have been called with success. A nil one knows
// nothing.
type Known struct {
	mu    sync.RWMutex
	names map[labels]struct{}
}

// Learn adds the name of a tool or prompt, by the method that uses it, unless there are too many. Targets of other
// methods, such as URIs, are not names.
func (k *Known) Learn(method, target string) {
	if k == nil || !named(method) || k.Has(method, target) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.names == nil {
		k.names = map[labels]struct{}{}
	}
	if len(k.names) < maxKnown {
		k.names[labels{method, target}] = struct{}{}
	}
}

// named says whether the target of a method is a name.
func named(method string) bool { return method == "tools/call" || method == "prompts/get" }

// Has says whether the target of a method is known.
func (k *Known) Has(method, target string) bool {
	if k == nil {
		return false
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, ok := k.names[labels{method, target}]
	return ok
}

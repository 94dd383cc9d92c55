package telemetry_test

import (
	"strconv"
	"testing"

	"github.com/rolegate/rolegate/internal/telemetry"
)

func TestKnownNamesAreFew(t *testing.T) {
	var k telemetry.Known
	k.Learn("tools/call", "weather")
	if !k.Has("tools/call", "weather") || k.Has("prompts/get", "weather") || k.Has("tools/call", "other") {
		t.Error("what was learnt is not what is known")
	}
	k.Learn("resources/read", "file:///x")
	if k.Has("resources/read", "file:///x") {
		t.Error("a URI is taken for a name")
	}
	known := 0
	for i := range 5000 {
		k.Learn("tools/call", strconv.Itoa(i))
	}
	for i := range 5000 {
		if k.Has("tools/call", strconv.Itoa(i)) {
			known++
		}
	}
	if known != 999 {
		t.Errorf("%d more names are known", known)
	}
	var none *telemetry.Known
	none.Learn("tools/call", "weather")
	if none.Has("tools/call", "weather") {
		t.Error("nobody knows something")
	}
}

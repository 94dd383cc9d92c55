package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
)

func TestEveryKindHasItsNumbers(t *testing.T) {
	names := map[string]bool{}
	for k := fault.Internal; k <= fault.UpstreamTimeout; k++ {
		if k.String() == "" || names[k.String()] {
			t.Errorf("kind %d is called %q", k, k)
		}
		names[k.String()] = true
		if s := k.Status(); s < 400 || s > 599 {
			t.Errorf("%s: status %d", k, s)
		}
		if c := fault.New(k, "x").RPCCode(); c >= -32000+1 || c < -32768 {
			t.Errorf("%s: JSON-RPC code %d", k, c)
		}
	}
}

func TestErrorTellsTheWholeStory(t *testing.T) {
	e := fault.New(fault.Denied, "no role").Hint("mappings tried: %d", 3).Because(io.ErrUnexpectedEOF).Code(-1).WithData("d").
		Challenged("insufficient_scope", "a", "b").Later(time.Second)
	if got, want := e.Error(), "denied: no role (mappings tried: 3): unexpected EOF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !errors.Is(e, io.ErrUnexpectedEOF) || e.RPCCode() != -1 || e.Status() != 403 || e.Hinted() != "mappings tried: 3" ||
		e.Data != "d" || e.Challenge != "insufficient_scope" || len(e.Scopes) != 2 || e.RetryAfter != time.Second {
		t.Errorf("%+v", e)
	}
}

func TestOf(t *testing.T) {
	if fault.Of(nil) != nil {
		t.Error("Of(nil) is something")
	}
	inner := fault.New(fault.TooLarge, "too large")
	if fault.Of(fmt.Errorf("read body: %w", inner)) != inner {
		t.Error("a wrapped error was not found")
	}
	strange := fault.Of(io.ErrClosedPipe)
	if strange.Kind != fault.Internal || strange.Public != "internal error" || !errors.Is(strange, io.ErrClosedPipe) {
		t.Errorf("%+v: a strange error's text must not be public", strange)
	}
}

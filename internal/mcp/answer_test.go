package mcp_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

func TestWriteError(t *testing.T) {
	method := fault.New(fault.BadMethod, "HTTP method not allowed here")
	method.Allow = "POST"
	tests := []struct {
		name    string
		e       *fault.Error
		id      string
		status  int
		body    string
		headers map[string]string
	}{
		{
			name: "the id as it was sent", e: fault.New(fault.Denied, "no role").Hint("secret").Because(errors.New("secret")),
			id: `"\u003ca&b>"`, status: 403,
			body: `{"jsonrpc":"2.0","id":"\u003ca&b>","error":{"code":-32003,"message":"no role"}}`,
		}, {
			name: "no id", e: method, status: 405, headers: map[string]string{"Allow": "POST"},
			body: `{"jsonrpc":"2.0","error":{"code":-32600,"message":"HTTP method not allowed here"}}`,
		}, {
			name: "an id of null", e: fault.New(fault.TooLarge, "big"), id: "null", status: 413,
			body: `{"jsonrpc":"2.0","error":{"code":-32600,"message":"big"}}`,
		}, {
			name: "an id that is no JSON", e: fault.New(fault.TooLarge, "big"), id: `"a`, status: 413,
			body: `{"jsonrpc":"2.0","error":{"code":-32600,"message":"big"}}`,
		}, {
			name: "data", id: "12", status: 400,
			e: fault.New(fault.Malformed, `a "v"`).Code(-32022).
				WithData(mcp.UnsupportedVersion{Supported: []string{"a"}, Requested: "b"}),
			body: `{"jsonrpc":"2.0","id":12,"error":{"code":-32022,"message":"a \"v\"","data":{"supported":["a"],"requested":"b"}}}`,
		}, {
			name: "data that can't be written", id: "12", status: 500,
			e:    fault.New(fault.Internal, "x").WithData(make(chan int)),
			body: `{"jsonrpc":"2.0","id":12,"error":{"code":-32603,"message":"x","data":null}}`,
		}, {
			name: "later", e: fault.New(fault.Unavailable, "away").Later(1100 * time.Millisecond), id: "1", status: 503,
			headers: map[string]string{"Retry-After": "2"},
			body:    `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"away"}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			mcp.WriteError(w, tt.e, []byte(tt.id))
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if diff := cmp.Diff(tt.body, w.Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			for _, name := range []string{"Allow", "Retry-After"} {
				if got := w.Header().Get(name); got != tt.headers[name] {
					t.Errorf("%s: %q, want %q", name, got, tt.headers[name])
				}
			}
			if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", w.Header())
			}
		})
	}
}

package mcp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// asFault is the refusal that err is; anything else fails the test.
func asFault(tb testing.TB, err error) *fault.Error {
	tb.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		tb.Fatalf("error is %T (%v), want *fault.Error", err, err)
	}
	return e
}

// post makes a POST of body, with headers given as "Name: value".
func post(body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// read reads r, and releases the call when the test ends.
func read(tb testing.TB, r *http.Request, lim mcp.Limits) (*mcp.Call, error) {
	tb.Helper()
	c, err := mcp.Read(httptest.NewRecorder(), r, lim)
	if c == nil {
		tb.Fatal("Read gave no Call")
	}
	tb.Cleanup(c.Release)
	return c, err
}

// modern wraps params (the inside of an object, "" for none) in a request of the modern era.
func modern(method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}

package mcp

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/rolegate/rolegate/internal/fault"
)

// WriteError answers with the status of e and a JSON-RPC error: its code, public words and data. id is the raw id of
// the request and is written byte for byte; one that is no string or integer is left out, never null (2026-07-28,
// "Error Responses"). Allow and Retry-After are set from e; other headers, WWW-Authenticate among them, are the
// caller's. Hint and cause are never written.
func WriteError(w http.ResponseWriter, e *fault.Error, id []byte) {
	body := errorBody(e, id)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.Allow != "" {
		h.Set("Allow", e.Allow)
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(e.Status())
	_, _ = w.Write(body) // a caller that hung up is the door's to notice
}

// errorBody is put together by hand because an encoder would respell the id.
func errorBody(e *fault.Error, id []byte) []byte {
	b := append(make([]byte, 0, 256), `{"jsonrpc":"2.0",`...)
	if validID(id) && json.Valid(id) {
		b = append(append(append(b, `"id":`...), id...), ',')
	}
	b = append(b, `"error":{"code":`...)
	b = strconv.AppendInt(b, int64(e.RPCCode()), 10)
	b = append(b, `,"message":`...)
	b = append(b, encoded(e.Public, `""`)...)
	if e.Data != nil {
		b = append(append(b, `,"data":`...), encoded(e.Data, "null")...)
	}
	return append(b, "}}"...)
}

// encoded is v as JSON, or else instead.
func encoded(v any, instead string) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(instead)
	}
	return b
}

package stage

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Admin is the admin endpoint of a fake, under /_admin/:
//
//	POST   /_admin/fault  {"code":"Throttling","status":400,"delay":"2s","times":3}   queues a trouble: 204
//	DELETE /_admin/fault                                                              clears them all: 204
//	GET    /_admin/calls                                                              what was asked so far, as JSON
//
// calls gives what the last one answers with.
func Admin(q *Troubles, calls func() any) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /_admin/fault", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		var t Trouble
		if err := json.Unmarshal(body, &t); err != nil {
			http.Error(w, fmt.Sprintf("%v; for example {\"code\":\"Throttling\",\"status\":400,\"times\":3}", err), http.StatusBadRequest)
			return
		}
		q.Add(t)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /_admin/fault", func(w http.ResponseWriter, _ *http.Request) {
		q.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_admin/calls", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(calls()) // a client that is gone misses nothing
	})
	return mux
}

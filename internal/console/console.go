// Package console is the window for operators: one page on the admin address that shows what the gateway does, as it
// does it, and says what would become of a call.
//
// It promises that nobody who looks slows the gateway down: a record costs a copy into memory that is there already,
// and a viewer that does not keep up misses records or is let go. It must never change anything, never show what looks
// like a token, and never serve anyone but loopback where no token is asked for.
package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/config"
)

// Options make a Console.
type Options struct {
	// Snapshot is asked for the life of the gateway once a second while somebody looks, and by one goroutine at a time.
	Snapshot func() Snapshot
	// Explain says what would become of a call, for a caller with these claims, as JSON of the shape that "rolegate explain
	// -o json" prints. Either is nil where it was not given. It is called by one goroutine at a time; its error is told to
	// the operator. Nil: there is no try-out.
	Explain func(ctx context.Context, claims, call json.RawMessage) (json.RawMessage, error)
	// Token is the bearer token that is asked for. Empty: nobody is asked, and who does not come over loopback is refused.
	Token config.Secret
}

// Console serves the page and what it shows. It is safe for concurrent use. A nil Console takes records and keeps none.
type Console struct {
	options Options
	door    *door
	ring    ring
	explain chan struct{} // holds one value while an explanation is made
	page    []byte
	policy  string // Content-Security-Policy

	mu      sync.Mutex
	viewers int
	life    []byte // the latest snapshot, as JSON
	asked   time.Time
}

//go:embed console.html
var page []byte

// New makes a Console.
func New(o Options) *Console {
	return &Console{options: o, door: newDoor(o.Token), explain: make(chan struct{}, 1), page: page, policy: contentPolicy(page)}
}

// contentPolicy allows the page its own script and style, by their hashes, and requests to where it comes from; nothing
// else (CSP Level 3, and Trusted Types: no text ever becomes markup).
func contentPolicy(page []byte) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src '" + hash(page, "script") + "'",
		"style-src '" + hash(page, "style") + "'",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
}

// hash is the source expression of the page's one element of that name.
func hash(page []byte, element string) string {
	_, rest, _ := bytes.Cut(page, []byte("<"+element+">"))
	text, _, _ := bytes.Cut(rest, []byte("</"+element+">"))
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// ServeHTTP serves /console, /console/events and /console/explain.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", c.policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if wrong := c.door.stranger(r); wrong != "" {
		refuse(w, http.StatusForbidden, wrong)
		return
	}
	switch r.URL.Path {
	case "/console":
		if allowed(w, r, http.MethodGet, http.MethodHead) {
			h.Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(c.page)
		}
	case "/console/events":
		if allowed(w, r, http.MethodGet) && c.door.admits(w, r) {
			c.events(w, r)
		}
	case "/console/explain":
		if allowed(w, r, http.MethodPost) && c.door.admits(w, r) {
			c.answer(w, r)
		}
	default:
		refuse(w, http.StatusNotFound, "the console is at /console")
	}
}

func allowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse(w, http.StatusMethodNotAllowed, "this is read with "+methods[0])
	return false
}

// refuse answers with what is wrong: {"error": "..."}.
func refuse(w http.ResponseWriter, status int, what string) {
	body, err := json.Marshal(map[string]string{"error": what})
	if err != nil { // a map of strings has JSON
		panic("console: refuse: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

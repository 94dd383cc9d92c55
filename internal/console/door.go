package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/config"
)

// Who is let in. Where a token is asked for, the page itself is served to everybody, since it holds nothing, and what it
// shows only to who sends the token in the Authorization header; no other site can make a browser send that. Where none
// is asked for, the connection must be one of this machine, and the browser's tab must be at a name of this machine: a
// page elsewhere whose name was made to point here (DNS rebinding) has another name in Host.

const (
	wrongDelay    = time.Second // before a wrong token is answered
	wrongAtOnce   = 4           // wrong tokens that may wait, for each address
	wrongTogether = 64          // and for all of them
)

type door struct {
	open  bool // no token is asked for
	token [sha256.Size]byte

	mu      sync.Mutex
	waiting map[string]int // wrong tokens whose answers wait, by address
	tries   int            // sum of waiting
}

func newDoor(token config.Secret) *door {
	text := token.Reveal()
	return &door{open: text == "", token: sha256.Sum256([]byte(text)), waiting: map[string]int{}}
}

// Check says whether a console may be served at an address: without a token only at one that this machine alone
// reaches.
func Check(token config.Secret, admin net.Addr) error {
	if token.Reveal() != "" || loopback(admin) {
		return nil
	}
	return fmt.Errorf("serve console at %s: it is not a loopback address, so console.tokenSecretRef is needed", admin)
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// stranger says why whoever asks may not even see the page; "" for nobody's fault.
func (d *door) stranger(r *http.Request) string {
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site == "cross-site" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.URL.Path == "/console":
		// a link somewhere that leads here
	case site != "" && site != "same-origin" && site != "none":
		return "another site asks"
	}
	if !d.open {
		return ""
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case local == nil || !loopback(local):
		return "without a token (console.tokenSecretRef) the console is for loopback alone"
	case r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != "":
		return "without a token (console.tokenSecretRef) the console is not for those behind a proxy"
	case !ours(r.Host):
		return "the console is at localhost"
	}
	if origin, given := r.Header["Origin"]; given {
		u, err := url.Parse(strings.Join(origin, " "))
		if err != nil || u.Host != r.Host {
			return "another origin asks"
		}
	}
	return ""
}

// ours tells whether Host is a name of this machine that no other site can have.
func ours(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// admits looks at the token, and answers who has none or a wrong one.
func (d *door) admits(w http.ResponseWriter, r *http.Request) bool {
	if d.open {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rolegate console"`)
		refuse(w, http.StatusUnauthorized, "a token is needed")
		return false
	}
	// The right one never waits for wrong ones: else whoever sends those would keep its owner out. What keeps it from being
	// guessed is its length.
	if sum := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(sum[:], d.token[:]) == 1 {
		return true
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	if !d.begin(from) {
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusTooManyRequests, "too many wrong tokens")
		return false
	}
	defer d.end(from)
	wait(r.Context(), wrongDelay)
	w.Header().Set("WWW-Authenticate", `Bearer realm="rolegate console", error="invalid_token"`)
	refuse(w, http.StatusUnauthorized, "the token is not the one")
	return false
}

func (d *door) begin(from string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting[from] >= wrongAtOnce || d.tries >= wrongTogether {
		return false
	}
	d.waiting[from]++
	d.tries++
	return true
}

func (d *door) end(from string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries--
	if d.waiting[from]--; d.waiting[from] == 0 {
		delete(d.waiting, from)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

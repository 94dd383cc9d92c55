package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// A browser sends Origin; a page of a stranger must not reach the endpoint (MCP, streamable HTTP, security warning),
// on whatever address it listens. Programs that are no browsers send none and are let in.

const (
	corsMethods = "POST, GET, DELETE, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, Mcp-Protocol-Version, Mcp-Method, Mcp-Name"
	corsExposed = "Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, Retry-After, X-Request-Id"
)

// checkOrigin refuses a foreign origin, and answers the preflight of an allowed one.
func (g *Gateway) checkOrigin(w http.ResponseWriter, r *http.Request) (preflight bool, err error) {
	sent := r.Header.Values("Origin")
	if len(sent) == 0 {
		return false, nil
	}
	origin := strings.ToLower(sent[0])
	if len(sent) > 1 || !slices.Contains(g.cfg.AllowedOrigins, origin) {
		return false, fault.New(fault.Denied, "this origin is not allowed").Hint("origin %.80q is not in allowedOrigins %q", origin, g.cfg.AllowedOrigins)
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", sent[0])
	h.Set("Access-Control-Expose-Headers", corsExposed)
	h.Add("Vary", "Origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false, nil
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", allowedRequestHeaders(r.Header.Get("Access-Control-Request-Headers")))
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true, nil
}

// allowedRequestHeaders is the fixed list and those of the Mcp-Param- family that were asked for.
func allowedRequestHeaders(asked string) string {
	allowed := corsHeaders
	for name := range strings.SplitSeq(asked, ",") {
		if name = strings.TrimSpace(name); hasFoldPrefix(name, mcp.ParamPrefix) && headerToken(name) {
			allowed += ", " + name
		}
	}
	return allowed
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func headerToken(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

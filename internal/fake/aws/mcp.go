package aws

import (
	"encoding/json"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake/sts"
)

const (
	modernVersion = "2026-07-28"
	sessionHeader = "Mcp-Session-Id"
	// sessionLost is the JSON-RPC error code with which the AWS MCP Server says that a session is gone.
	sessionLost = -30001
)

// owner is whom an MCP session belongs to: the role and the session name, not the access key, which changes hourly.
func owner(i sts.Issued) string { return i.RoleID + ":" + i.SessionName }

// handlers are the SDK's handlers for the two eras. The modern one has no state, so the era alone decides which of
// them serves a request, and both serve the same tools.
func (s *Server) handlers() (stateful, modern http.Handler) {
	get := func(*http.Request) *mcp.Server { return s.mcp }
	stateful = mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{
		EventStore:                 mcp.NewMemoryEventStore(nil),
		MaxRequestBodyBytes:        -1, // bounded at the door
		DisableLocalhostProtection: true,
	})
	modern = mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{
		Stateless:                    true,
		MaxRequestBodyBytes:          -1,
		DisableLocalhostProtection:   true,
		PropagateRequestCancellation: true,
	})
	return stateful, modern
}

// serveMCP hands a judged request to the handler of its era; a session only to its owner.
func (s *Server) serveMCP(w http.ResponseWriter, r *http.Request, body []byte, lent sts.Issued) {
	id, modern := peek(r, body)
	if modern {
		s.modern.ServeHTTP(w, r)
		return
	}
	session := r.Header.Get(sessionHeader)
	if session != "" && !s.owns(owner(lent), session) {
		writeSessionLost(w, id)
		return
	}
	s.stateful.ServeHTTP(&sessionWriter{ResponseWriter: w, opened: func(session string) { s.open(session, owner(lent)) }}, r)
	if r.Method == http.MethodDelete {
		s.mu.Lock()
		delete(s.sessions, session)
		s.mu.Unlock()
	}
}

// peek reads the id of a message, and whether the request is of the modern era: its header or its _meta says so.
func peek(r *http.Request, body []byte) (id json.RawMessage, modern bool) {
	var msg struct {
		ID     json.RawMessage `json:"id"`
		Params struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		} `json:"params"`
	}
	_ = json.Unmarshal(body, &msg) // what can't be read is for the SDK to refuse
	_, meta := msg.Params.Meta[mcp.MetaKeyProtocolVersion]
	return msg.ID, meta || r.Header.Get("Mcp-Protocol-Version") >= modernVersion
}

func writeSessionLost(w http.ResponseWriter, id json.RawMessage) {
	out := map[string]any{"jsonrpc": "2.0", "error": map[string]any{"code": sessionLost, "message": "Session not found"}}
	if id != nil {
		out["id"] = id
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(out) // a client that is gone misses nothing
}

// sessionWriter notices the session id that an initialize is answered with, before the client can use it.
type sessionWriter struct {
	http.ResponseWriter
	opened func(session string)
}

// Unwrap is for http.ResponseController.
func (w *sessionWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write is where the SDK's first bytes come through.
func (w *sessionWriter) Write(b []byte) (int, error) {
	if session := w.Header().Get(sessionHeader); session != "" && w.opened != nil {
		w.opened(session)
		w.opened = nil
	}
	return w.ResponseWriter.Write(b)
}

// WriteHeader is the other way to begin.
func (w *sessionWriter) WriteHeader(status int) {
	if session := w.Header().Get(sessionHeader); session != "" && w.opened != nil {
		w.opened(session)
		w.opened = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

func (s *Server) open(session, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[session] = owner
}

func (s *Server) owns(owner, session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[session] == owner
}

// Sessions are the open MCP sessions: id to "<role id>:<session name>".
func (s *Server) Sessions() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]string, len(s.sessions))
	for id, o := range s.sessions {
		out[id] = o
	}
	return out
}

// DropSessions ends every MCP session, and with it its streams. Their ids are answered with 404 from now on.
func (s *Server) DropSessions() {
	s.mu.Lock()
	clear(s.sessions)
	close(s.dropped)
	s.dropped = make(chan struct{})
	s.mu.Unlock()
	for session := range s.mcp.Sessions() {
		_ = session.Close() // it is gone either way
	}
}

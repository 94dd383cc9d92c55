package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/rolegate/rolegate/internal/console"
	"github.com/rolegate/rolegate/internal/mcp"
)

// openConsole makes the page of the admin address, where the documents ask for one. It is made for the life of the
// process: what it shows follows the configuration, its token does not.
func (s *Server) openConsole(version string) error {
	c := s.opened.Console
	if c == nil || s.admin == nil {
		return nil
	}
	if err := console.Check(c.Token, s.admin.Addr()); err != nil {
		return err
	}
	started := time.Now()
	s.house.Console = console.New(console.Options{
		Token:    c.Token,
		Explain:  s.explain,
		Snapshot: func() console.Snapshot { return s.snapshot(version, started) },
	})
	return nil
}

// snapshot is what the console shows of this moment.
func (s *Server) snapshot(version string, started time.Time) console.Snapshot {
	g := s.Gateway()
	look := console.Snapshot{
		Proxy: g.cfg.Namespace + "/" + g.cfg.Name, Version: version, State: "ready", Ready: true, Started: started, Loaded: g.made,
	}
	switch {
	case s.draining.Load():
		look.State, look.Ready = "draining", false
	case !g.Ready():
		look.State, look.Ready = "no keys of the identity provider yet", false
	}
	if g.verifier != nil {
		keys := g.verifier.Status()
		look.Keys = &console.Keys{Count: keys.Keys, Age: keys.Age(), Trouble: keys.Trouble}
	}
	look.Count(s.house.Metrics)
	return look
}

// explain answers the try-out, as "rolegate explain -o json" does, about the configuration of the moment.
func (s *Server) explain(ctx context.Context, claims, call json.RawMessage) (json.RawMessage, error) {
	r, problems := NewRehearsal(s.Gateway().cfg)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	defer r.Close()
	if claims == nil && !r.Anonymous() {
		return nil, errors.New("who asks: claims are missing")
	}
	q := Question{Header: http.Header{}, Claims: claims, Message: call}
	Mirror(q.Header, call)
	e, err := r.Explain(ctx, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// Mirror sets the headers that a client of the stateless protocol repeats its message in, as the gateway's own reader
// finds them. What is wrong with the message the gateway tells.
func Mirror(h http.Header, body []byte) {
	var m struct {
		Params struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		} `json:"params"`
	}
	var version string
	if json.Unmarshal(body, &m) != nil || json.Unmarshal(m.Params.Meta["io.modelcontextprotocol/protocolVersion"], &version) != nil {
		return
	}
	r := &http.Request{Method: http.MethodPost, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
	r.Header[mcp.HeaderVersion], r.Header["Content-Type"] = []string{version}, []string{"application/json"}
	call, _ := mcp.Read(&sheet{header: http.Header{}}, r, mcp.Limits{}) // it misses the headers that are yet to be set
	defer call.Release()
	h[mcp.HeaderVersion], h[mcp.HeaderMethod] = []string{version}, []string{call.Method}
	if call.Target != "" {
		h[mcp.HeaderName] = []string{mcp.HeaderText(call.Target)}
	}
}

package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Compose makes a request of the gateway's own, in the era and the session of the call that it is made for: method with
// a cursor, "" for none. It gives the headers that repeat something of the body too. Release the Call as any other.
func Compose(like *Call, id, method, cursor string) (*Call, http.Header) {
	type params struct {
		Cursor string         `json:"cursor,omitempty"`
		Meta   map[string]any `json:"_meta,omitempty"`
	}
	message := struct {
		JSONRPC string `json:"jsonrpc"`
		ID      string `json:"id"`
		Method  string `json:"method"`
		Params  params `json:"params"`
	}{"2.0", id, method, params{Cursor: cursor}}
	header := http.Header{"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}}
	if like.Version != "" {
		header[HeaderVersion] = []string{like.Version}
	}
	if like.Era == Modern {
		header[HeaderMethod] = []string{method}
		message.Params.Meta = map[string]any{
			metaVersion:    like.Version,
			metaClientInfo: map[string]string{"name": "rolegate", "version": "1"},
			"io.modelcontextprotocol/clientCapabilities": struct{}{},
		}
	}
	body, err := json.Marshal(message)
	if err != nil {
		panic(err) // strings marshal
	}
	b := newBuffer(len(body))
	b.data = append(b.data, body...)
	return &Call{
		Era: like.Era, Kind: Request, Method: method, ID: []byte(`"` + id + `"`), Version: like.Version, Session: like.Session,
		Body: b.data, Hash: hexHash(b.data), buf: b,
	}, header
}

// Answer reads the answer of a list request from a stream of server-sent events: the first response. What comes before
// it is passed over, but for changed being called with each notifications/tools/list_changed; what comes after it is not
// read. It reads at most limit bytes for one event.
func Answer(body io.ReadCloser, limit int, changed func()) (msg []byte, err error) {
	f := &ListFilter{Judge: func(*Item) bool { return true }, MaxEvent: limit, OnChanged: changed}
	f.onAnswer = func(m []byte) {
		if msg == nil {
			msg = bytes.Clone(m)
		}
	}
	events := f.Stream(body)
	var room [4 << 10]byte
	for msg == nil && err == nil {
		_, err = events.Read(room[:])
	}
	if msg != nil {
		return msg, nil
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the stream has no answer")
	}
	return nil, err
}

// HeaderText is a name or URI as the value of Mcp-Name: as it is, or encoded where a header could not carry it
// (2026-07-28, "Value Encoding").
func HeaderText(s string) string {
	plain := !strings.HasPrefix(s, encodedPrefix) && strings.TrimSpace(s) == s
	for i := 0; plain && i < len(s); i++ {
		plain = ' ' <= s[i] && s[i] <= '~'
	}
	if plain {
		return s
	}
	return encodedPrefix + base64.StdEncoding.EncodeToString([]byte(s)) + encodedSuffix
}

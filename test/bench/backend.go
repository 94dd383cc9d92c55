package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/test/bench/load"
)

// backend is an MCP server that does next to nothing: it reads a call to its end and answers with a kilobyte. One tool
// answers with events that carry the time at which they were sent, and a GET is a stream on which nothing ever comes.
// It says of each call whether it came signed.
type backend struct {
	bodies sync.Pool // *bytes.Buffer
}

// What the backend's tools are called, and what a session of it is.
const (
	toolAnswer = "answer"
	toolEvents = "events"
	sessionID  = "5f3c1b7a-2f0e-4d55-9d1e-6a1c3a0f7b21"
)

var (
	typeJSON   = []string{"application/json"}
	typeEvents = []string{"text/event-stream"}
	filler     = strings.Repeat("x", 900)
)

func newBackend() *backend {
	return &backend{bodies: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header()["Content-Type"] = typeEvents
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	body := b.bodies.Get().(*bytes.Buffer)
	defer b.bodies.Put(body)
	body.Reset()
	if _, err := body.ReadFrom(r.Body); err != nil {
		return // the caller is gone
	}
	head := body.Bytes()[:min(body.Len(), 512)]
	id := idOf(head)
	switch {
	case id == nil:
		w.WriteHeader(http.StatusAccepted)
	case bytes.Contains(head, []byte(`"name":"`+toolEvents+`"`)):
		events(w, r, id, body.Bytes())
	default:
		if bytes.Contains(head, []byte(`"method":"initialize"`)) {
			w.Header().Set("Mcp-Session-Id", sessionID)
		}
		answer(w, r, id)
	}
}

// idOf gives the id of a call as it stands there; nil for none. It looks only where the calls of this program have it.
func idOf(head []byte) []byte {
	_, after, ok := bytes.Cut(head, []byte(`"id":`))
	if !ok {
		return nil
	}
	return after[:max(bytes.IndexAny(after, ",}"), 0)]
}

func result(r *http.Request, id []byte) []byte {
	signed := strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") && r.Header.Get("X-Amz-Security-Token") != ""
	out := make([]byte, 0, 1100)
	out = append(append(append(out, `{"jsonrpc":"2.0","id":`...), id...), `,"result":{"signed":`...)
	out = append(strconv.AppendBool(out, signed), `,"content":[{"type":"text","text":"`...)
	return append(append(out, filler...), `"}]}}`...)
}

func answer(w http.ResponseWriter, r *http.Request, id []byte) {
	out := result(r, id)
	h := w.Header()
	h["Content-Type"] = typeJSON
	h["Content-Length"] = []string{strconv.Itoa(len(out))}
	_, _ = w.Write(out) // a caller that is gone misses nothing
}

// events answers with as many events as the call asks for, the first at once and one every so many milliseconds, and
// then with the result.
func events(w http.ResponseWriter, r *http.Request, id, body []byte) {
	var call struct {
		Params struct {
			Arguments struct{ Events, Every int }
		}
	}
	if err := json.Unmarshal(body, &call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header()["Content-Type"] = typeEvents
	out := http.NewResponseController(w)
	every := time.NewTicker(time.Duration(max(call.Params.Arguments.Every, 1)) * time.Millisecond)
	defer every.Stop()
	for n := range call.Params.Arguments.Events {
		_, err := fmt.Fprintf(w, `event: message
id: %d
data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d,%s%d}}

`, n, n, load.Stamp, time.Now().UnixNano())
		if err != nil || out.Flush() != nil {
			panic(http.ErrAbortHandler)
		}
		select {
		case <-every.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // returning would end the stream in order, and somebody may still read it
		}
	}
	_, _ = fmt.Fprintf(w, "event: message\ndata: %s\n\n", result(r, id))
}

// addresses are where the backend listens.
type addresses struct {
	Plain, TLS string // host:port
}

// serveBackend is the backend as a process of its own: it serves with and without TLS, says where on out, and ends with in.
// TLS is HTTP/1.1 only, so that what is compared are proxies and not protocols.
func serveBackend(certFile, keyFile string, out io.Writer, in io.Reader) error {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{Handler: newBackend(), Protocols: protocols, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	failed := make(chan error, 3)
	go func() { failed <- server.Serve(plain) }()
	go func() { failed <- server.ServeTLS(secure, certFile, keyFile) }()
	go func() { _, _ = io.Copy(io.Discard, in); failed <- nil }()
	if err := json.NewEncoder(out).Encode(addresses{plain.Addr().String(), secure.Addr().String()}); err != nil {
		return err
	}
	return <-failed
}

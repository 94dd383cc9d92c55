package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"
)

const (
	maxQuestion = 1 << 20 // bytes
	maxThinking = 15 * time.Second
)

// question is what the try-out asks.
type question struct {
	Claims json.RawMessage `json:"claims"` // whose; an object
	Call   json.RawMessage `json:"call"`   // JSON-RPC message
}

// answer explains one call. Explanations are made one after the other.
func (c *Console) answer(w http.ResponseWriter, r *http.Request) {
	if c.options.Explain == nil {
		refuse(w, http.StatusNotFound, "there is no try-out")
		return
	}
	// A type that no form of another site can have.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "a question is application/json")
		return
	}
	var q question
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "read question: "+err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxThinking)
	defer cancel()
	select {
	case c.explain <- struct{}{}:
		defer func() { <-c.explain }()
	case <-ctx.Done():
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "others are asking")
		return
	}
	told, err := c.options.Explain(ctx, given(q.Claims), given(q.Call))
	switch {
	case err != nil && looksLikeToken([]byte(err.Error())), looksLikeToken(told):
		refuse(w, http.StatusUnprocessableEntity, "the explanation would show what looks like a token")
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, err.Error())
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(told)
	}
}

// given is nil for what was left out.
func given(v json.RawMessage) json.RawMessage {
	if len(v) == 0 || bytes.Equal(v, []byte("null")) {
		return nil
	}
	return v
}

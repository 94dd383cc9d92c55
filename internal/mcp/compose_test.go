package mcp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/rolegate/rolegate/internal/mcp"
)

// TestComposedMessagesAreRead: a request of our own passes our own reader, in both eras.
func TestComposedMessagesAreRead(t *testing.T) {
	for _, version := range []string{"", mcp.Version20250618, mcp.Version20260728} {
		like := &mcp.Call{Version: version, Session: "s1"}
		if version == mcp.Version20260728 {
			like.Era = mcp.Modern
		}
		made, header := mcp.Compose(like, "rolegate-1", mcp.MethodToolsList, "next \"page\"")
		body, err := io.ReadAll(made.Open())
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mcp", strings.NewReader(string(body)))
		r.Header = header
		read, err := mcp.Read(httptest.NewRecorder(), r, mcp.Limits{})
		if err != nil {
			t.Fatalf("%q: %v: %s", version, err, body)
		}
		if read.Method != mcp.MethodToolsList || read.Hash != made.Hash || string(read.ID) != `"rolegate-1"` || read.Version != version || !strings.Contains(string(read.Params), `"cursor":"next \"page\""`) {
			t.Errorf("%q: %+v", version, read)
		}
		read.Release()
		made.Release()
	}
}

func TestAnswer(t *testing.T) {
	const list = `{"jsonrpc":"2.0","id":"1","result":{"tools":[]}}`
	never := iotest.ErrReader(io.ErrClosedPipe)
	for name, c := range map[string]struct {
		stream io.Reader
		want   string
	}{
		"after other events":  {io.MultiReader(strings.NewReader(": hi\n\nid: 1\ndata: \n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\ndata: "+list+"\n\n"), never), list},
		"an error":            {strings.NewReader("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"x\"}}\n\n"), `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`},
		"none":                {strings.NewReader("data: {}\n\n"), ""},
		"none before its end": {strings.NewReader("data: " + list), ""},
		"too large":           {strings.NewReader("data: " + strings.Repeat(" ", 5000) + list + "\n\n"), ""},
	} {
		got, err := mcp.Answer(io.NopCloser(c.stream), 4096, nil)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestHeaderText(t *testing.T) {
	for name, want := range map[string]string{
		"plain name": "plain name",
		"übung":      "=?base64?w7xidW5n?=",
		" x":         "=?base64?IHg=?=",
		"=?base64?x": "=?base64?PT9iYXNlNjQ/eA==?=",
	} {
		if got := mcp.HeaderText(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// A room that panics costs its own request: one answer that tells nothing, one line that tells where.
func TestAPanicIsOneAnswerAndOneLine(t *testing.T) {
	for name, tc := range map[string]struct {
		begun bool // the answer had begun
		want  int
	}{
		"before the answer": {want: http.StatusInternalServerError},
		"within the answer": {begun: true, want: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			g := &Gateway{
				House: NewHouse(slog.New(slog.NewJSONHandler(&log, nil)), telemetry.NewMetrics("test", "test")),
				cfg:   &config.Proxy{}, write: time.Second,
			}
			closed := make(chan any, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { p := recover(); closed <- p; panic(http.ErrAbortHandler) }()
				g.door(w, r, func(w http.ResponseWriter, _ *http.Request, _ *audit.Event) error {
					if tc.begun {
						_, _ = io.WriteString(w, "half")
					}
					panic("private")
				})
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			resp, err := http.Get(server.URL)
			left := <-closed
			if tc.begun {
				if p, ok := left.(error); !ok || !errors.Is(p, http.ErrAbortHandler) {
					t.Errorf("the connection was not cut: %v", left)
				}
				if err == nil {
					_ = resp.Body.Close()
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				body, _ := io.ReadAll(resp.Body) // the connection is cut behind it, above
				if left != nil || resp.StatusCode != tc.want || !strings.Contains(string(body), `"internal error"`) || strings.Contains(string(body), "private") {
					t.Errorf("%v %d %s", left, resp.StatusCode, body)
				}
			}
			if lines := log.String(); strings.Count(lines, "\n") != 1 || !strings.Contains(lines, "panic: private at ") || !strings.Contains(lines, `"decision":"internal"`) {
				t.Errorf("log:\n%s", lines)
			}
		})
	}
}

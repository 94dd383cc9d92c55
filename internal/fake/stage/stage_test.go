package stage_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake/stage"
)

// play runs one request into the queue and gives status and body; status 0 is an aborted connection.
func play(q *stage.Troubles, ctx context.Context) (status int, body string) {
	w := httptest.NewRecorder()
	defer func() {
		if recover() != nil {
			status, body = 0, "aborted"
		}
	}()
	t, healed := q.Take()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	refuse := func(t stage.Trouble) { http.Error(w, t.Code, t.Status) }
	if !t.Play(w, r, healed, refuse) {
		_, _ = w.WriteString("fine")
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestTroublesMeetRequestsInOrderAndRunOut(t *testing.T) {
	var q stage.Troubles
	q.Add(stage.Trouble{Code: "Throttling", Status: 400, Times: 2})
	q.Add(stage.Trouble{Kind: stage.Reset, Times: 1})
	q.Add(stage.Trouble{Kind: stage.Garbage, Message: "ä", Times: 1})
	q.Add(stage.Trouble{Kind: stage.Redirect, Location: "/elsewhere", Times: 1})
	var got []string
	for range 6 {
		_, body := play(&q, t.Context())
		got = append(got, body)
	}
	want := []string{"Throttling", "Throttling", "aborted", "ä", "", "fine"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestHangEndsWithTheClientOrWithClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q stage.Troubles
		q.Add(stage.Trouble{Kind: stage.Hang})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, body := play(&q, ctx); body != "" || time.Since(start) != time.Minute {
			t.Errorf("got %q after %s, want silence for a minute", body, time.Since(start))
		}
		time.AfterFunc(time.Hour, q.Clear)
		if _, body := play(&q, t.Context()); body != "fine" || time.Since(start) != time.Hour+time.Minute {
			t.Errorf("got %q after %s, want an answer when cleared", body, time.Since(start))
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q stage.Troubles
		q.Add(stage.Trouble{Delay: 2 * time.Second, Times: 1})
		start := time.Now()
		if _, body := play(&q, t.Context()); body != "fine" || time.Since(start) != 2*time.Second {
			t.Errorf("got %q after %s", body, time.Since(start))
		}
	})
}

func TestAdmin(t *testing.T) {
	var q stage.Troubles
	srv := httptest.NewServer(stage.Admin(&q, func() any { return []string{"a call"} }))
	defer srv.Close()
	do := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := do("POST", "/_admin/fault", `{"code":"Throttling","status":400,"delay":"2s","times":3}`); code != 204 {
		t.Fatalf("POST: %d %s", code, body)
	}
	got, _ := q.Take()
	if d := cmp.Diff(stage.Trouble{Code: "Throttling", Status: 400, Delay: 2 * time.Second, Times: 3}, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{``, `{"cod":"x"}`, `{"kind":"nonsense"}`, `{"delay":"soon"}`, `[]`} {
		if code, _ := do("POST", "/_admin/fault", bad); code != 400 {
			t.Errorf("POST %s: %d, want 400", bad, code)
		}
	}
	if code, _ := do("DELETE", "/_admin/fault", ""); code != 204 {
		t.Errorf("DELETE: %d", code)
	}
	if got, _ := q.Take(); !got.IsZero() {
		t.Errorf("after DELETE there is %+v", got)
	}
	code, body := do("GET", "/_admin/calls", "")
	var calls []string
	if err := json.Unmarshal([]byte(body), &calls); code != 200 || err != nil || len(calls) != 1 {
		t.Errorf("GET: %d %s", code, body)
	}
}

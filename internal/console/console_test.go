package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/console"
)

const secret = "Yx4Fq0bT7mWc9ZkP2sLhV6nDgJ8aRuE1"

// ask sends a request with headers, given as name and value in turn.
func ask(t *testing.T, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return answer, ""
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func TestHeaders(t *testing.T) {
	_, s := serve(t, console.Options{})
	want := map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	}
	for _, path := range []string{"/console", "/console/events", "/console/explain", "/console/else"} {
		answer, _ := ask(t, "GET", s.URL+path, "")
		got := map[string]string{}
		for name := range want {
			got[name] = answer.Header.Get(name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'sha256-") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %s", path, policy)
		}
	}
}

// The page names nothing outside of itself, and has no handler, style or address in its markup.
func TestPageStandsAlone(t *testing.T) {
	_, s := serve(t, console.Options{Token: config.NewSecret(secret)})
	answer, page := ask(t, "GET", s.URL+"/console", "")
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%s, %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	for what, form := range map[string]string{
		"an address elsewhere": `(?i)(src|href|url)\s*[=(]\s*["']?(https?:)?//`, "a handler in the markup": `(?i)<[^>]+\son[a-z]+\s*=`,
		"a style in the markup": `(?i)<[^>]+\sstyle\s*=`, "a way from text to markup": `innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function`,
	} {
		markup, _, _ := strings.Cut(page, "<script>")
		if what == "a way from text to markup" {
			markup = page
		}
		if found := regexp.MustCompile(form).FindString(markup); found != "" {
			t.Errorf("the page has %s: %s", what, found)
		}
	}
	if strings.Contains(page, "aws-mcp\"") || strings.Contains(page, secret) {
		t.Error("who has not signed in reads something of the gateway")
	}
}

func TestToken(t *testing.T) {
	_, s := serve(t, console.Options{Token: config.NewSecret(secret), Explain: explanation(t)})
	for _, path := range []string{"/console/events", "/console/explain"} {
		method := map[string]string{"/console/events": "GET", "/console/explain": "POST"}[path]
		for name, tt := range map[string]struct {
			headers []string
			status  int
		}{
			"none":              {nil, http.StatusUnauthorized},
			"another":           {[]string{"Authorization", "Bearer " + secret + "x"}, http.StatusUnauthorized},
			"empty":             {[]string{"Authorization", "Bearer "}, http.StatusUnauthorized},
			"basic":             {[]string{"Authorization", "Basic " + secret}, http.StatusUnauthorized},
			"in a cookie":       {[]string{"Cookie", "token=" + secret}, http.StatusUnauthorized},
			"right":             {[]string{"Authorization", "bearer " + secret}, http.StatusOK},
			"right, other site": {[]string{"Authorization", "Bearer " + secret, "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		} {
			answer, _ := ask(t, method, s.URL+path, `{"claims":{"sub":"ann"}}`, append(tt.headers, "Content-Type", "application/json")...)
			if answer.StatusCode != tt.status {
				t.Errorf("%s, %s: %s, want %d", path, name, answer.Status, tt.status)
			}
			if challenge := answer.Header.Get("WWW-Authenticate"); (challenge != "") != (tt.status == http.StatusUnauthorized) {
				t.Errorf("%s, %s: challenge %q", path, name, challenge)
			}
		}
	}
	if answer, body := ask(t, "GET", s.URL+"/console/events?token="+secret, ""); answer.StatusCode != http.StatusUnauthorized || strings.Contains(body, secret) {
		t.Errorf("a token in the URL: %s %s", answer.Status, body)
	}
}

// Without a token nobody gets in who is not on this machine, under a name that only this machine has.
func TestLoopbackAlone(t *testing.T) {
	_, s := serve(t, console.Options{Explain: explanation(t)})
	at := strings.TrimPrefix(s.URL, "http://")
	_, port, _ := strings.Cut(at, ":")
	for name, tt := range map[string]struct {
		headers []string
		status  int
	}{
		"as it is":              {nil, http.StatusOK},
		"localhost":             {[]string{"Host", "localhost:" + port}, http.StatusOK},
		"IPv6":                  {[]string{"Host", "[::1]:" + port}, http.StatusOK},
		"own origin":            {[]string{"Origin", s.URL, "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"rebound name":          {[]string{"Host", "evil.example:" + port, "Origin", "http://evil.example:" + port}, http.StatusForbidden},
		"name like loopback":    {[]string{"Host", "127.0.0.1.evil.example"}, http.StatusForbidden},
		"localhost as a prefix": {[]string{"Host", "localhost.evil.example"}, http.StatusForbidden},
		"other address":         {[]string{"Host", "192.0.2.1:" + port}, http.StatusForbidden},
		"other origin":          {[]string{"Origin", "http://evil.example"}, http.StatusForbidden},
		"other port":            {[]string{"Origin", "http://127.0.0.1:1"}, http.StatusForbidden},
		"opaque origin":         {[]string{"Origin", "null"}, http.StatusForbidden},
		"other site":            {[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"neighbouring site":     {[]string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"through a proxy":       {[]string{"X-Forwarded-For", "192.0.2.7"}, http.StatusForbidden},
	} {
		for _, path := range []string{"/console", "/console/events"} {
			if answer, body := ask(t, "GET", s.URL+path, "", tt.headers...); answer.StatusCode != tt.status {
				t.Errorf("%s, %s: %s %s, want %d", name, path, answer.Status, body, tt.status)
			}
		}
	}
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}
	if answer, _ := ask(t, "GET", s.URL+"/console", "", link...); answer.StatusCode != http.StatusOK {
		t.Errorf("a link that leads to the page: %s", answer.Status)
	}
	if answer, _ := ask(t, "GET", s.URL+"/console/events", "", link...); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a link that leads to the events: %s", answer.Status)
	}

	// A connection that came to another address, or to one that is not known.
	c := console.New(console.Options{Snapshot: func() console.Snapshot { return console.Snapshot{} }})
	r := httptest.NewRequest("GET", "http://localhost/console", nil)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("a connection from nowhere: %d", w.Code)
	}
}

func TestMethods(t *testing.T) {
	_, s := serve(t, console.Options{Explain: explanation(t)})
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"HEAD", "/console", http.StatusOK, ""},
		{"POST", "/console", http.StatusMethodNotAllowed, "GET, HEAD"},
		{"POST", "/console/events", http.StatusMethodNotAllowed, "GET"},
		{"GET", "/console/explain", http.StatusMethodNotAllowed, "POST"},
		{"OPTIONS", "/console/explain", http.StatusMethodNotAllowed, "POST"},
		{"GET", "/console/other", http.StatusNotFound, ""},
		{"GET", "/", http.StatusNotFound, ""},
	} {
		if answer, _ := ask(t, tt.method, s.URL+tt.path, ""); answer.StatusCode != tt.status || answer.Header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %s, Allow %q", tt.method, tt.path, answer.Status, answer.Header.Get("Allow"))
		}
	}
}

func TestExplain(t *testing.T) {
	var claims, call json.RawMessage
	result, fails := `{"outcome":"allowed"}`, error(nil)
	_, s := serve(t, console.Options{Explain: func(ctx context.Context, who, what json.RawMessage) (json.RawMessage, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("an explanation may take for ever")
		}
		claims, call = who, what
		return json.RawMessage(result), fails
	}})
	put := func(body, kind string) (int, string) {
		answer, text := ask(t, "POST", s.URL+"/console/explain", body, "Content-Type", kind)
		return answer.StatusCode, strings.TrimSpace(text)
	}
	// What is asked arrives as it was written.
	if status, text := put(`{"claims":{"sub":"ann","sub":"bob"},"call":{"method": "ping"}}`, "application/json; charset=utf-8"); status != http.StatusOK || text != result {
		t.Errorf("%d %s", status, text)
	}
	if string(claims) != `{"sub":"ann","sub":"bob"}` || string(call) != `{"method": "ping"}` {
		t.Errorf("asked about %s and %s", claims, call)
	}
	if status, _ := put(`{"claims":null}`, "application/json"); status != http.StatusOK || claims != nil || call != nil {
		t.Errorf("%d, asked about %s and %s", status, claims, call)
	}
	for _, tt := range []struct {
		body, kind string
		status     int
	}{
		{`{}`, "text/plain", http.StatusUnsupportedMediaType},
		{`{}`, "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType},
		{`{`, "application/json", http.StatusBadRequest},
		{`{} {}`, "application/json", http.StatusBadRequest},
		{`{"call":"` + strings.Repeat("x", 1<<20) + `"}`, "application/json", http.StatusBadRequest},
	} {
		if status, text := put(tt.body, tt.kind); status != tt.status {
			t.Errorf("%.20s as %s: %d %s", tt.body, tt.kind, status, text)
		}
	}
	fails = errors.New("claims: not an object")
	if status, text := put(`{}`, "application/json"); status != http.StatusUnprocessableEntity || text != `{"error":"claims: not an object"}` {
		t.Errorf("%d %s", status, text)
	}
	result, fails = `{"why":"`+jwt+`"}`, nil
	if status, text := put(`{}`, "application/json"); status != http.StatusUnprocessableEntity || strings.Contains(text, "eyJ") {
		t.Errorf("%d %s", status, text)
	}
}

func TestNoTryOut(t *testing.T) {
	_, s := serve(t, console.Options{})
	if answer, _ := ask(t, "POST", s.URL+"/console/explain", `{}`, "Content-Type", "application/json"); answer.StatusCode != http.StatusNotFound {
		t.Error(answer.Status)
	}
}

// watch reads server-sent events: each as its name, a space and its data.
func watch(t *testing.T, url string) (next func() string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/console/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" || answer.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%s %v", answer.Status, answer.Header)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return func() string {
		t.Helper()
		var name string
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = n
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return name + " " + data
			}
		}
		t.Fatal("no more events:", lines.Err())
		return ""
	}
}

func TestEvents(t *testing.T) {
	c, s := serve(t, console.Options{})
	for range 300 { // more than are kept
		c.Publish([]byte(`{"old":1}`))
	}
	c.Publish([]byte("{\"last\":\r\n1}\n"))
	next := watch(t, s.URL)
	var life struct {
		Proxy   string
		TryOut  bool `json:"try_out"`
		Viewers int
		At      time.Time
	}
	first := next()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(first, "life ")), &life); err != nil || life.Proxy != "toolhive-system/aws-mcp" || life.TryOut || life.Viewers != 1 || life.At.IsZero() {
		t.Errorf("%v: %s", err, first)
	}
	for range 199 {
		if got := next(); got != `record {"old":1}` {
			t.Fatal(got)
		}
	}
	if got := strings.TrimSpace(next()); got != `record {"last":  1}` {
		t.Errorf("%q", got)
	}
	c.Publish([]byte(`{"new":1}`))
	lives := 0
	for got := next(); got != `record {"new":1}`; got = next() {
		if !strings.HasPrefix(got, "life ") {
			t.Fatal(got)
		}
	}
	for lives < 2 {
		if strings.HasPrefix(next(), "life ") {
			lives++
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		token, ip string
		served    bool
	}{
		{"", "127.0.0.1", true},
		{"", "127.8.0.1", true},
		{"", "::1", true},
		{"", "::ffff:127.0.0.1", true},
		{"", "0.0.0.0", false},
		{"", "::", false},
		{"", "10.0.0.1", false},
		{"", "", false},
		{secret, "0.0.0.0", true},
		{secret, "127.0.0.1", true},
	} {
		err := console.Check(config.NewSecret(tt.token), &net.TCPAddr{IP: net.ParseIP(tt.ip), Port: 9090})
		if (err == nil) != tt.served || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%q at %s: %v", tt.token, tt.ip, err)
		}
	}
	if console.Check(config.Secret{}, &net.UnixAddr{Name: "socket"}) == nil {
		t.Error("an address that is not understood is taken for loopback")
	}
}

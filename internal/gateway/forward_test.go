package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/aws"
	trouble "github.com/rolegate/rolegate/internal/fake/stage"
)

// remote changes the path and query of the remote in the documents; the fake then serves any path.
func remote(pathAndQuery string) edit {
	return func(w *fake.World, d string) string {
		return strings.Replace(d, w.RemoteURL(), w.AWS.URL()+pathAndQuery, 1)
	}
}

var anyPath = fake.Options{AWS: aws.Options{Paths: []string{"*"}}}

// What broke signatures in the field. The backend recomputes each from the bytes that arrived, with AWS's own signer.
func TestSignatureHoldsWhateverTheClientSends(t *testing.T) {
	for _, tc := range []struct {
		name    string
		remote  string
		headers map[string]string
		uri     string // as the backend must see it
	}{
		{name: "remote path differs from the client's", remote: "/gateway/v1/mcp", uri: "/gateway/v1/mcp"},
		{name: "remote query", remote: "/mcp?b=2&a=1&a=%20x&c", uri: "/mcp?b=2&a=1&a=%20x&c"},
		{name: "traceparent", headers: map[string]string{"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Baggage": "user=ann"}},
		{name: "forwarded", headers: map[string]string{"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "mcp.example.com", "Forwarded": "for=10.0.0.1", "Via": "1.1 edge"}},
		{name: "connection names a signed header", headers: map[string]string{"Connection": "X-Amz-Date, Content-Type", "X-Amz-Date": "20200101T000000Z"}},
		{name: "client's own AWS headers", headers: map[string]string{"X-Amz-Security-Token": "stolen", "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "X-Amz-Target": "x"}},
		{name: "cookie", headers: map[string]string{"Cookie": "session=1", "Proxy-Authorization": "Basic eDp5"}},
		{name: "accept-encoding", headers: map[string]string{"Accept-Encoding": "gzip, br"}},
		{name: "content type with parameters", headers: map[string]string{"Content-Type": "application/json;  charset=utf-8"}},
		{name: "mcp parameters", headers: map[string]string{"Mcp-Param-Region": "eu-west-1", "Mcp-Method": "initialize"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var edits []edit
			if tc.remote != "" {
				edits = append(edits, remote(tc.remote))
			}
			s := stageWith(t, anyPath, edits...)
			r := s.do(call{user: "ann", body: initialize, headers: tc.headers})
			if r.status != http.StatusOK {
				t.Fatalf("%d %s", r.status, r.body)
			}
			last, _ := s.world.AWS.Last()
			if tc.uri != "" && last.URI != tc.uri {
				t.Errorf("the backend saw %s, want %s", last.URI, tc.uri)
			}
			want := []string{"content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
			if got := last.SignedHeaders; !slices.Equal(slices.Sorted(slices.Values(got)), want) {
				t.Errorf("signed %q, want %q", got, want)
			}
			for _, gone := range []string{"Baggage", "X-Forwarded-For", "Forwarded", "Via", "X-Amz-Target", "Cookie", "Proxy-Authorization"} {
				if last.Header.Get(gone) != "" {
					t.Errorf("the backend saw %s: %s", gone, last.Header.Get(gone))
				}
			}
			if got := last.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("Accept-Encoding %q", got)
			}
			if tp := tc.headers["Traceparent"]; last.Header.Get("Traceparent") != tp {
				t.Errorf("Traceparent %q", last.Header.Get("Traceparent"))
			}
		})
	}
}

func TestSignatureHoldsForBodiesOfEverySize(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	for _, size := range []int{0, 1, 512, 4096, 100 << 10, 1 << 20, 8<<20 - 300} {
		body := rpc("tools/call", fmt.Sprintf(`{"name":"aws___run_script","arguments":{"code":"whoami%s"}}`, strings.Repeat(" ", size)))
		r := s.do(call{user: "ann", session: session, body: body})
		if last, _ := s.world.AWS.Last(); r.status != http.StatusOK || string(last.Body) != body {
			t.Errorf("%d bytes: status %d, the backend saw %d bytes", len(body), r.status, len(last.Body))
		}
	}
	s.do(call{user: "ann", session: session, body: strings.Repeat(" ", 8<<20+1)}).refused(t, http.StatusRequestEntityTooLarge)
}

func TestSmallestBodyIsRefusedNotForwarded(t *testing.T) {
	s := stage(t)
	before := s.world.AWS.Count()
	for _, body := range []string{"", "1", "[]", "{}", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`} {
		s.do(call{user: "ann", body: body}).refused(t, http.StatusBadRequest)
	}
	if n := s.world.AWS.Count() - before; n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

func TestExpiredCredentialsAreRenewedOnce(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.AWS.ExpireCredentials(1)
	before := s.world.AWS.Count()
	r := s.do(call{user: "ann", session: session, body: whoami})
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	all := s.world.AWS.Requests()
	first, second := all[len(all)-2], all[len(all)-1]
	if s.world.AWS.Count()-before != 2 || first.BodyHash != second.BodyHash || first.AccessKeyID == second.AccessKeyID {
		t.Errorf("the same bytes were not sent again with new credentials: %+v %+v", first, second)
	}
	if n := s.world.STS.Count(); n != 2 {
		t.Errorf("%d STS calls", n)
	}
	s.world.AWS.ExpireCredentials(2) // again and again: the answer goes to the client
	if r := s.do(call{user: "ann", session: session, body: whoami}); r.status != http.StatusForbidden || !strings.Contains(r.body, "ExpiredToken") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestRedirects(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.AWS.RedirectPath("/elsewhere/mcp?x=1", 1)
	if r := s.do(call{user: "ann", session: session, body: whoami}); r.status != http.StatusOK {
		t.Errorf("same host: %d %s", r.status, r.body)
	}
	if last, _ := s.world.AWS.Last(); last.URI != "/elsewhere/mcp?x=1" {
		t.Errorf("the backend saw %s", last.URI)
	}
	s.world.AWS.RedirectPath("/mcp", 4)
	s.do(call{user: "ann", session: session, body: whoami}).refused(t, http.StatusBadGateway)
	s.world.AWS.Heal()
	for _, elsewhere := range []string{"http://127.0.0.2:9/mcp", "https://evil.example/mcp", "//evil.example/", "http://user@" + strings.TrimPrefix(s.world.AWS.URL(), "http://")} {
		s.world.AWS.RedirectTo(elsewhere, 1)
		r := s.do(call{user: "ann", session: session, body: whoami})
		r.refused(t, http.StatusBadGateway)
		if r.header.Get("Location") != "" {
			t.Errorf("the client was told to go to %s", r.header.Get("Location"))
		}
	}
	s.world.AWS.Fail(trouble.Trouble{Kind: trouble.Redirect, Status: http.StatusFound, Location: "/mcp", Times: 1})
	s.do(call{user: "ann", session: session, body: whoami}).refused(t, http.StatusBadGateway)
}

func TestASessionOpensForItsOwnerOnly(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	if r := s.do(call{user: "ann", session: session, body: listTools}); r.status != http.StatusOK {
		t.Fatalf("own session: %d", r.status)
	}
	before := s.world.AWS.Count()
	raw := session[strings.LastIndex(session, ".")+1:]
	for name, c := range map[string]call{
		"another user":    {user: "bob", session: session},
		"altered":         {user: "ann", session: session + "x"},
		"altered MAC":     {user: "ann", session: strings.Replace(session, "rg1.", "rg1.A", 1)},
		"the backend's":   {user: "ann", session: raw},
		"made up":         {user: "ann", session: "rg1." + strings.Repeat("A", 43) + "." + raw},
		"another version": {user: "ann", session: strings.Replace(session, "rg1", "rg2", 1)},
	} {
		c.body = listTools
		if message := s.do(c).refused(t, http.StatusNotFound); message != "session not found" {
			t.Errorf("%s: %q", name, message)
		}
	}
	if n := s.world.AWS.Count() - before; n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

func TestBackendSessionLossPassesThrough(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.AWS.DropSessions()
	if r := s.do(call{user: "ann", session: session, body: listTools}); r.status != http.StatusNotFound {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestDeleteEndsTheSession(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	if r := s.do(call{user: "ann", session: session, method: http.MethodDelete}); r.status/100 != 2 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if len(s.world.AWS.Sessions()) != 0 {
		t.Error("the backend still has the session")
	}
}

// event reads the next data line of a stream.
func event(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("read stream: %v", err)
		}
		if data, ok := strings.CutPrefix(line, "data:"); ok && strings.TrimSpace(data) != "" {
			return strings.TrimSpace(data)
		}
	}
}

// stepwise is a remote that sends its second event when the first was read, which is to be told to read.
func stepwise(t *testing.T) (remote http.HandlerFunc, read func()) {
	told := make(chan struct{})
	return func(w http.ResponseWriter, _ *http.Request) {
		events(w, progress)
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Error("the first event is held back")
		}
		events(w, okResult)
	}, sync.OnceFunc(func() { close(told) })
}

func TestEventsArriveOneByOne(t *testing.T) {
	remote, read := stepwise(t)
	s := stage(t, behind(t, remote))
	resp := s.begin(t.Context(), http.DefaultClient, call{user: "ann", body: rpc("tools/call", `{"name":"x"}`)})
	if resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Error("no X-Accel-Buffering: no")
	}
	oneByOne(t, resp, read)
}

func oneByOne(t *testing.T, resp *http.Response, read func()) {
	t.Helper()
	r := bufio.NewReader(resp.Body)
	if first := event(t, r); first != progress {
		t.Errorf("first event %s", first)
	}
	read()
	if second := event(t, r); second != okResult {
		t.Errorf("second event %s", second)
	}
}

func TestListeningStreamAndResumption(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	listen := func(lastEvent string) (*bufio.Reader, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		c := call{user: "ann", session: session, method: http.MethodGet}
		if lastEvent != "" {
			c.headers = map[string]string{"Last-Event-ID": lastEvent}
		}
		resp, err := http.DefaultClient.Do(s.request(ctx, c))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("GET: %d", resp.StatusCode)
		}
		return bufio.NewReader(resp.Body), func() { cancel(); _ = resp.Body.Close() }
	}
	r, leave := listen("")
	s.world.AWS.Announce()
	id := ""
	for line := ""; !strings.Contains(line, "list_changed"); {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if v, ok := strings.CutPrefix(line, "id:"); ok {
			id = strings.TrimSpace(v)
		}
	}
	leave()
	eventually(t, "the backend notices", func() bool { last, _ := s.world.AWS.Last(); return last.Done })
	s.world.AWS.Announce() // while nobody listens
	r, leave = listen(id)
	defer leave()
	if e := event(t, r); !strings.Contains(e, "list_changed") {
		t.Errorf("the missed event did not come: %s", e)
	}
}

func TestHangingUpReachesTheBackend(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(s.request(ctx, call{user: "ann", session: session, body: rpc("tools/call", `{"name":"aws___run_script","arguments":{"code":"hang"}}`)}))
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		done <- err
	}()
	eventually(t, "the script runs", func() bool { return s.world.AWS.Running() == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	eventually(t, "the backend's request ends", func() bool { last, _ := s.world.AWS.Last(); return last.Aborted })
	eventually(t, "the log says so", func() bool { return strings.Contains(s.log.String(), `"decision":"aborted"`) })
}

func TestBrokenAnswerIsNotPassedOffAsWhole(t *testing.T) {
	s := stage(t)
	session := s.open("ann")
	s.world.AWS.Fail(trouble.Trouble{Kind: trouble.Cut, Times: 1})
	body := `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"stream:3"},"_meta":{"progressToken":"p"}}}`
	resp, err := http.DefaultClient.Do(s.request(t.Context(), call{user: "ann", session: session, body: body}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err = io.ReadAll(resp.Body); err == nil {
		t.Error("the client read a clean end")
	}
	eventually(t, "the log says so", func() bool { return strings.Contains(s.log.String(), `"decision":"bad_upstream"`) })
}

// Connections to the backend are kept: two idle ones for each host, net/http's default, mean a handshake for most calls.
func TestConnectionsToTheBackendAreReused(t *testing.T) {
	s := stage(t, spec("limits: {maxStreamsPerCaller: 200}"))
	session := s.open("ann")
	const slow = `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"stream:1:50ms"}}}`
	for range 3 {
		var all sync.WaitGroup
		for id := range 40 {
			all.Go(func() {
				if r := s.do(call{user: "ann", session: session, body: fmt.Sprintf(slow, id)}); r.status != http.StatusOK {
					t.Errorf("%d %s", r.status, r.body)
				}
			})
		}
		all.Wait()
	}
	opened := map[string]bool{}
	for _, r := range s.world.AWS.Requests() {
		opened[r.RemoteAddr] = true
	}
	if n := len(opened); n > 60 {
		t.Errorf("%d connections were opened for 3 times 40 calls", n)
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	s := stage(t, spec(`allowedOrigins: ["https://inspector.example"]`))
	for origin, status := range map[string]int{
		"https://inspector.example": 200, "HTTPS://Inspector.example": 200, "https://evil.example": 403, "null": 403, "http://localhost:8080": 403,
	} {
		if r := s.do(call{user: "ann", body: initialize, headers: map[string]string{"Origin": origin}}); r.status != status {
			t.Errorf("%s: %d", origin, r.status)
		}
	}
	r := s.do(call{method: http.MethodOptions, headers: map[string]string{"Origin": "https://inspector.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, mcp-param-region"}})
	if r.status != http.StatusNoContent || !strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "mcp-param-region") {
		t.Errorf("preflight: %d %v", r.status, r.header)
	}
	if r := s.do(call{method: http.MethodOptions, headers: map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}}); r.status != http.StatusForbidden {
		t.Errorf("foreign preflight: %d", r.status)
	}
}

func TestDefaultOriginIsTheResource(t *testing.T) {
	s := stage(t)
	if r := s.do(call{user: "ann", body: initialize, headers: map[string]string{"Origin": "http://localhost:8080"}}); r.status != http.StatusOK {
		t.Errorf("%d", r.status)
	}
}

// TestAnswersAreKeptForNobodyElse: what was answered to one caller no cache may give to another.
func TestAnswersAreKeptForNobodyElse(t *testing.T) {
	for sent, want := range map[string]string{
		"public, max-age=600": "private", "S-MaxAge=5": "private", "max-age=5, must-revalidate": "private",
		"no-cache, no-store, must-revalidate": "private, no-store, no-cache", "max-age=0, must-revalidate": "private, max-age=0",
		"no-store": "no-store", "no-cache, no-transform": "no-cache, no-transform", "private, max-age=9": "private, max-age=9",
	} {
		s := stage(t, behind(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", sent)
			answerJSON(w, okResult)
		}))
		if got := s.do(call{user: "ann", body: rpc("ping", "{}")}).header.Get("Cache-Control"); got != want {
			t.Errorf("%s becomes %q, want %q", sent, got, want)
		}
	}
}

func TestSlowBodyEnds(t *testing.T) {
	s := stage(t, spec("limits: {bodyTimeout: 300ms}"))
	for name, token := range map[string]string{"with a token": s.world.Token("ann"), "without": "none"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(s.url, "/mcp"), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", token)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("%s: the connection was held open: %v", name, err)
		}
		_ = conn.Close()
	}
}

func TestACallerHoldsOnlySoManyStreams(t *testing.T) {
	s := stage(t, spec("limits: {maxStreamsPerCaller: 2}"))
	session := s.open("ann")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for id := range 2 {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":"open %d","method":"tools/call","params":{"name":"aws___run_script","arguments":{"code":"stream:100:100ms"},"_meta":{"progressToken":"p"}}}`, id)
		resp, err := http.DefaultClient.Do(s.request(ctx, call{user: "ann", session: session, body: body}))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
	}
	r := s.do(call{user: "ann", session: session, body: listTools})
	r.refused(t, http.StatusTooManyRequests)
	if r.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	if r := s.do(call{user: "bob", body: initialize}); r.status != http.StatusOK {
		t.Errorf("another caller: %d", r.status)
	}
	cancel()
	eventually(t, "the caller gets in again", func() bool {
		return s.do(call{user: "ann", session: session, body: listTools}).status == http.StatusOK
	})
}

// A client that stops reading must not hold a connection to the backend for ever.
func TestAClientThatStopsReadingIsLetGo(t *testing.T) {
	s := stage(t, spec("limits: {writeTimeout: 300ms}"), behind(t, func(w http.ResponseWriter, _ *http.Request) {
		for piece := make([]byte, 1<<20); ; { // more than any socket buffers
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	conn := s.dial()
	write(t, conn, s.postHead("ann")+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(listTools), listTools))
	eventually(t, "the request ends", func() bool { return strings.Contains(s.log.String(), "limits.writeTimeout") })
}

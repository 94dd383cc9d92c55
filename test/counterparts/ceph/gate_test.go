package ceph_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// setup is how a gateway differs from the tutorial's.
type setup struct {
	remote   string            // URL of the backend
	sts      string            // default the recorder's
	service  string            // in the signature; default the tutorial's
	issuer   *issuer           // default the one of the stand
	audience string            // default the tutorial's
	duration int               // seconds; 0 for the default
	mappings map[string]string // more of them: group to role ARN
}

// serve starts rolegate with the documents of steps 3 and 4.
func (s *stand) serve(o setup) *lab.Gate {
	s.t.Helper()
	auth := s.reader.fill(s.page.section("Step 3").files("yaml")["aws-sts-auth-config.yaml"])
	proxy := s.reader.fill(s.page.section("Step 4").files("yaml")["aws-mcp-remote-proxy.yaml"])
	var more strings.Builder
	priority := 20
	for group, arn := range sorted(o.mappings) {
		fmt.Fprintf(&more, "      - claim: %s\n        roleArn: %s\n        priority: %d\n", group, arn, priority)
		priority++
	}
	auth = strings.TrimRight(auth, "\n") + "\n" + more.String()
	if o.duration != 0 {
		auth += fmt.Sprintf("    sessionDuration: %d\n", o.duration)
	}
	if o.service != "" {
		auth = s.swap(auth, "service: aws-mcp", "service: "+o.service)
	}
	if o.issuer != nil {
		proxy = s.swap(proxy, s.issuer.URL(), o.issuer.URL())
	}
	proxy = s.swap(proxy, "https://aws-mcp.us-east-1.api.aws/mcp", o.remote)
	line := "      audience: "
	proxy = s.swap(proxy, line+audience+"\n", line+cmp.Or(o.audience, audience)+"\n      insecureAllowHTTP: true\n")
	return lab.Serve(s.t, auth+"---\n"+proxy, "", []string{"AWS_ENDPOINT_URL_STS=" + cmp.Or(o.sts, s.recorder.url)})
}

// swap replaces a text that must be there, once.
func (s *stand) swap(text, old, with string) string {
	s.t.Helper()
	if strings.Count(text, old) != 1 {
		s.t.Fatalf("%q is there %d times, not once, in\n%s", old, strings.Count(text, old), text)
	}
	return strings.Replace(text, old, with, 1)
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// post sends a message to a gateway.
func post(t *testing.T, g *lab.Gate, token string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL, strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// refusal is what a client should get.
type refusal struct {
	status, rpc int
	words       string
	later       string // Retry-After
	challenge   string // in WWW-Authenticate
}

// The refusals of the exchange.
var (
	denied  = refusal{status: 403, rpc: -32003, words: "AWS does not lend the role to this caller"}
	setting = refusal{status: 500, rpc: -32603, words: "AWS STS does not accept the gateway's settings"}
	odd     = refusal{status: 502, rpc: -32000, words: "AWS STS gave an answer that can't be used"}
	gone    = refusal{status: 503, rpc: -32000, words: "AWS STS can't be reached for now", later: "2"}
)

// refused wants an answer to be a refusal, and to tell nothing that is not the client's business.
func (a answer) refused(t *testing.T, want refusal) {
	t.Helper()
	var m struct {
		JSONRPC string
		ID      int
		Error   struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &m); err != nil || m.JSONRPC != "2.0" || m.ID != 7 {
		t.Errorf("not an answer to the message: %v, %s", err, a.body)
	}
	got := refusal{a.status, m.Error.Code, m.Error.Message, a.header.Get("Retry-After"), a.header.Get("WWW-Authenticate")}
	if got != want {
		t.Errorf("got %+v; it should be %+v", got, want)
	}
	if media := a.header.Get("Content-Type"); media != "application/json" {
		t.Errorf("Content-Type %s", media)
	}
	for _, secret := range []string{"arn:aws", "127.0.0.1", "AccessDenied", "eyJ"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("the answer tells %q: %s", secret, a.body)
		}
	}
}

// says waits until a gateway's log says something: it does so after the answer.
func says(t *testing.T, g *lab.Gate, what string) {
	t.Helper()
	lab.Eventually(t, "the log says "+what, func() bool { return strings.Contains(g.Log.String(), what) })
}

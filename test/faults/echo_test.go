package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// echoed is what the tool "echo" gets and gives back, with whose credentials the call was signed.
type echoed struct {
	Nonce   string `json:"nonce"`
	Pad     string `json:"pad"`
	Subject string `json:"subject,omitempty"` // of the token that the credentials were lent for
	Role    string `json:"role,omitempty"`
}

// placeEcho is place with users of one's own and a remote that has the tool, and forgets no request.
func placeEcho(t *testing.T, users []idp.User, edits ...edit) *stand {
	t.Helper()
	var vault atomic.Pointer[sts.Server]
	o := fake.Options{Users: users, AWS: aws.Options{Keep: 100_000}}
	o.AWS.Configure = func(m *mcp.Server) {
		mcp.AddTool(m, &mcp.Tool{Name: "echo", Description: "Gives back what it got."},
			func(_ context.Context, r *mcp.CallToolRequest, in echoed) (*mcp.CallToolResult, echoed, error) {
				lent, _ := vault.Load().Lookup(accessKey(r.Extra.Header)) // it signed: it was lent
				in.Subject, in.Role = lent.Subject, lent.RoleARN
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Nonce}}}, in, nil
			})
	}
	s := place(t, o, edits...)
	vault.Store(s.world.STS)
	return s
}

// quick is a remote that answers calls of the tool by itself, without MCP around it: it looks who signed, not whether the
// signature holds. It leaves one in eight, and all else, to the remote that verifies.
type quick struct {
	world *fake.World
	count atomic.Int64

	mu   sync.Mutex
	seen []aws.Request
}

// mostlyQuick puts a quick remote before the other one.
func (s *stand) mostlyQuick() *stand {
	s.quick = &quick{world: s.world}
	server := httptest.NewServer(s.quick)
	s.t.Cleanup(server.Close)
	s.aws.lead(server.URL)
	return s
}

func (q *quick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var m struct {
		ID     json.RawMessage
		Params struct {
			Name      string
			Arguments echoed
		}
	}
	n := q.count.Add(1)
	if json.Unmarshal(body, &m) != nil || m.Params.Name != "echo" || n%8 == 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
		q.world.AWS.ServeHTTP(w, r)
		return
	}
	lent, ok := q.world.STS.Lookup(accessKey(r.Header))
	if !ok || lent.SessionToken != r.Header.Get("X-Amz-Security-Token") {
		http.Error(w, "not lent", http.StatusForbidden)
		return
	}
	q.mu.Lock()
	q.seen = append(q.seen, aws.Request{Body: body, AccessKeyID: lent.AccessKeyID})
	q.mu.Unlock()
	out := m.Params.Arguments
	out.Subject, out.Role = lent.Subject, lent.RoleARN
	result, _ := json.Marshal(out) // strings marshal
	form := `{"jsonrpc":"2.0","id":%s,"result":{"structuredContent":%s}}`
	if w.Header().Set("Content-Type", "application/json"); n%2 == 0 {
		w.Header().Set("Content-Type", "text/event-stream")
		form = "data: " + form + "\n\n"
	}
	_, _ = fmt.Fprintf(w, form, m.ID, result) // a client that is gone misses nothing
}

// requests are those that it answered by itself.
func (q *quick) requests() []aws.Request {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.seen
}

// accessKey is the id of the key that signed.
func accessKey(h http.Header) string {
	_, rest, _ := strings.Cut(h.Get("Authorization"), "Credential=")
	id, _, _ := strings.Cut(rest, "/")
	return id
}

// member is a user of the load, and what the remote must see of them.
type member struct {
	name  string
	roles []string // one for each variant of the documents
}

// members make users in three groups, some with names that look alike, and more.
func members(n int) (all []member, users []idp.User) {
	long := strings.Repeat("urn:example:subject:", 10)
	names := []string{"ann|1", "ann/1", "ann-1", "ann 1", "Ann|1", "ANN-1", "müller", "muller", "m-ller", long + "a", long + "b"}
	for i := len(names); i < n; i++ {
		names = append(names, fmt.Sprintf("user-%03d", i))
	}
	for i, name := range names {
		switch i % 3 {
		case 0:
			all = append(all, member{name, []string{fake.S3Role, fake.AdminRole}})
			users = append(users, idp.User{Name: name, Claims: idp.Claims{"groups": []string{"s3-readers"}}})
		case 1:
			all = append(all, member{name, []string{fake.AdminRole, fake.S3Role}})
			users = append(users, idp.User{Name: name, Claims: idp.Claims{"groups": []string{"admins"}, "org": "engineering"}})
		default:
			all = append(all, member{name, []string{fake.DefaultRole, fake.DefaultRole}})
			users = append(users, idp.User{Name: name})
		}
	}
	return all, users
}

// swapRoles gives each group the other's role.
func swapRoles(documents string) string {
	return strings.NewReplacer(fake.S3Role, fake.AdminRole, fake.AdminRole, fake.S3Role).Replace(documents)
}

// nonce names a request and whose it is: "<index of the member>.<anything>".
func nonce(who int, rest ...any) string {
	return strconv.Itoa(who) + "." + strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintln(rest...), " ", "."), "\n")
}

// ofNonce finds a nonce in a body, and whose it is; -1 for none.
func ofNonce(body []byte) (found string, who int) {
	_, rest, ok := strings.Cut(string(body), `"nonce":"`)
	if !ok {
		return "", -1
	}
	found, _, _ = strings.Cut(rest, `"`)
	index, _, _ := strings.Cut(found, ".")
	who, err := strconv.Atoi(index)
	if err != nil {
		return "", -1
	}
	return found, who
}

// pad is text of a length and of content that nobody else has.
func pad(r *rand.Rand, most int) string {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return string(b)
}

// echoCall is a call of the tool.
func echoCall(token, nonce, pad string) call {
	arguments, _ := json.Marshal(echoed{Nonce: nonce, Pad: pad}) // strings marshal
	return tool(token, "echo", string(arguments))
}

// mine checks that an answer with status 200 is the one to this very call: its id, what it sent, who sent it.
func mine(a answer, c call, who member, nonce, pad string) error {
	m, err := a.message()
	if err != nil {
		return err
	}
	if string(m.ID) != strconv.Quote(c.id) {
		return fmt.Errorf("call %s got the answer to %s", c.id, m.ID)
	}
	var result struct{ StructuredContent echoed }
	if err := json.Unmarshal(m.Result, &result); err != nil {
		return fmt.Errorf("read result %s: %w", m.Result, err)
	}
	got := result.StructuredContent
	switch {
	case got.Nonce != nonce || got.Pad != pad:
		return fmt.Errorf("call %s of %q got what %q sent", nonce, who.name, got.Nonce)
	case got.Subject != who.name:
		return fmt.Errorf("call %s of %q was signed with the credentials of %q", nonce, who.name, got.Subject)
	case got.Role != who.roles[0] && got.Role != who.roles[1]:
		return fmt.Errorf("call %s of %q was made in role %s", nonce, who.name, got.Role)
	}
	return nil
}

// signedByTheirOwn goes through all that the remote got: whatever carries a nonce was signed with credentials that were
// lent for the token of that very caller, under a session name that is nobody else's and within no session but theirs. It
// gives how often it saw each.
func (s *stand) signedByTheirOwn(all []member) (seen map[string]int) {
	s.t.Helper()
	seen = map[string]int{}
	owner, sessions := map[string]string{}, s.world.AWS.Sessions()
	for _, r := range append(s.world.AWS.Requests(), s.quick.requests()...) {
		found, who := ofNonce(r.Body)
		if who < 0 {
			continue
		}
		seen[found]++
		lent, ok := s.world.STS.Lookup(r.AccessKeyID)
		switch {
		case !ok:
			s.t.Errorf("request %s was signed with %q, which was never lent (%s)", found, r.AccessKeyID, r.Why)
		case lent.Subject != all[who].name:
			s.t.Errorf("request %s of %q was signed with the credentials of %q", found, all[who].name, lent.Subject)
		}
		if was, ok := owner[lent.SessionName]; ok && was != lent.Subject {
			s.t.Errorf("session name %q is of both %q and %q", lent.SessionName, was, lent.Subject)
		}
		owner[lent.SessionName] = lent.Subject
		if id := r.Header.Get("Mcp-Session-Id"); id != "" && sessions[id] != lent.RoleID+":"+lent.SessionName {
			s.t.Errorf("request %s of %q reached the remote with a session of %s", found, all[who].name, sessions[id])
		}
		if r.Code == "SignatureDoesNotMatch" || r.Code == "UnrecognizedClientException" || r.Code == "IncompleteSignatureException" {
			s.t.Errorf("request %s: %s: %s", found, r.Code, r.Why)
		}
	}
	return seen
}

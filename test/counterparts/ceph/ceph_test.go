package ceph_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/sts"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// The keys of the issuers, by kid.
const (
	registered = "registered" // the provider has the thumbprint of its certificate
	unknown    = "unknown"    // published, and not known to the provider: as after a rotation
)

func role(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// stand is an account at Ceph as the tutorial leaves it after step 2, and roles of this test besides.
type stand struct {
	t        *testing.T
	ceph     *cluster
	issuer   *issuer
	stranger *issuer // not registered
	reader   *reader
	recorder *recorder
	page     page
}

// TestTutorialOnCeph follows the tutorial with Ceph for AWS. One cluster serves it all, and the parts build upon each
// other.
func TestTutorialOnCeph(t *testing.T) {
	lab.Need(t)
	s := &stand{t: t, page: tutorial(t), issuer: newIssuer(t, registered, unknown), stranger: newIssuer(t, registered)}
	cli(t) // before anything is started
	s.ceph = newCluster(t)
	s.reader, s.recorder = newReader(t, s.issuer, s.ceph.url), newRecorder(t, s.ceph.url)
	for _, part := range []struct {
		name string
		run  func(*stand, *testing.T)
	}{
		{"steps 1 and 2", (*stand).steps},
		{"roles and session names", (*stand).roles},
		{"lent credentials", (*stand).lent},
		{"rolegate's signature at S3", (*stand).signature},
		{"refusals", (*stand).refusals},
		{"refusals as they come", (*stand).unwrapped},
		{"clean up", (*stand).cleanUp},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			s := *s
			reader, page := *s.reader, s.page
			reader.t, page.t = t, t
			s.t, s.reader, s.page = t, &reader, page
			part.run(&s, t)
		}) {
			return
		}
	}
}

// steps types steps 1 and 2, and looks at what is there then.
func (s *stand) steps(t *testing.T) {
	s.reader.save(s.page.section("Step 2"))
	if said := s.reader.enter(s.page.section("Step 1")); !strings.Contains(said, s.provider()) {
		t.Errorf("step 1 says\n%s\nwithout %s", said, s.provider())
	}
	if there := s.reader.sh(administrator, s.getProvider()); !strings.Contains(there, audience) {
		t.Errorf("the provider is\n%s\nwithout %s", there, audience)
	}
	said := s.reader.enter(s.page.section("Step 2"))
	for _, name := range []string{"DefaultMCPRole", "S3ReadOnlyMCPRole"} {
		if !strings.Contains(said, role(name)) {
			t.Errorf("step 2 says\n%s\nwithout %s", said, role(name))
		}
	}
	policies := s.reader.sh(administrator, "aws iam list-role-policies --role-name S3ReadOnlyMCPRole; aws iam list-role-policies --role-name DefaultMCPRole")
	for _, name := range []string{"S3ReadOnlyMCPPolicy", "DefaultMCPPolicy"} {
		if !strings.Contains(policies, name) {
			t.Errorf("no %s in\n%s", name, policies)
		}
	}
	s.ownRoles()
}

// provider is the ARN of the provider of step 1.
func (s *stand) provider() string {
	return "arn:aws:iam::" + account + ":oidc-provider/" + s.issuer.bare()
}

// getProvider is the command that shows the provider. Ceph fails to list providers where there are none.
func (s *stand) getProvider() string {
	return "aws iam get-open-id-connect-provider --open-id-connect-provider-arn " + s.provider()
}

// ownRoles makes the roles that the tutorial has not: what the lent credentials are tried with, and who is refused.
func (s *stand) ownRoles() {
	s.t.Helper()
	files := s.page.section("Step 2").files("json")
	trust := s.reader.fill(files["default-mcp-trust-policy.json"])
	var denies, wide struct {
		Version   string
		Statement []map[string]any
	}
	if err := json.Unmarshal([]byte(files["default-mcp-permissions.json"]), &denies); err != nil {
		s.t.Fatal(err)
	}
	wide.Version, wide.Statement = denies.Version, []map[string]any{{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
	s.write("wide.json", wide)
	wide.Statement = append(wide.Statement, denies.Statement...)
	s.write("guarded.json", wide)
	lab.Write(s.t, s.reader.dir, "unguarded.json", s.swap(s.read("guarded.json"), "BoolIfExists", "Bool"))
	save := func(name, old, with string) {
		if old != "" && !strings.Contains(trust, old) {
			s.t.Fatalf("no %q in the trust policy", old)
		}
		lab.Write(s.t, s.reader.dir, name, s.reader.withoutSpaces(strings.ReplaceAll(trust, old, with)))
	}
	save("other-audience.json", `"`+audience+`"`, `"another-audience"`)
	save("stranger.json", s.issuer.bare(), s.stranger.bare())
	save("unregistered-audience.json", `"`+audience+`"`, `"unregistered-audience"`)
	s.reader.sh(administrator, `
create() { aws iam create-role --role-name $1 --assume-role-policy-document file://$2; }
allow() { aws iam put-role-policy --role-name $1 --policy-name P --policy-document file://$2; }
create WideRole default-mcp-trust-policy.json
allow WideRole wide.json
create GuardedRole default-mcp-trust-policy.json
allow GuardedRole guarded.json
create UnguardedRole default-mcp-trust-policy.json
allow UnguardedRole unguarded.json
create OtherAudienceRole other-audience.json
create StrangerRole stranger.json
create UnregisteredAudienceRole unregistered-audience.json`)
}

func (s *stand) write(name string, v any) {
	s.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	lab.Write(s.t, s.reader.dir, name, string(text))
}

func (s *stand) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.reader.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// roles: the group decides the role at STS, and the subject the session name.
func (s *stand) roles(t *testing.T) {
	judge := lab.NewJudge(t, "", s.recorder)
	g := s.serve(setup{remote: judge.URL() + "/mcp"})
	long := strings.Repeat("urn:example:", 25) // 300 characters
	readers := []string{"developers", "s3-readers"}
	tests := []struct {
		subject string
		groups  any
		role    string
		name    string // what the session name begins with; with a hash of the subject where it is not the subject
	}{
		{"ann", readers, "S3ReadOnlyMCPRole", "ann"},
		{"eve", nil, "DefaultMCPRole", "eve"},
		{"bob", []string{"admins"}, "DefaultMCPRole", "bob"},
		{"ann=1,2.3@example.com_x-y", "s3-readers", "S3ReadOnlyMCPRole", "ann=1,2.3@example.com_x-y"},
		{"auth0|x", readers, "S3ReadOnlyMCPRole", "auth0-x-"},
		{"auth0-x", readers, "S3ReadOnlyMCPRole", "auth0-x"},
		{long, nil, "DefaultMCPRole", "urn-example-urn-example-"},
		{"Zoë Å", readers, "S3ReadOnlyMCPRole", "Zo--"},
		{"x", readers, "S3ReadOnlyMCPRole", "x-"},
	}
	for _, test := range tests {
		token := s.issuer.token(registered, idp.Claims{"sub": test.subject, "groups": test.groups})
		s.recorder.take()
		for range 3 {
			if a := post(t, g, token); a.status != 200 {
				t.Fatalf("%s: %d %s", test.subject, a.status, a.body)
			}
		}
		calls := s.recorder.take()
		if len(calls) != 1 {
			t.Fatalf("%s: %d calls of STS for three requests: %+v", test.subject, len(calls), calls)
		}
		call := calls[0]
		want := asked{RoleARN: role(test.role), SessionName: call.SessionName, Duration: 3600, Status: 200, AccessKeyID: call.AccessKeyID}
		if diff := cmp.Diff(want, call); diff != "" {
			t.Errorf("%s: at STS (-want +got):\n%s", test.subject, diff)
		}
		checkName(t, test.subject, test.name, call.SessionName)
		lent, _ := s.recorder.Lookup(call.AccessKeyID)
		if arn := "arn:aws:sts::" + account + ":assumed-role/" + test.role + "/" + call.SessionName; lent.AssumedRoleARN != arn || lent.Subject != test.subject {
			t.Errorf("%s: Ceph lent %s to %s; it should be %s", test.subject, lent.AssumedRoleARN, lent.Subject, arn)
		}
		requests := judge.Requests()
		if last := requests[len(requests)-1]; last.RoleARN != role(test.role) || last.SessionName != call.SessionName || last.Status != 200 {
			t.Errorf("%s: the backend saw %s %s: %d %s", test.subject, last.RoleARN, last.SessionName, last.Status, last.Why)
		}
	}
}

var legal = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)

// checkName wants a legal subject unchanged, and of another one a legal name that ends in its hash.
func checkName(t *testing.T, subject, begins, got string) {
	t.Helper()
	sum := sha256.Sum256([]byte(subject))
	switch {
	case !legal.MatchString(got), !strings.HasPrefix(got, begins):
		t.Errorf("%s: session name %q; it should be legal and begin with %q", subject, got, begins)
	case begins == subject && got != subject:
		t.Errorf("session name %q; it should be %q", got, subject)
	case begins != subject && !strings.HasSuffix(got, hex.EncodeToString(sum[:8])):
		t.Errorf("%s: session name %q does not end in the subject's hash", subject, got)
	}
}

// borrow gets credentials of a role through rolegate, as Ceph lent them.
func (s *stand) borrow(g *lab.Gate, subject, group string) sts.Issued {
	s.t.Helper()
	s.recorder.take()
	if a := post(s.t, g, s.issuer.token(registered, idp.Claims{"sub": subject, "groups": []string{group}})); a.status != 200 {
		s.t.Fatalf("%s: %d %s", group, a.status, a.body)
	}
	calls := s.recorder.take()
	if len(calls) != 1 {
		s.t.Fatalf("%s: calls of STS %+v", group, calls)
	}
	lent, _ := s.recorder.Lookup(calls[0].AccessKeyID)
	return lent
}

// lent: the credentials that rolegate got are good at Ceph's S3, and the tutorial's guardrail makes them worth nothing
// there: no call of S3 came through an AWS MCP server, so the condition key is absent.
func (s *stand) lent(t *testing.T) {
	g := s.serve(setup{remote: lab.NewJudge(t, "", s.recorder).URL() + "/mcp", mappings: map[string]string{"wide": role("WideRole"), "guarded": role("GuardedRole"), "unguarded": role("UnguardedRole")}})
	of := func(i sts.Issued) keys { return keys{i.AccessKeyID, i.SecretAccessKey, i.SessionToken} }
	wide := of(s.borrow(g, "ann", "wide"))
	if out := s.reader.sh(wide, "aws s3 mb s3://"+bucket+" && aws s3 ls"); !strings.Contains(out, bucket) {
		t.Errorf("aws s3 ls with lent credentials:\n%s", out)
	}
	spoiled := func(change func(*keys)) keys {
		k := wide
		change(&k)
		return k
	}
	for name, test := range map[string]struct {
		as   keys
		code string
	}{
		"guardrail":          {of(s.borrow(g, "ann", "guarded")), "AccessDenied"},
		"the tutorial's S3":  {of(s.borrow(g, "ann", "s3-readers")), "AccessDenied"},
		"the default role":   {of(s.borrow(g, "ann", "nothing")), "AccessDenied"},
		"a wrong secret":     {spoiled(func(k *keys) { k.secret += "x" }), "SignatureDoesNotMatch"},
		"no session token":   {spoiled(func(k *keys) { k.session = "" }), "AccessDenied"},
		"another access key": {spoiled(func(k *keys) { k.id = "A" + k.id }), "AccessDenied"},
	} {
		if status, text := s.buckets(test.as); status != http.StatusForbidden || !strings.Contains(text, "<Code>"+test.code+"</Code>") {
			t.Errorf("%s: %d %s; it should be %s", name, status, text, test.code)
		}
	}
	// Without IfExists an absent key makes the condition false, so nothing is denied: it is the IfExists that guards.
	for name, as := range map[string]keys{"wide": wide, "unguarded": of(s.borrow(g, "ann", "unguarded"))} {
		if status, text := s.buckets(as); status != http.StatusOK || !strings.Contains(text, "<Name>"+bucket+"</Name>") {
			t.Errorf("%s: the bucket is not listed: %d %s", name, status, text)
		}
	}
}

// buckets is the call of `aws s3 ls`, signed by the AWS SDK. The AWS CLI itself can't show Ceph's refusals: their
// messages are empty, and it stumbles over that.
func (s *stand) buckets(as keys) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.ceph.url+"/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // the hash of no body
	r.Header.Set("X-Amz-Content-Sha256", empty)
	credentials := aws.Credentials{AccessKeyID: as.id, SecretAccessKey: as.secret, SessionToken: as.session}
	if err := v4.NewSigner().SignHTTP(s.t.Context(), credentials, r, empty, "s3", "us-east-1", time.Now()); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// bucket is what the lent credentials make.
const bucket = "made-with-lent-credentials"

// signature: Ceph's S3 stands for the remote, so that what rolegate signs is judged by Ceph. The message is not the XML
// that Ceph wants there, but it reads it only after it has taken the signature and asked the role's policy. A signature
// that it does not take is SignatureDoesNotMatch (see lent).
func (s *stand) signature(t *testing.T) {
	g := s.serve(setup{
		remote: s.ceph.url + "/" + bucket + "?delete", service: "s3",
		mappings: map[string]string{"wide": role("WideRole"), "guarded": role("GuardedRole")},
	})
	ask := func(group string) answer {
		return post(t, g, s.issuer.token(registered, idp.Claims{"groups": []string{group}, "sub": "ann"}))
	}
	const read = "not well-formed (invalid token)" // in the log, of Ceph's XML parser
	if a := ask("guarded"); a.status != http.StatusForbidden || !strings.Contains(a.body, "<Code>AccessDenied</Code>") {
		t.Errorf("guarded: %d %s; it should be AccessDenied", a.status, a.body)
	}
	if a := ask("wide"); a.status != http.StatusBadRequest {
		t.Errorf("wide: %d %s; it should be 400", a.status, a.body)
	}
	lab.Eventually(t, "Ceph reads the message", func() bool { return strings.Contains(s.ceph.gateway.Log.String(), read) })
	if n := strings.Count(s.ceph.gateway.Log.String(), read); n != 1 {
		t.Errorf("Ceph has read %d messages; one role may send them", n)
	}
}

// cleanUp types the tutorial's clean-up. Who comes after it is refused; who has credentials notices nothing, not even
// that STS goes away. It ends the cluster's gateway.
func (s *stand) cleanUp(t *testing.T) {
	remote := lab.NewJudge(t, "", s.recorder).URL() + "/mcp"
	g, direct := s.serve(setup{remote: remote}), s.serve(setup{remote: remote, sts: s.ceph.url})
	early := s.issuer.token(registered, idp.Claims{"sub": "early"})
	served := func(when string) {
		t.Helper()
		if a := post(t, g, early); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", when, a.status, a.body)
		}
	}
	served("before the clean-up")
	s.reader.enter(s.page.section("Clean up"))
	s.reader.sh(administrator, "if "+s.getProvider()+"; then exit 9; fi")
	left := s.reader.sh(administrator, "aws iam list-roles")
	for _, name := range []string{"DefaultMCPRole", "S3ReadOnlyMCPRole"} {
		if strings.Contains(left, role(name)+`"`) {
			t.Errorf("%s is left:\n%s", name, left)
		}
	}
	if !strings.Contains(left, role("WideRole")+`"`) {
		t.Errorf("the list does not show what is left:\n%s", left)
	}
	served("after the clean-up")
	s.recorder.take()
	post(t, g, s.issuer.token(registered, idp.Claims{"sub": "late"})).refused(t, denied)
	if calls := s.recorder.take(); len(calls) != 1 || calls[0].Code != "AccessDenied" {
		t.Errorf("calls of STS: %+v", calls)
	}

	s.ceph.gateway.Stop()
	post(t, direct, s.issuer.token(registered, idp.Claims{"sub": "ann"})).refused(t, gone)
	says(t, direct, "the STS endpoint of us-east-1 can't be reached")
	served("while STS is away")
}

// sorted gives a map's entries in order.
func sorted(m map[string]string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

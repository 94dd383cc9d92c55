package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
)

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

const refused = "" // no role, so 403

// TestExamples: each document of examples/ is in order without a warning, and served, with issuer, audience and remote
// of a world, gives the roles that its comments speak of.
func TestExamples(t *testing.T) {
	type visit struct {
		claims idp.Claims
		role   string
	}
	uuid := "6b0a1d5e-9c3f-4f0e-8d57-3e1b2a4c6f70"
	visits := map[string][]visit{
		"aws.yaml": {
			{idp.Claims{"sub": "ann", "groups": []string{"developers", "s3-readers"}}, fake.S3Role},
			{idp.Claims{"sub": "eve"}, fake.DefaultRole},
		},
		"keycloak.yaml": {
			{idp.Claims{"sub": uuid, "preferred_username": "ann", "realm_access": idp.Claims{"roles": []string{"offline_access", "aws-s3-reader"}}}, fake.S3Role},
			{idp.Claims{"sub": uuid, "preferred_username": "bob", "realm_access": idp.Claims{"roles": []string{"aws-s3-reader", "aws-admin"}}}, fake.AdminRole},
			{idp.Claims{"sub": uuid, "preferred_username": "eve", "realm_access": idp.Claims{"roles": []string{"offline_access"}}, "groups": []string{"aws-admin"}}, refused},
		},
		"entra.yaml": {
			{idp.Claims{"sub": "pairwise-1", "oid": uuid, "roles": []string{"S3.Read"}}, fake.S3Role},
			{idp.Claims{"sub": "pairwise-2", "oid": uuid, "groups": []string{uuid}}, fake.DefaultRole},
		},
		"okta.yaml": {
			{idp.Claims{"sub": "ann@example.com", "groups": []string{"Everyone", "aws-s3-readers"}}, fake.S3Role},
			{idp.Claims{"sub": "bob@example.com", "groups": []string{"aws-s3-readers", "aws-admins"}}, fake.AdminRole},
			{idp.Claims{"sub": "eve@example.com", "groups": []string{"Everyone"}}, fake.DefaultRole},
		},
		"matcher.yaml": {
			{idp.Claims{"sub": "bob", "groups": []string{"admins"}, "org": "engineering"}, fake.AdminRole},
			{idp.Claims{"sub": "mallory", "groups": []string{"admins"}, "org": "sales"}, fake.DefaultRole},
			{idp.Claims{"sub": "ann", "email": "ann@data.example.com", "email_verified": true}, fake.S3Role},
			{idp.Claims{"sub": "fake-ann", "email": "ann@data.example.com", "email_verified": false}, fake.DefaultRole},
			{idp.Claims{"sub": "dora", "groups": []string{"staff", "data-science"}}, fake.S3Role},
			{idp.Claims{"sub": "eve"}, fake.DefaultRole},
		},
	}
	files, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	if err != nil || len(files) != len(visits) {
		t.Fatalf("%d examples, %d with visits, %v", len(files), len(visits), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command("rolegate", "check", "-f", file).Output()
			if err != nil || len(out) > 0 {
				t.Fatalf("check: %v\n%s", err, out)
			}
			w := newWorld(t)
			g := serve(t, w, moved(t, w, readFile(t, file)))
			for _, v := range visits[filepath.Base(file)] {
				c := &client{url: g.endpoint, token: w.IDP.Mint(v.claims)}
				if v.role == refused {
					if _, err := c.call(t.Context(), "initialize", `{}`); err == nil || !strings.Contains(err.Error(), "403") {
						t.Errorf("%v: %v; it should be 403", v.claims, err)
					}
					continue
				}
				wantRoleOf(t, c, v.role)
			}
		})
	}
}

// moved puts an example into a world: its issuer, audience and remote.
func moved(t *testing.T, w *fake.World, documents string) string {
	t.Helper()
	for pattern, value := range map[string]string{
		`(?m)^( +issuer: ).*$`:           "${1}" + w.IDP.URL() + "\n      insecureAllowHTTP: true",
		`(?m)^( +audience: ).*$`:         "${1}" + fake.Audience,
		`(?m)^( +remoteU(?:RL|rl): ).*$`: "${1}" + w.RemoteURL(),
	} {
		re := regexp.MustCompile(pattern)
		if len(re.FindAllString(documents, -1)) != 1 {
			t.Fatalf("%s: not once in\n%s", pattern, documents)
		}
		documents = re.ReplaceAllString(documents, value)
	}
	return documents
}

package fake_test

import (
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/idp"
)

func world(t *testing.T) *fake.World {
	t.Helper()
	w, err := fake.NewWorld(fake.Options{IDP: idp.Options{Algs: []jose.SignatureAlgorithm{jose.ES256}}, Port: 18080})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestEveryUserCanAssumeEveryRole(t *testing.T) {
	w := world(t)
	key, url, _ := strings.Cut(w.Env()[0], "=")
	if key != "AWS_ENDPOINT_URL_STS" {
		t.Fatalf("environment %v", w.Env())
	}
	c := sdk.New(sdk.Options{Region: fake.Region, BaseEndpoint: &url, Credentials: awssdk.AnonymousCredentials{}})
	assume := func(role, token string) error {
		_, err := c.AssumeRoleWithWebIdentity(t.Context(), &sdk.AssumeRoleWithWebIdentityInput{
			RoleArn: &role, RoleSessionName: awssdk.String("somebody"), WebIdentityToken: &token,
		})
		return err
	}
	if d := cmp.Diff([]string{"ann", "bob", "eve"}, w.UserNames()); d != "" {
		t.Error(d)
	}
	for _, user := range w.UserNames() {
		for _, role := range []string{fake.DefaultRole, fake.S3Role, fake.AdminRole} {
			if err := assume(role, w.Token(user)); err != nil {
				t.Errorf("%s as %s: %v", user, role, err)
			}
		}
	}
	if err := assume(fake.DefaultRole, w.ExpiredToken("ann")); err == nil || !strings.Contains(err.Error(), "ExpiredTokenException") {
		t.Errorf("expired: %v", err)
	}
}

func TestDocumentsAreYAML(t *testing.T) {
	w := world(t)
	var got []map[string]any
	d := yaml.NewDecoder(strings.NewReader(w.Documents()))
	for {
		var doc map[string]any
		if d.Decode(&doc) != nil {
			break
		}
		got = append(got, doc)
	}
	if len(got) != 2 {
		t.Fatalf("%d documents in\n%s", len(got), w.Documents())
	}
	sts := got[0]["spec"].(map[string]any)["awsSts"].(map[string]any)
	want := map[string]any{
		"region": "us-east-1", "service": "aws-mcp", "fallbackRoleArn": fake.DefaultRole,
		"roleMappings": []any{
			map[string]any{"claim": "s3-readers", "roleArn": fake.S3Role, "priority": 10},
			map[string]any{"matcher": `"admins" in claims["groups"] && claims["org"] == "engineering"`, "roleArn": fake.AdminRole, "priority": 1},
		},
	}
	if diff := cmp.Diff(want, sts); diff != "" {
		t.Error(diff)
	}
	proxy := got[1]["spec"].(map[string]any)
	if proxy["remoteURL"] != w.RemoteURL() || proxy["proxyPort"] != 18080 {
		t.Errorf("proxy %v", proxy)
	}
	oidc := map[string]any{
		"type": "inline", "resourceUrl": "http://localhost:18080/mcp",
		"inline": map[string]any{"issuer": w.IDP.URL(), "audience": fake.Audience, "insecureAllowHTTP": true},
	}
	if diff := cmp.Diff(oidc, proxy["oidcConfig"]); diff != "" {
		t.Error(diff)
	}
}

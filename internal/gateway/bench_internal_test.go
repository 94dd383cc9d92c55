package gateway

import (
	"strings"
	"testing"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/telemetry"
)

// BenchmarkSession is what a session costs a request: seal on the way out, open on the way in.
func BenchmarkSession(b *testing.B) {
	binder := binder{key: newSessionKey(), resource: "toolhive-system/aws-mcp-proxy"}
	const arn = "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole"
	ann, id := caller("https://idp.example.com", "auth0|5f7c8ec7c33c6c004bbafe82"), strings.Repeat("s", 36)
	sealed := binder.seal(ann, arn, id)
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			binder.seal(ann, arn, id)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := binder.open(ann, arn, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChoose is the role of a known token, from its memo, and of a new one.
func BenchmarkChoose(b *testing.B) {
	cfg := &config.Proxy{AWSSTS: &config.AWSSTS{
		Region: "us-east-1", RoleClaim: "groups", SessionNameClaim: "sub", SessionDuration: new(int32(3600)),
		FallbackRoleArn: "arn:aws:iam::123456789012:role/DefaultMCPRole",
		RoleMappings: []config.RoleMapping{
			{Matcher: `"admins" in claims["groups"]`, RoleArn: "arn:aws:iam::123456789012:role/AdminMCPRole", Priority: new(int32(1))},
			{Claim: "s3-readers", RoleArn: "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole", Priority: new(int32(10))},
		},
	}}
	chooser, problems := newChooser(cfg)
	if err := problems.Err(); err != nil {
		b.Fatal(err)
	}
	g := &Gateway{House: NewHouse(nil, telemetry.NewMetrics("test", "test")), cfg: cfg, chooser: chooser}
	ann := caller("https://idp.example.com", "ann")
	ann.Subject.Claims = map[string]any{"sub": "ann", "groups": []any{"s3-readers", "developers"}}
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := g.choose(ann); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if made := g.newChoice(ann); made.err != nil {
				b.Fatal(made.err)
			}
		}
	})
}

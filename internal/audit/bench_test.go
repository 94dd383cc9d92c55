package audit_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
	"github.com/rolegate/rolegate/internal/mcp"
	"github.com/rolegate/rolegate/internal/role"
	"github.com/rolegate/rolegate/internal/sts"
	"github.com/rolegate/rolegate/internal/token"
)

// BenchmarkLog is the record of one allowed call, formatted and thrown away.
func BenchmarkLog(b *testing.B) {
	start := time.Now()
	ev := &audit.Event{
		Start: start, End: start.Add(5 * time.Millisecond), ID: "MFRGGZDFMZTWQ2LKNNWG23TPOB", HTTPMethod: "POST", Path: "/mcp", RemoteAddr: "10.0.0.1:54321",
		Caller: &token.Caller{Issuer: "https://idp.example.com", Subject: token.Subject{ID: "auth0|5f7c8ec7c33c6c004bbafe82"}},
		Call:   &mcp.Call{Method: "tools/call", Target: "aws___run_script"},
		Role:   role.Choice{RoleARN: "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole", Reason: `mapping 0: claim "s3-readers" in groups`},
		Grant:  sts.Grant{SessionName: "ann@example.com"}, STS: sts.Hit, Status: 200, Bytes: 1024, AWSRequestID: "7a62c49f-347e-4fc4-9331-6e8e47a5d1a7",
	}
	for name, handler := range map[string]slog.Handler{"text": slog.NewTextHandler(io.Discard, nil), "json": slog.NewJSONHandler(io.Discard, nil)} {
		b.Run(name, func(b *testing.B) {
			log := slog.New(handler)
			b.ReportAllocs()
			for b.Loop() {
				ev.Log(b.Context(), log)
			}
		})
	}
}

// BenchmarkRecord is what the record of one allowed call costs: to make it, to encode it, and to hand it over.
func BenchmarkRecord(b *testing.B) {
	for name, a := range map[string]config.Audit{
		"plain": {}, "chained": {TamperEvident: true}, "claims": {Claims: []string{"email", "groups"}},
	} {
		b.Run(name, func(b *testing.B) {
			a.OnFull, a.QueueSize = "block", 4096
			book := open(b, audit.Options{Stdout: io.Discard, Settings: a})
			o, ev := options(a), allowed()
			b.ReportAllocs()
			for b.Loop() {
				r := ev.Record(o)
				book.Write(b.Context(), &r)
			}
			b.StopTimer()
			shut(b, book)
		})
	}
}

// BenchmarkArguments is what recording arguments costs.
func BenchmarkArguments(b *testing.B) {
	params := `{"name":"aws___run_script","arguments":{"script":"` + strings.Repeat("print(1);", 50) + `","region":"us-east-1","api_key":"x","n":[1,2,3]}}`
	c, err := message("tools/call", params)
	if err != nil {
		b.Fatal(err)
	}
	o := options(config.Audit{IncludeRequestData: true})
	ev := &audit.Event{Call: c}
	b.ReportAllocs()
	for b.Loop() {
		o.Read(ev)
	}
}

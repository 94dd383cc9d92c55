package audit

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// Listing is one time that the gateway listed the remote's tools for itself, with the credentials of a request's caller.
type Listing struct {
	For           *Event   // the request that began it; what is read of it no longer changes after policy was asked
	AWSRequestIDs []string // of the answers, one for each page that has one
	Pages, Tools  int      // that could be had
	Changed       bool     // the remote said meanwhile that its tools have changed
	Duration      time.Duration
	Err           error // nil: the list is whole
}

// Log writes it as one line. What a listing is for, and what it costs, its request's own line and record do not tell.
func (l *Listing) Log(ctx context.Context, log *slog.Logger) {
	level, words := slog.LevelInfo, "the remote's tools were listed for policies that read their annotations"
	if l.Err != nil {
		level, words = slog.LevelWarn, "the remote's tools can't be listed, and policies read their annotations"
	}
	attrs := []slog.Attr{slog.String(telemetry.KeyRequestID, l.For.ID)}
	if c := l.For.Caller; c != nil {
		attrs = append(attrs, slog.String(telemetry.KeyCaller, bounded(c.Subject.ID, subjectLimit)), slog.String(telemetry.KeyIssuer, c.Issuer))
	}
	if l.For.Role.RoleARN != "" {
		attrs = append(attrs, slog.String(telemetry.KeyRole, l.For.Role.RoleARN), slog.String(telemetry.KeySessionName, l.For.Grant.SessionName))
	}
	attrs = append(attrs, slog.Int(telemetry.KeyTools, l.Tools), slog.Int(telemetry.KeyPages, l.Pages))
	if len(l.AWSRequestIDs) > 0 {
		attrs = append(attrs, slog.String(telemetry.KeyAWSRequest, bounded(strings.Join(l.AWSRequestIDs, ", "), storyLimit)))
	}
	attrs = append(attrs, slog.Float64(telemetry.KeyDuration, float64(l.Duration.Microseconds())/1000))
	if l.Err != nil {
		attrs = append(attrs, slog.String(telemetry.KeyError, bounded(l.Err.Error(), storyLimit)),
			slog.String(telemetry.KeyHint, "an older list does for 15 minutes; without one, calls that annotations could forbid are refused"))
	}
	log.LogAttrs(ctx, level, words, attrs...)
}

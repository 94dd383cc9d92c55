package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/audit"
)

func found(t testing.TB, trail *audit.Trail, all ...audit.Record) string {
	t.Helper()
	var ids []string
	for _, r := range all {
		r.Schema = audit.Schema
		trail.Line(r.AppendJSON(nil))
	}
	for _, r := range trail.Records {
		ids = append(ids, r.RequestID)
	}
	return strings.Join(ids, " ")
}

func TestTrailFinds(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 16, minute, 0, 0, time.UTC) }
	all := []audit.Record{
		{RequestID: "1", Caller: "ann", Time: at(1)},
		{RequestID: "2", Caller: "bob", Time: at(2), TraceID: "0af7651916cd43dd8448eb211c80319c"},
		{RequestID: "3", Caller: "00u1", Time: at(3), Claims: []byte(`{"email":"Ann@example.com"}`)},
		{RequestID: "4", Caller: "00u2", Time: at(4), Claims: []byte(`{"preferred_username":["ann"],"upn":"bob@example.com"}`)},
		{RequestID: "5", Time: at(5)},
		{RequestID: "6", Caller: "ann", Time: at(6)},
		{RequestID: "7", Caller: "eve", Time: at(7), Issuer: "https://a"},
		{RequestID: "8", Caller: "eve", Time: at(8), Issuer: "https://b"},
		{RequestID: "9", Caller: "00u9", Time: at(9), Issuer: "https://b", Claims: []byte(`{"email":"eve"}`)},
	}
	for _, tt := range []struct {
		name  string
		trail audit.Trail
		want  string
	}{
		{"by subject", audit.Trail{User: "ann"}, "1 6"},
		{"a subject is exact", audit.Trail{User: "Ann"}, ""},
		{"by e-mail address", audit.Trail{User: "ann@example.com"}, "3"},
		{"by user name", audit.Trail{User: "bob@example.com"}, "4"},
		{"by request", audit.Trail{Request: "2"}, "2"},
		{"by trace", audit.Trail{Request: "0af7651916cd43dd8448eb211c80319c"}, "2"},
		{"from", audit.Trail{User: "ann", From: at(2)}, "6"},
		{"to", audit.Trail{User: "ann", To: at(6)}, "1"},
		{"from and to, at their limits", audit.Trail{User: "ann", From: at(6), To: at(7)}, "6"},
		{"of any issuer", audit.Trail{User: "eve"}, "7 8 9"},
		{"of one issuer", audit.Trail{User: "eve", Issuer: "https://b"}, "8 9"},
		{"of another issuer", audit.Trail{User: "eve", Issuer: "https://b/"}, ""},
		{"nobody", audit.Trail{}, ""},
	} {
		if got := found(t, &tt.trail, all...); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	several := audit.Trail{User: "eve"}
	found(t, &several, all...)
	if diff := cmp.Diff([]string{"https://a", "https://b"}, several.Issuers()); diff != "" {
		t.Error(diff)
	}
	trail := audit.Trail{User: "ann"}
	for _, line := range []string{"", "x", `{"caller":"ann"}`, `{"schema":"other/v1","caller":"ann"}`, `["rolegate.audit/v1"]`} {
		trail.Line([]byte(line))
	}
	if len(trail.Records) != 0 || trail.Foreign != 5 {
		t.Errorf("%+v", trail)
	}
}

// A gap is of the time from its first record's arrival to the end of the next that was kept.
func TestGaps(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 16, minute, 0, 0, time.UTC) }
	gap := func(minute int, n int64) audit.Record {
		return audit.Record{Type: audit.TypeDropped, Time: at(minute), Dropped: n}
	}
	all := []audit.Record{
		{Time: at(1)}, gap(2, 10), gap(3, 1), {Time: at(1), DurationMS: 4 * 60_000}, // two of two processes, before a long request's end
		gap(6, 7), {Time: at(4)}, // the next one's clock is another
		{Type: audit.TypeContinued, Time: at(8)}, gap(9, 2),
	}
	four := []audit.Gap{{at(2), at(5), 10}, {at(3), at(5), 1}, {at(6), at(6), 7}, {From: at(9), Records: 2}}
	for _, tt := range []struct {
		name     string
		from, to time.Time
		want     []audit.Gap
	}{
		{"any time", time.Time{}, time.Time{}, four},
		{"from within a gap", at(4), time.Time{}, four},
		{"from after two", at(6), time.Time{}, four[2:]},
		{"to the beginning of the second", time.Time{}, at(3), four[:1]},
		{"between", at(7), at(9), nil},
		{"long after", at(59), time.Time{}, four[3:]},
	} {
		trail := audit.Trail{User: "ann", From: tt.from, To: tt.to}
		if found(t, &trail, all...) != "" || trail.Foreign > 0 {
			t.Errorf("%s: found %+v", tt.name, trail.Records)
		}
		if diff := cmp.Diff(tt.want, trail.Missing()); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestCloudTrailQueries(t *testing.T) {
	r := allowed().Record(options(config.Audit{}))
	again := r
	again.Time, again.STSRequestID, again.AWSRequestID = r.Time.Add(time.Hour), "", "8b62c49f-347e-4fc4-9331-6e8e47a5d1a7"
	again.AssumedRole, again.AccessKeyID, again.Region = "", "ASIAEXAMPLE12345678R", "" // as if STS had not told
	elsewhere := r
	elsewhere.Region = "us-gov-west-1"
	refused := audit.Record{Caller: "auth0|ann", Time: r.Time.Add(-24 * time.Hour)}
	trail := audit.Trail{User: "auth0|ann"}
	if got := found(t, &trail, refused, r, again, elsewhere, r); len(trail.Records) != 5 {
		t.Fatal(got)
	}
	want := audit.CloudTrail{
		Actions: `SELECT eventTime, eventSource, eventName, awsRegion, requestID, errorCode, userIdentity.arn, userIdentity.accessKeyId
FROM EVENT_DATA_STORE_ID
WHERE eventTime >= '2026-11-21 15:59:00' AND eventTime <= '2026-11-21 17:05:01'
  AND (userIdentity.arn IN ('arn:aws:sts::123456789012:assumed-role/Readers/ann@example.com')
    OR userIdentity.accessKeyId IN ('ASIAEXAMPLE12345678Q', 'ASIAEXAMPLE12345678R')
    OR requestID IN ('7a62c49f-347e-4fc4-9331-6e8e47a5d1a7', '8b62c49f-347e-4fc4-9331-6e8e47a5d1a7'))
ORDER BY eventTime`,
		Credentials: `SELECT eventTime, eventSource, eventName, awsRegion, requestID, errorCode, element_at(requestParameters, 'roleArn') AS roleArn, element_at(requestParameters, 'roleSessionName') AS roleSessionName
FROM EVENT_DATA_STORE_ID
WHERE eventTime >= '2026-11-21 03:59:00' AND eventTime <= '2026-11-21 17:05:01'
  AND eventSource = 'sts.amazonaws.com' AND eventName = 'AssumeRoleWithWebIdentity' AND requestID IN ('11111111-2222-3333-4444-555555555555')
ORDER BY eventTime`,
		Lookup: []string{
			"aws cloudtrail lookup-events --region eu-west-1 --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=ASIAEXAMPLE12345678Q --start-time 2026-11-21T15:59:00Z --end-time 2026-11-21T17:05:00Z",
			"aws cloudtrail lookup-events --region us-gov-west-1 --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=ASIAEXAMPLE12345678Q --start-time 2026-11-21T15:59:00Z --end-time 2026-11-21T17:05:00Z",
			"aws cloudtrail lookup-events --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=ASIAEXAMPLE12345678R --start-time 2026-11-21T15:59:00Z --end-time 2026-11-21T17:05:00Z",
		},
	}
	if diff := cmp.Diff(want, trail.CloudTrail("")); diff != "" {
		t.Error(diff)
	}
	const store = "0123abcd-0123-4567-89ab-0123456789ab"
	if got := trail.CloudTrail(store).Actions; !strings.Contains(got, "\nFROM "+store+"\n") {
		t.Error(got)
	}
	if got := trail.CloudTrail("x; DROP TABLE y -- 0123456789abcdefgh"); got.Actions != want.Actions {
		t.Error(got)
	}
	denied := audit.Trail{User: "auth0|ann"}
	found(t, &denied, refused)
	if diff := cmp.Diff(audit.CloudTrail{}, denied.CloudTrail("")); diff != "" {
		t.Errorf("queries for what never reached AWS: %s", diff)
	}
}

// FuzzCloudTrail: whatever a log file says in the places that a query is made from, the query has the structure of an
// ordinary one, its strings are of the form that AWS gives, and the commands are one word after another.
func FuzzCloudTrail(f *testing.F) {
	f.Add("ann", "ASIAEXAMPLE12345678Q", "arn:aws:sts::123456789012:assumed-role/R/ann", "11111111-2222", "arn:aws:iam::123456789012:role/x'y/R", "ann")
	f.Add("x' OR '1'='1", "A'; --", "' UNION SELECT", "\n", "arn:aws:iam::1:role/'", "a'b")
	f.Add("\\'", "ASIAEXAMPLE12345678Q'", "arn:aws:sts::123456789012:assumed-role/R/'--", "1111'1111", "arn:aws:iam::123456789012:role/R", "o''o")
	f.Fuzz(func(t *testing.T, user, key, assumed, request, arn, session string) {
		trail := audit.Trail{User: user}
		trail.Records = []audit.Record{{
			Schema: audit.Schema, Caller: user, Time: time.Unix(1e9, 0), AccessKeyID: key, AssumedRole: assumed,
			STSRequestID: request, AWSRequestID: request, Role: arn, SessionName: session, Region: session, Target: user,
		}}
		ct := trail.CloudTrail("")
		for _, q := range []string{ct.Actions, ct.Credentials} {
			for i, part := range strings.Split(q, "'") {
				if i%2 == 1 { // within quotes
					if strings.ContainsFunc(part, func(r rune) bool {
						return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@:/ -", r)
					}) {
						t.Fatalf("%q in %s", part, q)
					}
				} else if strings.ContainsAny(part, ";\"\\") || strings.Contains(part, "--") {
					t.Fatalf("%q in %s", part, q)
				}
			}
			if strings.Count(q, "'")%2 != 0 || strings.Count(q, "SELECT") > 1 && !strings.Contains(assumed+arn+session, "SELECT") {
				t.Fatal(q)
			}
		}
		for _, c := range ct.Lookup {
			if strings.ContainsAny(c, "'\"`$;&|<>\\\n(){}*?!#~") {
				t.Fatal(c)
			}
		}
	})
}

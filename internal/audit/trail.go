package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Trail is what is looked for in log files, and what was found. Nothing, or a user or a request, is required; the times
// are optional.
type Trail struct {
	User    string    // the caller's sub, or the e-mail address or user name among the recorded claims
	Issuer  string    // of the caller's token, where two issuers have the same User; "": any
	Request string    // the request's id, or the trace's
	From    time.Time // inclusive
	To      time.Time // exclusive

	Records []Record          // that match, in the order of the files
	Lines   []json.RawMessage // the same as they stand there
	Foreign int               // lines that are not records

	gaps []Gap // all of them
}

// Gap is where records are missing that there was no room for: some of them may be among those that are looked for.
type Gap struct {
	From    time.Time `json:"from"`        // when the request of the earliest of them began
	To      time.Time `json:"to,omitzero"` // when the first record after them was handed over; zero where none comes
	Records int64     `json:"records"`
}

// Line looks at a line of a file.
func (t *Trail) Line(line []byte) {
	var r Record
	if json.Unmarshal(line, &r) != nil || !strings.HasPrefix(r.Schema, "rolegate.audit/") {
		t.Foreign++
		return
	}
	if r.Type == TypeDropped {
		t.gaps = append(t.gaps, Gap{From: r.Time, Records: r.Dropped})
		return
	}
	for i := len(t.gaps) - 1; i >= 0 && t.gaps[i].To.IsZero(); i-- {
		t.gaps[i].To = later(t.gaps[i].From, r.end())
	}
	if t.matches(&r) {
		t.Records, t.Lines = append(t.Records, r), append(t.Lines, bytes.Clone(line))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// end is when the request was over.
func (r *Record) end() time.Time {
	return r.Time.Add(time.Duration(r.DurationMS * float64(time.Millisecond)))
}

// Missing are the gaps that reach into the time that is looked at, in the order of the files.
func (t *Trail) Missing() []Gap {
	var all []Gap
	for _, g := range t.gaps {
		if (t.From.IsZero() || g.To.IsZero() || !g.To.Before(t.From)) && (t.To.IsZero() || g.From.Before(t.To)) {
			all = append(all, g)
		}
	}
	return all
}

func (t *Trail) matches(r *Record) bool {
	if !t.From.IsZero() && r.Time.Before(t.From) || !t.To.IsZero() && !r.Time.Before(t.To) {
		return false
	}
	if t.Request != "" {
		return r.RequestID == t.Request || r.TraceID == t.Request
	}
	return (t.Issuer == "" || r.Issuer == t.Issuer) && (r.Caller == t.User && r.Caller != "" || t.known(r.Claims))
}

// Issuers are those of the records that were found, in order, each once. A user of several may be several people: a sub is
// unique within its issuer only.
func (t *Trail) Issuers() []string {
	var all []string
	for i := range t.Records {
		if r := &t.Records[i]; r.Caller != "" && !slices.Contains(all, r.Issuer) {
			all = append(all, r.Issuer)
		}
	}
	return all
}

// known tells whether the recorded claims name the user as people do.
func (t *Trail) known(claims json.RawMessage) bool {
	var names struct {
		Email    any `json:"email"`
		Username any `json:"preferred_username"`
		UPN      any `json:"upn"`
	}
	if len(claims) == 0 || json.Unmarshal(claims, &names) != nil {
		return false
	}
	for _, v := range []any{names.Email, names.Username, names.UPN} {
		if s, ok := v.(string); ok && strings.EqualFold(s, t.User) {
			return true
		}
	}
	return false
}

// CloudTrail is how the same actions are found at AWS.
type CloudTrail struct {
	// Actions is a query of CloudTrail Lake for what was done with the credentials that were lent; "" where none were.
	Actions string `json:"actions,omitempty"`
	// Credentials is a query of CloudTrail Lake for the calls of STS that the credentials come from.
	Credentials string `json:"credentials,omitempty"`
	// Lookup are commands that ask CloudTrail's event history, for those who have no event data store. It is another one in
	// each region: they ask that of the record.
	Lookup []string `json:"lookup,omitempty"`
	// Odd are values of the records that no query holds, because AWS does not make such ones.
	Odd []string `json:"odd,omitempty"`
}

// Clocks differ, and an action may go on after the answer: this much before and after the records is looked at.
const (
	slackBefore = time.Minute
	slackAfter  = 5 * time.Minute
	longestRole = 12 * time.Hour // an IAM role's longest session
)

// The forms of what a query holds. Whatever a log file says in these places is compared with them first, and quoted
// besides: the caller chooses some of it.
var (
	keyForm     = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
	assumedForm = regexp.MustCompile(`^arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/[\w+=,.@-]{1,64}/[\w+=,.@-]{2,64}$`)
	roleForm    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/(?:[\x21-\x7e]{1,510}/)?[\w+=,.@-]{1,64}$`)
	sessionForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	requestForm = regexp.MustCompile(`^[A-Za-z0-9-]{8,64}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}$`)
	storeForm   = regexp.MustCompile(`^[0-9a-fA-F-]{36}$`)
)

// StorePlaceholder stands where the id of an event data store has to be filled in.
const StorePlaceholder = "EVENT_DATA_STORE_ID"

// GoodStore tells whether an id can be that of an event data store: the last part of its ARN.
func GoodStore(id string) bool { return storeForm.MatchString(id) }

// CloudTrail makes the queries for the records that were found. The store is the id of an event data store, "" for a
// placeholder.
func (t *Trail) CloudTrail(store string) CloudTrail {
	if !GoodStore(store) {
		store = StorePlaceholder
	}
	var out CloudTrail
	var keys, assumed, calls, grants, places []string
	var from, to time.Time
	for i := range t.Records {
		r := &t.Records[i]
		if r.AccessKeyID == "" && r.AssumedRole == "" && r.STSRequestID == "" {
			continue
		}
		end := r.end()
		if from.IsZero() || r.Time.Before(from) {
			from = r.Time
		}
		if end.After(to) {
			to = end
		}
		out.take(&keys, r.AccessKeyID, keyForm)
		out.take(&places, r.Region, regionForm)
		out.take(&assumed, assumedRole(r), assumedForm)
		out.take(&calls, r.AWSRequestID, requestForm)
		out.take(&grants, r.STSRequestID, requestForm)
	}
	if from.IsZero() {
		return out
	}
	from, to = from.Add(-slackBefore), to.Add(slackAfter)
	// Services that act for the session keep its ARN, but not its access key.
	if where := either([]string{in("userIdentity.arn", assumed), in("userIdentity.accessKeyId", keys), in("requestID", calls)}); where != "" {
		out.Actions = query(store, "userIdentity.arn, userIdentity.accessKeyId", from, to, where)
	}
	if where := in("requestID", grants); where != "" {
		out.Credentials = query(store, "element_at(requestParameters, 'roleArn') AS roleArn, element_at(requestParameters, 'roleSessionName') AS roleSessionName",
			from.Add(-longestRole), to, "eventSource = 'sts.amazonaws.com' AND eventName = 'AssumeRoleWithWebIdentity' AND "+where)
	}
	for _, asked := range t.lookups(keys, places) {
		out.Lookup = append(out.Lookup, fmt.Sprintf("aws cloudtrail lookup-events%s --start-time %s --end-time %s",
			asked, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)))
	}
	return out
}

// lookups are the options of a command for each access key in each region that it was used for.
func (t *Trail) lookups(keys, places []string) []string {
	var all []string
	for _, key := range keys {
		for i := range t.Records {
			r := &t.Records[i]
			if r.AccessKeyID != key {
				continue
			}
			asked := " --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=" + key
			if slices.Contains(places, r.Region) { // an older record has none
				asked = " --region " + r.Region + asked
			}
			if !slices.Contains(all, asked) {
				all = append(all, asked)
			}
		}
	}
	return all
}

// take adds a value once, if it has the form.
func (c *CloudTrail) take(to *[]string, value string, form *regexp.Regexp) {
	switch {
	case value == "" || slices.Contains(*to, value):
	case form.MatchString(value):
		*to = append(*to, value)
	case !slices.Contains(c.Odd, value):
		c.Odd = append(c.Odd, value)
	}
}

// assumedRole is the ARN that CloudTrail has for the session: what STS gave, or else what it makes of role and session
// name, where the role's path is not part of it.
func assumedRole(r *Record) string {
	if r.AssumedRole != "" || !roleForm.MatchString(r.Role) || !sessionForm.MatchString(r.SessionName) {
		return r.AssumedRole
	}
	parts := strings.SplitN(r.Role, ":", 6) // arn, partition, iam, "", account, role/path/name
	return strings.Join([]string{parts[0], parts[1], "sts", "", parts[4], "assumed-role"}, ":") + r.Role[strings.LastIndexByte(r.Role, '/'):] + "/" + r.SessionName
}

// query is a query of CloudTrail Lake. Times are in UTC there, and written without a zone.
func query(store, columns string, from, to time.Time, where string) string {
	const form = "2006-01-02 15:04:05"
	return fmt.Sprintf("SELECT eventTime, eventSource, eventName, awsRegion, requestID, errorCode, %s\nFROM %s\nWHERE eventTime >= %s AND eventTime <= %s\n  AND %s\nORDER BY eventTime",
		columns, store, sqlText(from.UTC().Format(form)), sqlText(to.UTC().Truncate(time.Second).Add(time.Second).Format(form)), where)
}

// in is a condition on a column, "" where there are no values.
func in(column string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = sqlText(v)
	}
	return column + " IN (" + strings.Join(quoted, ", ") + ")"
}

func either(conditions []string) string {
	conditions = slices.DeleteFunc(conditions, func(c string) bool { return c == "" })
	if len(conditions) == 0 {
		return ""
	}
	return "(" + strings.Join(conditions, "\n    OR ") + ")"
}

// sqlText is a string of Trino's SQL, in which a quote is doubled and nothing else has a meaning.
func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

package audit

import (
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Line gives the record as JSON and a line break to use, in memory that is another record's afterwards.
func (r *Record) Line(use func(line []byte)) {
	buf := lines.Get().(*[]byte)
	*buf = append(r.AppendJSON((*buf)[:0]), '\n')
	use(*buf)
	if cap(*buf) <= mostLine {
		lines.Put(buf)
	}
}

var lines = sync.Pool{New: func() any { return new(make([]byte, 0, 2048)) }}

const mostLine = 64 << 10 // of memory that is kept

// AppendJSON appends the record as one line of JSON, without the line break, its members in the order of the fields.
// Text that is not UTF-8 becomes U+FFFD where it is not.
func (r *Record) AppendJSON(b []byte) []byte {
	b = append(b, `{"schema":`...)
	b = quoted(b, r.Schema)
	b = append(b, `,"time":"`...)
	b = moment(b, r.Time)
	b = append(b, `","type":`...)
	b = quoted(b, r.Type)
	b = append(b, `,"outcome":`...)
	b = quoted(b, r.Outcome)
	b = r.appendWho(b)
	b = r.appendWhat(b)
	b = r.appendAWS(b)
	b = r.appendAnswer(b)
	if r.Seq > 0 {
		b = append(b, `,"seq":`...)
		b = strconv.AppendUint(b, r.Seq, 10)
	}
	b = text(b, `,"prev":`, r.Prev)
	b = text(b, `,"hash":`, r.Hash)
	return append(b, '}')
}

func (r *Record) appendWho(b []byte) []byte {
	b = text(b, `,"component":`, r.Component)
	b = text(b, `,"request_id":`, r.RequestID)
	b = text(b, `,"trace_id":`, r.TraceID)
	b = text(b, `,"span_id":`, r.SpanID)
	b = text(b, `,"remote_addr":`, r.RemoteAddr)
	b = text(b, `,"source":`, r.Source)
	b = text(b, `,"user_agent":`, r.UserAgent)
	b = text(b, `,"client_name":`, r.ClientName)
	b = text(b, `,"client_version":`, r.ClientVersion)
	b = text(b, `,"http_method":`, r.HTTPMethod)
	b = text(b, `,"path":`, r.Path)
	b = text(b, `,"auth":`, r.Auth)
	b = text(b, `,"issuer":`, r.Issuer)
	b = text(b, `,"caller":`, r.Caller)
	return raw(b, `,"claims":`, r.Claims)
}

func (r *Record) appendWhat(b []byte) []byte {
	b = text(b, `,"era":`, r.Era)
	b = text(b, `,"session":`, r.Session)
	b = text(b, `,"method":`, r.Method)
	b = text(b, `,"target":`, r.Target)
	b = raw(b, `,"arguments":`, r.Arguments)
	b = text(b, `,"arguments_cut":`, r.ArgumentsCut)
	b = text(b, `,"decision":`, r.Decision)
	b = texts(b, `,"policies":`, r.Policies)
	b = texts(b, `,"policy_errors":`, r.PolicyErrors)
	b = number(b, `,"hidden":`, int64(r.Hidden))
	return number(b, `,"withheld":`, int64(r.Withheld))
}

func (r *Record) appendAWS(b []byte) []byte {
	b = text(b, `,"role":`, r.Role)
	if r.Mapping != nil {
		b = append(b, `,"mapping":`...)
		b = strconv.AppendInt(b, int64(*r.Mapping), 10)
	}
	b = text(b, `,"why":`, r.Why)
	b = texts(b, `,"matcher_errors":`, r.MatcherErrors)
	b = text(b, `,"session_name":`, r.SessionName)
	b = text(b, `,"region":`, r.Region)
	b = text(b, `,"sts":`, r.STS)
	b = text(b, `,"sts_request_id":`, r.STSRequestID)
	b = text(b, `,"assumed_role":`, r.AssumedRole)
	b = text(b, `,"access_key_id":`, r.AccessKeyID)
	return text(b, `,"aws_request_id":`, r.AWSRequestID)
}

func (r *Record) appendAnswer(b []byte) []byte {
	b = number(b, `,"status":`, int64(r.Status))
	b = number(b, `,"rpc_code":`, r.RPCCode)
	b = truth(b, `,"is_error":`, r.IsError)
	b = raw(b, `,"response":`, r.Response)
	b = text(b, `,"response_cut":`, r.ResponseCut)
	b = truth(b, `,"stream":`, r.Stream)
	b = number(b, `,"bytes":`, r.Bytes)
	if r.DurationMS != 0 {
		b = append(b, `,"duration_ms":`...)
		b = strconv.AppendFloat(b, r.DurationMS, 'f', -1, 64)
	}
	b = text(b, `,"error":`, r.Error)
	b = text(b, `,"hint":`, r.Hint)
	return number(b, `,"dropped":`, r.Dropped)
}

// The members: none where the value is empty. A member's name comes with the comma before it and the colon after it.

func text(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return quoted(append(b, name...), value)
}

func texts(b []byte, name string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(b, name...)
	for i, v := range values {
		b = quoted(append(b, "[,"[min(i, 1)]), v)
	}
	return append(b, ']')
}

func raw(b []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	return append(append(b, name...), value...)
}

func number(b []byte, name string, value int64) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), value, 10)
}

func truth(b []byte, name string, value bool) []byte {
	if !value {
		return b
	}
	return append(append(b, name...), "true"...)
}

// moment appends RFC 3339 in UTC with microseconds: as long for every time, so that lines sort as times do.
func moment(b []byte, t time.Time) []byte {
	b = t.UTC().AppendFormat(b, time.RFC3339) // which is fast, other forms are not
	micros := 1_000_000 + t.Nanosecond()/1000
	at := len(b)
	b = strconv.AppendInt(b, int64(micros), 10) // a one and six digits
	b[at-1] = '.'
	copy(b[at:], b[at+1:])
	b[len(b)-1] = 'Z'
	return b
}

// plain are the bytes that stand for themselves in a JSON string, those of ASCII.
var plain = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// quoted appends a JSON string.
func quoted(b []byte, s string) []byte {
	if !plainText(s) {
		b, _ = jsontext.AppendQuote(b, s) // the error is about bytes that are not UTF-8, which it has replaced
		return b
	}
	return append(append(append(b, '"'), s...), '"')
}

// plainText tells whether all bytes are plain. It looks at eight bytes at a time: each term has its highest bit set where
// a byte is below a space, a quote, a backslash, above ASCII, or the last of ASCII.
func plainText(s string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, slash := w^('"'*ones), w^('\\'*ones)
		if ((w-' '*ones)&^w|(quote-ones)&^quote|(slash-ones)&^slash|w|(w+ones))&tops != 0 {
			return false
		}
	}
	for i := range len(s) {
		if !plain[s[i]] {
			return false
		}
	}
	return true
}

// dropped is the record that stands for n missing ones.
func dropped(component string, n int64, first time.Time) Record {
	return Record{Schema: Schema, Time: first, Type: TypeDropped, Outcome: Failure, Component: component, Dropped: n}
}

// continued is the record that a chain goes on with in a file where nothing stands.
func continued(component string, now time.Time) Record {
	return Record{Schema: Schema, Time: now, Type: TypeContinued, Outcome: Success, Component: component}
}

// requests is how many of the entries are records of requests, and not the Book's own.
func requests(entries []Entry) (n int) {
	for i := range entries {
		if t := entries[i].Type; t != TypeDropped && t != TypeContinued {
			n++
		}
	}
	return n
}

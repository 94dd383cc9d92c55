package ceph_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rolegate/rolegate/internal/fake/sts"
)

// recorder stands between rolegate and Ceph's STS. It notes what was asked, without the token, what was refused, and
// what was lent, so that whoever judges signatures knows the secrets.
//
// Ceph's STS refuses in the XML of S3, an Error, where AWS's STS has the Error in an ErrorResponse; the SDK reads no code
// out of the former. At url the recorder puts it into that envelope, and changes nothing else; at raw it does not.
type recorder struct {
	url, raw string

	mu    sync.Mutex
	calls []asked
	lent  map[string]sts.Issued // by access key id
}

// asked is one AssumeRoleWithWebIdentity and what came of it.
type asked struct {
	RoleARN, SessionName string
	Duration             int
	Status               int
	Code                 string // of a refusal
	AccessKeyID          string // of what was lent
}

// answered is the XML of Ceph's answers.
type answered struct {
	Code   string // of an Error
	Result struct {
		ARN         string `xml:"AssumedRoleUser>Arn"`
		Subject     string `xml:"SubjectFromWebIdentityToken"`
		Credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      time.Time
		}
	} `xml:"AssumeRoleWithWebIdentityResult"`
}

func newRecorder(t *testing.T, to string) *recorder {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{lent: map[string]sts.Issued{}}
	transport := &http.Transport{DisableKeepAlives: true}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport:    transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as if nobody were there
	}
	serve := func(envelope bool) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.pass(w, req, proxy, envelope)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	r.url, r.raw = serve(true), serve(false)
	return r
}

func (r *recorder) pass(w http.ResponseWriter, req *http.Request, to http.Handler, envelope bool) {
	body, err := io.ReadAll(req.Body)
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil {
		http.Error(w, "not a form", http.StatusBadRequest)
		return
	}
	duration, _ := strconv.Atoi(form.Get("DurationSeconds")) // 0 where it is not there
	call := asked{RoleARN: form.Get("RoleArn"), SessionName: form.Get("RoleSessionName"), Duration: duration}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := httptest.NewRecorder()
	to.ServeHTTP(answer, req)
	text := answer.Body.Bytes()
	r.note(call, answer.Code, text)
	if _, bare, ok := bytes.Cut(text, []byte("?><Error>")); ok && envelope {
		text = slices.Concat([]byte("<ErrorResponse><Error>"), bare, []byte("</ErrorResponse>"))
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(text) // a client that is gone misses nothing
}

func (r *recorder) note(call asked, status int, text []byte) {
	var a answered
	_ = xml.Unmarshal(text, &a) // an answer that is not XML has no code
	call.Status, call.Code = status, a.Code
	lent := a.Result.Credentials
	call.AccessKeyID = lent.AccessKeyID
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if lent.AccessKeyID != "" {
		r.lent[lent.AccessKeyID] = sts.Issued{
			AccessKeyID: lent.AccessKeyID, SecretAccessKey: lent.SecretAccessKey, SessionToken: lent.SessionToken, Expiry: lent.Expiration,
			RoleARN: call.RoleARN, RoleID: call.RoleARN, SessionName: call.SessionName, AssumedRoleARN: a.Result.ARN, Subject: a.Result.Subject,
		}
	}
}

// Lookup makes the recorder a vault.
func (r *recorder) Lookup(key string) (sts.Issued, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lent, ok := r.lent[key]
	return lent, ok
}

// take gives the calls since the last time.
func (r *recorder) take() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

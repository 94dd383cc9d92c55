package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolegate/rolegate/config"
	"github.com/rolegate/rolegate/internal/console"
)

// scene is a record as internal/audit writes it.
func scene(n int, caller, target, outcome, more string) string {
	return fmt.Sprintf(`{"schema":"rolegate.audit/v1","time":"2026-11-21T14:%02d:%02d.123456Z","type":"mcp_tool_call","outcome":%q,"component":"aws-mcp","request_id":"01JD8Z%06d",`+
		`"source":"10.20.3.%d","client_name":"claude-code","auth":"ok","issuer":"https://sign-in.example.com","caller":%q,"era":"modern","method":"tools/call","target":%q%s}`,
		10+n/60, n%60, outcome, n, 10+n%7, caller, target, more)
}

const (
	writer = `,"decision":"allowed","policies":["writers-write"],"role":"arn:aws:iam::123456789012:role/S3WriteMCPRole","mapping":1,"why":"mapping 1: claim \"writers\" in groups","session_name":"ann@example.com","sts":"hit","status":200,"stream":true,"bytes":4211,"duration_ms":182.4`
	reader = `,"decision":"allowed","policies":["documentation-for-all"],"role":"arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole","mapping":2,"why":"mapping 2: claim \"readers\" in groups","sts":"miss","status":200,"bytes":911,"duration_ms":88.1`
	barred = `,"decision":"denied","policies":["production-from-the-office-only"],"role":"arn:aws:iam::123456789012:role/S3WriteMCPRole","mapping":1,"why":"mapping 1: claim \"writers\" in groups","status":403,"rpc_code":-32003,"bytes":104,"duration_ms":1.2,"error":"denied: policy refuses tool \"aws___call_aws\"","hint":"forbid by production-from-the-office-only"`
	broken = `,"decision":"unavailable","role":"arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole","mapping":2,"why":"mapping 2: claim \"readers\" in groups","status":503,"bytes":98,"duration_ms":10012,"error":"unavailable: AWS STS can't be reached: dial tcp: i/o timeout","hint":"check the way out to sts.us-east-1.amazonaws.com"`
	oops   = `,"decision":"allowed","policies":["staff-read"],"role":"arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole","mapping":2,"why":"mapping 2: claim \"readers\" in groups","sts":"hit","status":200,"is_error":true,"bytes":311,"duration_ms":240.9`
	gone   = `,"decision":"aborted","role":"arn:aws:iam::123456789012:role/S3WriteMCPRole","mapping":1,"policies":["writers-write"],"why":"mapping 1: claim \"writers\" in groups","sts":"hit","status":200,"stream":true,"bytes":20411,"duration_ms":64012,"error":"aborted: the client went away: context canceled"`
)

// records are a few minutes of a gateway's life.
func records(c *console.Console) {
	for n := range 24 {
		more, outcome, caller, target := writer, "success", "ann@example.com", "aws___call_aws"
		switch n % 8 {
		case 1, 4:
			more, caller, target = reader, "bob@example.com", "aws___search_documentation"
		case 2:
			more, outcome = barred, "denied"
		case 3:
			more, outcome, caller = oops, "application_error", "carol.of-the-very-long-team-name@subsidiary.example.com"
		case 5:
			more, outcome, caller, target = broken, "failure", "bob@example.com", "aws___read_documentation"
		case 6:
			more, outcome = gone, "aborted"
		}
		c.Publish([]byte(scene(n, caller, target, outcome, more)))
	}
}

// hostile is what a client could call a tool.
const hostile = `<img src=x onerror="window.hostile=1"><script>window.hostile=1</script>`

// snapshots rise by the second.
func snapshots(started time.Time) func() console.Snapshot {
	var n atomic.Int64
	return func() console.Snapshot {
		k := float64(n.Add(1))
		return console.Snapshot{
			Proxy: "toolhive-system/aws-mcp", Version: "v0.4.0", State: "ready", Ready: true, Started: started, Loaded: started,
			InFlight: 3, Streams: 2, Requests: map[string]float64{"success": 12 * k, "denied": k}, STS: map[string]float64{"ok": k},
			Cache: map[string]float64{"hit": 50 * k, "miss": k}, Entries: 4, NextExpiry: 1800, Keys: &console.Keys{Count: 2, Age: 61},
			Duration: []console.Bucket{{Seconds: .1, Count: uint64(6 * k)}, {Seconds: .2, Count: uint64(12 * k)}},
		}
	}
}

func explanation(t *testing.T) func(context.Context, json.RawMessage, json.RawMessage) (json.RawMessage, error) {
	t.Helper()
	told, err := os.ReadFile("testdata/explanation.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, claims, _ json.RawMessage) (json.RawMessage, error) {
		if claims == nil {
			return nil, errors.New("who asks: claims are missing")
		}
		return told, nil
	}
}

func serve(t *testing.T, o console.Options) (*console.Console, *httptest.Server) {
	t.Helper()
	if o.Snapshot == nil {
		o.Snapshot = snapshots(time.Now().Add(-26 * time.Hour))
	}
	c := console.New(o)
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections) // streams, which Close would wait for
	return c, s
}

func TestPage(t *testing.T) {
	c, s := serve(t, console.Options{Explain: explanation(t)})
	records(c)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("link").textContent === "live" && document.getElementById("rows").rows.length === 24`)
	want(b, `document.getElementById("proxy").textContent`, "toolhive-system/aws-mcp")
	want(b, `document.getElementById("state").textContent`, "ready")
	want(b, `document.getElementById("rows").rows[0].innerText.includes("14:10:23")`, true)
	want(b, `document.getElementById("rows").rows[23].record.data.request_id`, "01JD8Z000000")
	want(b, `document.getElementById("sign").checkVisibility()`, false)
	b.until(`(n => n > 5 && n < 15)(parseFloat(document.querySelector("#tile-requests .figure").innerText))`) // 12 + 1 each second, or a little more
	b.until(`document.querySelector("#tile-requests svg path[stroke]").getAttribute("d").includes("L")`)
	want(b, `document.querySelector("#tile-latency .figure").innerText.startsWith("100 ms")`, true)
	want(b, `document.getElementById("groups").innerText.includes("in 30 min")`, true)

	// As it happens, and as text whatever it says.
	c.Publish([]byte(scene(30, "eve", "", "success", "") + "\n"))
	evil, err := json.Marshal(map[string]any{"time": hostile, "caller": hostile, "target": hostile, "method": hostile, "outcome": hostile, "role": hostile, "why": hostile, "status": hostile, hostile: hostile})
	if err != nil {
		t.Fatal(err)
	}
	c.Publish(evil)
	c.Publish([]byte("no JSON at all"))
	b.until(`document.getElementById("rows").rows.length === 26`)
	want(b, `document.querySelector("td.what span").textContent`, hostile)
	eval[any](b, `document.querySelector(".open").click()`)
	b.until(`document.getElementById("detail").open`)
	want(b, `document.querySelectorAll("img").length + document.querySelectorAll("script").length - 1`, 0)
	want(b, `typeof window.hostile`, "undefined")
	want(b, `document.getElementById("body").textContent.includes("window.hostile")`, true)
	b.blocked = "TrustedHTML"
	want(b, `(() => { try { document.body.innerHTML = "<b></b>"; return "taken" } catch { return "refused" } })()`, "refused")
}

func TestPageFilters(t *testing.T) {
	c, s := serve(t, console.Options{})
	records(c)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("rows").rows.length === 24`)
	want(b, `document.getElementById("try").checkVisibility()`, false) // there is nobody to explain
	for _, f := range []struct {
		words, outcome string
		rows           int
	}{
		{"bob", "", 9},
		{"BOB search", "", 6},
		{"bob -search", "", 3},
		{"production-from-the-office-only", "", 3},
		{"", "denied", 3},
		{"ann", "aborted", 3},
		{"bob", "aborted", 0},
		{"-", "", 24},
		{"", "", 24},
	} {
		eval[any](b, fmt.Sprintf(`(() => { const f = document.getElementById("filter"), o = document.getElementById("outcome");
			f.value = %q; o.value = %q; f.dispatchEvent(new Event("input")); })()`, f.words, f.outcome))
		if got := eval[int](b, `document.getElementById("rows").rows.length`); got != f.rows {
			t.Errorf("filter %q, outcome %q: %d rows, want %d", f.words, f.outcome, got, f.rows)
		}
	}
	// What comes is filtered too, and a pause keeps it back.
	eval[any](b, `document.getElementById("filter").value = "dora", document.getElementById("filter").dispatchEvent(new Event("input"))`)
	want(b, `document.getElementById("empty").checkVisibility()`, true)
	c.Publish([]byte(scene(40, "emil", "x", "success", "")))
	c.Publish([]byte(scene(41, "dora", "x", "success", "")))
	b.until(`document.getElementById("rows").rows.length === 1`)
	eval[any](b, `document.getElementById("pause").click()`)
	c.Publish([]byte(scene(42, "dora", "y", "success", "")))
	b.until(`document.getElementById("shown").textContent === "1 of 26, 1 waiting"`)
	want(b, `document.getElementById("rows").rows.length`, 1)
	eval[any](b, `document.getElementById("pause").click()`)
	b.until(`document.getElementById("rows").rows.length === 2`)
}

// Everything by keyboard: from the top of the page to an event and back, and on to the try-out.
func TestPageWithoutAMouse(t *testing.T) {
	c, s := serve(t, console.Options{Explain: explanation(t)})
	records(c)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("rows").rows.length === 24 && document.getElementById("try").checkVisibility()`)
	focus := func() string {
		return eval[string](b, `((e) => e.id || e.className || e.tagName)(document.activeElement)`)
	}
	for _, at := range []string{"skip", "filter", "outcome", "pause", "open", "claims", "call", "go", "example"} {
		b.press("Tab")
		if got := focus(); got != at {
			t.Errorf("Tab leads to %s, want %s", got, at)
		}
		if eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`) == "none" {
			t.Errorf("nothing shows that the focus is on %s", at)
		}
	}
	eval[any](b, `document.querySelector('.open[tabindex="0"]').focus()`)
	b.press("ArrowDown", "ArrowDown", "ArrowUp", "Enter")
	b.until(`document.getElementById("detail").open`)
	want(b, `document.getElementById("title").textContent`, "aborted aws___call_aws")
	want(b, `document.getElementById("detail").contains(document.activeElement)`, true)
	c.Publish([]byte(scene(50, "late", "x", "success", ""))) // a row above does not move what is open
	b.until(`document.getElementById("rows").rows.length === 25`)
	b.press("Escape")
	b.until(`!document.getElementById("detail").open`)
	want(b, `document.activeElement.closest("tr").record.data.request_id`, "01JD8Z000022")
	b.press("End")
	want(b, `document.activeElement.closest("tr").record.data.request_id`, "01JD8Z000000")
	b.press("Tab")
	if got := focus(); got != "claims" {
		t.Errorf("one row alone is a stop of the Tab key; after it comes %s", got)
	}

	// The try-out, with a mistake first.
	b.write(`{"sub": "ann",}`)
	b.press("Tab", "Tab", "Enter")
	b.until(`document.getElementById("unasked").textContent.startsWith("The claims can’t be read")`)
	if got := focus(); got != "claims" {
		t.Errorf("the mistake is in claims, the focus on %s", got)
	}
	eval[any](b, `document.getElementById("claims").value = ""`)
	b.press("Tab", "Tab", "Enter")
	b.until(`document.getElementById("unasked").textContent === "who asks: claims are missing"`)
	b.press("Tab", "Enter") // the example
	b.until(`document.getElementById("claims").value.includes("s3-readers")`)
	b.press("Tab", "Tab", "Enter")
	b.until(`document.getElementById("told").checkVisibility()`)
	want(b, `document.querySelector(".verdict .word").textContent`, "denied")
	for _, part := range []string{"Token", "Role mappings, in order", "mapping 1", "matched", "production-from-the-office-only", "unless { principal has claim_office", "-32003"} {
		if !strings.Contains(eval[string](b, `document.getElementById("told").textContent`), part) {
			t.Errorf("the explanation lacks %q", part)
		}
	}
}

func TestSignIn(t *testing.T) {
	const token = "Yx4Fq0bT7mWc9ZkP2sLhV6nDgJ8aRuE1"
	c, s := serve(t, console.Options{Token: config.NewSecret(token), Explain: explanation(t)})
	records(c)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("sign").checkVisibility()`)
	want(b, `document.activeElement.id`, "token")
	want(b, `document.getElementById("board").checkVisibility()`, false)
	want(b, `document.body.innerText.includes("toolhive-system")`, false)
	b.shoot("sign-in")
	b.write("not the token")
	b.press("Enter")
	b.until(`document.getElementById("refused").textContent === "the token is not the one"`)
	b.write(token)
	b.press("Enter")
	b.until(`document.getElementById("rows").rows.length === 24`)
	want(b, `document.getElementById("token").value + document.cookie + localStorage.length + location.search + location.hash`, "0")
	want(b, `document.documentElement.outerHTML.includes("`+token+`")`, false)
	b.call("Page.reload", nil, nil)
	b.until(`document.getElementById("rows") && document.getElementById("rows").rows.length === 24`)
	eval[any](b, `document.getElementById("out").click()`)
	b.until(`document.getElementById("sign") && document.getElementById("sign").checkVisibility() && sessionStorage.length === 0`)
}

// 429 is no word about the token: the page keeps it, says what it heard, and asks again.
func TestPageKeepsItsToken(t *testing.T) {
	const token = "Yx4Fq0bT7mWc9ZkP2sLhV6nDgJ8aRuE1"
	c := console.New(console.Options{Token: config.NewSecret(token), Snapshot: snapshots(time.Now())})
	records(c)
	var busy atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy.Load() && r.URL.Path == "/console/events" {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, "<h1>429</h1>") // as a proxy may say it
			return
		}
		c.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("sign").checkVisibility()`)
	busy.Store(true)
	b.write(token)
	b.press("Enter")
	b.until(`document.getElementById("link").textContent === "status 429"`)
	want(b, `document.getElementById("enter").disabled && sessionStorage.length === 1`, true)
	busy.Store(false)
	b.until(`document.getElementById("rows").rows.length === 24`)
	busy.Store(true)
	s.CloseClientConnections()
	b.until(`document.getElementById("link").textContent === "status 429"`)
	want(b, `document.getElementById("sign").checkVisibility()`, false)
	busy.Store(false)
	b.until(`document.getElementById("link").textContent === "live" && document.getElementById("rows").rows.length === 24`)
}

// Who hangs up was neither refused nor failed.
func TestPageCountsWhatFailed(t *testing.T) {
	var n atomic.Int64
	_, s := serve(t, console.Options{Snapshot: func() console.Snapshot {
		k := float64(n.Add(1))
		return console.Snapshot{Requests: map[string]float64{"success": 9 * k, "denied": k, "application_error": 2 * k, "failure": 3 * k, "aborted": 100 * k}}
	}})
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`parseInt(document.querySelector("#tile-outcomes .figure").innerText) >= 6`)
	want(b, `parseInt(document.querySelector("#tile-outcomes .figure").innerText) % 6 + parseInt(document.querySelectorAll("#tile-outcomes .legend b")[4].innerText) % 100`, 0)
	want(b, `parseInt(document.querySelector("#tile-outcomes .figure").innerText) < 100`, true)
}

// A connection that is lost is made again, and no row stands there twice.
func TestPageComesBack(t *testing.T) {
	c, s := serve(t, console.Options{})
	records(c)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("rows").rows.length === 24`)
	s.CloseClientConnections()
	b.until(`document.getElementById("link").textContent === "connection lost"`)
	c.Publish([]byte(scene(60, "late", "x", "success", "")))
	b.until(`document.getElementById("link").textContent === "live" && document.getElementById("rows").rows.length === 25`)
}

// What an event says of itself: who refused it, on which day, and what it is as it was written.
func TestPageTellsOfEvents(t *testing.T) {
	c, s := serve(t, console.Options{})
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("link").textContent === "live" && lives.length > 0`)
	eval[any](b, `window.play = live, live = () => {}, lives.splice(0, lives.length, { ...lives[0], at: "2026-11-22T00:30:00+01:00" })`)
	event := func(time, outcome, more string) {
		c.Publish([]byte(`{"time":"` + time + `","outcome":"` + outcome + `","type":"mcp_tool_call","method":"tools/call","target":"x","caller":"ann"` + more + `}`))
	}
	barred := `,"policies":["office-only","no-drop"],"why":"mapping 1","error":"denied: policy refuses tool \"x\"","hint":"forbid by office-only no-drop"`
	for n, tt := range []struct{ time, outcome, more, clock, day, why, by string }{
		{"2026-11-21T23:20:07.1Z", "denied", barred, "23:20:07", "", `policy refuses tool "x"`, "policy office-only, no-drop"},
		{"2026-11-20T00:00:00Z", "denied", `,"error":"denied: policy refuses tool \"x\"","hint":"no policy permits it"`, "00:00:00", "20 Nov", `policy refuses tool "x"`, "no policy permits it"},
		{"2025-11-21T23:20:07Z", "failure", `,"error":"unavailable: STS can't be reached","hint":"look there"`, "23:20:07", "21 Nov 2025", "unavailable: STS can't be reached", "look there"},
		{"2026-11-21T01:02:03Z", "failure", `,"policies":["p"],"error":"unavailable: STS can't be reached","hint":"look there"`, "01:02:03", "", "unavailable: STS can't be reached", "policy p"},
		{"2026-11-21T01:02:03Z", "success", `,"policies":["p"],"why":"mapping 1"`, "01:02:03", "", "mapping 1", "policy p"},
		{"2026-11-21T01:02:03Z", "aborted", `,"why":"mapping 1","error":"aborted: the client went away"`, "01:02:03", "", "mapping 1", ""},
	} {
		event(tt.time, tt.outcome, tt.more)
		b.until(fmt.Sprintf(`document.getElementById("rows").rows.length === %d`, n+1))
		want(b, `[...document.getElementById("rows").rows[0].querySelectorAll(".time > *, .why > *")].map((e) => e.textContent).join("|")`, strings.Join([]string{tt.clock, tt.day, tt.why, tt.by}, "|"))
	}
	want(b, `document.getElementById("latest").parentElement.innerText.includes("times are UTC")`, true)
	// At midnight what was today is yesterday.
	eval[any](b, `play({ ...lives[0], at: "2026-11-22T00:00:01Z" })`)
	want(b, `document.getElementById("rows").rows[0].querySelector(".day").textContent`, "21 Nov")

	// Numbers, and members that stand twice, are as they were written.
	const odd = `,"arguments":{"id":12345678901234567890,"big":1e400,"small":-0.0,"a":[],"b":{},"c":[1,{"d":"},\"]["}],"id":1}`
	event("2026-11-21T01:02:04Z", "success", odd)
	b.until(`document.getElementById("rows").rows.length === 7`)
	eval[any](b, `document.querySelector(".open").click()`)
	want(b, `document.querySelector("#body pre").textContent`, `{
  "time": "2026-11-21T01:02:04Z",
  "outcome": "success",
  "type": "mcp_tool_call",
  "method": "tools/call",
  "target": "x",
  "caller": "ann",
  "arguments": {
    "id": 12345678901234567890,
    "big": 1e400,
    "small": -0.0,
    "a": [],
    "b": {},
    "c": [
      1,
      {
        "d": "},\"]["
      }
    ],
    "id": 1
  }
}`)
	want(b, `document.querySelector("#body dl > :last-child dd").textContent.startsWith("{\n  \"id\": 12345678901234567890,\n  \"big\": 1e400,")`, true)
}

// An event that is taken over is the question that it was, as far as it is told.
func TestPageTakesEventsOver(t *testing.T) {
	var claims, call json.RawMessage
	c, s := serve(t, console.Options{Explain: func(_ context.Context, who, what json.RawMessage) (json.RawMessage, error) {
		claims, call = who, what
		return json.RawMessage(`{"outcome":"failed","answer":{"status":400,"body":{"id":12345678901234567890}}}`), nil
	}})
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("link").textContent === "live" && document.getElementById("try").checkVisibility()`)
	const ann = `,"caller":"ann","claims":{"groups":["a"],"n":12345678901234567890}`
	for n, tt := range []struct{ event, claims, call, lacks string }{
		{
			`"type":"mcp_tool_call","method":"tools/call","target":"x","arguments":{"id":12345678901234567890,"big":1e400}` + ann,
			`{"sub":"ann","groups":["a"],"n":12345678901234567890}`,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"id":12345678901234567890,"big":1e400}}}`, "",
		},
		{
			`"type":"mcp_prompt_get","method":"prompts/get","target":"x \"y\"","caller":"ann"`, `{"sub":"ann"}`,
			`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"x \"y\"","arguments":{}}}`, "claims other than sub and the arguments",
		},
		{`"type":"mcp_notification","method":"notifications/progress"` + ann, ``, `{"jsonrpc":"2.0","method":"notifications/progress"}`, ""},
		{`"type":"mcp_roots_list_changed","method":"notifications/roots/list_changed"` + ann, ``, `{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}`, ""},
		{`"type":"mcp_request","method":"notifications/progress"` + ann, ``, `{"jsonrpc":"2.0","id":1,"method":"notifications/progress"}`, ""},
		{`"type":"mcp_request","method":"resources/subscribe","target":"s3://x"` + ann, ``, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"s3://x"}}`, ""},
		{`"type":"mcp_request","method":"resources/unsubscribe","target":"s3://x"` + ann, ``, `{"jsonrpc":"2.0","id":1,"method":"resources/unsubscribe","params":{"uri":"s3://x"}}`, ""},
		{`"type":"mcp_resource_read","method":"resources/read","target":"s3://x"` + ann, ``, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"s3://x"}}`, ""},
		{`"type":"mcp_tools_list","method":"tools/list"`, `null`, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, ""},
		{`"type":"mcp_completion","method":"completion/complete"` + ann, ``, `{"jsonrpc":"2.0","id":1,"method":"completion/complete"}`, "the params"},
	} {
		c.Publish([]byte(fmt.Sprintf(`{"n":%d,%s}`, n, tt.event)))
		b.until(fmt.Sprintf(`document.getElementById("rows").rows.length === %d`, n+1))
		eval[any](b, `document.querySelector(".open").click(), document.getElementById("retry").click()`)
		want(b, `document.getElementById("detail").open || document.getElementById("told").checkVisibility()`, false)
		eval[any](b, `document.getElementById("go").click()`)
		b.until(`document.getElementById("told").checkVisibility()`)
		if tt.claims == "" {
			tt.claims = `{"sub":"ann","groups":["a"],"n":12345678901234567890}`
		}
		for what, got := range map[string][2]string{"claims": {string(claims), tt.claims}, "call": {string(call), tt.call}} {
			var text bytes.Buffer
			if got[0] != "" && json.Compact(&text, []byte(got[0])) != nil || text.String() != strings.TrimPrefix(got[1], "null") {
				t.Errorf("%s: %s of the question: %s, want %s", tt.event, what, got[0], got[1])
			}
		}
		lacks := eval[string](b, `document.getElementById("lacks").textContent`)
		if want := "The event does not hold " + tt.lacks + ": add what counts."; lacks != want && (tt.lacks != "" || lacks != "") {
			t.Errorf("%s: %q, want %q", tt.event, lacks, want)
		}
	}
	want(b, `document.querySelector("#told pre").textContent`, "{\n  \"id\": 12345678901234567890\n}")
}

// busy plays minutes of snapshots to the page, so that there is something to look at.
const busy = `(() => {
	const end = Date.parse("2026-11-21T14:10:24Z"), counts = { success: 41000, denied: 311, application_error: 120, failure: 14, aborted: 77 };
	const le = [.001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1.024, 2.048];
	const seen = le.map(() => 0), sts = { ok: 212, Throttling: 3 }, cache = { hit: 41000, miss: 215, joined: 31, refused: 2 };
	for (let i = 0; i < 240; i++) {
		const wave = Math.round(14 + 6 * Math.sin(i / 25) + 3 * Math.sin(i / 4.3) + (i > 150 && i < 175 ? 9 : 0));
		counts.success += wave;
		counts.denied += i % 9 === 0 ? 2 : i % 4 === 0 ? 1 : 0;
		counts.application_error += i % 5 === 0 ? 1 : 0;
		counts.failure += i > 150 && i < 170 ? 3 : 0;
		counts.aborted += i % 14 === 0 ? 1 : 0;
		sts.ok += i % 17 === 0 || i % 71 === 0 ? 1 : 0;
		cache.hit += wave; cache.miss += i % 17 === 0 ? 1 : 0;
		le.forEach((b, k) => { seen[k] += wave / (1 + Math.exp((0.09 + 0.03 * Math.sin(i / 18) - b) * 40)); });
		live({ proxy: "toolhive-system/aws-mcp", version: "v0.4.0", state: "ready", ready: true, started: new Date(end - 93600000).toISOString(), loaded: new Date(end - 5400000).toISOString(),
			at: new Date(end - (240 - i) * 1000).toISOString(), in_flight: Math.round(5 + 3 * Math.sin(i / 12)), streams: 2 + (i > 90 ? 1 : 0) + (i > 200 ? 1 : 0),
			requests: { ...counts }, sts: { ...sts }, cache: { ...cache }, tokens: { ok: 212, expired: 9, audience: 2 }, roles: { mapping: 201, fallback: 11 },
			decisions: { allow: 38112, deny: 201, step_up: 6 }, audit: { written: 41522 }, sessions: 1, hidden: 1204, entries: 214, next_expiry: 1124,
			keys: { count: 3, age: 312, trouble: "" }, duration: le.map((b, k) => ({ le: b, count: Math.round(seen[k]) })), viewers: 2, try_out: true });
	}
})()`

// TestLook looks at the page in both themes, at the width of a desk and of a telephone, with everything open that can be.
// With ROLEGATE_SCREENSHOTS=DIR it leaves pictures there.
func TestLook(t *testing.T) {
	c, s := serve(t, console.Options{Explain: explanation(t)})
	records(c)
	b := browse(t)
	b.open(s.URL + "/console")
	b.until(`document.getElementById("rows").rows.length === 24`)
	eval[any](b, busy+`; live = () => {}`)
	back := map[string]bool{}
	for _, width := range []int{1280, 400} {
		b.size(width, 1100)
		for _, theme := range []string{"light", "dark"} {
			b.theme(theme, "reduce")
			fits := func(what, from string) {
				t.Helper()
				eval[any](b, `scrollTo(0, 0), document.querySelector("`+from+`").scrollIntoView()`)
				b.shoot(fmt.Sprintf("%d-%s-%s", width, theme, what))
				if got := eval[int](b, `document.documentElement.scrollWidth`); got > width {
					t.Errorf("%s at %d pixels is %d wide", what, width, got)
				}
			}
			back[eval[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
			fits("page", "header")
			fits("decisions", "#groups")
			eval[any](b, `document.querySelectorAll(".open")[2].click()`)
			want(b, `document.getElementById("detail").open && document.getElementById("detail").scrollWidth <= innerWidth`, true)
			fits("event", "header")
			eval[any](b, `document.getElementById("close").click()`)
			eval[any](b, `document.getElementById("example").click(), document.getElementById("go").click()`)
			b.until(`document.getElementById("told").checkVisibility()`)
			fits("explanation", "#try")
			eval[any](b, `document.getElementById("told").hidden = true`)
		}
	}
	if len(back) != 2 {
		t.Errorf("backgrounds of the themes: %v", back)
	}
}

package console_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a headless Chromium that is told what to do by the DevTools protocol, over a pipe: messages are JSON with a
// zero byte after each.
type process struct {
	in  io.Writer
	out *bufio.Reader
	id  int
	end func()
}

// runs is the environment variable that turns these tests on: they want a browser, and time.
const runs = "ROLEGATE_BROWSER"

// chromium is started by the first test that needs it, and serves all.
var chromium = sync.OnceValues(start)

var started *process

func TestMain(m *testing.M) {
	code := m.Run()
	if started != nil {
		started.end()
	}
	os.Exit(code)
}

func start() (*process, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("google-chrome")
	}
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "rolegate-console")
	if err != nil {
		return nil, err
	}
	toPage, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, fromPage, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--disable-extensions", "--hide-scrollbars",
		"--disable-background-networking", "--user-data-dir=" + profile,
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	cmd := exec.CommandContext(ctx, path, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{toPage, fromPage} // 3 and 4
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	_, _ = toPage.Close(), fromPage.Close()
	started = &process{in: in, out: bufio.NewReaderSize(out, 1<<20), end: func() {
		_, _ = in.WriteString(`{"id":0,"method":"Browser.close"}` + "\x00")
		go func() { _, _ = io.Copy(io.Discard, out) }()
		_ = cmd.Wait()
		cancel()
		_, _, _ = in.Close(), out.Close(), os.RemoveAll(profile)
	}}
	return started, nil
}

// browser is a tab of its own, as of someone who was never here.
type browser struct {
	*process
	t       *testing.T
	session string
	shots   string // folder of screenshots; "" for none
	blocked string // what the page's policy is expected to block
}

// browse opens a tab, or skips the test where there is no Chromium. What the page throws, or what its policy blocks,
// fails the test when the browser is asked for something the next time.
func browse(t *testing.T) *browser {
	t.Helper()
	if os.Getenv(runs) == "" {
		t.Skipf("starts a browser: set %s=1 to run it (make browser)", runs)
	}
	p, err := chromium()
	if err != nil {
		t.Skip("no chromium:", err)
	}
	b := &browser{process: p, t: t, shots: os.Getenv("ROLEGATE_SCREENSHOTS")}
	var someone struct {
		BrowserContextID string `json:"browserContextId"`
	}
	b.call("Target.createBrowserContext", nil, &someone)
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": someone.BrowserContextID}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	t.Cleanup(func() {
		b.session = ""
		b.call("Target.disposeBrowserContext", someone, nil)
	})
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	b.size(1280, 900)
	return b
}

type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// call sends a command and waits for its answer, looking at the events on the way.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.id++
	command := map[string]any{"id": b.id, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: the browser is gone: %v", method, err)
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			b.t.Fatal(err)
		}
		if m.ID != b.id {
			b.hear(m)
			continue
		}
		if m.Error != nil && method == "Runtime.evaluate" && strings.Contains(m.Error.Message, "navigated") {
			return // the page is being loaded anew, and says nothing yet
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// hear takes an event. That a request was refused or failed is what some tests are about.
func (b *browser) hear(m message) {
	b.t.Helper()
	if m.Method == "Runtime.exceptionThrown" || m.Method == "Log.entryAdded" && !strings.Contains(string(m.Params), `"source":"network"`) &&
		(b.blocked == "" || !strings.Contains(string(m.Params), b.blocked)) {
		b.t.Errorf("the page: %s %s", m.Method, m.Params)
	}
}

// eval gives the value of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	var v T
	if len(answer.Result.Value) > 0 {
		if err := json.Unmarshal(answer.Result.Value, &v); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
	return v
}

// until waits for an expression to be true.
func (b *browser) until(expression string) {
	b.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		if eval[bool](b, expression) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("never true: %s\n%s", expression, eval[string](b, "document.body.innerText"))
		}
	}
}

// want compares the value of an expression.
func want[T comparable](b *browser, expression string, value T) {
	b.t.Helper()
	if got := eval[T](b, expression); got != value {
		b.t.Errorf("%s: %v, want %v", expression, got, value)
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	var answer struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": url}, &answer)
	if answer.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, answer.ErrorText)
	}
	b.until(`document.readyState === "complete" && location.href !== "about:blank"`)
}

func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// theme sets what the page learns of the user's preferences.
func (b *browser) theme(scheme, motion string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion},
	}}, nil)
}

// codes are the keys that tests press; the others are letters.
var codes = map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowUp": 38, "ArrowDown": 40}

// press presses keys as a keyboard does.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
		if key == "Enter" {
			down["text"] = "\r"
		}
		b.call("Input.dispatchKeyEvent", down, nil)
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}, nil)
	}
}

func (b *browser) write(text string) {
	b.t.Helper()
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// shoot keeps a picture of the page in the folder that ROLEGATE_SCREENSHOTS names, for eyes; without one there is none.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if b.shots == "" {
		return
	}
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rolegate/rolegate/internal/fake"
)

// part is what one user of the demo should meet.
type part struct{ user, groups, role string }

var parts = []part{
	{"ann", "s3-readers, developers", fake.S3Role},
	{"bob", "admins", fake.AdminRole},
	{"eve", "-", fake.DefaultRole},
}

// scene is what became of one user.
type scene struct {
	part
	Role        string `json:"role"`
	Why         string `json:"why"`
	SessionName string `json:"session_name"`
	stsCalls    int
	tools       int
	whoami      string
	wrong       []string
}

func (s *scene) expect(ok bool, format string, args ...any) {
	if !ok {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

// play plays the tutorial's last step for each user, and gives how many things were not as they should be.
func (s *stage) play(ctx context.Context, p *page) (failed int) {
	p.line(p.head("rolegate") + " between an identity provider, an STS and an AWS MCP Server, all on this machine")
	p.line("")
	status, header := s.withoutToken(ctx)
	challenge := header.Get("WWW-Authenticate")
	if status != http.StatusUnauthorized || !strings.Contains(challenge, "resource_metadata=") {
		failed++
		p.line(p.bad(fmt.Sprintf("no token: %d, WWW-Authenticate %q; it should be 401 with resource_metadata", status, challenge)))
	} else {
		p.line("no token: " + p.good("401"))
		p.line("  WWW-Authenticate: " + challenge)
	}
	p.line("")
	var scenes []scene
	for _, part := range parts {
		scenes = append(scenes, s.act(ctx, part))
	}
	table(p.out, scenes)
	for _, sc := range scenes {
		for _, wrong := range sc.wrong {
			failed++
			p.line(p.bad(sc.user + ": " + wrong))
		}
	}
	for _, v := range s.world.AWS.Violations() {
		failed++
		p.line(p.bad("reached the backend: " + v.What))
	}
	return failed
}

func table(out io.Writer, scenes []scene) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "USER\tGROUPS\tWHY\tROLE\tSESSION NAME\tSTS CALLS\tTOOLS\tTHE SERVER SAW")
	for _, s := range scenes {
		_, role, _ := strings.Cut(s.Role, "/")
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.user, s.groups, shortened(s.Why, 44), role, s.SessionName, s.stsCalls, s.tools, s.whoami)
	}
	_ = t.Flush()
}

// shortened fits text into a column.
func shortened(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// act plays initialize, tools/list and one call.
func (s *stage) act(ctx context.Context, who part) (sc scene) {
	sc.part = who
	before := s.world.STS.Count()
	c := client{url: s.endpoint, token: s.world.Token(who.user)}
	_, err := c.call(ctx, "initialize", `{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"demo","version":"1.0"}}`)
	sc.expect(err == nil, "initialize: %v", err)
	sc.expect(c.session != "", "initialize: no session id")
	_, err = c.call(ctx, "notifications/initialized", "")
	sc.expect(err == nil, "initialized: %v", err)

	var list struct {
		Tools []struct{ Name string }
	}
	sc.expect(c.into(ctx, &list, "tools/list", `{}`) == nil, "tools/list was not answered")
	sc.tools = len(list.Tools)
	sc.expect(slices.ContainsFunc(list.Tools, func(t struct{ Name string }) bool { return t.Name == "aws___run_script" }), "tools/list lacks aws___run_script")

	var result struct {
		StructuredContent struct{ Role, SessionName, ARN string }
	}
	err = c.into(ctx, &result, "tools/call", `{"name":"aws___run_script","arguments":{"code":"whoami"}}`)
	sc.expect(err == nil, "tools/call: %v", err)
	saw := result.StructuredContent
	_, sc.whoami, _ = strings.Cut(saw.ARN, ":assumed-role/")
	sc.stsCalls = s.world.STS.Count() - before

	err = json.Unmarshal(s.log.last(fmt.Sprintf(`"caller":%q`, who.user)), &sc)
	sc.expect(err == nil, "no log line names the user")
	sc.expect(sc.Role == who.role && saw.Role == who.role, "the role is %q, the server saw %q; it should be %q", sc.Role, saw.Role, who.role)
	sc.expect(saw.SessionName == sc.SessionName && sc.SessionName == who.user, "the session name is %q, the server saw %q", sc.SessionName, saw.SessionName)
	sc.expect(sc.stsCalls == 1, "%d STS calls; it should be 1", sc.stsCalls)
	return sc
}

func (s *stage) withoutToken(ctx context.Context) (int, http.Header) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, strings.NewReader(`{"jsonrpc":"2.0","method":"tools/list","id":1}`))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// client speaks just enough MCP to do what the tutorial's curl commands do.
type client struct {
	url, token, session string
	id                  int
	http                *http.Client // nil: http.DefaultClient
}

// into calls a method and decodes its result.
func (c *client) into(ctx context.Context, result any, method, params string) error {
	raw, err := c.call(ctx, method, params)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

// call sends one request, or a notification where there are no params, and gives the raw result.
func (c *client) call(ctx context.Context, method, params string) (json.RawMessage, error) {
	c.id++
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, c.id, method, params)
	if params == "" {
		body = fmt.Sprintf(`{"jsonrpc":"2.0","method":%q}`, method)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	resp, err := cmp.Or(c.http, http.DefaultClient).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		c.session = id
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode, answer)
	}
	if params == "" {
		return nil, nil
	}
	return resultOf(answer)
}

// resultOf finds the result in a JSON answer or in the last event of a stream.
func resultOf(answer []byte) (json.RawMessage, error) {
	for line := range bytes.Lines(answer) {
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok && len(bytes.TrimSpace(data)) > 0 {
			answer = data
		}
	}
	var message struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.Unmarshal(answer, &message); err != nil {
		return nil, err
	}
	if message.Error != nil {
		return nil, fmt.Errorf("error: %s", message.Error.Message)
	}
	return message.Result, nil
}

package aws

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/rolegate/rolegate/internal/fake/sts"
)

// The tools of the AWS MCP Server.
const (
	ToolRetrieveSkill       = "aws___retrieve_skill"
	ToolSearchDocumentation = "aws___search_documentation"
	ToolReadDocumentation   = "aws___read_documentation"
	ToolListRegions         = "aws___list_regions"
	ToolAvailability        = "aws___get_regional_availability"
	ToolRunScript           = "aws___run_script"
	ToolPresignedURL        = "aws___get_presigned_url"
	ToolTasks               = "aws___get_tasks"
)

// ToolNames are the names of all tools, in the order of tools/list (the SDK sorts by name).
func ToolNames() []string {
	return []string{
		ToolPresignedURL, ToolAvailability, ToolTasks, ToolListRegions,
		ToolReadDocumentation, ToolRetrieveSkill, ToolRunScript, ToolSearchDocumentation,
	}
}

// Identity is what aws___run_script answers with: whom the server took the caller for.
type Identity struct {
	Account     string `json:"account" jsonschema:"account id"`
	ARN         string `json:"arn" jsonschema:"ARN of the assumed role"`
	UserID      string `json:"userId" jsonschema:"role id and session name"`
	Role        string `json:"role" jsonschema:"ARN of the IAM role"`
	SessionName string `json:"sessionName" jsonschema:"name of the STS session"`
	Region      string `json:"region" jsonschema:"region of the AWS calls"`
	Output      string `json:"output" jsonschema:"what the script printed"`
}

type skillArgs struct {
	Name string `json:"skill_name" jsonschema:"name of the skill"`
}

type searchArgs struct {
	Phrase string `json:"search_phrase" jsonschema:"what to look for"`
	Limit  int    `json:"limit,omitempty" jsonschema:"how many results, 1 to 10"`
}

type readArgs struct {
	URL string `json:"url" jsonschema:"address of a documentation page"`
}

type availabilityArgs struct {
	Region  string `json:"region" jsonschema:"a region, such as us-east-1"`
	Service string `json:"service,omitempty" jsonschema:"a service, such as s3"`
}

type scriptArgs struct {
	Code string `json:"code" jsonschema:"Python to run"`
}

type presignArgs struct {
	Bucket  string `json:"bucket" jsonschema:"name of an S3 bucket"`
	Key     string `json:"key" jsonschema:"key of an object"`
	Seconds int    `json:"expires_in,omitempty" jsonschema:"lifetime in seconds"`
}

type taskArgs struct {
	ID string `json:"task_id,omitempty" jsonschema:"a task; all of them without one"`
}

type noArgs struct{}

// newMCP is the MCP server behind the gate: 8 tools, deterministic answers.
func (s *Server) newMCP() *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "aws-mcp", Title: "AWS MCP Server (fake)", Version: "1.0.0"}, &mcp.ServerOptions{
		Instructions: "A fake AWS MCP Server: it verifies signatures and answers the same things every time.",
	})
	knowledge(m, ToolRetrieveSkill, "Retrieve a skill", "Gives the instructions of an AWS skill.", func(a skillArgs) string {
		return "# " + a.Name + "\n\n1. Read the documentation.\n2. Run the script.\n"
	})
	knowledge(m, ToolSearchDocumentation, "Search the documentation", "Searches the AWS documentation.", func(a searchArgs) string {
		return "1. " + a.Phrase + " - https://docs.aws.amazon.com/search/doc-search.html\n"
	})
	knowledge(m, ToolReadDocumentation, "Read the documentation", "Gives a page of the AWS documentation as Markdown.", func(a readArgs) string {
		return "# Page\n\nSource: " + a.URL + "\n"
	})
	addRegions(m)
	knowledge(m, ToolAvailability, "Get regional availability", "Tells whether a service is available in a region.", func(a availabilityArgs) string {
		return fmt.Sprintf("%s: %s is available\n", a.Region, a.Service)
	})
	mcp.AddTool(m, &mcp.Tool{
		Name: ToolRunScript, Description: "Runs a Python script with the caller's AWS credentials.",
		Annotations: &mcp.ToolAnnotations{Title: "Run a script", DestructiveHint: new(true), OpenWorldHint: new(true)},
	}, s.runScript)
	mcp.AddTool(m, &mcp.Tool{
		Name: ToolPresignedURL, Description: "Gives a presigned URL for an S3 object.",
		Annotations: &mcp.ToolAnnotations{Title: "Get a presigned URL", ReadOnlyHint: true, OpenWorldHint: new(true)},
	}, func(_ context.Context, r *mcp.CallToolRequest, a presignArgs) (*mcp.CallToolResult, any, error) {
		_, id := s.caller(r)
		return text(fmt.Sprintf("https://%s.s3.amazonaws.com/%s?X-Amz-Credential=%s", a.Bucket, a.Key, id.AccessKeyID)), nil, nil
	})
	mcp.AddTool(m, &mcp.Tool{
		Name: ToolTasks, Description: "Tells how long-running tasks are doing.",
		Annotations: &mcp.ToolAnnotations{Title: "Get tasks", ReadOnlyHint: true, IdempotentHint: true, OpenWorldHint: new(false)},
	}, func(context.Context, *mcp.CallToolRequest, taskArgs) (*mcp.CallToolResult, any, error) {
		return text("no tasks\n"), nil, nil
	})
	return m
}

// knowledge adds a tool that only reads, and whose answer depends on its arguments alone.
func knowledge[In any](m *mcp.Server, name, title, description string, answer func(In) string) {
	mcp.AddTool(m, &mcp.Tool{
		Name: name, Description: description,
		Annotations: &mcp.ToolAnnotations{Title: title, ReadOnlyHint: true, IdempotentHint: true, OpenWorldHint: new(false)},
	}, func(_ context.Context, _ *mcp.CallToolRequest, a In) (*mcp.CallToolResult, any, error) {
		return text(answer(a)), nil, nil
	})
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

// caller is who signed the request that a call came with.
func (s *Server) caller(r *mcp.CallToolRequest) (Identity, sts.Issued) {
	var header http.Header
	if r.Extra != nil {
		header = r.Extra.Header
	}
	auth, _ := readAuthorization(header.Values("Authorization")) // it has been judged at the door
	lent, _ := s.vault.Lookup(auth.accessKeyID)
	id := Identity{ARN: lent.AssumedRoleARN, UserID: owner(lent), Role: lent.RoleARN, SessionName: lent.SessionName, Region: s.region}
	if f := strings.Split(lent.AssumedRoleARN, ":"); len(f) > 4 {
		id.Account = f[4]
	}
	if region, ok := r.Params.Meta["AWS_REGION"].(string); ok && region != "" {
		id.Region = region
	}
	return id, lent
}

// runScript answers with who called. These scripts do more:
//
//	stream:N        N progress notifications first (where the call has a progress token), N up to 10000
//	stream:N:PAUSE  the same with a pause before each, such as stream:5:10ms
//	hang            blocks until the call is cancelled; see Running and Cancelled
//	fail            a result with isError
//	ask             asks the client's user a question first (elicitation; legacy sessions only)
//	size:N          N bytes of output
func (s *Server) runScript(ctx context.Context, r *mcp.CallToolRequest, a scriptArgs) (*mcp.CallToolResult, Identity, error) {
	id, _ := s.caller(r)
	verb, arg, _ := strings.Cut(strings.TrimSpace(a.Code), ":")
	var err error
	switch verb {
	case "stream":
		id.Output, err = stream(ctx, r, arg, s.dropping())
	case "hang":
		err = s.hang(ctx)
	case "fail":
		err = fmt.Errorf("an error occurred (AccessDenied) when calling the ListBuckets operation for %s", id.ARN)
	case "ask":
		var answer *mcp.ElicitResult
		if answer, err = r.Session.Elicit(ctx, &mcp.ElicitParams{Message: "Go on?", RequestedSchema: map[string]any{"type": "object"}}); err == nil {
			id.Output = answer.Action
		}
	case "size":
		var n int
		if n, err = strconv.Atoi(arg); err == nil {
			id.Output = strings.Repeat("x", max(0, min(n, 64<<20)))
		}
	}
	return nil, id, err
}

func stream(ctx context.Context, r *mcp.CallToolRequest, arg string, dropped <-chan struct{}) (string, error) {
	count, every, _ := strings.Cut(arg, ":")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 10000 {
		return "", fmt.Errorf("stream takes a number up to 10000, not %q", count)
	}
	var pause time.Duration
	if every != "" {
		if pause, err = time.ParseDuration(every); err != nil {
			return "", fmt.Errorf("read pause: %w", err)
		}
	}
	token := r.Params.GetProgressToken()
	for i := 1; i <= n; i++ {
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return "", ctx.Err()
			case <-dropped:
				return "", context.Canceled
			}
		}
		if token == nil {
			continue
		}
		err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: float64(i), Total: float64(n), Message: fmt.Sprintf("step %d of %d", i, n),
		})
		if err != nil {
			return "", fmt.Errorf("notify progress: %w", err)
		}
	}
	return fmt.Sprintf("%d steps", n), nil
}

// dropping is closed when the sessions are dropped: the SDK waits for what runs in a session before it ends it.
func (s *Server) dropping() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

func (s *Server) hang(ctx context.Context) error {
	dropped := s.dropping()
	s.mu.Lock()
	s.running++
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-dropped:
	}
	s.mu.Lock()
	s.running--
	s.cancelled++
	s.mu.Unlock()
	return context.Canceled
}

// Running is how many "hang" scripts are running now.
func (s *Server) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// Cancelled is how many "hang" scripts were cancelled so far: by notifications/cancelled or the end of the session in
// the legacy era, by the end of the HTTP request in the modern one.
func (s *Server) Cancelled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancelled
}

// Announce sends notifications/tools/list_changed to every open session: on GET streams in the legacy era, on
// subscriptions/listen streams in the modern one.
func (s *Server) Announce() { addRegions(s.mcp) } // adding what is there already is a change to the SDK

func addRegions(m *mcp.Server) {
	knowledge(m, ToolListRegions, "List regions", "Lists the AWS regions.", func(noArgs) string {
		return "us-east-1\nus-west-2\neu-central-1\nap-northeast-1\n"
	})
}

package policy

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/mcp"
)

// maxSubscriptions bounds the resources of one subscriptions/listen: each is a decision.
const maxSubscriptions = 1000

// free are the methods that need no decision: what a session consists of, and lists, whose answers are filtered.
var free = map[string]bool{
	mcp.MethodInitialize:    true,
	mcp.MethodDiscover:      true,
	mcp.MethodPing:          true,
	mcp.MethodSetLevel:      true,
	mcp.MethodComplete:      true,
	mcp.MethodToolsList:     true,
	mcp.MethodPromptsList:   true,
	mcp.MethodResourcesList: true,
	mcp.MethodTemplatesList: true,
}

// Queries says what of a call needs a decision: nothing, one query, or for subscriptions/listen one for each resource
// that the client wants to hear of, however often it names it. All of them must be allowed. The arguments are a window
// on the call's body.
//
// Subscribing to a resource is decided as reading it. A notification is free only under a notification's name: one
// called tools/call is decided like the call that a careless server would make of it. The error is a *fault.Error of
// kind Malformed.
func (p *Policies) Queries(call *mcp.Call) ([]Query, error) {
	switch call.Kind {
	case mcp.Response, mcp.Stream, mcp.Delete:
		return nil, nil
	case mcp.Unread:
		return nil, unread("the message was not read")
	case mcp.Notification:
		if strings.HasPrefix(call.Method, "notifications/") {
			return nil, nil
		}
	}
	switch call.Method {
	case mcp.MethodToolsCall, mcp.MethodPromptsGet:
		args := call.Arguments()
		if args != nil && args[0] != '{' {
			return nil, unread("params.arguments must be an object")
		}
		return []Query{{Method: call.Method, Target: call.Target, Args: args}}, nil
	case mcp.MethodResourcesRead, mcp.MethodSubscribe, mcp.MethodUnsubscribe:
		return []Query{{Method: mcp.MethodResourcesRead, Target: call.Target}}, nil
	case mcp.MethodListen:
		uris, err := subscriptions(call)
		if err != nil {
			return nil, unread("params.notifications.resourceSubscriptions must be a list of URIs, and not too long").Because(err)
		}
		var queries []Query
		seen := make(map[string]bool, len(uris))
		for _, uri := range uris {
			if !seen[uri] {
				seen[uri] = true
				queries = append(queries, Query{Method: mcp.MethodResourcesRead, Target: uri})
			}
		}
		return queries, nil
	}
	if free[call.Method] {
		return nil, nil
	}
	return []Query{{Method: call.Method}}, nil
}

func unread(words string) *fault.Error {
	return fault.New(fault.Malformed, words).Code(mcp.CodeInvalidParams)
}

// subscriptions reads params.notifications.resourceSubscriptions; nil where they are missing or null.
func subscriptions(call *mcp.Call) ([]string, error) {
	raw, ok := call.Subscriptions()
	switch {
	case !ok:
		return nil, errors.New("params.notifications is not an object")
	case raw == nil:
		return nil, nil
	}
	var uris []string
	err := eachElement(jsontext.NewDecoder(bytes.NewBuffer(raw)), func(v jsontext.Value) error {
		uri, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return errors.New("a member is not a string")
		}
		uris = append(uris, string(uri))
		if len(uris) > maxSubscriptions {
			return errors.New("too many")
		}
		return nil
	})
	return uris, err
}

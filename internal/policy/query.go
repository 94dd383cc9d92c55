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
// that the client wants to hear of. All of them must be allowed. The arguments are a window on the call's body.
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
		args, err := argumentsOf(call.Params)
		if err != nil {
			return nil, unread("params.arguments must be an object").Because(err)
		}
		return []Query{{Method: call.Method, Target: call.Target, Args: args}}, nil
	case mcp.MethodResourcesRead, mcp.MethodSubscribe, mcp.MethodUnsubscribe:
		return []Query{{Method: mcp.MethodResourcesRead, Target: call.Target}}, nil
	case mcp.MethodListen:
		uris, err := subscriptions(call.Params)
		if err != nil {
			return nil, unread("params.notifications.resourceSubscriptions must be a list of URIs, and not too long").Because(err)
		}
		var queries []Query
		for _, uri := range uris {
			queries = append(queries, Query{Method: mcp.MethodResourcesRead, Target: uri})
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

// argumentsOf finds params.arguments; nil where they are missing or null.
func argumentsOf(params []byte) ([]byte, error) {
	args, err := member(params, "arguments")
	if err != nil || args == nil {
		return nil, err
	}
	if args[0] != '{' {
		return nil, errNotObject
	}
	return args, nil
}

// subscriptions reads params.notifications.resourceSubscriptions; nil where they are missing or null.
func subscriptions(params []byte) ([]string, error) {
	filter, err := member(params, "notifications")
	if err != nil || filter == nil {
		return nil, err
	}
	raw, err := member(filter, "resourceSubscriptions")
	if err != nil || raw == nil {
		return nil, err
	}
	var uris []string
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	err = eachElement(dec, func(v jsontext.Value) error {
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

// member is the raw value of a member of a JSON object; nil where it is missing or null. An object with a name that
// differs from it by case only is refused: a server that ignores case would read that one.
func member(object []byte, name string) ([]byte, error) {
	if len(object) == 0 {
		return nil, nil
	}
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewBuffer(object))
	if dec.PeekKind() != '{' {
		return nil, errors.New("not an object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var found []byte
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		spelled := tok.String()
		v, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		switch {
		case spelled == name && v.Kind() != 'n':
			end := int(dec.InputOffset())
			found = object[end-len(v) : end : end]
		case spelled != name && strings.EqualFold(dotless.Replace(spelled), name):
			return nil, errors.New("a name differs by case only")
		}
	}
	return found, nil
}

// dotless folds the two runes that some readers take for an i and strings.EqualFold does not.
var dotless = strings.NewReplacer("İ", "i", "ı", "i")

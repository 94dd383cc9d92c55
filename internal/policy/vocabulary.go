package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/rolegate/rolegate/internal/mcp"
)

// The words that policies are written in.

const (
	typeClient   types.EntityType = "Client"
	typeAction   types.EntityType = "Action"
	typeTool     types.EntityType = "Tool"
	typePrompt   types.EntityType = "Prompt"
	typeResource types.EntityType = "Resource"
	typeProxy    types.EntityType = "MCP"
	// typeFeature stands in policies about lists, FeatureType::"tool". Lists always pass and are filtered by the
	// decisions about their items, so such policies are read and never used.
	typeFeature types.EntityType = "FeatureType"

	defaultGroupType = "THVGroup"
)

// Where groups are looked for when no claim is configured, in order.
var groupClaims = []string{"groups", "roles", "cognito:groups"}

// Prefixes of attributes.
const (
	prefixClaim  = "claim_"
	prefixClaims = "claimset_"
	prefixArg    = "arg_"
)

// The attributes of tools, prompts and resources, and the hints of tools.
const (
	attrName        types.String = "name"
	attrOperation   types.String = "operation"
	attrFeature     types.String = "feature"
	attrURI         types.String = "uri"
	attrReadOnly    types.String = "readOnlyHint"
	attrDestructive types.String = "destructiveHint"
	attrIdempotent  types.String = "idempotentHint"
	attrOpenWorld   types.String = "openWorldHint"
)

// closed are the attributes of resources that always have the same type.
var closed = names{
	attrName: true, attrOperation: true, attrFeature: true, attrURI: true,
	attrReadOnly: true, attrDestructive: true, attrIdempotent: true, attrOpenWorld: true,
}

func isHint(name types.String) bool {
	return name == attrReadOnly || name == attrDestructive || name == attrIdempotent || name == attrOpenWorld
}

// kind is one of the three things that are called, got and read.
type kind struct {
	method    string
	action    types.EntityUID
	resource  types.EntityType
	word      string // in refusals
	operation types.String
	feature   types.String
}

var kinds = []kind{
	{mcp.MethodToolsCall, actionUID("call_tool"), typeTool, "tool", "call", "tool"},
	{mcp.MethodPromptsGet, actionUID("get_prompt"), typePrompt, "prompt", "get", "prompt"},
	{mcp.MethodResourcesRead, actionUID("read_resource"), typeResource, "resource", "read", "resource"},
}

func actionUID(id string) types.EntityUID { return types.NewEntityUID(typeAction, types.String(id)) }

// kindOf finds the kind of a method; false for every other method.
func kindOf(method string) (int, bool) {
	for i := range kinds {
		if kinds[i].method == method {
			return i, true
		}
	}
	return 0, false
}

// namesKind says whether an action is that of a kind.
func namesKind(action types.EntityUID) bool {
	for i := range kinds {
		if kinds[i].action == action {
			return true
		}
	}
	return false
}

// uid is the entity that stands for a target.
func (k *kind) uid(target string) types.EntityUID {
	if k.resource == typeResource {
		target = sanitizer.Replace(target)
	}
	return types.NewEntityUID(k.resource, types.String(target))
}

// sanitizer makes the id of a Resource from its URI.
var sanitizer = strings.NewReplacer(":", "_", "/", "_", `\`, "_", "?", "_", "&", "_", "=", "_", "#", "_", ".", "_", " ", "_")

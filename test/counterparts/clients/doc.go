// Package clients holds rolegate to MCP clients that nobody here wrote: the TypeScript SDK of both generations,
// mcp-remote and the Inspector's command line, each with a token header, through the built binary to MCP servers that
// stand behind the judge of package lab.
//
// Its tests promise to leave nothing running and nothing behind but the installed programs, in the user's cache folder,
// so that only the first run needs a network. They are skipped, with a word, without the switch of package lab and
// where what they need can't be had. They must never let a client learn anything from the test but address and token.
package clients

// Package provider holds rolegate to a real identity provider: the certified OpenID Connect provider of npm signs
// tokens with RS256, ES256 and EdDSA, replaces its keys in every way there is, and goes away, hangs or talks nonsense.
// The official MCP client signs in with it and speaks both protocol eras through the built binary, and the fake STS and
// AWS MCP Server at the other end verify what arrives.
//
// Its tests promise to leave nothing running and nothing behind but the installed provider, in the user's cache
// folder, so that only the first run needs a network. They are skipped, with a word, without the switch of package lab
// and where node, npm or its registry is missing. They must never name a registry (npm's own settings do) nor listen
// beyond loopback.
package provider

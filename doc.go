// Package rolegate is an authentication gateway between a company's sign-in and AWS for AI agents. It holds no code:
// the program is cmd/rolegate, and docs/design.md says which room does what. The tests beside this file hold the rules
// of the house; nothing may ever import it.
package rolegate

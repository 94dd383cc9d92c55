// Package cedar holds the decisions of rolegate's policies against those of Cedar's own engine, which is written in
// Rust and comes to Node as WebAssembly.
//
// It promises that its questions are made from a seed that is logged, so that a disagreement can be had again, and that
// the entities and the context that the other engine gets are made from the claims and the message by the rules of
// docs/policy.md, here, and not by package policy. Its tests are skipped, with a word, without the switch of package lab
// and where the engine can't be had. It must never take an expectation from the code that it tests.
package cedar

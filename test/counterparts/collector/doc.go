// Package collector holds what rolegate tells of itself to the OpenTelemetry Collector's own OTLP receiver: client,
// rolegate and remote each send their spans to it, over HTTP and over gRPC, and what it got must be one trace.
//
// Its tests promise to leave nothing running and nothing behind. They are skipped, with a word, without the switch of
// package lab. The package is a module of its own, so that the Collector's libraries are no dependencies of rolegate. It
// must never read OTLP by code of its own: what counts is what the receiver made of it.
package collector

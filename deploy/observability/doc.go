// Package observability makes the pictures of rolegate that others draw: a Grafana dashboard, Prometheus alert rules, and
// the tests of those rules. All of it is test code, so that nothing of it is in the product: "go test
// ./deploy/observability -update" writes the files anew, and the plain test fails where they are stale.
//
// It promises that every metric, label and value of a label in the files is one that rolegate serves, that every alert
// is shown both firing and silent, and that every alert has its entry in docs/operations.md. It must never name a metric
// but by the constants of internal/telemetry.
package observability

// Package prometheus holds rolegate's metrics to Debian's Prometheus: its server scrapes the built binary and answers
// questions about what it found, and its promtool finds nothing to say about the page.
//
// Its tests promise to leave nothing running and nothing behind but the unpacked packages, in the user's cache folder, so
// that only the first run needs a network. They are skipped, with a word, without the switch of package lab and where
// Debian's packages can't be had. They must never listen beyond loopback.
package prometheus

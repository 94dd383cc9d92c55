//go:build race

package faults_test

// slack multiplies what may take its time, and nothing else: the race detector makes everything some five times slower.
const (
	slack     = 5
	underRace = true
)

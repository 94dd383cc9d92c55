//go:build race

package faults_test

// slack multiplies what may take its time, and nothing else: the race detector makes everything several times slower.
const (
	slack     = 4
	underRace = true
)

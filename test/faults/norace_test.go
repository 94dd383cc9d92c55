//go:build !race

package faults_test

// slack multiplies what may take its time, and nothing else.
const (
	slack     = 1
	underRace = false
)

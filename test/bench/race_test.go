//go:build race

package main

// raceEnabled says whether the race detector is in this program.
const raceEnabled = true

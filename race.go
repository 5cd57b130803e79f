//go:build race

package brine

const raceEnabled = true

// raceEnv keeps workers of a program under the race detector from waiting a second at their exit.
var raceEnv = []string{"GORACE=atexit_sleep_ms=0"}

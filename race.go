//go:build race

package brine

// raceMemory is what a worker needs under the race detector.
const raceMemory = 1 << 30

// raceEnv keeps workers of a program under the race detector from waiting a second at their exit.
var raceEnv = []string{"GORACE=atexit_sleep_ms=0"}

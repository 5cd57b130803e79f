//go:build race

package brine_test

// underRace says that the race detector is on, whose shadow memory RLIMIT_DATA counts too.
const underRace = true

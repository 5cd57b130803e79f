//go:build !race

package brine

const raceMemory = 0

var raceEnv []string

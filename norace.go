//go:build !race

package brine

const raceEnabled = false

var raceEnv []string

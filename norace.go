//go:build !race

package brine

var raceEnv []string

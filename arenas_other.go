//go:build unix && !linux

package brine

// physicalMemory is asked for on Linux only: there are no arenas here.
func physicalMemory() int64 { return leastMemory }

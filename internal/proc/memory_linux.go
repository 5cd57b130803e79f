package proc

import (
	"os"
	"syscall"
)

// ownPeak returns the most bytes that this process had resident.
func ownPeak() int64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return ru.Maxrss << 10 // Linux counts in KiB
}

// peakMemory returns the most bytes that an ended process had resident, 0 if that isn't known: between fork and exec it
// shares its parent's memory, whose peak, inherited, is then counted as its own.
func peakMemory(s *os.ProcessState, inherited int64) int64 {
	if s == nil {
		return 0
	}
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok && ru != nil && ru.Maxrss<<10 > inherited {
		return ru.Maxrss << 10
	}
	return 0
}

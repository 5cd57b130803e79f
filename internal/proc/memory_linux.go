package proc

import (
	"os"
	"syscall"
)

// PeakMemory returns the most bytes that an ended process had resident.
func PeakMemory(s *os.ProcessState) int64 {
	if s == nil {
		return 0
	}
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok && ru != nil {
		return ru.Maxrss << 10 // Linux counts in KiB
	}
	return 0
}

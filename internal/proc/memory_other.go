//go:build unix && !linux

package proc

import (
	"os"
	"runtime"
	"syscall"
)

// PeakMemory returns the most bytes that an ended process had resident.
func PeakMemory(s *os.ProcessState) int64 {
	if s == nil {
		return 0
	}
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok && ru != nil {
		if runtime.GOOS == "darwin" {
			return int64(ru.Maxrss)
		}
		return int64(ru.Maxrss) << 10 // the BSDs count in KiB
	}
	return 0
}

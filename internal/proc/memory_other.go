//go:build unix && !linux

package proc

import (
	"os"
	"runtime"
	"syscall"
)

// ownPeak is needed on Linux alone.
func ownPeak() int64 { return 0 }

// Peak is known on Linux alone.
func Peak(int) int64 { return 0 }

// peakMemory returns the most bytes that an ended process had resident.
func peakMemory(s *os.ProcessState, _ int64) int64 {
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

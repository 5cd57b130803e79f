package proc

import (
	"bytes"
	"os"
	"strconv"
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

// Peak returns the most bytes that a process has had resident since its program was started, 0 if that can't be read: it
// has ended, say.
func Peak(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("\nVmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

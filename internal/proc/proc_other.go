//go:build unix && !linux

package proc

import "golang.org/x/sys/unix"

// awaitExit returns false at once: without waitid(WNOWAIT) the wait that follows also reaps, and children that a worker
// leaves behind are killed only while the worker lives (by Kill).
func awaitExit(int) bool { return false }

func dupCloseOnExec(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

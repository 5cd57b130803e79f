package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func openPipe(fds *[2]int) error { return syscall.Pipe2(fds[:], syscall.O_CLOEXEC) }

func enlarge(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }

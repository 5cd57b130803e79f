package link

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func openPipe(fds *[2]int) error { return syscall.Pipe2(fds[:], syscall.O_CLOEXEC) }

func enlarge(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }

// openWriteEnd opens the other end of a pipe that this process reads from.
func openWriteEnd(fd int) (int, error) {
	return syscall.Open("/proc/self/fd/"+strconv.Itoa(fd), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

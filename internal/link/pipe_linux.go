package link

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func openPipe(fds *[2]int) error { return syscall.Pipe2(fds[:], syscall.O_CLOEXEC) }

func openSocket() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// receive is recvmsg, with descriptors that are closed on exec.
func receive(fd int, b, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = unix.Recvmsg(fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	return n, oobn, flags, err
}

func enlarge(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) }

// openWriteEnd opens the other end of a pipe that this process reads from.
func openWriteEnd(fd int) (int, error) {
	return syscall.Open("/proc/self/fd/"+strconv.Itoa(fd), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

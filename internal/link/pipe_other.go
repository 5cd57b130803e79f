//go:build unix && !linux

package link

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func openPipe(fds *[2]int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Pipe(fds[:]); err != nil {
		return err
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return nil
}

func openSocket() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}

func receive(fd int, b, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = unix.Recvmsg(fd, b, oob, 0)
	return n, oobn, flags, err
}

func enlarge(int) {} // no such call: pipes keep the system's size

// openWriteEnd cannot be done here: a worker that leaves its result pipe to a child that outlives it is not noticed.
func openWriteEnd(int) (int, error) { return -1, syscall.ENOSYS }

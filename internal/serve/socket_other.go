//go:build unix && !linux

package serve

import "golang.org/x/sys/unix"

func receive(fd int, b, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = unix.Recvmsg(fd, b, oob, 0)
	return n, oobn, flags, err
}

func send(fd int, b, oob []byte, wait bool) (int, error) {
	flags := 0
	if !wait {
		flags |= unix.MSG_DONTWAIT
	}
	return unix.SendmsgN(fd, b, oob, nil, flags)
}

func pipe() (read, write int, err error) {
	var fds [2]int
	if err = unix.Pipe(fds[:]); err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds[0], fds[1], err
}

package serve

import "golang.org/x/sys/unix"

// receive is recvmsg, with descriptors that are closed on exec.
func receive(fd int, b, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = unix.Recvmsg(fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	return n, oobn, flags, err
}

// send is sendmsg, without SIGPIPE and, unless it is to wait, without waiting.
func send(fd int, b, oob []byte, wait bool) (int, error) {
	flags := unix.MSG_NOSIGNAL
	if !wait {
		flags |= unix.MSG_DONTWAIT
	}
	return unix.SendmsgN(fd, b, oob, nil, flags)
}

// pipe makes a pipe that other programs don't inherit.
func pipe() (read, write int, err error) {
	var fds [2]int
	err = unix.Pipe2(fds[:], unix.O_CLOEXEC)
	return fds[0], fds[1], err
}

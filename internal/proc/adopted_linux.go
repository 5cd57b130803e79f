package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// handle is a pidfd, of one process whatever becomes of its number.
type handle struct{ f *os.File }

func openHandle(pid int) (handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return handle{}, fmt.Errorf("pidfd_open: %w", err)
	}
	// So that it is waited for as sockets are, without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return handle{}, fmt.Errorf("pidfd: %w", err)
	}
	return handle{os.NewFile(uintptr(fd), "pidfd")}, nil
}

// await waits until the process has ended.
func (h handle) await() {
	raw, err := h.f.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool { return ready(int(fd), 0) })
	}
	if err != nil { // the system can't watch it without a thread
		ready(int(h.f.Fd()), -1)
	}
}

func ready(fd, timeout int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, timeout)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}

func (h handle) signal(s syscall.Signal) {
	if raw, err := h.f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	}
}

func (h handle) close() { h.f.Close() }

// exitStatus returns how a process ended that nobody has reaped: the last field of /proc/pid/stat, see proc_pid_stat(5).
func exitStatus(pid int) *syscall.WaitStatus {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 50 || string(fields[0]) != "Z" {
		return nil
	}
	n, err := strconv.ParseUint(string(fields[49]), 10, 32)
	if err != nil {
		return nil
	}
	status := syscall.WaitStatus(n)
	return &status
}

package main

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// What floors ask of the system. A descriptor that an error leaves open ends with the entrant's process.

// pipePair opens two pipes between a parent and its child: each gets the end to read first.
func pipePair() (ours, theirs []int, err error) {
	var down, up [2]int // down: to the child; up: from it
	if err := unix.Pipe2(down[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	if err := unix.Pipe2(up[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	return []int{up[0], down[1]}, []int{down[0], up[1]}, nil
}

// setPipeRoom makes room for 1 MiB in a pipe.
func setPipeRoom(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeRoom); err != nil {
		return fmt.Errorf("size of a pipe: %w", err)
	}
	return nil
}

// socketPair opens two ends of a unix stream socket.
func socketPair() ([]int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	return fds[:], nil
}

// newMemfd makes memory of size bytes that has a descriptor and can be sealed.
func newMemfd(name string, size int) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, fmt.Errorf("memfd: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return -1, fmt.Errorf("size of a memfd: %w", err)
	}
	return fd, nil
}

// startWith starts a child that has fds as its descriptors from 3 on, and closes them here.
func startWith(cmd *exec.Cmd, fds []int) error {
	for _, fd := range fds {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "end"))
	}
	cmd.Stderr = os.Stderr
	err := cmd.Start()
	for _, f := range cmd.ExtraFiles {
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("start the other side: %w", err)
	}
	return nil
}

//go:build unix && !linux

package shm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Arenas says whether memory that is written again and again is worth sharing here. It lies in a file, whose pages the
// system would keep writing to the disk.
const Arenas = false

func create(name string) (int, error) {
	f, err := os.CreateTemp("", name+"-")
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return -1, err
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// There are no seals here: a process that truncates memory which it shares takes the others down with SIGBUS.
func fix(int) error  { return nil }
func seal(int) error { return nil }

// Reserve writes zeros: a file that has holes can run out of disk when it is written through a mapping, which ends
// the process.
func Reserve(fd int, off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := unix.Pwrite(fd, zeros[:min(n, int64(len(zeros)))], off)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("reserving %d bytes of shared memory: %w", n, err)
		}
		off, n = off+int64(max(k, 0)), n-int64(max(k, 0))
	}
	return nil
}

// Discard does nothing here.
func Discard(int, int64, int64) {}

// ReadOnly returns another descriptor of the same memory, which can be written here.
func ReadOnly(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// Steady says that the memory behind a descriptor can't become smaller, which nothing promises here.
func Steady(int) bool { return false }

package shm

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Arenas says whether memory that is written again and again is worth sharing here.
const Arenas = true

func create(name string) (int, error) {
	return unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
}

func fix(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	return err
}

// seal keeps everybody from writing, for good. There must be no writable mapping.
func seal(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return err
}

// Reserve finds pages for n bytes at off, so that writing to them can't fail: where there are none left, a write to a
// mapping would end the process.
func Reserve(fd int, off, n int64) error {
	for {
		err := unix.Fallocate(fd, 0, off, n)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("reserving %d bytes of shared memory: %w", n, err)
		}
	}
}

// Discard gives the pages of n bytes at off back. They read as zero from then on.
func Discard(fd int, off, n int64) {
	_ = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// ReadOnly returns another descriptor of the same memory that can't be mapped for writing. Where there is no /proc it
// is a writable one.
func ReadOnly(fd int) (int, error) {
	if ro, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		return ro, nil
	}
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

// Steady says that the memory behind a descriptor can't become smaller: then it can be mapped and read without fear.
func Steady(fd int) bool {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_SHRINK != 0
}

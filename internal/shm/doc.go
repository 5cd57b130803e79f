// Package shm is shared memory without a name. It makes it, maps it, gives its pages back, and knows segments: memory
// that is filled once, sealed, and passed to other processes by descriptor. It knows how long a segment is needed, by
// counting its users; it doesn't know what lies in one, which process has it, or how descriptors travel.
//
// On Linux the memory is a memfd. On other Unixes it is a file whose name is removed at once: that is slower where the
// temporary directory is on a disk, and nothing there keeps a process that has the descriptor from changing it.
package shm

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Create makes memory of size bytes, all zero, that can neither shrink nor grow, so that no process can take it from
// under another's feet. It has no pages yet. The descriptor is the caller's to close.
func Create(name string, size int64) (fd int, err error) {
	if fd, err = create(name); err != nil {
		return -1, fmt.Errorf("making shared memory: %w", err)
	}
	if err = unix.Ftruncate(fd, size); err == nil {
		err = fix(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("making shared memory of %d bytes: %w", size, err)
	}
	return fd, nil
}

// Map maps the first size bytes of fd.
func Map(fd int, size int64, writable bool) ([]byte, error) {
	if size > math.MaxInt {
		return nil, fmt.Errorf("mapping %d bytes of shared memory: %w", size, unix.ENOMEM)
	}
	if size == 0 {
		return nil, nil
	}
	mem, err := unix.Mmap(fd, 0, int(size), protection(writable), unix.MAP_SHARED)
	if errors.Is(err, unix.EPERM) && !writable {
		// Before Linux 6.7, what is sealed against writing can't be mapped as shared, not even for reading. Where nobody
		// writes, a private mapping is the same pages.
		mem, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	}
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes of shared memory: %w", size, err)
	}
	return mem, nil
}

func protection(writable bool) int {
	if writable {
		return unix.PROT_READ | unix.PROT_WRITE
	}
	return unix.PROT_READ
}

// Unmap takes a mapping back. Nil is fine.
func Unmap(mem []byte) {
	if mem != nil {
		_ = unix.Munmap(mem)
	}
}

// Size returns the size of the memory behind a descriptor.
func Size(fd int) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("the size of shared memory: %w", err)
	}
	return st.Size, nil
}

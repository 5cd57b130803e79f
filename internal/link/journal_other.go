//go:build unix && !linux

package link

import (
	"os"

	"golang.org/x/sys/unix"
)

// segment makes shared memory of a file that has no name any more. There are no seals here: a worker that truncates
// its own journal takes its parent down with SIGBUS.
func segment(_ string, size int64) (int, error) {
	f, err := os.CreateTemp("", "brine-journal-")
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return -1, err
	}
	if err := f.Truncate(size); err != nil {
		return -1, err
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

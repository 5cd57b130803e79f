//go:build unix && !linux

package link

import "syscall"

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

func enlarge(int) {} // no such call: pipes keep the system's size

// openWriteEnd cannot be done here: a worker that leaves its result pipe to a child that outlives it is not noticed.
func openWriteEnd(int) (int, error) { return -1, syscall.ENOSYS }

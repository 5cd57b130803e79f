//go:build unix && !linux

package proc

import (
	"errors"
	"syscall"
)

// handle is not to be had here: the number of a process that is not a child can become another's at any time.
type handle struct{}

func openHandle(int) (handle, error) {
	return handle{}, errors.New("this system can't watch a process that another has started")
}

func (handle) await()                {}
func (handle) signal(syscall.Signal) {}
func (handle) close()                {}

func exitStatus(int) *syscall.WaitStatus { return nil }

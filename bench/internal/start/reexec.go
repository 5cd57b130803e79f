// Package start has the entrants of the rows on process start. It is a package so that two programs can run them: bench itself, which has
// gRPC linked in, and bench/lean, which has nothing but Brine and the standard library.
package start

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// starts is how many processes one sample starts; the sample is the median of them.
const starts = 15

// readyRole is the role of the floor's child.
const readyRole = "ready"

// ReadyMain is the whole of the floor's child: it writes a byte and waits to be let go. Call it first in main; it returns in any
// process that is not that child.
func ReadyMain() {
	if name, _ := entrant.Role(); name != readyRole {
		return
	}
	var b [1]byte
	if _, err := syscall.Write(3, b[:]); err != nil {
		os.Exit(2)
	}
	_, _ = syscall.Read(4, b[:])
	os.Exit(0)
}

// Reexec measures, in milliseconds, a bare start of this same program: from just before exec until the first byte that its main writes.
func Reexec(context.Context, entrant.Config) (entrant.Entrant, error) {
	return medianOfStarts(reexecOnce)
}

// medianOfStarts makes an entrant of a function that starts one process and returns how long that took. The first start is not measured.
func medianOfStarts(once func() (time.Duration, error)) (entrant.Entrant, error) {
	if _, err := once(); err != nil {
		return entrant.Entrant{}, err
	}
	return entrant.Entrant{Sample: func(context.Context) ([]float64, error) {
		took := make([]time.Duration, starts)
		for i := range took {
			d, err := once()
			if err != nil {
				return nil, err
			}
			took[i] = d
		}
		slices.Sort(took)
		return []float64{float64(took[starts/2].Nanoseconds()) / 1e6}, nil
	}}, nil
}

func reexecOnce() (time.Duration, error) {
	var ready, release [2]int
	if err := syscall.Pipe2(ready[:], syscall.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe: %w", err)
	}
	defer syscall.Close(ready[0])
	if err := syscall.Pipe2(release[:], syscall.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("pipe: %w", err)
	}
	theirW, theirR := os.NewFile(uintptr(ready[1]), "ready"), os.NewFile(uintptr(release[0]), "release")

	begin := time.Now()
	cmd := exec.Command("/proc/self/exe", entrant.RoleArgs(readyRole)...)
	cmd.ExtraFiles = []*os.File{theirW, theirR} // 3 and 4
	cmd.Stderr = os.Stderr
	err := cmd.Start()
	_ = theirW.Close()
	_ = theirR.Close()
	if err != nil {
		_ = syscall.Close(release[1])
		return 0, fmt.Errorf("start again: %w", err)
	}
	var b [1]byte
	n, err := syscall.Read(ready[0], b[:])
	took := time.Since(begin)

	_ = syscall.Close(release[1])
	if waitErr := cmd.Wait(); waitErr != nil {
		return 0, fmt.Errorf("child of the start floor: %w", waitErr)
	}
	if n != 1 {
		return 0, errors.Join(errors.New("child of the start floor wrote nothing"), err)
	}
	return took, nil
}

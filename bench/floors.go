package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// A floor is what the machine charges when nothing is built on top: the figure that an entrant can approach but not pass.

// pipes is the parent's end of a child that sends back what it is sent: two pipes, raw blocking reads and writes on either side, no framing.
type pipes struct {
	child *exec.Cmd
	r, w  int
}

// startEcho starts a process that echoes messages of size bytes. As in the floors of the project (floors/go/rtt.go, pipe_raw)
// it runs unpinned and with GOMAXPROCS=1.
func startEcho(size int) (*pipes, error) {
	ours, theirs, err := pipePair()
	if err != nil {
		return nil, err
	}
	cmd, err := roleCommand("echo", strconv.Itoa(size))
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	return &pipes{child: cmd, r: ours[0], w: ours[1]}, startWith(cmd, theirs)
}

// roundTrip sends b and reads as much back into it.
func (p *pipes) roundTrip(b []byte) error {
	if err := writeFull(p.w, b); err != nil {
		return err
	}
	return readFull(p.r, b)
}

// close ends the child by closing its pipe, and waits for it.
func (p *pipes) close() error {
	_ = syscall.Close(p.w)
	_ = syscall.Close(p.r)
	return p.child.Wait()
}

// echoMain is the child of startEcho.
func echoMain(args []string) int {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return 2
	}
	for b := make([]byte, size); ; {
		if readFull(3, b) != nil {
			return 0
		}
		if writeFull(4, b) != nil {
			return 0
		}
	}
}

// floorEcho is the bare ping-pong of size bytes, in microseconds. The child reads a whole message before it writes, so no size can
// make both sides wait for each other.
func floorEcho(size int) entrant.Maker {
	return func(_ context.Context, c entrant.Config) (entrant.Entrant, error) {
		p, err := startEcho(size)
		if err != nil {
			return entrant.Entrant{}, err
		}
		b := make([]byte, size)
		return entrant.Latency(c, func() error { return p.roundTrip(b) }, p.close)
	}
}

var errShort = errors.New("the other side is gone")

func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Read(fd, b)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n <= 0:
			return errShort
		default:
			b = b[n:]
		}
	}
	return nil
}

func writeFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(fd, b)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return fmt.Errorf("write: %w", err)
		default:
			b = b[n:]
		}
	}
	return nil
}

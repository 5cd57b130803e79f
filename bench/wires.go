package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// The floors of the payload rows: two bare Go processes, raw blocking reads and writes, a header of 24 bytes before each payload.
const (
	wirePipes    = "pipes"          // two pipes with room for 1 MiB; the payload in a write of its own
	wireOneWrite = "pipes-onewrite" // the same; header and payload copied together and written at once
	wireSocket   = "socket"         // a unix stream socket pair; the receiver reads into memory that it keeps
	wireFresh    = "socket-fresh"   // the same; the receiver reads into new memory each time, as one does who keeps what came
	wireArena    = "arena"          // shared memory, copied into by the sender, read in place by the receiver; the header goes by a pipe
	wireCopyOut  = "arena-copyout"  // the same; the receiver copies the payload out and reads the copy
)

const (
	wireHeader   = 24      // offset, length, eight bytes to spare
	pipeRoom     = 1 << 20 // what an unprivileged process may ask for
	socketBuffer = 4 << 20 // the kernel gives at most net.core.wmem_max
	arenaFD      = 5       // in the child, behind its ends of the pipes
	sumMismatch  = 3       // exit code of a child that got wrong bytes
)

// wire is one process's side of a floor.
type wire interface {
	send(b []byte) error
	recv() ([]byte, error) // valid until the next recv
}

// stream sends payloads through the descriptors themselves.
type stream struct {
	r, w   int
	header [wireHeader]byte
	in     []byte // kept from one payload to the next
	fresh  bool   // it is not
}

func (s *stream) send(b []byte) error {
	binary.LittleEndian.PutUint64(s.header[8:], uint64(len(b)))
	if err := writeFull(s.w, s.header[:]); err != nil {
		return err
	}
	return writeFull(s.w, b)
}

func (s *stream) recv() ([]byte, error) {
	if err := readFull(s.r, s.header[:]); err != nil {
		return nil, err
	}
	if err := same(binary.LittleEndian.Uint64(s.header[8:]), uint64(len(s.in))); err != nil {
		return nil, err
	}
	if s.fresh {
		s.in = make([]byte, len(s.in))
	}
	return s.in, readFull(s.r, s.in)
}

// oneWrite sends header and payload together. The receiver knows the size, so that it needs no read of its own for the header.
type oneWrite struct {
	r, w    int
	in, out []byte // header and payload
}

func (o *oneWrite) send(b []byte) error {
	binary.LittleEndian.PutUint64(o.out[8:], uint64(len(b)))
	copy(o.out[wireHeader:], b)
	return writeFull(o.w, o.out)
}

func (o *oneWrite) recv() ([]byte, error) {
	if err := readFull(o.r, o.in); err != nil {
		return nil, err
	}
	return o.in[wireHeader:], nil
}

// arena sends payloads by memory that both processes map: the first half is written by the parent, the second by the child. It is warm
// after the first payload.
type arena struct {
	r, w   int
	header [wireHeader]byte
	shared []byte
	offset int    // of what this side writes
	out    []byte // where payloads are copied to, or nil if they are read in place
}

func (a *arena) send(b []byte) error {
	copy(a.shared[a.offset:], b)
	binary.LittleEndian.PutUint64(a.header[:], uint64(a.offset))
	binary.LittleEndian.PutUint64(a.header[8:], uint64(len(b)))
	return writeFull(a.w, a.header[:])
}

func (a *arena) recv() ([]byte, error) {
	if err := readFull(a.r, a.header[:]); err != nil {
		return nil, err
	}
	offset, n := binary.LittleEndian.Uint64(a.header[:]), binary.LittleEndian.Uint64(a.header[8:])
	b := a.shared[offset : offset+n]
	if a.out == nil {
		return b, nil
	}
	return a.out[:copy(a.out, b)], nil
}

// newWire makes one side of a wire out of its descriptors; memfd is that of an arena.
func newWire(kind string, size, r, w, memfd int, parent bool) (wire, error) {
	switch kind {
	case wireOneWrite:
		return &oneWrite{r: r, w: w, in: make([]byte, wireHeader+size), out: make([]byte, wireHeader+size)}, nil
	case wireArena, wireCopyOut:
		shared, err := unix.Mmap(memfd, 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("map an arena: %w", err)
		}
		a := &arena{r: r, w: w, shared: shared}
		if !parent {
			a.offset = size
		}
		if kind == wireCopyOut {
			a.out = make([]byte, size)
		}
		return a, nil
	}
	return &stream{r: r, w: w, in: make([]byte, size), fresh: kind == wireFresh}, nil
}

// farSide is a child that answers payloads, from the parent's side.
type farSide struct {
	wire
	child *exec.Cmd
	fds   []int
}

// startFarSide starts a child on the other end of a wire.
func startFarSide(kind string, size int) (*farSide, error) {
	ours, theirs, err := wireEnds(kind, size)
	if err != nil {
		return nil, err
	}
	f := &farSide{fds: ours}
	if f.child, err = roleCommand("wire", kind, strconv.Itoa(size)); err != nil {
		return nil, err
	}
	memfd := -1
	if strings.HasPrefix(kind, wireArena) {
		memfd = theirs[len(theirs)-1]
	}
	if f.wire, err = newWire(kind, size, ours[0], ours[len(ours)-1], memfd, true); err != nil {
		return nil, err
	}
	return f, startWith(f.child, theirs)
}

// wireEnds opens the descriptors of a wire: the parent's, first for reading and last for writing, and the child's.
func wireEnds(kind string, size int) (ours, theirs []int, err error) {
	if kind == wireSocket || kind == wireFresh {
		fds, err := socketPair()
		if err != nil {
			return nil, nil, err
		}
		for _, fd := range fds {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer); err != nil {
				return nil, nil, fmt.Errorf("size of a socket: %w", err)
			}
		}
		return fds[:1], fds[1:], nil
	}
	ours, theirs, err = pipePair()
	if err != nil {
		return nil, nil, err
	}
	if strings.HasPrefix(kind, wireArena) {
		memfd, err := newMemfd("arena", 2*size)
		return ours, append(theirs, memfd), err
	}
	return ours, theirs, errors.Join(setPipeRoom(ours[1]), setPipeRoom(theirs[1]))
}

func (f *farSide) close() error {
	for _, fd := range f.fds {
		_ = unix.Close(fd)
	}
	return f.child.Wait()
}

// wireMain is the child of startFarSide.
func wireMain(args []string) int {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return 2
	}
	kind, in, out := args[0], 3, 4
	if kind == wireSocket || kind == wireFresh {
		out = in
	}
	w, err := newWire(kind, size, in, out, arenaFD, false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for s := workerSide(size); ; {
		b, err := w.recv()
		if err != nil {
			return 0 // the parent has closed its end
		}
		if err := s.read(b); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return sumMismatch
		}
		if w.send(s.own) != nil {
			return 0
		}
	}
}

// floorPayload measures size bytes there and back by a wire, in microseconds.
func floorPayload(kind string, size int) entrant.Maker {
	return func(_ context.Context, c entrant.Config) (entrant.Entrant, error) {
		f, err := startFarSide(kind, size)
		if err != nil {
			return entrant.Entrant{}, fmt.Errorf("%s: %w", kind, err)
		}
		s := parentSide(size)
		return entrant.Latency(c, func() error {
			if err := f.send(s.own); err != nil {
				return err
			}
			b, err := f.recv()
			if err != nil {
				return err
			}
			return s.read(b)
		}, f.close)
	}
}

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/brinepool/brine/bench/internal/entrant"
)

// The floors of fixed/int64: bare Go processes, each on a socket by which it says that it is up, gets the data's descriptor and answers
// with the sum. One floor fills a memfd by write(2), seals it and sends its descriptor to each; the other writes all data to a pipe to each.

// Descriptors of a child.
const (
	fixedSocket = 3
	fixedPipe   = 4 // only if the data come that way
)

// summer is a child, from the parent's side.
type summer struct {
	child  *exec.Cmd
	socket int
	pipe   int // -1 if there is none
}

// startSummer starts a child and waits until it is up.
func startSummer(n int, byPipe bool) (*summer, error) {
	sockets, err := socketPair()
	if err != nil {
		return nil, err
	}
	cmd, err := roleCommand("fixed", strconv.Itoa(n), strconv.FormatBool(byPipe))
	if err != nil {
		return nil, err
	}
	s, theirs := &summer{child: cmd, socket: sockets[0], pipe: -1}, sockets[1:]
	if byPipe {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, fmt.Errorf("pipe: %w", err)
		}
		if err := setPipeRoom(p[1]); err != nil {
			return nil, err
		}
		s.pipe = p[1]
		theirs = append(theirs, p[0])
	}
	if err := startWith(cmd, theirs); err != nil {
		return nil, err
	}
	return s, readFull(s.socket, make([]byte, 1))
}

// sum waits for the child's sum.
func (s *summer) sum() (int64, error) {
	var b [8]byte
	err := readFull(s.socket, b[:])
	return int64(binary.LittleEndian.Uint64(b[:])), err
}

func (s *summer) close() error {
	_ = unix.Close(s.socket)
	if s.pipe >= 0 {
		_ = unix.Close(s.pipe)
	}
	return s.child.Wait()
}

// floorFixed measures a floor of fixed/int64.
func floorFixed(byPipe bool) entrant.Maker {
	return func(_ context.Context, c entrant.Config) (entrant.Entrant, error) {
		data, want := fixedData(fixedLen(c))
		return entrant.Entrant{Sample: func(context.Context) ([]float64, error) {
			var all []*summer
			for range fixedWorkers {
				s, err := startSummer(len(data), byPipe)
				if err != nil {
					return nil, err
				}
				all = append(all, s)
			}
			give := giveMemfd
			if byPipe {
				give = givePipes
			}
			values, err := timeSummers(all, give, data, want)
			for _, s := range all {
				if e := s.close(); err == nil {
					err = e
				}
			}
			return values, err
		}}, nil
	}
}

// timeSummers measures from before the data are given until the last sum is back.
func timeSummers(all []*summer, give func([]*summer, []byte) error, data []int64, want int64) ([]float64, error) {
	start := time.Now()
	if err := give(all, int64Bytes(data)); err != nil {
		return nil, err
	}
	for _, s := range all {
		sum, err := s.sum()
		if err != nil {
			return nil, err
		}
		if err := same(sum, want); err != nil {
			return nil, err
		}
	}
	spent := time.Since(start)
	var pids []int
	for _, s := range all {
		pids = append(pids, s.child.Process.Pid)
	}
	return fixedSample(spent, pids, len(data))
}

// giveMemfd copies the data once and passes the copy to all.
func giveMemfd(all []*summer, data []byte) error {
	memfd, err := newMemfd("fixed", 0)
	if err != nil {
		return err
	}
	defer unix.Close(memfd)
	if err := writeFull(memfd, data); err != nil {
		return err
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(memfd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	for _, s := range all {
		if err := unix.Sendmsg(s.socket, []byte{0}, unix.UnixRights(memfd), nil, 0); err != nil {
			return fmt.Errorf("pass a descriptor: %w", err)
		}
	}
	return nil
}

// givePipes writes the data to all at once.
func givePipes(all []*summer, data []byte) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = writeFull(s.pipe, data) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fixedMain is the child of startSummer.
func fixedMain(args []string) int {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 2
	}
	if err := sumOnce(n, args[1] == "true"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// sumOnce says that it is up, sums n numbers and keeps them until the parent closes the socket.
func sumOnce(n int, byPipe bool) error {
	if err := writeFull(fixedSocket, []byte{0}); err != nil {
		return err
	}
	var data []int64
	if byPipe {
		data = make([]int64, n)
		if err := readFull(fixedPipe, int64Bytes(data)); err != nil {
			return err
		}
	} else {
		memfd, err := receiveFD(fixedSocket)
		if err != nil {
			return err
		}
		b, err := unix.Mmap(memfd, 0, n*8, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map the data: %w", err)
		}
		data = unsafe.Slice((*int64)(unsafe.Pointer(&b[0])), n) //nolint:gosec // G103: a mapping of n numbers
	}
	if err := writeFull(fixedSocket, binary.LittleEndian.AppendUint64(nil, uint64(sumInt64(data)))); err != nil {
		return err
	}
	_ = readFull(fixedSocket, make([]byte, 1)) // the parent has read this process's memory when it closes
	runtime.KeepAlive(data)
	return nil
}

// receiveFD takes a descriptor from a socket.
func receiveFD(socket int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive a descriptor: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, fmt.Errorf("receive a descriptor: %w", err)
	}
	if len(messages) != 1 {
		return -1, errShort
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, fmt.Errorf("receive a descriptor: %w", err)
	}
	return fds[0], nil
}

// int64Bytes is the memory of data.
func int64Bytes(data []int64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), len(data)*8) //nolint:gosec // G103: its length in bytes
}

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"unsafe"
)

// customFlag makes this program a worker of the hand-made pool.
const customFlag = "-custom-worker"

// customMain serves the hand-made pool where this process is one of its workers, and returns elsewhere.
func customMain() {
	if len(os.Args) != 2 || os.Args[1] != customFlag {
		return
	}
	if err := serve(bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)); err != nil {
		log.Fatalf("worker %d: %v", os.Getpid(), err)
	}
	os.Exit(0)
}

// serve reads the fixed data and then lists, and answers each list with its sum, until its input ends.
func serve(r *bufio.Reader, w *bufio.Writer) error {
	data, err := readInts(r, nil)
	if err != nil {
		return fmt.Errorf("reading the fixed data: %w", err)
	}
	if len(data) <= factor {
		return fmt.Errorf("%d integers of fixed data are too few", len(data))
	}
	var list []int64
	for {
		if list, err = readInts(r, list); err != nil {
			if errors.Is(err, io.EOF) {
				return w.Flush()
			}
			return fmt.Errorf("reading a list: %w", err)
		}
		if err := writeInt(w, weigh(data, list)); err != nil {
			return err
		}
		if r.Buffered() == 0 { // before it waits, what is done must be on its way
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// writeInts writes integers as their number and then as they are in memory: both ends are this program.
func writeInts(w *bufio.Writer, ints []int64) error {
	if err := writeInt(w, int64(len(ints))); err != nil {
		return err
	}
	_, err := w.Write(bytesOf(ints))
	return err
}

// readInts reads what writeInts wrote, into buf where that has room. Its error is io.EOF at the end of the input, and
// another one inside of integers.
func readInts(r *bufio.Reader, buf []int64) ([]int64, error) {
	n, err := readInt(r)
	if err != nil {
		return nil, err
	}
	ints := slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(r, bytesOf(ints)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return ints, nil
}

func writeInt(w *bufio.Writer, n int64) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(n))
	_, err := w.Write(b[:])
	return err
}

func readInt(r *bufio.Reader) (int64, error) {
	var b [8]byte
	_, err := io.ReadFull(r, b[:])
	return int64(binary.NativeEndian.Uint64(b[:])), err
}

func bytesOf(ints []int64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(ints))), len(ints)*8) //nolint:gosec // the fastest way, as a rival should have
}

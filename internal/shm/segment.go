package shm

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrClosed says that a segment is gone, for its maker has closed it.
var ErrClosed = errors.New("the shared data was closed: close it when nothing uses it any more")

var ids atomic.Uint64

// adopted is how many segments this process has adopted and not unmapped.
var adopted atomic.Int64

// Holder has been passed a segment. Forget is called once, when nobody needs the segment any more, from whichever
// goroutine released it last.
type Holder interface{ Forget(id uint64) }

// Segment is memory that is filled once and read by any number of processes from then on. Its maker is its first user;
// it is freed when the last one has released it. Its methods are safe for concurrent use.
type Segment struct {
	id   uint64
	size int64

	mu       sync.Mutex
	users    int
	fd       int    // -1 when it is freed
	mem      []byte // nil until it is mapped
	writable bool   // by its maker, until it is sealed
	holders  map[Holder]struct{}
	adopted  bool // from another process: the collector frees it
}

// Publish makes a sealed segment that holds what parts hold, one after the other. It is written by write(2), which is
// twice as fast as filling a new mapping (docs/RATIONALE.md).
func Publish(name string, parts ...[]byte) (*Segment, error) {
	size := int64(0)
	for _, p := range parts {
		size += int64(len(p))
	}
	if err := room(size); err != nil {
		return nil, err
	}
	fd, err := Create(name, size)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err = writeAll(fd, p); err != nil {
			break
		}
	}
	if err == nil {
		err = seal(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("filling %d bytes of shared memory: %w", size, err)
	}
	return &Segment{id: ids.Add(1), size: size, fd: fd, users: 1}, nil
}

// portion is what one write is asked to take; the system takes at most 2 GB.
const portion = 1 << 30

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b[:min(len(b), portion)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Make makes a segment of zeros that its maker can write until Seal. All its pages are there, so that a write can't
// fail.
func Make(name string, size int64) (*Segment, error) {
	if err := room(size); err != nil {
		return nil, err
	}
	fd, err := Create(name, size)
	if err != nil {
		return nil, err
	}
	s := &Segment{id: ids.Add(1), size: size, fd: fd, users: 1, writable: true}
	if size > 0 {
		err = Reserve(fd, 0, size)
	}
	if err == nil {
		s.mem, err = Map(fd, size, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// Adopt makes a segment of what another process has passed: fd, which becomes the segment's, of size bytes. Beside its
// users, whoever can reach it keeps it: an adopted segment is unmapped when it is both released and unreachable, so
// that a task which keeps its argument keeps the memory too.
func Adopt(fd int, size int64) (*Segment, error) {
	have, err := Size(fd)
	if err == nil && have < size {
		err = fmt.Errorf("shared memory has %d bytes, not %d", have, size)
	}
	var mem []byte
	if err == nil {
		mem, err = Map(fd, size, false)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	s := &Segment{id: ids.Add(1), size: size, fd: fd, mem: mem, users: 1, adopted: true}
	adopted.Add(1)
	runtime.AddCleanup(s, func(mem []byte) {
		Unmap(mem)
		_ = unix.Close(fd)
		adopted.Add(-1)
	}, mem)
	return s, nil
}

// ID returns the segment's number in this process.
func (s *Segment) ID() uint64 { return s.id }

// Adopted reports whether another process passed the segment.
func (s *Segment) Adopted() bool { return s.adopted }

// Size returns the segment's size in bytes.
func (s *Segment) Size() int64 { return s.size }

// Bytes returns the segment's memory, mapped when it is first asked for: writable before Seal, read-only after it, and
// valid until the segment is freed.
func (s *Segment) Bytes() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed() {
		return nil, ErrClosed
	}
	if s.mem == nil && s.size > 0 {
		mem, err := Map(s.fd, s.size, false)
		if err != nil {
			return nil, err
		}
		s.mem = mem
	}
	return s.mem, nil
}

// freed says that the memory is gone. The caller holds mu.
func (s *Segment) freed() bool { return s.users <= 0 && !s.adopted }

// Closed reports whether the segment is gone for good.
func (s *Segment) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freed()
}

// Seal makes the segment read-only, here and everywhere else, for good. The memory stays where it is. It must not be
// written while Seal runs.
func (s *Segment) Seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seal()
}

func (s *Segment) seal() error {
	if s.freed() {
		return ErrClosed
	}
	if !s.writable {
		return nil
	}
	if s.size > 0 {
		// The seal is refused as long as there is a writable mapping of the memory. A private one takes its place in one
		// step, so that readers find the same pages there at every moment: nobody writes to those any more.
		if err := remap(s.mem, s.fd, unix.PROT_READ, unix.MAP_PRIVATE); err != nil {
			return fmt.Errorf("sealing shared memory: %w", err)
		}
	}
	if err := seal(s.fd); err != nil {
		return fmt.Errorf("sealing shared memory: %w", err)
	}
	s.writable = false
	return nil
}

// remap puts another mapping in the place of mem.
func remap(mem []byte, fd, prot, flags int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)), prot, flags|unix.MAP_FIXED)
	return err
}

// Retain adds a user, which needs the segment to be sealed: it is, if it wasn't. It fails when the segment is gone.
func (s *Segment) Retain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.seal(); err != nil {
		return err
	}
	s.users++
	return nil
}

// Release takes a user away. With the last one the memory is freed, and its holders are told.
func (s *Segment) Release() {
	s.mu.Lock()
	s.users--
	if s.users > 0 {
		s.mu.Unlock()
		return
	}
	if s.adopted { // it is here for as long as somebody can reach it, and may be used again
		s.mu.Unlock()
		return
	}
	holders := s.holders
	s.holders = nil
	if s.fd >= 0 {
		Unmap(s.mem)
		_ = unix.Close(s.fd)
		s.mem, s.fd = nil, -1
	}
	s.mu.Unlock()
	for h := range holders {
		h.Forget(s.id)
	}
}

// Pass calls send with the segment's descriptor, if h has not been passed it yet, and notes that it has. The caller is
// a user.
func (s *Segment) Pass(h Holder, send func(fd int) error) error {
	s.mu.Lock()
	if _, has := s.holders[h]; has {
		s.mu.Unlock()
		return nil
	}
	if s.holders == nil {
		s.holders = make(map[Holder]struct{})
	}
	s.holders[h] = struct{}{}
	fd := s.fd
	s.mu.Unlock() // send may have to wait; the caller is a user, so that the descriptor stays
	err := send(fd)
	if err != nil {
		s.Drop(h)
	}
	return err
}

// Drop notes that h is gone.
func (s *Segment) Drop(h Holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holders, h)
}

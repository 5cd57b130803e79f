package brine

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync/atomic"

	"github.com/brinepool/brine/internal/shm"
)

// Shared is fixed data that all processes read and none copies: elements without pointers in one segment of shared
// memory, which each worker maps once, however many tasks refer to it. Make it with Share or NewShared. A *Shared may be a
// configuration, an argument or bound, or a field of one; it crosses as a reference and costs a few bytes on the pipe.
// With a codec other than the compiled one, and in results, it can't cross.
//
// Its maker closes it when nothing uses it any more. In a worker, a *Shared is good for as long as it is kept, and what
// Slice returned for as long as the *Shared is; it needs no Close there. Its methods are safe for concurrent use.
type Shared[T any] struct {
	ref    shm.Ref // first: it is how the codec knows shared data
	slice  atomic.Pointer[[]T]
	closed atomic.Bool
}

// Share copies s, whose elements must be free of pointers, into shared memory, once. Later changes of s don't matter.
// The error says which type can't be shared, or that there is no memory.
func Share[T any](s []T) (*Shared[T], error) {
	if err := shareable[T](); err != nil {
		return nil, err
	}
	seg, err := shm.Publish("brine shared", shm.BytesOf(s))
	if err != nil {
		return nil, fmt.Errorf("brine: Share of %d elements: %w", len(s), err)
	}
	return &Shared[T]{ref: shm.NewRef(seg)}, nil
}

// NewShared makes shared memory for n elements without pointers, all zero, to be filled in place: its Slice is
// writable until it is first sent, or Seal is called. That spares the copy that Share makes.
func NewShared[T any](n int) (*Shared[T], error) {
	if err := shareable[T](); err != nil {
		return nil, err
	}
	size := reflect.TypeFor[T]().Size()
	if n < 0 || uint64(n) > math.MaxInt64/uint64(size) {
		return nil, fmt.Errorf("brine: NewShared of %d elements of %d bytes", n, size)
	}
	seg, err := shm.Make("brine shared", int64(n)*int64(size))
	if err != nil {
		return nil, fmt.Errorf("brine: NewShared of %d elements: %w", n, err)
	}
	return &Shared[T]{ref: shm.NewRef(seg)}, nil
}

// shareable says why a T can't be in shared memory.
func shareable[T any]() error {
	t := reflect.TypeFor[T]()
	if path := pointerIn(t, t.String()); path != "" {
		return fmt.Errorf("brine: %s holds pointers, which mean nothing in another process: share elements without, such as numbers, arrays and structs of them, or a map with Freeze", path)
	}
	if t.Size() == 0 {
		return fmt.Errorf("brine: %v has no content to share", t)
	}
	return nil
}

// possible says why there can be no Shared of this type.
func (*Shared[T]) possible() error { return shareable[T]() }

// pointerIn returns the path to the first part of a t that is no plain memory, empty when there is none.
func pointerIn(t reflect.Type, path string) string {
	switch t.Kind() {
	case reflect.Array:
		return pointerIn(t.Elem(), path+"[]")
	case reflect.Struct:
		for f := range t.Fields() {
			if at := pointerIn(f.Type, path+"."+f.Name); at != "" {
				return at
			}
		}
		return ""
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return ""
	default:
		return path
	}
}

// Slice returns the elements, in the shared memory itself. It is read-only, but for what NewShared made until that is
// sealed: a write to it in a worker is a panic of the task, and in the program that made it a fault that ends it. It
// returns nil when there are none, and after Close.
func (s *Shared[T]) Slice() []T {
	if s == nil || s.closed.Load() {
		return nil
	}
	if p := s.slice.Load(); p != nil {
		return *p
	}
	seg := s.ref.Segment()
	if seg == nil {
		return nil
	}
	b, err := seg.Bytes()
	switch {
	case errors.Is(err, shm.ErrClosed):
		return nil
	case err != nil:
		panic(fmt.Errorf("brine: Shared.Slice: %w", err))
	}
	elements := shm.ElementsOf[T](b)
	s.slice.Store(&elements)
	return elements
}

// Len returns the number of elements, 0 after Close.
func (s *Shared[T]) Len() int {
	if s == nil || s.closed.Load() || s.ref.Segment() == nil {
		return 0
	}
	return int(uintptr(s.ref.Segment().Size()) / reflect.TypeFor[T]().Size())
}

// Seal makes what NewShared made read-only, for good, which sending it does as well. What Slice returned stays valid. It
// must not be written by others meanwhile. What is sealed already stays so.
func (s *Shared[T]) Seal() error {
	if s == nil || s.ref.Segment() == nil || s.closed.Load() {
		return fmt.Errorf("brine: Shared.Seal: %w", shm.ErrClosed)
	}
	if err := s.ref.Segment().Seal(); err != nil {
		return fmt.Errorf("brine: Shared.Seal: %w", err)
	}
	return nil
}

// Close releases the memory, once no pool whose configuration has it is open and no task that it was sent to is under
// way; the workers let go of it then. What Slice returned must not be used after Close. A task that has not been sent
// yet, as one that Go has only queued, can fail for it: close a Shared when the results are there. Calling Close again
// does no harm, and none in a worker.
func (s *Shared[T]) Close() error {
	if s == nil {
		return nil
	}
	seg := s.ref.Segment()
	if seg == nil || seg.Adopted() || s.closed.Swap(true) {
		return nil
	}
	seg.Release()
	return nil
}

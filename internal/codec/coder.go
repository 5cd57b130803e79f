package codec

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// A Coder is a [Plan] with its type known to the compiler. Coders are made by
// [Of] and safe for concurrent use; the zero Coder is not usable.
type Coder[T any] struct {
	plan *Plan
}

// Of is [For] with a type parameter.
func Of[T any]() (Coder[T], error) {
	p, err := For(reflect.TypeFor[T]())
	return Coder[T]{plan: p}, err
}

// FixedSize is that of [Plan].
func (c Coder[T]) FixedSize() (int, bool) { return c.plan.FixedSize() }

// Append appends the encoding of *v to dst. After an error the returned slice
// is dst as it was.
func (c Coder[T]) Append(dst []byte, v *T) ([]byte, error) {
	return c.plan.Append(dst, unsafe.Pointer(v))
}

// Decode overwrites *v with the value that src holds, all of src and nothing
// more. The value shares no memory with src. After an error *v is some T.
func (c Coder[T]) Decode(src []byte, v *T) error {
	return c.plan.Decode(src, unsafe.Pointer(v))
}

// AppendShared is that of [Plan].
func (c Coder[T]) AppendShared(dst []byte, v *T, refs *shm.Refs) ([]byte, error) {
	return c.plan.AppendShared(dst, unsafe.Pointer(v), refs)
}

// DecodeShared is that of [Plan].
func (c Coder[T]) DecodeShared(src []byte, v *T, table shm.Source) error {
	return c.plan.DecodeShared(src, unsafe.Pointer(v), table)
}

// Lend is that of [Plan].
func (c Coder[T]) Lend(src []byte, v *T, table shm.Source) error {
	return c.plan.Lend(src, unsafe.Pointer(v), table)
}

// Estimate is that of [Plan].
func (c Coder[T]) Estimate(v *T) int { return c.plan.Estimate(unsafe.Pointer(v)) }

// AppendSlice appends the elements of vs to dst, one after the other and without
// a length. It is an error if T has no fixed size. Types without pointers are
// copied at once.
func (c Coder[T]) AppendSlice(dst []byte, vs []T) ([]byte, error) {
	n := c.plan.node
	if !n.fixed {
		return dst, fmt.Errorf("brine: encode a run of %s: the type has no fixed size", n.typ)
	}
	e := encoder{buf: dst}
	if err := e.elements(n, unsafe.Pointer(unsafe.SliceData(vs)), len(vs)); err != nil {
		return dst, failed("encode", n, err)
	}
	return e.buf, nil
}

// DecodeSlice fills vs with what AppendSlice wrote for as many elements: the
// length of src must be len(vs) times the fixed size.
func (c Coder[T]) DecodeSlice(src []byte, vs []T) error {
	n := c.plan.node
	if !n.fixed {
		return fmt.Errorf("brine: decode a run of %s: the type has no fixed size", n.typ)
	}
	if len(src) != len(vs)*n.min {
		return fmt.Errorf("brine: decode %d of %s: have %d bytes, want %d", len(vs), n.typ, len(src), len(vs)*n.min)
	}
	d := newDecoder(src)
	if err := d.elements(n, unsafe.Pointer(unsafe.SliceData(vs)), len(vs)); err != nil {
		return failed("decode", n, err)
	}
	return nil
}

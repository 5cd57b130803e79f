package codec

import (
	"errors"
	"reflect"
	"sync"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// A Plan is the compiled way of one Go type to bytes and back. Plans are made
// by [For] and safe for concurrent use.
type Plan struct {
	node *node
}

// plans holds what For found for a type, *Plan or error.
var plans sync.Map

// For returns the plan of t, compiled when it is first asked for. The error for
// a type that cannot cross names the path of the field at fault and what to do.
func For(t reflect.Type) (*Plan, error) {
	if t == nil {
		return nil, errors.New("brine: the nil type cannot be sent")
	}
	found, ok := plans.Load(t)
	if !ok {
		n, err := compile(t)
		if err != nil {
			found, _ = plans.LoadOrStore(t, err)
		} else {
			found, _ = plans.LoadOrStore(t, &Plan{node: n})
		}
	}
	if err, bad := found.(error); bad {
		return nil, err
	}
	return found.(*Plan), nil
}

// FixedSize reports whether every value of the type takes exactly n bytes and
// its encoding cannot fail. n is 0 for types without content, such as struct{}.
func (p *Plan) FixedSize() (n int, ok bool) {
	if !p.node.fixed {
		return 0, false
	}
	return p.node.min, true
}

// Append appends the encoding of the value at v to dst. v is read and not
// kept. After an error the returned slice is dst as it was, though bytes past
// its length may have been written.
func (p *Plan) Append(dst []byte, v unsafe.Pointer) ([]byte, error) {
	return p.AppendShared(dst, v, nil)
}

// AppendShared is Append for values that may refer to shared data, which refs
// takes up.
func (p *Plan) AppendShared(dst []byte, v unsafe.Pointer, refs *shm.Refs) ([]byte, error) {
	n := p.node
	if n.way == asCopy {
		return append(dst, memory(v, n.size)...), nil
	}
	e := encoder{buf: dst, refs: refs}
	if err := e.value(n, v); err != nil {
		return dst, failed("encode", n, err)
	}
	return e.buf, nil
}

// Decode overwrites the value at v with the one that src holds, all of src and
// nothing more. The value shares no memory with src nor with what *v held. After
// an error *v is some value of its type.
func (p *Plan) Decode(src []byte, v unsafe.Pointer) error { return p.DecodeShared(src, v, nil) }

// DecodeShared is Decode for values that may refer to shared data, which is in
// table.
func (p *Plan) DecodeShared(src []byte, v unsafe.Pointer, table shm.Source) error {
	n := p.node
	if n.way == asCopy && len(n.bools) == 0 && len(src) == n.min {
		copy(memory(v, n.size), src)
		return nil
	}
	d := newDecoder(src)
	d.table = table
	return d.whole(n, v)
}

// Lend is DecodeShared into a value whose strings, byte slices and slices of elements
// without pointers lie in src where they can: it is valid as long as src is, and
// must not be changed. Slices whose elements are not aligned in src, and bools,
// are copied.
func (p *Plan) Lend(src []byte, v unsafe.Pointer, table shm.Source) error {
	d := newDecoder(src)
	d.table = table
	d.lend = true
	return d.whole(p.node, v)
}

// whole decodes a value that is all of the input.
func (d *decoder) whole(n *node, v unsafe.Pointer) error {
	err := d.value(n, v)
	if err == nil && len(d.src) > 0 {
		err = errLeftOver
	}
	if err != nil {
		return failed("decode", n, err)
	}
	return nil
}

package codec

import (
	"encoding/binary"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// The memory that a decoder may ask for: so many times its input, and some more
// for what is small. Every value that was encoded stays below (see Floors in the
// package comment); the allocator's rounding up makes 16 times and 1 MB of it.
const (
	budgetRatio = 14
	budgetBase  = 512 << 10
)

// A decoder reads one value from src. It stays on the stack of its caller, as
// the encoder does.
type decoder struct {
	src    []byte // what is left
	depth  int
	budget int // bytes of memory that may still be asked for
	remote int
	block  []byte // what is free of it, see text
	seen   received
	types  []*registered
	table  shm.Source // has the shared data; nil where none may cross
	lend   bool       // strings and slices may lie in src
}

func newDecoder(src []byte) decoder {
	return decoder{src: src, budget: budgetRatio*len(src) + budgetBase}
}

func (d *decoder) value(n *node, p unsafe.Pointer) error {
	switch n.way {
	case asCopy:
		return d.copy(p, n.size, n.bools)
	case asString:
		return d.string((*string)(p))
	case asTime:
		return d.time(p)
	case asStruct:
		return d.structure(n, p)
	case asArray:
		return d.elements(n.elem, p, n.count)
	case asMarshal:
		return d.marshal(n, p)
	case asRemote:
		return d.remoteError((*RemoteError)(p))
	case asShared:
		return d.shared(n, p)
	default:
	}
	if d.depth++; d.depth > maxDepth {
		return errDepth
	}
	var err error
	switch n.way {
	case asSlice:
		err = d.slice(n, p)
	case asMap:
		err = d.mapping(n, p)
	case asPointer:
		err = d.pointer(n, p)
	case asInterface:
		err = d.iface(n, p)
	default:
		panic("brine: codec: a node without a way")
	}
	d.depth--
	return err
}

// copy fills a run of memory. The bools are looked at first, since a bool in
// memory that is neither 0 nor 1 is both true and false to compiled code.
func (d *decoder) copy(p unsafe.Pointer, size uintptr, bools []uintptr) error {
	if uintptr(len(d.src)) < size {
		return errShort
	}
	for _, at := range bools {
		if d.src[at] > 1 {
			return errBool
		}
	}
	copy(memory(p, size), d.src)
	d.src = d.src[size:]
	return nil
}

func (d *decoder) pad(n int) error {
	if n > len(d.src) {
		return errShort
	}
	d.src = d.src[n:]
	return nil
}

// padTo skips what fills up a value to n bytes; before is what was left when the
// value began.
func (d *decoder) padTo(before, n int) error { return d.pad(max(0, n-(before-len(d.src)))) }

func (d *decoder) u32() (uint32, error) {
	if len(d.src) < 4 {
		return 0, errShort
	}
	v := binary.LittleEndian.Uint32(d.src)
	d.src = d.src[4:]
	return v, nil
}

// spend accounts for n bytes of memory that are about to be asked for.
func (d *decoder) spend(n int) error {
	d.budget -= (n + 15) &^ 15
	if d.budget < 0 {
		return errBudget
	}
	return nil
}

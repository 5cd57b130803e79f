package codec

import (
	"math/bits"
	"reflect"
	"unsafe"
)

// Tags of pointers. Larger ones refer to an object seen before.
const (
	pointerNil = iota
	pointerNew
	pointerFirst
)

// An object is what a pointer points at, known by its place and its type: a
// struct and its first field are in one place and are two objects.
type object struct {
	at   unsafe.Pointer
	node *node
}

// linearObjects is how many objects are searched one by one; it costs less than
// hashing for about so many.
const linearObjects = 12

// sent are the objects of the value being encoded, numbered as they appear.
type sent struct {
	few   []object
	many  map[object]uint32
	first [4]object // where few begins
}

// number returns the number of o, and whether it had one already.
func (s *sent) number(o object) (uint32, bool) {
	if s.many == nil {
		for i, other := range s.few {
			if other == o {
				return uint32(i), true
			}
		}
		if len(s.few) < linearObjects {
			s.few = append(s.few, o)
			return 0, false
		}
		s.many = make(map[object]uint32, 4*linearObjects)
		for i, other := range s.few {
			s.many[other] = uint32(i)
		}
	}
	if i, ok := s.many[o]; ok {
		return i, true
	}
	s.many[o] = uint32(len(s.many))
	return 0, false
}

func (e *encoder) pointer(n *node, p unsafe.Pointer) error {
	at := *(*unsafe.Pointer)(p)
	if at == nil {
		e.u32(pointerNil)
		return nil
	}
	if n.elem.size > 0 { // all objects of size 0 are in one place
		if e.seen == nil {
			e.seen = new(sent)
			e.seen.few = e.seen.first[:0]
		}
		if i, ok := e.seen.number(object{at, n.elem}); ok {
			e.u32(pointerFirst + i)
			return nil
		}
	}
	e.u32(pointerNew)
	return e.value(n.elem, at)
}

// received are the objects of the value being decoded, in blocks of 4, 8, 16, …
// so that none is ever copied and at most twice the need is asked for.
type received struct {
	blocks [][]object
	count  uint32
}

const firstBlock = 4

// place says where the i-th object is.
func (r *received) place(i uint32) (block int, at uint32) {
	i += firstBlock
	block = bits.Len32(i) - bits.Len32(firstBlock)
	return block, i - firstBlock<<block
}

func (d *decoder) remember(o object) error {
	r := &d.seen
	block, at := r.place(r.count)
	if block == len(r.blocks) {
		size := firstBlock << block
		if err := d.spend(size*int(unsafe.Sizeof(o)) + int(unsafe.Sizeof(r.blocks[0]))); err != nil {
			return err
		}
		r.blocks = append(r.blocks, make([]object, size))
	}
	r.blocks[block][at] = o
	r.count++
	return nil
}

func (d *decoder) pointer(n *node, p unsafe.Pointer) error {
	tag, err := d.u32()
	if err != nil {
		return err
	}
	switch tag {
	case pointerNil:
		*(*unsafe.Pointer)(p) = nil
		return nil
	case pointerNew:
		return d.object(n.elem, p)
	}
	if tag -= pointerFirst; tag >= d.seen.count {
		return errReference
	}
	block, i := d.seen.place(tag)
	o := d.seen.blocks[block][i]
	if o.node != n.elem {
		return errReference
	}
	*(*unsafe.Pointer)(p) = o.at
	return nil
}

// object makes a new object and has it known before it is filled, since it may
// point back at itself.
func (d *decoder) object(n *node, p unsafe.Pointer) error {
	if n.min > len(d.src) {
		return errShort
	}
	if err := d.spend(int(n.size)); err != nil {
		return err
	}
	at := reflect.New(n.typ).UnsafePointer()
	if n.size > 0 {
		if err := d.remember(object{at, n}); err != nil {
			return err
		}
	}
	*(*unsafe.Pointer)(p) = at
	return d.value(n, at)
}

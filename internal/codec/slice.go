package codec

import (
	"encoding/binary"
	"reflect"
	"strconv"
	"unsafe"
)

// sliceHeader is a slice of any element in memory.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

// nothing is what slices without memory point at, being not nil.
var nothing struct{}

func (e *encoder) string(s string) error {
	if uint64(len(s)) >= null {
		return errLength
	}
	e.u32(uint32(len(s)))
	e.buf = append(e.buf, s...)
	return nil
}

func (d *decoder) string(s *string) error {
	b, err := d.bytes()
	if err != nil {
		return err
	}
	*s, err = d.text(b)
	return err
}

// Short strings of a long input lie together in blocks, which spares most of the
// calls of the allocator. A string that is kept keeps its block of 1 KB.
const (
	blockSize   = 1 << 10
	blockString = 64
)

// text copies b, which is part of the input.
func (d *decoder) text(b []byte) (string, error) {
	if len(b) == 0 {
		return "", nil
	}
	if d.lend {
		return unsafe.String(unsafe.SliceData(b), len(b)), nil
	}
	if len(b) > len(d.block) {
		if len(b) > blockString || len(d.src) < blockSize {
			if err := d.spend(len(b)); err != nil {
				return "", err
			}
			return string(b), nil
		}
		if err := d.spend(blockSize); err != nil {
			return "", err
		}
		d.block = make([]byte, blockSize)
	}
	n := copy(d.block, b)
	s := unsafe.String(unsafe.SliceData(d.block), n)
	d.block = d.block[n:]
	return s, nil
}

// bytes reads a length and as many bytes, which are part of src.
func (d *decoder) bytes() ([]byte, error) {
	if len(d.src) < 4 {
		return nil, errShort
	}
	n := uint64(binary.LittleEndian.Uint32(d.src))
	rest := d.src[4:]
	if n > uint64(len(rest)) {
		return nil, errShort
	}
	d.src = rest[n:]
	return rest[:n:n], nil
}

func (e *encoder) slice(n *node, p unsafe.Pointer) error {
	s := (*sliceHeader)(p)
	if s.data == nil {
		e.u32(null)
		return nil
	}
	if uint64(s.len) >= null {
		return errLength
	}
	e.u32(uint32(s.len))
	return e.elements(n.elem, s.data, s.len)
}

// elements appends count values that lie one after the other.
func (e *encoder) elements(n *node, p unsafe.Pointer, count int) error {
	switch {
	case n.way == asCopy:
		if total := n.size * uintptr(count); total > 0 {
			e.buf = appendLarge(e.buf, memory(p, total))
		}
		return nil
	case n.way == asStruct:
		for i := range count {
			if err := e.structure(n, unsafe.Add(p, uintptr(i)*n.size)); err != nil {
				return within(err, index(i))
			}
		}
	default:
		for i := range count {
			if err := e.value(n, unsafe.Add(p, uintptr(i)*n.size)); err != nil {
				return within(err, index(i))
			}
		}
	}
	return nil
}

func (d *decoder) slice(n *node, p unsafe.Pointer) error {
	claimed, err := d.u32()
	if err != nil {
		return err
	}
	s := (*sliceHeader)(p)
	if claimed == null {
		*s = sliceHeader{}
		return nil
	}
	count := int(claimed)
	if low := n.elem.min; low > 0 && count > len(d.src)/low {
		return errShort
	}
	*s = sliceHeader{data: unsafe.Pointer(&nothing)}
	size := n.elem.size * uintptr(count)
	if n.elem.way == asCopy && len(n.elem.bools) == 0 && size > 0 && n.plain {
		return d.flat(n, s, count, size)
	}
	if size > 0 {
		if err := d.spend(int(size)); err != nil {
			return err
		}
		if err := d.allocate(n, s, count); err != nil {
			return err
		}
	}
	s.len, s.cap = count, count
	return d.elements(n.elem, s.data, count)
}

// flat is slice for elements that are copied as they lie in memory.
func (d *decoder) flat(n *node, s *sliceHeader, count int, size uintptr) error {
	if uintptr(len(d.src)) < size {
		return errShort
	}
	src := d.src[:size:size]
	d.src = d.src[size:]
	s.len, s.cap = count, count
	if at := unsafe.Pointer(unsafe.SliceData(src)); d.lend && uintptr(at)%uintptr(n.elem.typ.Align()) == 0 {
		s.data = at
		return nil
	}
	if err := d.spend(int(size)); err != nil {
		return err
	}
	if n.elem.typ.Align() == 1 {
		// A copy by append is made in memory that was not zeroed first.
		s.data = unsafe.Pointer(unsafe.SliceData(append([]byte(nil), src...)))
		return nil
	}
	var words []uint64
	if size >= 8 {
		words = append(words, unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(src))), size/8)...)
	}
	if rest := size % 8; rest > 0 {
		words = append(words, 0)
		copy(memory(unsafe.Pointer(&words[len(words)-1]), rest), src[size-rest:])
	}
	s.data = unsafe.Pointer(unsafe.SliceData(words))
	return nil
}

// allocate finds memory for count elements, zeroed and typed for the garbage
// collector.
func (d *decoder) allocate(n *node, s *sliceHeader, count int) error {
	switch {
	case n.elem.size == 1 && n.plain:
		s.data = unsafe.Pointer(unsafe.SliceData(make([]byte, count)))
	case n.plain:
		words := (n.elem.size*uintptr(count) + 7) / 8
		s.data = unsafe.Pointer(unsafe.SliceData(make([]uint64, words)))
	case n.elem.way == asString:
		s.data = unsafe.Pointer(unsafe.SliceData(make([]string, count)))
	default:
		// MakeSlice also makes a header on the heap.
		if err := d.spend(int(unsafe.Sizeof(sliceHeader{}))); err != nil {
			return err
		}
		s.data = reflect.MakeSlice(reflect.SliceOf(n.elem.typ), count, count).UnsafePointer()
	}
	return nil
}

// elements fills count values that lie one after the other.
func (d *decoder) elements(n *node, p unsafe.Pointer, count int) error {
	switch {
	case n.way == asCopy:
		return d.run(n, p, count)
	case n.way == asStruct:
		for i := range count {
			if err := d.structure(n, unsafe.Add(p, uintptr(i)*n.size)); err != nil {
				return within(err, index(i))
			}
		}
	default:
		for i := range count {
			if err := d.value(n, unsafe.Add(p, uintptr(i)*n.size)); err != nil {
				return within(err, index(i))
			}
		}
	}
	return nil
}

// run is elements for values that are copied, all at once.
func (d *decoder) run(n *node, p unsafe.Pointer, count int) error {
	total := n.size * uintptr(count)
	if total == 0 {
		return nil
	}
	if uintptr(len(d.src)) < total {
		return errShort
	}
	if len(n.bools) > 0 {
		for i := uintptr(0); i < total; i += n.size {
			for _, at := range n.bools {
				if d.src[i+at] > 1 {
					return within(errBool, index(int(i/n.size)))
				}
			}
		}
	}
	copy(memory(p, total), d.src)
	d.src = d.src[total:]
	return nil
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

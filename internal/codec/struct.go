package codec

import (
	"encoding/binary"
	"reflect"
	"slices"
	"unsafe"
)

// tagKey is the key of the struct tag with which a type says what crosses.
const tagKey = "brine"

// maxGap is the padding that a run of fields carries along; a larger hole, such
// as a blank field that keeps cache lines apart, begins a new run.
const maxGap = 8

func (c *compiler) structure(n *node, path string) error {
	var l layout
	for i := range n.typ.NumField() {
		f := n.typ.Field(i)
		if f.Name == "_" {
			if !pointerFree(f.Type) {
				l.skip(f, "") // never part of a copied run
			}
			continue
		}
		if f.Tag.Get(tagKey) == "-" {
			l.skip(f, f.Name)
			continue
		}
		if err := c.undecided(n.typ, f, path); err != nil {
			if !c.tolerant {
				return err
			}
			l.add(refused(f.Type, err), f.Offset, f.Name)
			continue
		}
		field, err := c.node(f.Type, path+"."+f.Name)
		if err != nil {
			return err
		}
		l.add(field, f.Offset, f.Name)
	}
	l.finish(n)
	return nil
}

// undecided is the error for a field of owner of which it isn't clear whether it
// is to be sent.
func (c *compiler) undecided(owner reflect.Type, f reflect.StructField, path string) error {
	switch tag := f.Tag.Get(tagKey); {
	case tag != "" && tag != "send":
		return refuseTag(path, f, tag)
	case tag == "" && !f.IsExported() && !embedsStruct(f):
		return c.refuseUnexported(path, owner, f)
	default:
		return nil
	}
}

// embedsStruct reports whether f is an embedded struct or a pointer to one.
// Its type's name may begin with a small letter and its fields cross all the
// same, as in encoding/json.
func embedsStruct(f reflect.StructField) bool {
	t := f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return f.Anonymous && t.Kind() == reflect.Struct
}

// A layout gathers the steps of a struct, with neighbouring runs of memory
// merged and the steps of structs inside taken in.
type layout struct {
	steps []step
}

func (l *layout) add(n *node, off uintptr, name string) {
	switch n.way {
	case asCopy:
		l.run(off, n.size, n.bools, name)
	case asStruct:
		for _, s := range n.steps {
			if s.way == asCopy {
				l.run(off+s.off, s.size, s.bools, name+"."+s.name)
				continue
			}
			s.off += off
			s.name = name + "." + s.name
			l.steps = append(l.steps, s)
		}
	default:
		l.steps = append(l.steps, step{way: n.way, off: off, size: n.size, node: n, name: name})
	}
}

func (l *layout) run(off, size uintptr, bools []uintptr, name string) {
	if size == 0 {
		return
	}
	if k := len(l.steps) - 1; k >= 0 {
		last := &l.steps[k]
		if last.way == asCopy && off-(last.off+last.size) <= maxGap && len(last.bools)+len(bools) <= maxBools {
			for _, at := range bools {
				last.bools = append(slices.Clip(last.bools), off-last.off+at)
			}
			last.size = off + size - last.off
			return
		}
	}
	l.steps = append(l.steps, step{way: asCopy, off: off, size: size, bools: bools, name: name})
}

func (l *layout) skip(f reflect.StructField, name string) {
	if f.Type.Size() > 0 {
		l.steps = append(l.steps, step{way: asSkip, off: f.Offset, node: &node{typ: f.Type}, name: name})
	}
}

// finish makes n a single run if nothing else is in it, and a list of steps
// otherwise.
func (l *layout) finish(n *node) {
	if n.size == 0 && len(l.steps) == 0 {
		n.copied()
		return
	}
	if len(l.steps) == 1 {
		if s := l.steps[0]; s.way == asCopy && s.off == 0 && n.size-s.size <= maxGap {
			n.bools = s.bools
			n.copied()
			return
		}
	}
	n.way, n.fixed, n.min = asStruct, true, 0
	for _, s := range l.steps {
		switch s.way {
		case asCopy, asPad:
			n.min += int(s.size)
		case asSkip:
		default:
			n.min += s.node.min
			n.fixed = n.fixed && s.node.fixed
		}
	}
	if floor := atLeast(n.size); n.min < floor {
		l.steps = append(l.steps, step{way: asPad, size: uintptr(floor - n.min)})
		n.min = floor
	}
	n.steps = l.steps
}

// atLeast is the floor for a struct or marshaler of the size.
func atLeast(size uintptr) int { return int((size + memoryRatio - 1) / memoryRatio) }

func (e *encoder) structure(n *node, p unsafe.Pointer) error {
	for i := range n.steps {
		s := &n.steps[i]
		at := unsafe.Add(p, s.off)
		switch s.way {
		case asCopy:
			if s.size == 8 { // the usual field, spared a call of memmove
				e.buf = binary.LittleEndian.AppendUint64(e.buf, *(*uint64)(at))
			} else {
				e.buf = append(e.buf, memory(at, s.size)...)
			}
		case asString:
			if err := e.string(*(*string)(at)); err != nil {
				return within(err, "."+s.name)
			}
		case asTime:
			e.time(at)
		case asPad:
			e.pad(int(s.size))
		case asSkip:
		default:
			if err := e.value(s.node, at); err != nil {
				return within(err, "."+s.name)
			}
		}
	}
	return nil
}

func (d *decoder) structure(n *node, p unsafe.Pointer) error {
	for i := range n.steps {
		s := &n.steps[i]
		at := unsafe.Add(p, s.off)
		var err error
		switch s.way {
		case asCopy:
			if s.size == 8 && len(s.bools) == 0 && len(d.src) >= 8 {
				*(*uint64)(at) = binary.LittleEndian.Uint64(d.src)
				d.src = d.src[8:]
			} else {
				err = d.copy(at, s.size, s.bools)
			}
		case asString:
			err = d.string((*string)(at))
		case asTime:
			err = d.time(at)
		case asPad:
			err = d.pad(int(s.size))
		case asSkip:
			reflect.NewAt(s.node.typ, at).Elem().SetZero()
		default:
			err = d.value(s.node, at)
		}
		if err != nil {
			return within(err, "."+s.name)
		}
	}
	return nil
}

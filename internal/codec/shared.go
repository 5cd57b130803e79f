package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// sharedSize is the size of a segment's number on the wire. 0 is a nil pointer.
const sharedSize = 8

var (
	refType = reflect.TypeFor[shm.Ref]()

	errSharedHere = errors.New("shared data can't cross here: it may be in a configuration, an argument or bound, not in a result")
	errSharedZero = errors.New("a zero value that stands for no shared data: make one with brine.Share, NewShared or Freeze")
)

// isShared reports whether a t stands for shared data.
func isShared(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() > 0 && t.Field(0).Type == refType
}

func refuseShared(path string, t reflect.Type) error {
	return fmt.Errorf("brine: %s: a %s crosses by reference: make it a *%[2]s", path, t)
}

// HoldsShared reports whether a value of type t could refer to shared data
// without an interface in between.
func HoldsShared(t reflect.Type) bool { return holdsShared(t, make(map[reflect.Type]bool)) }

func holdsShared(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Array, reflect.Pointer, reflect.Slice:
		return holdsShared(t.Elem(), seen)
	case reflect.Map:
		return holdsShared(t.Key(), seen) || holdsShared(t.Elem(), seen)
	case reflect.Struct:
		if isShared(t) {
			return true
		}
		for f := range t.Fields() {
			if f.Tag.Get(tagKey) != "-" && holdsShared(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

func (e *encoder) shared(p unsafe.Pointer) error {
	ref := *(**shm.Ref)(p) // the first field of what p points at
	if ref == nil {
		e.buf = binary.LittleEndian.AppendUint64(e.buf, 0)
		return nil
	}
	s := ref.Segment()
	switch {
	case s == nil:
		return errSharedZero
	case e.refs == nil:
		return errSharedHere
	}
	if err := e.refs.Add(s); err != nil {
		return err
	}
	e.buf = binary.LittleEndian.AppendUint64(e.buf, s.ID())
	return nil
}

func (d *decoder) shared(n *node, p unsafe.Pointer) error {
	if len(d.src) < sharedSize {
		return errShort
	}
	id := binary.LittleEndian.Uint64(d.src)
	d.src = d.src[sharedSize:]
	*(*unsafe.Pointer)(p) = nil
	if id == 0 {
		return nil
	}
	if d.table == nil {
		return errSharedHere
	}
	s, err := d.table.Get(id)
	if err != nil {
		return err
	}
	t := n.typ.Elem()
	if err := d.spend(int(t.Size())); err != nil {
		return err
	}
	at := reflect.New(t).UnsafePointer()
	*(*shm.Ref)(at) = shm.NewRef(s)
	*(*unsafe.Pointer)(p) = at
	return nil
}

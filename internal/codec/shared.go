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

// SharedIn returns the first path in a value of type t at which a reference to
// shared data can be, without an interface in between, for which wrong returns
// an error, and that error. wrong is given the struct that stands for the data.
func SharedIn(t reflect.Type, wrong func(reflect.Type) error) (path string, err error) {
	return sharedIn(t, t.String(), wrong, make(map[reflect.Type]bool))
}

func sharedIn(t reflect.Type, path string, wrong func(reflect.Type) error, seen map[reflect.Type]bool) (string, error) {
	if seen[t] {
		return "", nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer:
		return sharedIn(t.Elem(), path, wrong, seen)
	case reflect.Array, reflect.Slice:
		return sharedIn(t.Elem(), path+"[]", wrong, seen)
	case reflect.Map:
		if at, err := sharedIn(t.Key(), path+"[key]", wrong, seen); err != nil {
			return at, err
		}
		return sharedIn(t.Elem(), path+"[]", wrong, seen)
	case reflect.Struct:
		if isShared(t) {
			return path, wrong(t)
		}
		for f := range t.Fields() {
			if f.Tag.Get(tagKey) == "-" {
				continue
			}
			if at, err := sharedIn(f.Type, path+"."+f.Name, wrong, seen); err != nil {
				return at, err
			}
		}
	}
	return "", nil
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

package codec

import (
	"errors"
	"reflect"
	"strconv"
	"unsafe"
)

var (
	errTwice      = errors.New("a key that is there twice")
	errUnhashable = errors.New("a key that cannot be one")
)

// Sizes in the runtime's maps: the map itself, and the control word of a group
// of eight slots (internal/runtime/maps).
const (
	mapHeader = 48
	mapGroup  = 8
)

// mapMemory is about what a map of so many entries and the decoding of it take.
// Tables have a power of two of slots of which 7/8 are used, so that up to 16/7
// slots go to an entry.
func (n *node) mapMemory(count int) int {
	pair := int(n.typ.Key().Size() + n.typ.Elem().Size())
	memory := mapHeader + 8 // and the word that holds the map
	switch {
	case count == 0:
		return memory
	case count <= 8:
		memory += mapGroup + 8*pair
	default:
		memory += count * (pair + 1) * 16 / 7
	}
	return memory + pair + 32 // one key and one element in between
}

// mapFloor is the fewest bytes that a map of so many entries takes.
func (n *node) mapFloor(count int) int { return max(4, (n.mapMemory(count)+9)/10) }

// holdsInterface reports whether a key of type t may be found unhashable at run
// time.
func holdsInterface(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Array:
		return holdsInterface(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsInterface(t.Field(i).Type) {
				return true
			}
		}
	default:
	}
	return false
}

func (e *encoder) mapping(n *node, p unsafe.Pointer) error {
	m := reflect.NewAt(n.typ, p).Elem()
	if m.IsNil() {
		e.u32(null)
		e.pad(n.min - 4)
		return nil
	}
	start, count := len(e.buf), m.Len()
	if uint64(count) >= null {
		return errLength
	}
	e.u32(uint32(count))
	var err error
	switch {
	case count == 0:
	case n.ofStrings():
		err = e.stringEntries(*(*map[string]string)(p))
	default:
		err = e.entries(n, m)
	}
	if err != nil {
		return err
	}
	e.padTo(start, n.mapFloor(count))
	return nil
}

func (e *encoder) entries(n *node, m reflect.Value) error {
	key, elem := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	at, to := key.UnsafePointer(), elem.UnsafePointer()
	for i := m.MapRange(); i.Next(); {
		key.Elem().SetIterKey(i)
		if err := e.value(n.key, at); err != nil {
			return within(err, "[key]")
		}
		elem.Elem().SetIterValue(i)
		if err := e.value(n.elem, to); err != nil {
			return within(err, keyMark(key.Elem()))
		}
	}
	return nil
}

func (d *decoder) mapping(n *node, p unsafe.Pointer) error {
	before := len(d.src)
	claimed, err := d.u32()
	if err != nil {
		return err
	}
	m := reflect.NewAt(n.typ, p).Elem()
	if claimed == null {
		m.SetZero()
		return d.padTo(before, n.min)
	}
	count := int(claimed)
	if low := n.key.min + n.elem.min; low > 0 && count > len(d.src)/low {
		return errShort
	}
	floor := n.mapFloor(count)
	if floor > before {
		return errShort
	}
	if err := d.spend(n.mapMemory(count)); err != nil {
		return err
	}
	if n.ofStrings() {
		made := make(map[string]string, count)
		err = d.stringEntries(made, count)
		*(*map[string]string)(p) = made
	} else {
		made := reflect.MakeMapWithSize(n.typ, count)
		if count > 0 {
			err = d.entries(n, made, count)
		}
		m.Set(made)
	}
	if err != nil {
		return err
	}
	return d.padTo(before, floor)
}

func (d *decoder) entries(n *node, m reflect.Value, count int) error {
	key, elem := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	at, to := key.UnsafePointer(), elem.UnsafePointer()
	for i := range count {
		if err := d.value(n.key, at); err != nil {
			return within(err, "[key]")
		}
		if n.anyKey && !key.Elem().Comparable() {
			return within(errUnhashable, "[key]")
		}
		if err := d.value(n.elem, to); err != nil {
			return within(err, keyMark(key.Elem()))
		}
		m.SetMapIndex(key.Elem(), elem.Elem())
		// NaN is unequal to itself, so each one counts; all else must be new.
		if m.Len() != i+1 {
			return within(errTwice, keyMark(key.Elem()))
		}
	}
	return nil
}

// keyMark names an entry in a path, where that takes no method of the key's.
func keyMark(key reflect.Value) string {
	switch {
	case key.Kind() == reflect.String:
		return stringMark(key.String())
	case key.CanInt():
		return "[" + strconv.FormatInt(key.Int(), 10) + "]"
	case key.CanUint():
		return "[" + strconv.FormatUint(key.Uint(), 10) + "]"
	default:
		return "[]"
	}
}

func stringMark(key string) string {
	const most = 40
	if len(key) > most {
		return "[]"
	}
	return "[" + strconv.Quote(key) + "]"
}

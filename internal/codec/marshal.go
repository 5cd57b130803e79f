package codec

import (
	"encoding"
	"encoding/gob"
	"fmt"
	"reflect"
	"unsafe"
)

// A marshaler is one of the pairs of methods with which a type says itself how
// it crosses. Both are called on a pointer to the value.
type marshaler struct {
	name string
	out  reflect.Type
	in   reflect.Type
	to   func(v any) ([]byte, error)
	from func(v any, b []byte) error
}

// The pairs, in the order in which they are preferred.
var (
	binaryMethods = &marshaler{
		name: "MarshalBinary",
		out:  reflect.TypeFor[encoding.BinaryMarshaler](),
		in:   reflect.TypeFor[encoding.BinaryUnmarshaler](),
		to:   func(v any) ([]byte, error) { return v.(encoding.BinaryMarshaler).MarshalBinary() },
		from: func(v any, b []byte) error { return v.(encoding.BinaryUnmarshaler).UnmarshalBinary(b) },
	}
	gobMethods = &marshaler{
		name: "GobEncode",
		out:  reflect.TypeFor[gob.GobEncoder](),
		in:   reflect.TypeFor[gob.GobDecoder](),
		to:   func(v any) ([]byte, error) { return v.(gob.GobEncoder).GobEncode() },
		from: func(v any, b []byte) error { return v.(gob.GobDecoder).GobDecode(b) },
	}
	textMethods = &marshaler{
		name: "MarshalText",
		out:  reflect.TypeFor[encoding.TextMarshaler](),
		in:   reflect.TypeFor[encoding.TextUnmarshaler](),
		to:   func(v any) ([]byte, error) { return v.(encoding.TextMarshaler).MarshalText() },
		from: func(v any, b []byte) error { return v.(encoding.TextUnmarshaler).UnmarshalText(b) },
	}
)

func (m *marshaler) of(t reflect.Type) bool {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer {
		return false // the value inside decides
	}
	p := reflect.PointerTo(t)
	return p.Implements(m.out) && p.Implements(m.in)
}

// marshalerOf returns the methods that say all about a t, or nil.
func marshalerOf(t reflect.Type) *marshaler {
	switch {
	case binaryMethods.of(t):
		return binaryMethods
	case gobMethods.of(t):
		return gobMethods
	default:
		return nil
	}
}

// textMarshalerOf returns the methods for a t that would be refused otherwise,
// or nil. Text often leaves something out, so it comes last.
func textMarshalerOf(t reflect.Type) *marshaler {
	if textMethods.of(t) {
		return textMethods
	}
	return nil
}

// embeds reports whether the methods may be those of an embedded field, and so
// say nothing about the others. Such a struct crosses by its fields if it can.
func embeds(t reflect.Type, m *marshaler) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			if p := reflect.PointerTo(f.Type); f.Type.Implements(m.out) || p.Implements(m.out) {
				return true
			}
		}
	}
	return false
}

func byMethods(n *node, m *marshaler) {
	n.way, n.marshaler, n.min = asMarshal, m, max(4, atLeast(n.size))
}

func (e *encoder) marshal(n *node, p unsafe.Pointer) error {
	b, err := n.marshaler.encode(reflect.NewAt(n.typ, p).Interface())
	if err != nil {
		return err
	}
	if uint64(len(b)) >= null {
		return errLength
	}
	start := len(e.buf)
	e.u32(uint32(len(b)))
	e.buf = append(e.buf, b...)
	e.padTo(start, n.min)
	return nil
}

func (d *decoder) marshal(n *node, p unsafe.Pointer) error {
	before := len(d.src)
	b, err := d.bytes()
	if err != nil {
		return err
	}
	if err := d.padTo(before, n.min); err != nil {
		return err
	}
	v := reflect.NewAt(n.typ, p)
	v.Elem().SetZero() // or methods could reuse memory that others hold
	return n.marshaler.decode(v.Interface(), b)
}

func (m *marshaler) encode(v any) (b []byte, err error) {
	defer recovered(&err, m.name, v)
	if b, err = m.to(v); err != nil {
		err = fmt.Errorf("%s of %T: %w", m.name, v, err)
	}
	return b, err
}

func (m *marshaler) decode(v any, b []byte) (err error) {
	defer recovered(&err, "the reverse of "+m.name, v)
	if err = m.from(v, b); err != nil {
		err = fmt.Errorf("the reverse of %s of %T: %w", m.name, v, err)
	}
	return err
}

// recovered makes a panic in the program's own methods an error of this value.
// It is to be deferred.
func recovered(err *error, doing string, v any) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s of %T panicked: %v", doing, v, r)
	}
}

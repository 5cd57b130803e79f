package codec

import (
	"reflect"
	"unsafe"
)

// way is how a value crosses.
type way uint8

const (
	asCopy way = iota // as it lies in memory; its bools are checked on arrival
	asString
	asTime
	asSlice
	asArray
	asMap
	asPointer
	asStruct
	asInterface
	asMarshal // by methods of its own
	asRemote  // RemoteError
	asShared  // a pointer to shared data, which crosses beside the bytes
	asPad     // a step only: zero bytes up to the floor
	asSkip    // a step only: takes no bytes, is zero on arrival
	asRefused // not at all: in the types that Explain makes do with
)

// memoryRatio bounds the memory of a struct or a marshaler to this many times
// its fewest encoded bytes; see Floors in the package comment.
const memoryRatio = 8

// maxBools is how many bools a run that is copied may hold. Larger arrays are
// decoded element by element, so that the list of their places stays short.
const maxBools = 64

// A node is the compiled form of one type. There is one per type in a process,
// and it does not change once For has returned it.
type node struct {
	way   way
	fixed bool      // takes exactly min bytes, and encoding can't fail
	min   int       // the fewest bytes that a value takes
	size  uintptr   // of the value in memory
	bools []uintptr // asCopy: where the bools are
	steps []step    // asStruct
	key   *node     // asMap
	elem  *node     // asSlice, asArray, asMap, asPointer
	count int       // asArray
	plain bool      // asSlice: the element is free of pointers

	typ        reflect.Type
	marshaler  *marshaler  // asMarshal
	membership *membership // asInterface
	anyKey     bool        // asMap: the key holds an interface, so it may be unhashable
	refusal    error       // asRefused
}

// A step is one move of a struct's encoding: a run of fields or a single one.
type step struct {
	way   way
	off   uintptr
	size  uintptr
	bools []uintptr // of a run
	node  *node     // nil for a run and for padding
	name  string
}

// memory gives the n bytes at p.
func memory(p unsafe.Pointer, n uintptr) []byte { return unsafe.Slice((*byte)(p), n) }

// pointerFree reports whether the garbage collector has no business in a t.
func pointerFree(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return t.Len() == 0 || pointerFree(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !pointerFree(t.Field(i).Type) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

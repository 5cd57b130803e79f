package frozen

import (
	"fmt"
	"reflect"
	"unsafe"
)

// kind is the type of a table's keys, or of its values, as the header has it. Names and the difference between int and
// int64 don't count: a table is opened as any type of the same kind.
type kind uint8

const (
	kindInt8 kind = iota + 1
	kindInt16
	kindInt32
	kindInt64
	kindUint8
	kindUint16
	kindUint32
	kindUint64
	kindFloat32
	kindFloat64
	kindBool
	kindString
	kindBytes
)

var kindNames = [...]string{
	kindInt8: "int8", kindInt16: "int16", kindInt32: "int32", kindInt64: "int64",
	kindUint8: "uint8", kindUint16: "uint16", kindUint32: "uint32", kindUint64: "uint64",
	kindFloat32: "float32", kindFloat64: "float64", kindBool: "bool",
	kindString: "string", kindBytes: "[]byte",
}

func (k kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// long tells whether values of this kind have a length of their own.
func (k kind) long() bool { return k == kindString || k == kindBytes }

// width is the number of bytes of a value of this kind: of the value itself, or of the length of a long one.
func (k kind) width() uint64 {
	switch k {
	case kindInt8, kindUint8, kindBool:
		return 1
	case kindInt16, kindUint16:
		return 2
	case kindInt64, kindUint64, kindFloat64:
		return 8
	default:
		return 4
	}
}

// Check returns an error if there can be no table from K to V. It names the type at fault and says what to use instead.
func Check[K, V any]() error {
	_, _, err := kinds[K, V]()
	return err
}

func kinds[K, V any]() (key, value kind, err error) {
	k, v := reflect.TypeFor[K](), reflect.TypeFor[V]()
	key, value = kindOf(k), kindOf(v)
	switch {
	case !key.keys():
		return 0, 0, fmt.Errorf("brine: a frozen map cannot have keys of type %s: use a string, a []byte or an integer", k)
	case value == 0:
		return 0, 0, fmt.Errorf("brine: a frozen map cannot have values of type %s: use a string, an integer, a float, a bool, or a []byte of the encoded value", v)
	}
	return key, value, nil
}

// kindOf returns 0 for a type that no table holds.
func kindOf(t reflect.Type) kind {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return [...]kind{1: kindInt8, 2: kindInt16, 4: kindInt32, 8: kindInt64}[t.Size()]
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return [...]kind{1: kindUint8, 2: kindUint16, 4: kindUint32, 8: kindUint64}[t.Size()]
	case reflect.Float32:
		return kindFloat32
	case reflect.Float64:
		return kindFloat64
	case reflect.Bool:
		return kindBool
	case reflect.String:
		return kindString
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return kindBytes
		}
	}
	return 0
}

// What follows turns a T of a known kind into a word or a run of bytes and back. On machines of 64 bits the size of T
// alone tells strings, slices and numbers apart, so that the compiler drops all branches but one and k is not looked
// at; on others a string has the size of an int64.

const wide = unsafe.Sizeof(uintptr(0)) == 8

func isString[T any](k kind) bool {
	var t T
	return unsafe.Sizeof(t) == unsafe.Sizeof("") && (wide || k == kindString)
}

func isBytes[T any](k kind) bool {
	var t T
	return unsafe.Sizeof(t) == unsafe.Sizeof([]byte(nil)) && (wide || k == kindBytes)
}

// text returns the bytes of a long value, uncopied.
func text[T any](k kind, v *T) string {
	if isString[T](k) {
		return *(*string)(unsafe.Pointer(v))
	}
	b := *(*[]byte)(unsafe.Pointer(v))
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// setText is the inverse of text.
func setText[T any](k kind, v *T, s string) {
	if isString[T](k) {
		*(*string)(unsafe.Pointer(v)) = s
	} else {
		*(*[]byte)(unsafe.Pointer(v)) = unsafe.Slice(unsafe.StringData(s), len(s))
	}
}

// word returns the bits of a number or a bool, with zeros above them.
func word[T any](v *T) uint64 {
	switch unsafe.Sizeof(*v) {
	case 1:
		return uint64(*(*uint8)(unsafe.Pointer(v)))
	case 2:
		return uint64(*(*uint16)(unsafe.Pointer(v)))
	case 4:
		return uint64(*(*uint32)(unsafe.Pointer(v)))
	default:
		return *(*uint64)(unsafe.Pointer(v))
	}
}

// setWord is the inverse of word. A bool that is neither 0 nor 1 becomes 1: Go knows no other.
func setWord[T any](k kind, v *T, w uint64) {
	switch unsafe.Sizeof(*v) {
	case 1:
		if k == kindBool && w != 0 {
			w = 1
		}
		*(*uint8)(unsafe.Pointer(v)) = uint8(w)
	case 2:
		*(*uint16)(unsafe.Pointer(v)) = uint16(w)
	case 4:
		*(*uint32)(unsafe.Pointer(v)) = uint32(w)
	default:
		*(*uint64)(unsafe.Pointer(v)) = w
	}
}

// keys reports whether there can be keys of the kind.
func (k kind) keys() bool {
	return k != 0 && k != kindBool && k != kindFloat32 && k != kindFloat64
}

// Fits reports whether there can be a table from keys of type k to values of type v.
func Fits(k, v reflect.Type) bool { return kindOf(k).keys() && kindOf(v) != 0 }

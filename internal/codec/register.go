package codec

import (
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Register lets the concrete type of v cross inside an any, an error or another
// interface. Parent and worker are the same program, so a call at start-up, as
// from a package-level variable or the first lines of main, serves both. A
// pointer type and the type it points at are registered separately. Registering
// a type again changes nothing; Register panics if the type cannot cross, or if
// another type has its name, as two types declared inside functions may.
//
// The basic kinds, the usual slices and maps of them, time.Time, time.Duration
// and the error types of os, fs, strconv and syscall are registered already.
func Register(v any) {
	t := reflect.TypeOf(v)
	if t == nil {
		panic("brine: Register(nil): there is no type to register; for an interface, register the types that go into it")
	}
	if err := registry().add(t); err != nil {
		panic(err.Error())
	}
}

// A registered type is one that may be inside an interface.
type registered struct {
	name   string
	typ    reflect.Type
	node   *node
	word   unsafe.Pointer // the first word of an interface that holds it
	direct bool           // the second word is the value, and not its address
}

// eface is an any in memory.
type eface struct{ word, data unsafe.Pointer }

// names is a registry in which types are found by name and by type.
type names struct {
	mu     sync.Mutex // of writers
	byName sync.Map   // string to *registered
	byType sync.Map   // reflect.Type to *registered
}

// registry returns the registry of the process, which begins with what is
// registered already.
var registry = sync.OnceValue(func() *names {
	r := new(names)
	for _, v := range []any{
		false, 0, int8(0), int16(0), int32(0), int64(0),
		uint(0), uint8(0), uint16(0), uint32(0), uint64(0), uintptr(0),
		float32(0), 0.0, complex64(0), complex128(0), "",
		time.Time{},
		time.Duration(0),
		struct{}{},
		[]byte(nil), []bool(nil), []int(nil), []int32(nil), []int64(nil), []uint64(nil),
		[]float32(nil), []float64(nil), []string(nil), []any(nil), [][]byte(nil), []map[string]any(nil),
		map[string]any(nil), map[string]string(nil), map[string]int(nil), map[string]float64(nil),
		map[string]bool(nil), map[string][]string(nil), map[int]string(nil), map[any]any(nil),
		(*fs.PathError)(nil), (*os.LinkError)(nil), (*os.SyscallError)(nil), syscall.Errno(0),
		(*strconv.NumError)(nil), (*RemoteError)(nil),
	} {
		if err := r.add(reflect.TypeOf(v)); err != nil {
			panic(err.Error())
		}
	}
	return r
})

func (r *names) add(t reflect.Type) error {
	plan, err := For(t)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.byType.Load(t); ok {
		return nil
	}
	name := fullName(t)
	if other, ok := r.byName.Load(name); ok {
		return fmt.Errorf("brine: Register: two types are called %s: %v and %v; declare one of them under another name",
			name, other.(*registered).typ, t)
	}
	zero := reflect.Zero(t).Interface()
	e := (*eface)(unsafe.Pointer(&zero))
	// Only a type that is a pointer itself has no address for its zero value.
	entry := &registered{name: name, typ: t, node: plan.node, word: e.word, direct: e.data == nil}
	r.byType.Store(t, entry)
	r.byName.Store(name, entry)
	return nil
}

func (r *names) ofType(t reflect.Type) *registered {
	if entry, ok := r.byType.Load(t); ok {
		return entry.(*registered)
	}
	return nil
}

func (r *names) ofName(name string) *registered {
	if entry, ok := r.byName.Load(name); ok {
		return entry.(*registered)
	}
	return nil
}

// fullName is the name of t with the whole paths of packages.
func fullName(t reflect.Type) string {
	if t.Name() != "" {
		if t.PkgPath() == "" {
			return t.Name()
		}
		return t.PkgPath() + "." + t.Name()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + fullName(t.Elem())
	case reflect.Slice:
		return "[]" + fullName(t.Elem())
	case reflect.Array:
		return "[" + strconv.Itoa(t.Len()) + "]" + fullName(t.Elem())
	case reflect.Map:
		return "map[" + fullName(t.Key()) + "]" + fullName(t.Elem())
	default:
		return t.String()
	}
}

// interfaceOf makes an any of the entry's type from the value at p, which from
// then on must not change.
func (entry *registered) interfaceOf(p unsafe.Pointer) (v any) {
	e := (*eface)(unsafe.Pointer(&v))
	if entry.direct {
		p = *(*unsafe.Pointer)(p)
	}
	e.word, e.data = entry.word, p
	return v
}

// address gives the place of the value inside *v.
func (entry *registered) address(v *any) unsafe.Pointer {
	e := (*eface)(unsafe.Pointer(v))
	if entry.direct {
		return unsafe.Pointer(&e.data)
	}
	return e.data
}

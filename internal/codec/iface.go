package codec

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"unsafe"
)

// Tags of interfaces. Larger ones refer to a type named before.
const (
	ifaceNil = iota
	ifaceNew
	ifaceRemote
	ifaceFirst
)

var errUnnamed = errors.New("a type that was not named")

// membership is what is known of an interface type.
type membership struct {
	typ     reflect.Type
	empty   bool     // any: all types implement it
	remote  bool     // errors of unregistered types cross as *RemoteError
	members sync.Map // *registered to bool
}

func newMembership(t reflect.Type) *membership {
	return &membership{
		typ:    t,
		empty:  t.NumMethod() == 0,
		remote: t.Implements(errorType) && reflect.PointerTo(remoteType).Implements(t),
	}
}

func (m *membership) has(r *registered) bool {
	if m.empty {
		return true
	}
	known, ok := m.members.Load(r)
	if !ok {
		known, _ = m.members.LoadOrStore(r, r.typ.Implements(m.typ))
	}
	return known.(bool)
}

// load reads an interface of the type at p as an any.
func (m *membership) load(p unsafe.Pointer) any {
	if m.empty {
		return *(*any)(p)
	}
	if m.typ == errorType {
		return *(*error)(p)
	}
	v := reflect.NewAt(m.typ, p).Elem()
	if v.IsNil() {
		return nil
	}
	return v.Elem().Interface()
}

func (m *membership) store(p unsafe.Pointer, v any) {
	switch {
	case m.empty:
		*(*any)(p) = v
	case v == nil:
		reflect.NewAt(m.typ, p).Elem().SetZero()
	default:
		reflect.NewAt(m.typ, p).Elem().Set(reflect.ValueOf(v))
	}
}

func (e *encoder) iface(n *node, p unsafe.Pointer) error {
	v := n.membership.load(p)
	if v == nil {
		e.u32(ifaceNil)
		return nil
	}
	r, err := e.typeOf(&v)
	if r == nil && n.membership.remote {
		e.u32(ifaceRemote)
		e.remoteError(remoteOf(v.(error)))
		return nil
	}
	if err != nil {
		return err
	}
	return e.value(r.node, r.address(&v))
}

// typeOf names the type of *v, or returns nil if it is not registered.
func (e *encoder) typeOf(v *any) (*registered, error) {
	word := (*eface)(unsafe.Pointer(v)).word
	for i, r := range e.types {
		if r.word == word {
			e.u32(ifaceFirst + uint32(i))
			return r, nil
		}
	}
	t := reflect.TypeOf(*v)
	r := registry().ofType(t)
	if r == nil {
		return nil, fmt.Errorf("type %s is not registered, so it cannot cross inside an interface: call brine.Register with a value of it at start-up", t)
	}
	e.u32(ifaceNew)
	e.types = append(e.types, r)
	return r, e.string(r.name)
}

func (d *decoder) iface(n *node, p unsafe.Pointer) error {
	tag, err := d.u32()
	if err != nil {
		return err
	}
	var r *registered
	switch tag {
	case ifaceNil:
		n.membership.store(p, nil)
		return nil
	case ifaceRemote:
		return d.remoteInside(n, p)
	case ifaceNew:
		if r, err = d.typeNamed(); err != nil {
			return err
		}
	default:
		if tag -= ifaceFirst; int(tag) >= len(d.types) {
			return errUnnamed
		}
		r = d.types[tag]
	}
	if !n.membership.has(r) {
		return fmt.Errorf("a %s is no %s", r.typ, n.typ)
	}
	if r.node.min > len(d.src) {
		return errShort
	}
	if err := d.spend(int(r.typ.Size())); err != nil {
		return err
	}
	at := reflect.New(r.typ).UnsafePointer()
	if err := d.value(r.node, at); err != nil {
		return err
	}
	n.membership.store(p, r.interfaceOf(at))
	return nil
}

func (d *decoder) typeNamed() (*registered, error) {
	b, err := d.bytes()
	if err != nil {
		return nil, err
	}
	r := registry().ofName(string(b))
	if r == nil {
		const most = 100
		return nil, fmt.Errorf("a type %.*q is not registered in this process: call brine.Register where both the parent and the workers pass", most, b)
	}
	if err := d.spend(4 * int(unsafe.Sizeof(r))); err != nil {
		return nil, err
	}
	d.types = append(d.types, r)
	return r, nil
}

// remoteInside reads an error of a type that the sender has not registered.
func (d *decoder) remoteInside(n *node, p unsafe.Pointer) error {
	if !n.membership.remote {
		return fmt.Errorf("a RemoteError is no %s", n.typ)
	}
	if err := d.spend(int(remoteType.Size())); err != nil {
		return err
	}
	r := new(RemoteError)
	if err := d.remoteError(r); err != nil {
		return err
	}
	n.membership.store(p, r)
	return nil
}

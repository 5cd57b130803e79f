package codec

import (
	"maps"
	"reflect"
	"sync"
)

// compiled holds the nodes of every type compiled so far. One compilation runs
// at a time, so that a type has one node only: the tables of shared pointers
// compare nodes.
var compiled = struct {
	sync.Mutex
	nodes map[reflect.Type]*node
}{nodes: make(map[reflect.Type]*node)}

// compile returns the node of t. Nodes become known to others only when all
// that they reach is complete.
func compile(t reflect.Type) (*node, error) {
	compiled.Lock()
	defer compiled.Unlock()
	c := compiler{done: compiled.nodes, fresh: make(map[reflect.Type]*node), outer: make(map[reflect.Type]bool)}
	n, err := c.node(t, c.label(t))
	if err != nil {
		return nil, err
	}
	maps.Copy(compiled.nodes, c.fresh)
	return n, nil
}

// A compiler makes the nodes of one type and of all that it reaches.
type compiler struct {
	done  map[reflect.Type]*node // complete, by earlier compilations
	fresh map[reflect.Type]*node // by this one, perhaps not complete yet
	order []reflect.Type         // the keys of fresh in order of appearance
	outer map[reflect.Type]bool  // the unnamed layers around the asked-for type, see label
	pkg   string                 // of the type inside them

	tolerant bool // what cannot be sent becomes a node that says why
}

// label is how paths begin: with the type, whose unnamed layers ([]T, *T) are
// part of its name and so add nothing more to the path.
func (c *compiler) label(t reflect.Type) string {
	for t.Kind() == reflect.Pointer && t.Name() == "" {
		c.outer[t] = true
		t = t.Elem()
	}
	in := t
	for in.Name() == "" && hasElem(in) {
		c.outer[in] = true
		in = in.Elem()
	}
	c.pkg = in.PkgPath()
	return t.String()
}

func hasElem(t reflect.Type) bool {
	k := t.Kind()
	return k == reflect.Pointer || k == reflect.Slice || k == reflect.Array || k == reflect.Map
}

// within is path with the mark of an element of t.
func (c *compiler) within(t reflect.Type, path, mark string) string {
	if c.outer[t] {
		return path
	}
	return path + mark
}

func (c *compiler) node(t reflect.Type, path string) (*node, error) {
	if n := c.done[t]; n != nil {
		return n, nil
	}
	if n := c.fresh[t]; n != nil {
		return n, nil
	}
	n := &node{typ: t, size: t.Size()}
	c.fresh[t] = n
	c.order = append(c.order, t)
	if err := c.fill(n, path); err != nil {
		if !c.tolerant {
			return nil, err
		}
		*n = *refused(n.typ, err)
	}
	return n, nil
}

// fill decides how the type of n crosses. The first of these that fits: a way
// of Brine's own, binary methods, the kind, and text methods for a type that
// would be refused otherwise.
func (c *compiler) fill(n *node, path string) error {
	if special(n) {
		return nil
	}
	if isShared(n.typ) {
		return refuseShared(path, n.typ)
	}
	m := marshalerOf(n.typ)
	if m != nil && !embeds(n.typ, m) {
		byMethods(n, m)
		return nil
	}
	if c.tolerant && c.byText(n) {
		return nil
	}
	mark := len(c.order)
	err := c.byKind(n, path)
	if err == nil {
		return nil
	}
	if m == nil {
		m = textMarshalerOf(n.typ)
	}
	if m == nil {
		return err
	}
	c.forget(mark)
	*n = node{typ: n.typ, size: n.size}
	byMethods(n, m)
	return nil
}

// forget drops what was compiled since mark, as some of it may reach a node
// that was given up.
func (c *compiler) forget(mark int) {
	for _, t := range c.order[mark:] {
		delete(c.fresh, t)
	}
	c.order = c.order[:mark]
}

// special takes the types that Brine itself has a way for, before methods and
// kinds are looked at.
func special(n *node) bool {
	switch t := n.typ; {
	case t == remoteType:
		n.way, n.min = asRemote, remoteMin
	case t == timeType, t.Kind() == reflect.Struct && t.ConvertibleTo(timeType) && marshalerOf(t) == nil:
		n.way, n.fixed, n.min = asTime, true, timeSize
	case t.Kind() == reflect.Pointer && isShared(t.Elem()):
		n.way, n.min = asShared, sharedSize
	default:
		return false
	}
	return true
}

func (c *compiler) byKind(n *node, path string) (err error) {
	t := n.typ
	n.min = 4 // of all that starts with a length or a tag
	switch t.Kind() {
	case reflect.Bool:
		n.bools = []uintptr{0}
		n.copied()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		n.copied()
	case reflect.String:
		n.way = asString
	case reflect.Slice:
		n.way, n.plain = asSlice, pointerFree(t.Elem())
		n.elem, err = c.node(t.Elem(), c.within(t, path, "[]"))
	case reflect.Array:
		return c.array(n, path)
	case reflect.Map:
		n.way, n.anyKey = asMap, holdsInterface(t.Key())
		n.min = n.mapFloor(0)
		if n.key, err = c.node(t.Key(), c.within(t, path, "[key]")); err == nil {
			n.elem, err = c.node(t.Elem(), c.within(t, path, "[]"))
		}
	case reflect.Pointer:
		n.way = asPointer
		n.elem, err = c.node(t.Elem(), path)
	case reflect.Struct:
		return c.structure(n, path)
	case reflect.Interface:
		n.way, n.membership = asInterface, newMembership(t)
	default:
		return refuseKind(path, t)
	}
	return err
}

// copied makes n a run of memory.
func (n *node) copied() {
	n.way, n.fixed, n.min = asCopy, true, int(n.size)
}

func (c *compiler) array(n *node, path string) (err error) {
	if n.count = n.typ.Len(); n.count == 0 {
		n.copied() // nothing crosses, whatever the element is
		return nil
	}
	if n.elem, err = c.node(n.typ.Elem(), c.within(n.typ, path, "[]")); err != nil {
		return err
	}
	if e := n.elem; e.way == asCopy && (len(e.bools) == 0 || n.count <= maxBools/len(e.bools)) {
		n.bools = repeated(e.bools, n.count, e.size)
		n.copied()
		return nil
	}
	n.way, n.fixed, n.min = asArray, n.elem.fixed, n.count*n.elem.min
	return nil
}

// repeated gives the places of the bools in count neighbours of the size.
func repeated(bools []uintptr, count int, size uintptr) []uintptr {
	if len(bools) == 0 {
		return nil
	}
	var all []uintptr
	for i := range count {
		for _, at := range bools {
			all = append(all, uintptr(i)*size+at)
		}
	}
	return all
}

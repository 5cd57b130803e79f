package codec

import (
	"reflect"
	"slices"

	"github.com/brinepool/brine/internal/bill"
)

// refused is the node of a type that cannot be sent.
func refused(t reflect.Type, err error) *node {
	return &node{way: asRefused, typ: t, size: t.Size(), refusal: &refusal{err}}
}

// A refusal is why a type cannot be sent, in words that name the place.
type refusal struct{ error }

// byText makes n a type that says itself what it is as text, if it would be
// refused otherwise: what a tolerant compiler can't find out by trying.
func (c *compiler) byText(n *node) bool {
	m := textMarshalerOf(n.typ)
	if m == nil {
		return false
	}
	trial := compiler{done: c.done, fresh: make(map[reflect.Type]*node), outer: c.outer, pkg: c.pkg}
	found, err := trial.node(n.typ, n.typ.String())
	if err != nil || found.way != asMarshal {
		return false
	}
	byMethods(n, m)
	return true
}

// nodes has the nodes of one type and of all that it reaches, also of what
// cannot be sent.
type nodes struct {
	fresh map[reflect.Type]*node // nil for a type that can be sent
}

// nodesOf returns the node of t. The error says why a t cannot be sent; then
// there is a node nonetheless, and what is at fault in it is asRefused.
func nodesOf(t reflect.Type) (*node, nodes, error) {
	plan, err := For(t)
	if err == nil {
		return plan.node, nodes{}, nil
	}
	compiled.Lock()
	defer compiled.Unlock()
	c := compiler{
		done: compiled.nodes, fresh: make(map[reflect.Type]*node), outer: make(map[reflect.Type]bool), tolerant: true,
	}
	n, _ := c.node(t, c.label(t))
	return n, nodes{c.fresh}, err
}

func (ns nodes) of(t reflect.Type) *node {
	if n := ns.fresh[t]; n != nil {
		return n
	}
	plan, err := For(t)
	if err != nil {
		return refused(t, err)
	}
	return plan.node
}

// A field is a field of a struct that takes bytes.
type field struct {
	mark string // .Name
	off  uintptr
	node *node
}

// fields returns the fields of a struct in the order in which they cross.
func (ns nodes) fields(n *node) []field {
	var all []field
	for i := range n.typ.NumField() {
		f := n.typ.Field(i)
		if f.Name == "_" || f.Tag.Get(tagKey) == "-" {
			continue
		}
		in := n.refused(f.Name)
		if in == nil {
			in = ns.of(f.Type)
		}
		if in.way != asCopy || in.size > 0 {
			all = append(all, field{"." + f.Name, f.Offset, in})
		}
	}
	return all
}

// refused returns the node of a field that is refused for itself, whatever its
// type.
func (n *node) refused(name string) *node {
	for i := range n.steps {
		if s := &n.steps[i]; s.way == asRefused && s.name == name {
			return s.node
		}
	}
	return nil
}

// isStruct reports whether n has fields to tell apart.
func (n *node) isStruct() bool {
	return n.way == asStruct || n.way == asCopy && n.typ.Kind() == reflect.Struct
}

// gaps is by how much the field f of a struct n takes more there than by itself:
// padding that a run of n's carries along, and a run of the field's alone doesn't.
func (n *node) gaps(f field) int64 {
	if f.node.way != asStruct {
		return 0
	}
	return n.copiedWithin(f.off, f.off+f.node.size) - f.node.copiedWithin(0, f.node.size)
}

// copiedWithin is how many bytes of memory between two places in a struct are
// copied as they lie there.
func (n *node) copiedWithin(low, high uintptr) (total int64) {
	if n.way == asCopy {
		return int64(high - low)
	}
	for i := range n.steps {
		if s := &n.steps[i]; s.way == asCopy {
			if from, to := max(low, s.off), min(high, s.off+s.size); from < to {
				total += int64(to - from)
			}
		}
	}
	return total
}

// AtLeast is the note on types whose values can take more than the bytes given.
const AtLeast = "at least"

// ExplainType returns what values of type t take, as far as that is the same for
// all of them: the tree of its fields, each with the fewest bytes that it takes.
func ExplainType(t reflect.Type) bill.Part {
	n, ns, err := nodesOf(t)
	part := ns.typePart(n, make(map[*node]bool), 0)
	if err != nil && part.Error == "" {
		part.Error = err.Error()
	}
	return part
}

// typePart explains a node. Pointers are not followed, as they may be nil, but
// for the outermost one.
func (ns nodes) typePart(n *node, above map[*node]bool, level int) bill.Part {
	if n.way == asPointer && level == 0 && n.elem.isStruct() {
		part := ns.typePart(n.elem, above, level)
		part.Type, part.Note = TypeName(n.typ), AtLeast+", if not nil"
		part.Bytes, part.Own = part.Bytes+4, part.Own+4
		return part
	}
	part := bill.Part{Type: TypeName(n.typ), Bytes: int64(n.min), Own: int64(n.min)}
	switch {
	case n.way == asRefused:
		part.Error = n.refusal.Error()
	case !n.fixed:
		part.Note = AtLeast
	}
	if above[n] || level >= levels || !n.isStruct() {
		return part
	}
	above[n] = true
	for _, f := range ns.fields(n) {
		p := ns.typePart(f.node, above, level+1)
		p.Name = f.mark
		more := n.gaps(f)
		p.Bytes, p.Own = p.Bytes+more, p.Own+more
		part.Own -= p.Bytes
		part.Parts = append(part.Parts, p)
	}
	delete(above, n)
	slices.SortStableFunc(part.Parts, bill.ByBytes)
	return part
}

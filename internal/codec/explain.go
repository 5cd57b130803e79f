package codec

import (
	"errors"
	"reflect"
	"strings"
	"unsafe"

	"github.com/brinepool/brine/internal/bill"
)

const (
	// levels is how deep Explain tells parts from one another.
	levels = 6
	// breadth is how many parts of one value it tells from one another.
	breadth = 12
	// detailed is the share of the whole, one part in so many, below which a part's
	// own parts are not told.
	detailed = 200
	// similar is the share of a large container, one part in so many, below which an
	// element is told for being the largest only.
	similar = 100
	// maxReasons is how many errors are told.
	maxReasons = 100
)

// Explain returns what the encoding of the value at v, of type t, consists of: its
// parts by their paths, the largest first. Bytes are exactly those that Append
// gives for it. What cannot be sent is marked with the reason and takes no bytes.
// Nothing is encoded but what has methods of its own for that, and nothing is
// changed: shared data that is still writable stays so. Map entries come in no
// certain order, which can matter to which of several references counts, and where
// a map has few, short entries, to its size.
func Explain(t reflect.Type, v unsafe.Pointer) bill.Part {
	n, ns, err := nodesOf(t)
	x := explainer{nodes: ns, root: n, known: make(map[*node][]field)}
	x.met = x.remember
	total := x.size(n, v)
	x.back(state{})
	x.floor = total / detailed
	part := x.part(n, v, 0, total)
	if err == nil {
		err = x.first
	}
	if err != nil && part.Error == "" {
		part.Error = err.Error()
	}
	return part
}

// An explainer makes the parts of one value.
type explainer struct {
	sizer
	nodes
	root    *node
	floor   int64             // of the bytes of parts whose parts are told
	known   map[*node][]field // of structs
	path    []byte            // to the part that is looked at
	place   int               // of that path in places, plus 1; 0 as long as it isn't there
	places  []string          // where objects were seen
	where   []int32           // for each object its place
	exact   []bool            // for each object: it is there, and not only somewhere within
	first   error             // with its path
	reasons int
}

// remember notes where the newest object is.
func (x *explainer) remember() {
	if x.place == 0 {
		x.places = append(x.places, string(x.path))
		x.place = len(x.places)
	}
	n := len(x.objects) - 1
	x.where = append(x.where[:n], int32(x.place-1))
	x.exact = append(x.exact[:n], false)
}

// part explains the value at p, which is at x.path and takes so many bytes, as far
// as that is known.
func (x *explainer) part(n *node, p unsafe.Pointer, level int, known int64) bill.Part {
	before := x.mapped
	part := x.whole(n, p, level, known)
	part.Mapped = x.mapped - before
	return part
}

func (x *explainer) whole(n *node, p unsafe.Pointer, level int, known int64) bill.Part {
	switch n.way {
	case asPointer:
		return x.pointer(n, p, level, known)
	case asInterface:
		return x.iface(n, p, level, known)
	case asShared:
		return x.shared(n, p)
	case asSlice, asMap:
		return x.container(n, p, level, known)
	default:
	}
	switch {
	case level < levels && n.isStruct():
		return x.structure(n, p, level)
	case level < levels && n.way == asArray && !n.fixed:
		part := bill.Part{Type: TypeName(n.typ)}
		x.elements(&part, n.elem, p, n.count, level, known)
		return part
	default:
		return x.leaf(n, p)
	}
}

// leaf is a part whose own parts are not told.
func (x *explainer) leaf(n *node, p unsafe.Pointer) bill.Part {
	part := bill.Part{Type: TypeName(n.typ), Bytes: x.size(n, p)}
	x.settle(&part)
	return part
}

// settle marks a part with what was raised in it.
func (x *explainer) settle(part *bill.Part) {
	if x.deep {
		part.Bytes, x.deep = 0, false
	}
	part.Own = part.Bytes
	if x.at != nil {
		part.Error = x.reason(x.at, "")
		x.at = nil
	}
}

// reason is the text of an error below the path and the mark, as the encoder gives
// it.
func (x *explainer) reason(at *located, mark string) string {
	x.reasons++
	err := at.err
	if refusal := (*refusal)(nil); !errors.As(err, &refusal) {
		err = failed("encode", x.root, &located{path: string(x.path) + mark + at.path, err: err})
	}
	if x.first == nil {
		x.first = err
	}
	return err.Error()
}

// child explains a part of the value that is at x.path, whose bytes are its own
// part.
func (x *explainer) child(n *node, p unsafe.Pointer, mark string, level int) bill.Part {
	end := len(x.path)
	x.path, x.place = append(x.path, mark...), 0
	level++
	known := int64(n.min)
	if level < levels && !n.fixed && n.way != asString {
		s := x.state()
		known = x.size(n, p)
		if x.at != nil && x.reasons < maxReasons {
			known = max(known, x.floor)
		}
		x.back(s)
		x.place = 0
	}
	if known < x.floor {
		level = levels
	}
	part := x.part(n, p, level, known)
	part.Name = mark
	x.path, x.place = x.path[:end], 0
	return part
}

func (x *explainer) pointer(n *node, p unsafe.Pointer, level int, known int64) bill.Part {
	part := bill.Part{Type: TypeName(n.typ)}
	at := *(*unsafe.Pointer)(p)
	switch {
	case x.refuses(n.elem):
		x.settle(&part)
		return part
	case at == nil:
		part.Bytes, part.Own, part.Note = 4, 4, "nil"
		return part
	case !x.enter():
		x.settle(&part)
		return part
	}
	defer x.leave()
	i, seen := x.number(object{at, n.elem})
	if seen {
		part.Bytes, part.Own, part.Note = 4, 4, x.reference(i)
		return part
	}
	if i >= 0 {
		x.exact[i] = true
	}
	part = x.part(n.elem, at, level, known)
	part.Type = TypeName(n.typ)
	part.Bytes, part.Own = part.Bytes+4, part.Own+4
	return part
}

// reference says where an object is counted.
func (x *explainer) reference(i int) string {
	path := x.places[x.where[i]]
	switch {
	case path == "" && x.exact[i]:
		return "counted at the top"
	case path == "":
		return "counted elsewhere"
	case x.exact[i]:
		return "counted at " + path
	default:
		return "counted within " + path
	}
}

func (x *explainer) iface(n *node, p unsafe.Pointer, level int, known int64) bill.Part {
	v := n.membership.load(p)
	if v == nil {
		return bill.Part{Type: TypeName(n.typ), Bytes: 4, Own: 4, Note: "nil"}
	}
	t := reflect.TypeOf(v)
	r := registry().ofType(t)
	if r == nil || !x.enter() {
		part := x.leaf(n, p)
		part.Type = TypeName(t)
		if part.Error == "" {
			part.Note = "as a RemoteError"
		}
		return part
	}
	defer x.leave()
	_, err := x.enc.typeOf(&v)
	head := x.encoded(err)
	part := x.part(r.node, r.address(&v), level, known)
	part.Bytes, part.Own = part.Bytes+head, part.Own+head
	return part
}

func (x *explainer) shared(n *node, p unsafe.Pointer) bill.Part {
	before := len(x.segments)
	part := x.leaf(n, p)
	switch {
	case part.Error != "":
	case *(*unsafe.Pointer)(p) == nil:
		part.Note = "nil"
	case len(x.segments) == before:
		part.Note = "in shared memory, counted before"
	default:
		part.Note = "in shared memory"
	}
	return part
}

// TypeName is the name of a type without the folders of packages, which those of
// type arguments have.
func TypeName(t reflect.Type) string {
	name := t.String()
	var b strings.Builder
	for {
		slash := strings.IndexByte(name, '/')
		if slash < 0 {
			return b.String() + name
		}
		from := strings.LastIndexAny(name[:slash], "[],*; ") + 1
		b.WriteString(name[:from])
		name = name[slash+1:]
	}
}

// Quiet reports whether explaining values of a type calls no method of theirs: they
// hold no marshalers, and no interfaces, which may hold some.
func Quiet(t reflect.Type) bool {
	p, err := For(t)
	return err == nil && quiet(p.node, make(map[*node]bool))
}

func quiet(n *node, seen map[*node]bool) bool {
	if n == nil || seen[n] {
		return true
	}
	seen[n] = true
	switch n.way {
	case asMarshal, asInterface, asRemote:
		return false
	default:
	}
	for i := range n.steps {
		if !quiet(n.steps[i].node, seen) {
			return false
		}
	}
	return quiet(n.key, seen) && quiet(n.elem, seen)
}

package pickle

import (
	"encoding/binary"
	"math"
	"strconv"
)

// child is a part of a value, as it is shown.
type child struct {
	it    item
	extra int64 // bytes of the key that it is under, which count with it
	step  step
	note  string
}

// step is how one gets to a part. Its text is made when it is asked for, since most are never shown.
type step struct {
	kind stepKind
	text string
	n    int64
	key  item
}

type stepKind uint8

const (
	byText  stepKind = iota
	byIndex          // [n]
	byKey            // [key]
	byAttr           // .key
	byElem           // of a set: element key
)

func (t *tree) nameOf(s *step) string {
	switch s.kind {
	case byIndex:
		return "[" + strconv.FormatInt(s.n, 10) + "]"
	case byKey:
		return "[" + t.literal(&s.key) + "]"
	case byAttr:
		if off, kind := t.resolve(&s.key); kind == Str {
			q := quote(string(text(t.s, off)))
			return s.text + q[1:len(q)-1]
		}
		return "[" + t.literal(&s.key) + "]"
	case byElem:
		return "element " + t.literal(&s.key)
	default:
		return s.text
	}
}

// children returns the parts of a value, and what is known of the others.
func (t *tree) children(it *item) ([]child, rest) {
	n := it.node
	if n == nil {
		return nil, rest{}
	}
	if f, ok := t.many[n]; ok {
		return f.kids, f.rest
	}
	p := parts{t: t}
	switch it.kind {
	case Tuple, List:
		p.elements(n)
	case Set, FrozenSet:
		for i := range n.kids {
			p.add(child{it: n.kids[i], step: step{kind: byElem, key: n.kids[i]}})
		}
		p.rest = n.rest
	case Dict:
		p.pairs(n, step{kind: byKey})
	default:
		p.object(it)
	}
	if len(p.list) > 64 {
		if t.many == nil {
			t.many = make(map[*node]family)
		}
		t.many[n] = family{p.list, p.rest}
	}
	return p.list, p.rest
}

// parts collects what a value consists of.
type parts struct {
	t    *tree
	list []child
	rest rest
}

func (p *parts) add(c child) { p.list = append(p.list, c) }

// part adds one with a name of its own.
func (p *parts) part(name string, it item, note string) {
	p.add(child{it: it, step: step{text: name}, note: note})
}

// elements adds those of a list, or of a tuple.
func (p *parts) elements(n *node) {
	if p.list == nil {
		p.list = make([]child, 0, len(n.kids))
	}
	for i := range n.kids {
		number := int64(i)
		if n.index != nil {
			number = n.index[i]
		}
		p.add(child{it: n.kids[i], step: step{kind: byIndex, n: number}})
	}
	p.rest.add(n.rest)
}

// pairs adds the values of a dictionary, which are reached in one way.
func (p *parts) pairs(n *node, s step) {
	for i := 0; i+1 < len(n.kids); i += 2 {
		s.key = n.kids[i]
		p.add(child{it: n.kids[i+1], extra: n.kids[i].bytes, step: s})
	}
	p.rest.add(n.rest)
}

// tupleKids returns the elements of a tuple, if they are known.
func tupleKids(it *item) []item {
	if it.kind != Tuple || it.node == nil || it.node.index != nil {
		return nil
	}
	return it.node.kids
}

// object adds the parts of an object, and of whatever has no elements of its own.
func (p *parts) object(it *item) {
	n := it.node
	if it.kind == Object {
		if n.callee.node != nil {
			name := "callable"
			note := "what is called to make it"
			if n.how != byReduce {
				name, note = "class", "which can't be imported"
			}
			if t := p.t.unnamed(n); t == "" {
				p.part(name, n.callee, note)
			}
		}
		if known := p.t.special(it); known != nil && known.parts != nil {
			known.parts(p, n)
			return
		}
		p.arguments(n)
	}
	for i := range n.states {
		p.state(&n.states[i])
	}
	p.contents(n)
}

// arguments adds those of the call that makes an object.
func (p *parts) arguments(n *node) {
	if n.args.kind != Tuple {
		p.part("arguments", n.args, "")
	} else if n.args.node != nil {
		for i := range n.args.node.kids {
			number := i
			if n.args.node.index != nil {
				number = int(n.args.node.index[i])
			}
			p.part("argument "+strconv.Itoa(number), n.args.node.kids[i], "")
		}
		p.rest.add(n.args.node.rest)
	}
	if n.kwargs.kind == Dict && n.kwargs.node != nil {
		p.pairs(n.kwargs.node, step{kind: byAttr, text: "argument "})
	}
}

// contents adds what is appended to an object and set in it.
func (p *parts) contents(n *node) {
	p.elements(n)
	if n.pairs != nil {
		p.pairs(n.pairs, step{kind: byKey})
	}
}

// state adds what an object's state is: attributes, where it is a dictionary, or one for attributes and one for slots.
func (p *parts) state(it *item) {
	if both := tupleKids(it); len(both) == 2 && attributes(&both[0]) && attributes(&both[1]) {
		p.attributes(&both[0])
		p.attributes(&both[1])
		return
	}
	if attributes(it) {
		p.attributes(it)
		return
	}
	p.part("state", *it, "what its __getstate__ or __reduce__ returns")
}

func attributes(it *item) bool { return it.kind == Dict || it.kind == None }

func (p *parts) attributes(it *item) {
	if it.kind == Dict && it.node != nil {
		p.pairs(it.node, step{kind: byAttr, text: "."})
	}
}

func (t *tree) float(off int64) string {
	if b := t.s[off:]; b[0] == opBinFloat {
		f := math.Float64frombits(binary.BigEndian.Uint64(b[1:9]))
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return "<float>"
}

package codec

import (
	"reflect"
	"slices"
	"strconv"
	"unsafe"

	"github.com/brinepool/brine/internal/bill"
)

func (x *explainer) structure(n *node, p unsafe.Pointer, level int) bill.Part {
	fields, ok := x.known[n]
	if !ok {
		fields = x.fields(n)
		x.known[n] = fields
	}
	part := bill.Part{Type: TypeName(n.typ)}
	if n.way == asCopy {
		part.Own = int64(n.size)
	}
	for i := range n.steps {
		if s := &n.steps[i]; s.way == asCopy || s.way == asPad && s.name == "" {
			part.Own += int64(s.size)
		}
	}
	for _, f := range fields {
		more := n.gaps(f)
		sub := x.child(f.node, unsafe.Add(p, f.off), f.mark, level)
		sub.Bytes, sub.Own = sub.Bytes+more, sub.Own+more
		if f.node.way == asCopy || f.node.way == asStruct { // what is among the copied already
			part.Own -= n.covered(f)
		}
		part.Bytes += sub.Bytes
		part.Parts = append(part.Parts, sub)
	}
	part.Bytes += part.Own
	slices.SortStableFunc(part.Parts, bill.ByBytes)
	if len(part.Parts) > breadth {
		g := gathering{x: x, part: &part}
		g.shown, part.Parts = part.Parts, nil
		g.few()
	}
	return part
}

// covered is how much of what n copies is of field f.
func (n *node) covered(f field) int64 {
	if f.node.way == asCopy {
		return int64(f.node.size)
	}
	return n.copiedWithin(f.off, f.off+f.node.size)
}

// container explains a slice or a map.
func (x *explainer) container(n *node, p unsafe.Pointer, level int, known int64) bill.Part {
	part := bill.Part{Type: TypeName(n.typ)}
	m := reflect.NewAt(n.typ, p).Elem()
	part.Entries = int64(m.Len())
	if m.IsNil() {
		part = x.leaf(n, p)
		if part.Error == "" {
			part.Note = "nil"
		}
		return part
	}
	told := level < levels && m.Len() > 0 && n.elem.way != asRefused && (n.key == nil || n.key.way != asRefused)
	if !told || !x.enter() {
		part.Bytes = x.size(n, p)
		x.settle(&part)
		return part
	}
	defer x.leave()
	part.Bytes, part.Own = 4, 4
	if n.way == asSlice {
		h := (*sliceHeader)(p)
		x.elements(&part, n.elem, h.data, h.len, level, known)
		return part
	}
	x.mapEntries(&part, n, m, level, known)
	if more := int64(n.mapFloor(m.Len())) - part.Bytes; more > 0 {
		part.Bytes, part.Own = part.Bytes+more, part.Own+more
	}
	return part
}

// elements adds values that lie one after the other to their container. Those of
// a fixed size are not told from one another.
func (x *explainer) elements(part *bill.Part, n *node, p unsafe.Pointer, count, level int, known int64) {
	if n.fixed {
		bytes := int64(count) * int64(n.min)
		part.Bytes, part.Own = part.Bytes+bytes, part.Own+bytes
		return
	}
	g := x.gather(part, count, level, known)
	for i := range count {
		g.add(n, unsafe.Add(p, uintptr(i)*n.size), 0, func() string { return index(i) })
	}
	g.finish()
}

func (x *explainer) mapEntries(part *bill.Part, n *node, m reflect.Value, level int, known int64) {
	if n.key.fixed && n.elem.fixed {
		bytes := int64(m.Len()) * int64(n.key.min+n.elem.min)
		part.Bytes, part.Own = part.Bytes+bytes, part.Own+bytes
		return
	}
	g := x.gather(part, m.Len(), level, known)
	for e := range n.entries(m) {
		key := x.size(n.key, e.loadKey())
		if x.at != nil {
			g.unsent(x.reason(x.at, "[key]"))
			x.at = nil
		}
		if x.deep {
			key, x.deep = 0, false
		}
		g.add(n.elem, e.loadElem(), key, e.mark)
	}
	g.finish()
}

// A gathering are the parts of a container, of which the largest are told.
type gathering struct {
	x       *explainer
	part    *bill.Part
	level   int
	many    bool  // more than are told
	least   int64 // of the bytes of those that are
	shown   []bill.Part
	largest bill.Part // of the others
	others  bill.Part
	failing int // shown for that they can't be sent
}

// maxFailing is how many elements of a large container are shown for that they
// can't be sent.
const maxFailing = 4

func (x *explainer) gather(part *bill.Part, count, level int, known int64) *gathering {
	return &gathering{x: x, part: part, level: level, many: count > breadth, least: max(known/similar, 1)}
}

// add takes up an element, whose key takes so many bytes.
func (g *gathering) add(n *node, p unsafe.Pointer, key int64, mark func() string) {
	x := g.x
	if !g.many {
		g.show(n, p, key, mark())
		return
	}
	s := x.state()
	size := x.size(n, p)
	switch failed := x.at; {
	case failed != nil && g.failing < maxFailing && x.reasons < maxReasons:
		g.failing++
		x.back(s)
		g.show(n, p, key, mark())
		return
	case failed != nil:
		g.unsent(x.reason(failed, mark()))
		if x.deep {
			size = 0
		}
		x.at, x.deep = nil, false
	case size+key >= g.least:
		x.back(s)
		g.show(n, p, key, mark())
		return
	}
	size += key
	if size > g.largest.Bytes {
		g.largest = bill.Part{Name: mark(), Type: TypeName(n.typ), Bytes: size, Own: size}
	}
	g.others.Count++
	g.others.Bytes += size
}

func (g *gathering) show(n *node, p unsafe.Pointer, key int64, mark string) {
	part := g.x.child(n, p, mark, g.level)
	part.Bytes, part.Own = part.Bytes+key, part.Own+key
	g.shown = append(g.shown, part)
}

// unsent marks what isn't told with the first reason why some of it can't be sent.
func (g *gathering) unsent(reason string) {
	if g.others.Error == "" {
		g.others.Error = reason
	}
}

// finish gives the container its parts.
func (g *gathering) finish() {
	if g.largest.Name != "" && len(g.shown) == g.failing {
		g.shown = append(g.shown, g.largest)
		g.others.Count--
		g.others.Bytes -= g.largest.Bytes
	}
	slices.SortStableFunc(g.shown, bill.ByBytes)
	for i := range g.shown {
		g.part.Bytes += g.shown[i].Bytes
	}
	g.part.Bytes += g.others.Bytes
	g.few()
}

// few cuts what is shown down to the largest, and those that can't be sent. The
// others are added up.
func (g *gathering) few() {
	reserve := maxFailing
	for i, part := range g.shown {
		switch {
		case i < breadth:
		case faulty(&part) && reserve > 0:
			reserve--
		default:
			g.others.Count++
			g.others.Bytes += part.Bytes
			g.others.Mapped += part.Mapped
			if part.Error != "" {
				g.unsent(part.Error)
			}
			continue
		}
		g.part.Parts = append(g.part.Parts, part)
	}
	switch {
	case g.others.Count > 0:
		g.others.Name, g.others.Own = others(g.others.Count), g.others.Bytes
		g.part.Parts = append(g.part.Parts, g.others)
	case g.others.Error != "" && g.part.Error == "":
		g.part.Error = g.others.Error // of keys
	}
}

// others names so many parts.
func others(count int64) string {
	if count == 1 {
		return "1 other"
	}
	name := strconv.FormatInt(count, 10)
	for i := len(name) - 3; i > 0; i -= 3 {
		name = name[:i] + "," + name[i:]
	}
	return name + " others"
}

// faulty reports whether something in a part can't be sent.
func faulty(part *bill.Part) bool {
	if part.Error != "" {
		return true
	}
	for i := range part.Parts {
		if faulty(&part.Parts[i]) {
			return true
		}
	}
	return false
}

// entryMark names an entry of a map in a path.
func entryMark(key reflect.Value) string {
	const most = 32
	if key.Kind() == reflect.Interface && !key.IsNil() {
		key = key.Elem()
	}
	switch {
	case key.Kind() == reflect.String && key.Len() > most:
		return "[" + strconv.Quote(key.String()[:most]) + "…]"
	case key.Kind() == reflect.Bool:
		return "[" + strconv.FormatBool(key.Bool()) + "]"
	case key.CanFloat():
		return "[" + strconv.FormatFloat(key.Float(), 'g', -1, 64) + "]"
	}
	if mark := keyMark(key); mark != "[]" {
		return mark
	}
	return "[" + TypeName(key.Type()) + "]"
}

package codec

import (
	"reflect"
	"slices"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// maxDives bounds how often a sizer goes down to maxDepth: a slice that holds
// itself often would take it for ever otherwise.
const maxDives = 64

// A sizer says how many bytes values take, without encoding them. It walks as the
// encoder does and keeps the same account of what has been seen. What cannot be
// sent counts for nothing, and the rest goes on.
type sizer struct {
	enc      encoder // for what only an encoder knows; between two values its buffer is empty
	objects  []object
	index    map[object]int // where in objects; of no use while they are few
	segments []*shm.Segment
	mapped   int64    // bytes of the segments
	at       *located // what was raised first, with its path
	deep     bool     // unwinding from a value that is too deep
	dives    int
	met      func() // called for each new object, if not nil
}

// size gives the bytes of the value at p.
func (s *sizer) size(n *node, p unsafe.Pointer) int64 {
	if n.fixed {
		return int64(n.min)
	}
	switch n.way {
	case asString:
		return s.string(*(*string)(p))
	case asStruct:
		return s.structure(n, p)
	case asArray:
		return s.elements(n.elem, p, n.count)
	case asMarshal:
		err := s.enc.marshal(n, p)
		return s.encoded(err)
	case asRemote:
		s.enc.remoteError((*RemoteError)(p))
		return s.encoded(nil)
	case asShared:
		return s.shared(p)
	case asRefused:
		s.raise(n.refusal)
		return 0
	default:
	}
	if !s.enter() {
		return 0
	}
	defer s.leave()
	switch n.way {
	case asSlice:
		return s.slice(n, p)
	case asMap:
		return s.mapping(n, p)
	case asPointer:
		return s.pointer(n, p)
	case asInterface:
		return s.iface(n, p)
	default:
		panic("brine: codec: a node without a way")
	}
}

// enter counts one more layer of what may nest without end, and reports whether
// there may be one. leave is its reverse.
func (s *sizer) enter() bool {
	if s.enc.depth >= maxDepth || s.dives >= maxDives {
		s.raise(errDepth)
		s.deep = true
		s.dives++
		return false
	}
	s.enc.depth++
	return true
}

func (s *sizer) leave() { s.enc.depth-- }

// raise keeps the first error.
func (s *sizer) raise(err error) {
	if s.at == nil {
		s.at = &located{err: err}
	}
}

// within says where what was raised is, if it was raised since before, which is
// whether something had been raised then.
func (s *sizer) within(before bool, mark string) {
	if !before && s.at != nil {
		s.at = within(s.at, mark).(*located) //nolint:errorlint // it gives what it is given
	}
}

// encoded gives how much the encoder has written, and has it forgotten.
func (s *sizer) encoded(err error) int64 {
	n := int64(len(s.enc.buf))
	s.enc.buf = s.enc.buf[:0]
	if err != nil {
		s.raise(err)
		return 0
	}
	return n
}

func (s *sizer) string(text string) int64 { return s.counted(len(text), int64(len(text))) }

// counted is what a length, and so many bytes after it, take.
func (s *sizer) counted(length int, bytes int64) int64 {
	if uint64(length) >= null {
		s.raise(errLength)
		return 0
	}
	return 4 + bytes
}

func (s *sizer) structure(n *node, p unsafe.Pointer) (total int64) {
	for i := range n.steps {
		step := &n.steps[i]
		var size int64
		switch step.way {
		case asCopy, asPad:
			size = int64(step.size)
		case asString:
			size = s.string(*(*string)(unsafe.Add(p, step.off)))
		case asSkip:
		default:
			raised := s.at != nil
			size = s.size(step.node, unsafe.Add(p, step.off))
			s.within(raised, "."+step.name)
			if s.deep {
				return 0
			}
		}
		total += size
	}
	return total
}

func (s *sizer) slice(n *node, p unsafe.Pointer) int64 {
	h := (*sliceHeader)(p)
	switch {
	case s.refuses(n.elem):
		return 0
	case h.data == nil:
		return 4
	}
	return s.counted(h.len, s.elements(n.elem, h.data, h.len))
}

// refuses reports whether values of the element's type can't be sent, and raises
// why: then a container of them can't either, whatever it holds.
func (s *sizer) refuses(elem *node) bool {
	if elem.way != asRefused {
		return false
	}
	s.raise(elem.refusal)
	return true
}

func (s *sizer) elements(n *node, p unsafe.Pointer, count int) (total int64) {
	switch {
	case n.fixed:
		return int64(n.min) * int64(count)
	case s.refuses(n):
		return 0
	}
	for i := range count {
		raised := s.at != nil
		total += s.size(n, unsafe.Add(p, uintptr(i)*n.size))
		if !raised && s.at != nil { // the mark is made for it alone
			s.within(raised, index(i))
		}
		if s.deep {
			return 0
		}
	}
	return total
}

func (s *sizer) mapping(n *node, p unsafe.Pointer) int64 {
	m := reflect.NewAt(n.typ, p).Elem()
	if s.refuses(n.key) || s.refuses(n.elem) {
		return 0
	}
	if m.IsNil() {
		return int64(n.min)
	}
	count := m.Len()
	var entries int64
	switch {
	case count == 0:
	case n.ofStrings():
		entries = s.stringEntries(*(*map[string]string)(p))
	case n.key.fixed && n.elem.fixed:
		entries = int64(count) * int64(n.key.min+n.elem.min)
	default:
		for e := range n.entries(m) {
			entries += s.entry(n, e)
			if s.deep {
				return 0
			}
		}
	}
	return max(s.counted(count, entries), int64(n.mapFloor(count)))
}

func (s *sizer) stringEntries(m map[string]string) (total int64) {
	for k, v := range m {
		raised := s.at != nil
		value := s.string(v)
		if !raised && s.at != nil {
			s.within(raised, stringMark(k))
		}
		total += s.string(k) + value
	}
	return total
}

// entry gives the bytes of a key and its value.
func (s *sizer) entry(n *node, e *entry) int64 {
	raised := s.at != nil
	size := s.size(n.key, e.loadKey())
	if !raised && s.at != nil {
		s.within(raised, "[key]")
		raised = true
	}
	size += s.size(n.elem, e.loadElem())
	if !raised && s.at != nil {
		s.within(raised, e.mark())
	}
	return size
}

func (s *sizer) pointer(n *node, p unsafe.Pointer) int64 {
	at := *(*unsafe.Pointer)(p)
	switch {
	case s.refuses(n.elem):
		return 0
	case at == nil:
		return 4
	}
	if _, seen := s.number(object{at, n.elem}); seen {
		return 4
	}
	return 4 + s.size(n.elem, at)
}

// number returns the number of an object, and whether it has been seen. Those of
// size 0 are new each time, and have none.
func (s *sizer) number(o object) (i int, seen bool) {
	if o.node.size == 0 {
		return -1, false
	}
	if len(s.objects) <= linearObjects {
		if i := slices.Index(s.objects, o); i >= 0 {
			return i, true
		}
	} else if i, ok := s.index[o]; ok {
		return i, true
	}
	switch n := len(s.objects); {
	case n < linearObjects:
	case n == linearObjects:
		if s.index == nil {
			s.index = make(map[object]int, 4*linearObjects)
		}
		for i, other := range s.objects {
			s.index[other] = i
		}
		s.index[o] = n
	default:
		s.index[o] = n
	}
	s.objects = append(s.objects, o)
	if s.met != nil {
		s.met()
	}
	return len(s.objects) - 1, false
}

func (s *sizer) iface(n *node, p unsafe.Pointer) int64 {
	v := n.membership.load(p)
	if v == nil {
		return 4
	}
	r, err := s.enc.typeOf(&v)
	if r == nil && n.membership.remote {
		s.enc.u32(ifaceRemote)
		s.enc.remoteError(remoteOf(v.(error)))
		return s.encoded(nil)
	}
	head := s.encoded(err)
	if err != nil {
		return 0
	}
	return head + s.size(r.node, r.address(&v))
}

// shared counts the segment that p refers to. Other than sending it, that doesn't
// make it read-only.
func (s *sizer) shared(p unsafe.Pointer) int64 {
	ref := *(**shm.Ref)(p)
	if ref == nil {
		return sharedSize
	}
	seg := ref.Segment()
	switch {
	case seg == nil:
		s.raise(errSharedZero)
		return 0
	case seg.Closed():
		s.raise(shm.ErrClosed)
		return 0
	}
	s.refer(seg)
	return sharedSize
}

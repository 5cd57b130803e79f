package codec

import (
	"iter"
	"reflect"
	"slices"
	"unsafe"

	"github.com/brinepool/brine/internal/shm"
)

// A state is how far the account of what has been seen has come.
type state struct {
	objects, types, segments int
	mapped                   int64
}

func (s *sizer) state() state {
	return state{len(s.objects), len(s.enc.types), len(s.segments), s.mapped}
}

// back forgets what was seen since, and what was raised.
func (s *sizer) back(to state) {
	if to.objects == 0 {
		clear(s.index) // much faster than one by one
	} else {
		for _, o := range s.objects[to.objects:] {
			delete(s.index, o)
		}
	}
	s.objects = s.objects[:to.objects]
	s.enc.types = s.enc.types[:to.types]
	s.segments, s.mapped = s.segments[:to.segments], to.mapped
	s.at, s.deep = nil, false
}

// refer takes up a segment, and reports whether it is new.
func (s *sizer) refer(seg *shm.Segment) bool {
	if slices.Contains(s.segments, seg) {
		return false
	}
	s.segments = append(s.segments, seg)
	s.mapped += seg.Size()
	return true
}

// An entry is one entry of a map at a time. Key and value are loaded when they are
// asked for.
type entry struct {
	iter      *reflect.MapIter
	n         *node
	key, elem reflect.Value
	keyAt     unsafe.Pointer
	elemAt    unsafe.Pointer
}

// entries yields the entries of a map, all in the same place.
func (n *node) entries(m reflect.Value) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		key, elem := reflect.New(n.key.typ), reflect.New(n.elem.typ)
		e := &entry{m.MapRange(), n, key.Elem(), elem.Elem(), key.UnsafePointer(), elem.UnsafePointer()}
		for e.iter.Next() && yield(e) {
			continue
		}
	}
}

// loadKey gives the place of the key, which has its content unless that doesn't
// change the size.
func (e *entry) loadKey() unsafe.Pointer {
	if !e.n.key.fixed {
		e.key.SetIterKey(e.iter)
	}
	return e.keyAt
}

// loadElem is loadKey for the value.
func (e *entry) loadElem() unsafe.Pointer {
	if !e.n.elem.fixed {
		e.elem.SetIterValue(e.iter)
	}
	return e.elemAt
}

// mark names the entry in a path.
func (e *entry) mark() string {
	e.key.SetIterKey(e.iter)
	return entryMark(e.key)
}

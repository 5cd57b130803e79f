package brine

import (
	"fmt"
	"iter"
	"maps"
	"runtime"
	"sync/atomic"

	"github.com/brinepool/brine/internal/frozen"
	"github.com/brinepool/brine/internal/shm"
)

// FrozenMap is a map that does not change, laid out in shared memory so that all processes look things up in the same
// bytes: it is built once, and a worker that is given it decodes nothing. Make it with Freeze or FreezeSeq. As a *Shared
// does, a *FrozenMap crosses as a reference: as a configuration, an argument or bound, or a field of one. The layout is in
// docs/PROTOCOL.md, for readers in other languages.
//
// Its maker closes it when nothing uses it any more. In a worker it is good for as long as it is kept. Strings and byte
// slices that it returns lie in the shared memory: they are read-only, and valid as long as the map is, so that who keeps
// them keeps it too. A table in which somebody wrote, which the seals prevent on Linux, may miss entries, or panic when it
// is first used. Its methods are safe for concurrent use; on a nil, zero or closed FrozenMap they find nothing.
type FrozenMap[K, V any] struct {
	ref    shm.Ref // first: it is how the codec knows shared data
	table  atomic.Pointer[frozen.Map[K, V]]
	closed atomic.Bool
}

// Freeze makes a FrozenMap of m. Keys are strings or integers; values are strings, byte slices, integers, floats or
// bools; types that are defined as one of these will do. The error names a type that won't, or says that there is no
// memory. m must not be changed meanwhile.
func Freeze[K comparable, V any](m map[K]V) (*FrozenMap[K, V], error) { return FreezeSeq(maps.All(m)) }

// FreezeSeq is Freeze for entries that are in no map, with keys that may be byte slices. It goes over seq twice, which
// must yield the same both times. A key that comes twice is an error.
func FreezeSeq[K, V any](seq iter.Seq2[K, V]) (*FrozenMap[K, V], error) {
	if err := frozen.Check[K, V](); err != nil {
		return nil, err
	}
	n, size, err := frozen.Size(seq)
	if err != nil {
		return nil, err
	}
	seg, err := shm.Make("brine frozen", size)
	if err != nil {
		return nil, fmt.Errorf("brine: Freeze of %d entries: %w", n, err)
	}
	done := false
	defer func() { // also when seq panics
		if !done {
			seg.Release()
		}
	}()
	mem, err := seg.Bytes()
	if err == nil {
		err = frozen.Fill(mem, n, seq)
	}
	if err == nil {
		err = seg.Seal()
	}
	if err != nil {
		return nil, err
	}
	m := &FrozenMap[K, V]{ref: shm.NewRef(seg)}
	if _, err := m.open(); err != nil {
		return nil, err
	}
	done = true
	return m, nil
}

// open finds the table in the shared memory. Its head is checked here, and every look-up checks what it reads: a table
// that is damaged may miss entries, but leads nowhere else.
func (m *FrozenMap[K, V]) open() (*frozen.Map[K, V], error) {
	seg := m.ref.Segment()
	if seg == nil || m.closed.Load() {
		return nil, fmt.Errorf("brine: FrozenMap: %w", shm.ErrClosed)
	}
	mem, err := seg.Bytes()
	if err != nil {
		return nil, fmt.Errorf("brine: FrozenMap: %w", err)
	}
	t, err := frozen.Open[K, V](mem)
	if err != nil {
		return nil, fmt.Errorf("brine: FrozenMap: %w", err)
	}
	m.table.Store(t)
	if m.closed.Load() { // meanwhile
		m.table.Store(nil)
		return nil, fmt.Errorf("brine: FrozenMap: %w", shm.ErrClosed)
	}
	return t, nil
}

// find returns the table, nil for a map that has none. A table that can't be read panics.
func (m *FrozenMap[K, V]) find() *frozen.Map[K, V] {
	if m == nil {
		return nil
	}
	if t := m.table.Load(); t != nil {
		return t
	}
	if m.ref.Segment() == nil || m.closed.Load() {
		return nil
	}
	t, err := m.open()
	if err != nil {
		panic(err)
	}
	return t
}

// possible says why there can be no FrozenMap of this type.
func (*FrozenMap[K, V]) possible() error { return frozen.Check[K, V]() }

// Get returns the value of a key, and whether there is one.
func (m *FrozenMap[K, V]) Get(k K) (v V, ok bool) {
	if t := m.find(); t != nil {
		v, ok = t.Get(k)
		runtime.KeepAlive(m) // and with it the memory
	}
	return v, ok
}

// Len returns the number of entries.
func (m *FrozenMap[K, V]) Len() int {
	if t := m.find(); t != nil {
		return t.Len()
	}
	return 0
}

// All returns the entries, in an order that means nothing and is always the same.
func (m *FrozenMap[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		t := m.find()
		if t == nil {
			return
		}
		for k, v := range t.All() {
			if !yield(k, v) {
				break
			}
		}
		runtime.KeepAlive(m) // and with it the memory
	}
}

// Close releases the memory, as that of a Shared does.
func (m *FrozenMap[K, V]) Close() error {
	if m == nil || m.ref.Segment() == nil || m.ref.Segment().Adopted() {
		return nil
	}
	if !m.closed.Swap(true) {
		m.table.Store(nil)
		m.ref.Segment().Release()
	}
	return nil
}

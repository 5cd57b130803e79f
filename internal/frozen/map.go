package frozen

import (
	"iter"
	"unsafe"
)

// Map reads a table. It is safe for concurrent use. Strings and byte slices that it returns lie in the memory of the
// table: they are valid as long as it is mapped, and must not be written to.
type Map[K, V any] struct {
	table
}

// Open returns a Map of the table in mem, which may be followed by other bytes. It looks at the header alone; see
// [Map.Check] for the rest. Whatever is in mem, no method of the Map panics or reads outside it.
func Open[K, V any](mem []byte) (*Map[K, V], error) {
	key, value, err := kinds[K, V]()
	if err != nil {
		return nil, err
	}
	m := new(Map[K, V])
	if err := m.header.read(mem, key, value); err != nil {
		return nil, err
	}
	m.base = unsafe.Pointer(unsafe.SliceData(mem))
	m.firstPilot = unsafe.Add(m.base, int(m.pilots))
	m.firstSlot = unsafe.Add(m.base, int(m.header.table))
	m.seed = mixSeed(0, &m.secret)
	m.head = m.entryHead()
	m.last = m.size - m.head
	return m, nil
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() int { return int(m.entries) }

// Get returns the value of a key, and whether it is there.
func (m *Map[K, V]) Get(k K) (v V, ok bool) {
	if isString[K](m.key) || isBytes[K](m.key) {
		key := text(m.key, &k)
		at, ok := m.find(key)
		if !ok {
			return v, false
		}
		return v, m.entryValue(at, uint64(len(key)), &v)
	}
	slot, ok := m.findNumber(word(&k))
	if !ok {
		return v, false
	}
	return v, m.slotValue(slot, &v)
}

// All returns the entries, in no certain order.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		var k K
		var v V
		if m.key.long() {
			for at, i := m.data, uint64(0); i < m.entries; i++ {
				key, ok := m.keyAt(at)
				if !ok || !m.entryValue(at, uint64(len(key)), &v) {
					return
				}
				setText(m.key, &k, key)
				if !yield(k, v) {
					return
				}
				at += m.entrySize(at)
			}
			return
		}
		for i := range m.slots {
			slot := unsafe.Add(m.firstSlot, int(16*i))
			key := load64(slot, 0)
			if key == m.empty {
				continue
			}
			if !m.slotValue(slot, &v) {
				return
			}
			setWord(m.key, &k, key)
			if !yield(k, v) {
				return
			}
		}
	}
}

// entryValue reads the value of the entry at an offset, whose key of n bytes is known to be in the table.
func (m *Map[K, V]) entryValue(at, n uint64, v *V) bool {
	if isString[V](m.value) || isBytes[V](m.value) {
		start, size := at+8+n, load32(m.base, at+4)
		if size > m.size-start {
			return false
		}
		setText(m.value, v, m.text(start, size))
		return true
	}
	switch unsafe.Sizeof(*v) {
	case 1:
		setWord(m.value, v, load8(m.base, at+4))
	case 2:
		setWord(m.value, v, load16(m.base, at+4))
	case 4:
		setWord(m.value, v, load32(m.base, at+4))
	default:
		setWord(m.value, v, load64(m.base, at+4))
	}
	return true
}

// slotValue reads the value of a slot with a number as its key.
func (m *Map[K, V]) slotValue(slot unsafe.Pointer, v *V) bool {
	w := load64(slot, 8)
	if isString[V](m.value) || isBytes[V](m.value) {
		s, ok := m.deref(w)
		if !ok {
			return false
		}
		setText(m.value, v, s)
		return true
	}
	setWord(m.value, v, w)
	return true
}

// table is what does not depend on the types.
type table struct {
	header
	base                  unsafe.Pointer // the first byte of the header
	firstPilot, firstSlot unsafe.Pointer
	seed                  uint64
	head                  uint64 // bytes before the key of an entry
	last                  uint64 // the largest offset that an entry can have
}

// text returns bytes that are known to be in the table.
func (t *table) text(at, n uint64) string {
	if n == 0 {
		at = 0 // the end of the table may be the beginning of something else, which the collector would take it for
	}
	return unsafe.String((*byte)(unsafe.Add(t.base, int(at))), int(n))
}

// find returns the offset of the entry of a long key. The entry is in the table up to the end of the key.
func (t *table) find(key string) (at uint64, ok bool) {
	n := uint64(len(key))
	hash := hashText(unsafe.Pointer(unsafe.StringData(key)), n, t.seed, &t.secret)
	pilot := load16(t.firstPilot, pilotSize*t.bucketOf(hash))
	slot := load64(t.firstSlot, 8*t.slotOf(hash, pilot))
	// The tag spares most absent keys a look at the data. An empty slot is no offset of data.
	at = slot & offsetMask
	if (slot^hash<<offsetBits)>>offsetBits != 0 || at < t.data || at > t.last || load32(t.base, at) != n || n > t.last-at {
		return 0, false
	}
	return at, t.text(at+t.head, n) == key
}

// findNumber returns the slot of a key that is a number.
func (t *table) findNumber(key uint64) (slot unsafe.Pointer, ok bool) {
	hash := hashWord(key, &t.secret)
	pilot := load16(t.firstPilot, pilotSize*t.bucketOf(hash))
	slot = unsafe.Add(t.firstSlot, int(16*t.slotOf(hash, pilot)))
	return slot, load64(slot, 0) == key && key != t.empty
}

// deref returns the bytes that the second word of a slot refers to.
func (t *table) deref(w uint64) (s string, ok bool) {
	at, n := w&offsetMask, w>>offsetBits
	if n == longRef {
		if at > t.size-4 {
			return "", false
		}
		n = load32(t.base, at)
		at += 4
	}
	if at > t.size || n > t.size-at {
		return "", false
	}
	return t.text(at, n), true
}

// keyAt returns the key of the entry at an offset.
func (t *table) keyAt(at uint64) (key string, ok bool) {
	if at > t.last {
		return "", false
	}
	n := load32(t.base, at)
	if n > t.last-at {
		return "", false
	}
	return t.text(at+t.head, n), true
}

// entrySize is the number of bytes of an entry whose lengths are known to be in the table.
func (t *table) entrySize(at uint64) uint64 {
	n := t.head + load32(t.base, at)
	if t.value.long() {
		n += load32(t.base, at+4)
	}
	return n
}

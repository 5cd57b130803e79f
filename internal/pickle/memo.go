package pickle

import "fmt"

// memoEntry is what was memoized: where it stands, and what is known of it.
type memoEntry struct {
	off  int64
	sum  uint64
	name uint16
	kind Kind
	set  bool
}

// memo is what was memoized, by number. Numbers are mostly in order: those are in pages, which don't move as it grows.
type memo struct {
	pages  [][]memoEntry
	dense  uint64 // numbers below are in pages
	sparse map[uint64]memoEntry
	count  int // of those that are set
}

const (
	pageBits = 14
	pageMask = 1<<pageBits - 1
	maxGap   = 8 // numbers that are left out, as pickles of old begin with 1
)

// put returns the number and one, which fits.
func (m *memo) put(n uint64, e memoEntry) (uint32, error) {
	e.set = true
	switch {
	case n < m.dense:
		old := m.at(n)
		if !old.set {
			m.count++
		}
		*old = e
	case n == m.dense && n >= maxMemo:
		return 0, fmt.Errorf("more than %d values in the memo", maxMemo)
	case n <= m.dense+maxGap && n < maxMemo:
		for m.dense <= n {
			old := m.sparse[m.dense]
			delete(m.sparse, m.dense)
			m.append(old)
		}
		return m.put(n, e)
	case n >= 1<<32-1:
		return 0, fmt.Errorf("the memo number %d", n)
	default:
		if m.sparse == nil {
			m.sparse = make(map[uint64]memoEntry)
		}
		if _, ok := m.sparse[n]; !ok {
			if len(m.sparse) >= maxSparse {
				return 0, fmt.Errorf("more than %d values in the memo whose numbers are not in order", maxSparse)
			}
			m.count++
		}
		m.sparse[n] = e
	}
	return uint32(n + 1), nil
}

func (m *memo) at(n uint64) *memoEntry { return &m.pages[n>>pageBits][n&pageMask] }

func (m *memo) append(e memoEntry) {
	page := m.dense >> pageBits
	if m.dense&pageMask == 0 {
		var empty []memoEntry // the first is small as long as it can be
		if page > 0 {
			empty = make([]memoEntry, 0, pageMask+1)
		}
		m.pages = append(m.pages, empty)
	}
	m.pages[page] = append(m.pages[page], e)
	m.dense++
}

func (m *memo) get(n uint64) (memoEntry, bool) {
	if n < m.dense {
		e := m.at(n)
		return *e, e.set
	}
	e, ok := m.sparse[n]
	return e, ok
}

// change notes that a value has got more content.
func (m *memo) change(it *item) {
	if it.memo == 0 || it.kind == Ref {
		return
	}
	if i := uint64(it.memo) - 1; i < m.dense {
		m.at(i).sum = it.sum
	} else if e, ok := m.sparse[i]; ok {
		e.sum = it.sum
		m.sparse[i] = e
	}
}

package ledger

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
)

const (
	// RepeatSize is the size in bytes above which a value is watched for being sent again with equal content.
	RepeatSize = 1 << 20
	// watched is how many different values are remembered; a program that sends more than that large different values
	// in turn repeats nothing worth pointing out.
	watched = 256
)

// Repeat is a large value that was sent more than once.
type Repeat struct {
	Function string
	Class    Class
	Path     string // to the part that repeats, empty for the whole value
	Bytes    int64  // of one sending
	Count    int64  // of sendings
}

type repeatKey struct {
	function string
	class    Class
	path     string
	hash     uint64
	size     int
}

type repeats struct {
	mu   sync.Mutex
	seed maphash.Seed
	seen map[repeatKey]int64
	ring []repeatKey
	at   int
}

func (r *repeats) init() {
	r.seed = maphash.MakeSeed()
	r.seen = make(map[repeatKey]int64)
}

// Watch looks at one encoded value that is about to be sent. Values that hold maps, whose entries are encoded in a
// different order each time, are unordered: of them, two are taken for equal when each byte occurs as often. It returns
// true for a value that has been seen before.
func (l *Ledger) Watch(function string, class Class, value []byte, unordered bool) (again bool) {
	if len(value) <= RepeatSize {
		return false
	}
	return l.Sent(function, class, "", len(value), l.Sum(value, unordered)) > 1
}

// Sum returns a sum by which to know a value again.
func (l *Ledger) Sum(value []byte, unordered bool) uint64 {
	if unordered {
		return maphash.Comparable(l.repeats.seed, histogram(value))
	}
	return maphash.Bytes(l.repeats.seed, value)
}

// Sent counts one sending of a large value, or of a part of one, that is known by its sum. It returns how often that has
// been sent.
func (l *Ledger) Sent(function string, class Class, path string, size int, sum uint64) int64 {
	r := &l.repeats
	key := repeatKey{function, class, path, sum, size}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.seen[key]; !known {
		if len(r.ring) < watched {
			r.ring = append(r.ring, key)
		} else {
			if r.seen[r.ring[r.at]] == 1 { // one that has repeated is kept for the report
				delete(r.seen, r.ring[r.at])
			}
			r.ring[r.at] = key
			r.at = (r.at + 1) % watched
		}
		if len(r.seen) >= 2*watched {
			return 0
		}
	}
	r.seen[key]++
	return r.seen[key]
}

func (r *repeats) list() []Repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Repeat
	for k, n := range r.seen {
		if n > 1 {
			list = append(list, Repeat{k.function, k.class, k.path, int64(k.size), n})
		}
	}
	slices.SortFunc(list, func(a, b Repeat) int {
		return cmp.Or(cmp.Compare(b.Bytes*b.Count, a.Bytes*a.Count), cmp.Compare(a.Function, b.Function))
	})
	return list
}

func histogram(b []byte) (counts [256]uint32) {
	for _, c := range b {
		counts[c]++
	}
	return counts
}

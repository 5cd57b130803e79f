package ledger

import (
	"cmp"
	"hash/maphash"
	"maps"
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

	samples map[repeatKey]*trial // by sample in the place of the hash
	first   map[repeatKey]int    // values of a function and class, up to wholeFirst
}

func (r *repeats) init() {
	r.seed = maphash.MakeSeed()
	r.seen = make(map[repeatKey]int64)
	r.samples = make(map[repeatKey]*trial)
	r.first = make(map[repeatKey]int)
}

// Watch looks at one encoded value that is about to be sent. Values that hold maps, whose entries are encoded in a
// different order each time, are unordered: of them, two are taken for equal when each byte occurs as often. It returns
// true for a value that has been seen before.
//
// To read all of a large value costs as much as sending it. So only the first few values of a function are summed up
// whole, and later those of which a sample was seen before; what was found equal often enough is known by its sample.
func (l *Ledger) Watch(function string, class Class, value []byte, unordered bool) (again bool) {
	if !On || len(value) <= RepeatSize {
		return false
	}
	if unordered { // a sample of it would be another each time
		return l.Sent(function, class, "", len(value), l.Sum(value, true)) > 1
	}
	r := &l.repeats
	key := repeatKey{function, class, "", sample(r.seed, value), len(value)}
	r.mu.Lock()
	if len(r.samples) >= 2*watched {
		maps.DeleteFunc(r.samples, func(_ repeatKey, t *trial) bool { return t.equal < 2 })
	}
	t := r.samples[key]
	if t == nil {
		t = new(trial)
		r.samples[key] = t
		of := repeatKey{function: function, class: class}
		if r.first[of]++; r.first[of] > wholeFirst {
			r.mu.Unlock()
			return false
		}
	}
	equal, sum := t.equal, t.sum
	r.mu.Unlock()
	if equal < wholeEqual {
		sum = l.Sum(value, false)
		r.mu.Lock()
		if t.equal > 0 && t.sum != sum {
			t.equal = 0
		}
		t.equal++
		t.sum = sum
		r.mu.Unlock()
	}
	return l.Sent(function, class, "", len(value), sum) > 1
}

const (
	wholeFirst = 16 // values of a function and class that are summed up whole, whatever their samples
	wholeEqual = 4  // times that a value is found equal before its sample will do
)

// trial is what is known of the values with one sample.
type trial struct {
	equal int // whole sums in a row that were the same
	sum   uint64
}

// sample returns a sum of a part of a value: its ends, and blocks that are evenly spread.
func sample(seed maphash.Seed, value []byte) uint64 {
	const end, block, blocks = 4096, 64, 256
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.Write(value[:end])
	for i := range blocks {
		at := (len(value) - block) / blocks * i
		_, _ = h.Write(value[at : at+block])
	}
	_, _ = h.Write(value[len(value)-end:])
	return h.Sum64()
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

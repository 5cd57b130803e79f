package ledger

import (
	"sync"
)

// sights are the large parts of values that were seen lately.
type sights struct {
	mu   sync.Mutex
	seen map[repeatKey]*sight // by sample in the place of the hash
}

// sight is how often a part was seen, and whether it is the same each time: that is found out the second and the third
// time, by reading all of it.
type sight struct {
	n     int64
	sum   uint64
	other bool
}

// See looks at a large part of a value that is about to be sent; path leads to it. It is Watch for those who look at every
// large value and can't afford to read them: what nothing repeats costs a sample of each.
func (l *Ledger) See(function string, class Class, path string, part []byte) {
	if !On || len(part) <= RepeatSize {
		return
	}
	key := repeatKey{function, class, "", sample(l.repeats.seed, part), len(part)}
	s := &l.sights
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen[key]
	if seen == nil {
		if s.seen == nil || len(s.seen) >= watched {
			s.seen = make(map[repeatKey]*sight)
		}
		seen = new(sight)
		s.seen[key] = seen
	}
	seen.n++
	before := int64(0) // that have not been counted
	switch {
	case seen.other || seen.n == 1:
		return
	case seen.n == 2:
		seen.sum = l.Sum(part, false)
		return
	case seen.n == 3:
		if seen.other = l.Sum(part, false) != seen.sum; seen.other {
			return
		}
		before = 2
	}
	for range 1 + before {
		l.Sent(function, class, path, len(part), seen.sum)
	}
}

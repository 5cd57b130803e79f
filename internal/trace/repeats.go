package trace

import (
	"cmp"
	"slices"
	"strings"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/pickle"
)

const (
	minRepeat  = 256    // bytes: what is smaller may repeat
	maxRepeats = 50_000 // contents that are remembered
	maxLook    = 64     // parts of one share that are
	maxShown   = 20
)

// content is a part of what was sent from one place, by its sum.
type content struct {
	line lineKey
	path string
	sum  uint64
}

// repetition is how often a content was sent.
type repetition struct {
	bytes, count int64
}

// repeats knows what was sent more than once.
type repeats struct {
	seen map[content]*repetition
	full bool
}

// add counts a share and the larger of its parts.
func (r *repeats) add(parts []content, bytes []int64) {
	if r.seen == nil {
		r.seen = make(map[content]*repetition)
	}
	for i, c := range parts {
		if known := r.seen[c]; known != nil {
			known.count++
			continue
		}
		if len(r.seen) >= maxRepeats && !r.makeRoom() {
			continue
		}
		r.seen[c] = &repetition{bytes: bytes[i], count: 1}
	}
}

// makeRoom forgets what was sent once. If everything was sent again, nothing new is remembered.
func (r *repeats) makeRoom() bool {
	if r.full {
		return false
	}
	for c, known := range r.seen {
		if known.count == 1 {
			delete(r.seen, c)
		}
	}
	r.full = len(r.seen) > maxRepeats/2
	return !r.full
}

// contents returns the parts of a share that are worth counting.
func (s *share) contents(line lineKey) (parts []content, bytes []int64) {
	if s.value == nil || s.class == bill.Result || s.function != "" { // what is not the user's
		return nil, nil
	}
	var walk func(v *pickle.Value, path string, depth int)
	walk = func(v *pickle.Value, path string, depth int) {
		if v.Bytes() < minRepeat || len(parts) >= maxLook {
			return
		}
		parts, bytes = append(parts, content{line, path, v.Sum()}), append(bytes, v.Bytes())
		if depth == 0 {
			return
		}
		for i := range min(v.Len(), 4*maxLook) {
			c := v.Child(i)
			walk(c, pickle.Join(path, c.Name()), depth-1)
		}
	}
	walk(s.value, "", 6)
	return parts, bytes
}

// list returns what was sent again and again, what costs the most first. A part of what is in the list is not in it.
func (r *repeats) list() []bill.Repeat {
	type candidate struct {
		content
		repetition
	}
	var all []candidate
	for c, n := range r.seen {
		if n.count > 1 {
			all = append(all, candidate{c, *n})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.bytes*(b.count-1), a.bytes*(a.count-1)), cmp.Compare(len(a.path), len(b.path)),
			strings.Compare(a.path, b.path), cmp.Compare(a.sum, b.sum))
	})
	list := []bill.Repeat{}
	for _, c := range all {
		within := slices.ContainsFunc(list, func(o bill.Repeat) bool {
			return o.Function == c.line.function && o.Class == c.line.class && o.Site == c.line.site &&
				o.Path != c.path && (strings.HasPrefix(c.path, o.Path) || strings.HasPrefix(o.Path, c.path))
		})
		if within {
			continue
		}
		list = append(list, bill.Repeat{
			Function: c.line.function, Class: c.line.class, Site: c.line.site, Path: c.path,
			Bytes: c.bytes, Count: c.count, Remedy: remedies[c.line.class],
		})
		if len(list) == maxShown {
			break
		}
	}
	return list
}

var remedies = map[string]string{
	bill.Function: "`brine run` sends a function once per call. With the stock pool: have an initializer put what the function " +
		"needs into a global variable, and pass a function of the module's, which is sent by its name.",
	bill.Initializer: "With the start method fork, the initializer's arguments are not sent at all; `brine run` sends them once per pool.",
	bill.Argument: "Give it to the workers once: as an argument of the pool's initializer, which puts it into a global variable, " +
		"or with Brine bound to the function by functools.partial.",
	bill.Message: "Send it once, and then only what has changed; or share it by multiprocessing.shared_memory.",
}

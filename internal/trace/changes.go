package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/brinepool/brine/internal/bill"
	"github.com/brinepool/brine/internal/pickle"
)

const (
	maxTracked  = 2000 // objects
	maxVersions = 1000 // of one object that are told apart
	maxParts    = 200  // parts of an object that are remembered
	maxBreadth  = 64
	maxChanges  = 20
)

// tracked names an object of the program, sent from one place.
type tracked struct {
	pid    int
	number uint64
	line   lineKey
	path   string
}

// versions is what an object was when it was sent.
type versions struct {
	count int64
	sums  map[uint64]bool
	last  picture
	job   uint64
	use   int64 // when it was sent last, in sendings

	path, text string // of the first change
}

// picture is an object's content as it was, as far as it is remembered.
type picture struct {
	name  string
	sum   uint64
	bytes int64
	text  string
	parts []picture
}

// changes knows the objects that were sent more than once, and which of them were not the same every time.
type changes struct {
	objects map[tracked]*versions
	uses    int64
}

// sighting is an object and its picture, made before the lock is taken.
type sighting struct {
	key  tracked
	sum  uint64
	draw func() picture
}

// add notes that an object was sent. It was sent before with another content if the object is known, and its sum isn't
// the last one.
func (c *changes) add(s *sighting, job uint64) {
	if c.objects == nil {
		c.objects = make(map[tracked]*versions)
	}
	c.uses++
	v := c.objects[s.key]
	if v == nil {
		if len(c.objects) >= maxTracked {
			c.forget()
		}
		c.objects[s.key] = &versions{count: 1, sums: map[uint64]bool{s.sum: true}, last: s.draw(), job: job, use: c.uses}
		return
	}
	v.use = c.uses
	if v.last.sum == s.sum {
		v.count++
		v.job = job
		return
	}
	now := s.draw()
	if s.key.number&byAddress != 0 && !alike(&v.last, &now) { // another object, at the address of one that is gone
		*v = versions{count: 1, sums: map[uint64]bool{s.sum: true}, last: now, job: job, use: c.uses}
		return
	}
	v.count++
	if len(v.sums) < maxVersions {
		v.sums[s.sum] = true
	}
	if v.text == "" {
		path, was, became := difference(&v.last, &now)
		v.path, v.text = pickle.Join(s.key.path, path), was+", then "+became
		if job == v.job {
			v.text += ", within one call"
		}
	}
	v.last, v.job = now, job
}

// forget makes room: of the objects that didn't change, those go that were sent the longest ago.
func (c *changes) forget() {
	for key, v := range c.objects {
		if len(v.sums) == 1 && v.use < c.uses-maxTracked/2 {
			delete(c.objects, key)
		}
	}
	for key, v := range c.objects {
		if len(c.objects) < maxTracked {
			return
		}
		if len(v.sums) == 1 {
			delete(c.objects, key)
		}
	}
	for key := range c.objects { // all of them change all the time
		if len(c.objects) < maxTracked {
			return
		}
		delete(c.objects, key)
	}
}

// draw remembers a value.
func draw(v *pickle.Value) picture {
	budget := maxParts
	return drawPart(v, 6, &budget)
}

func drawPart(v *pickle.Value, depth int, budget *int) picture {
	*budget--
	p := picture{name: v.Name(), sum: v.Sum(), bytes: v.Bytes(), text: describe(v)}
	if depth == 0 {
		return p
	}
	for i := 0; i < min(v.Len(), maxBreadth) && *budget > 0; i++ {
		p.parts = append(p.parts, drawPart(v.Child(i), depth-1, budget))
	}
	return p
}

// describe writes a value as Python does, if it is short, or what it is.
func describe(v *pickle.Value) string {
	switch v.Kind() { //nolint:exhaustive // others are described by their types
	case pickle.None:
		return "None"
	case pickle.Bool:
		if n, _ := v.Int(); n == 0 {
			return "False"
		}
		return "True"
	case pickle.Int:
		if n, ok := v.Int(); ok {
			return strconv.FormatInt(n, 10)
		}
	case pickle.Str:
		if s, ok := v.Str(); ok && len(s) <= 40 {
			return strconv.Quote(s)
		}
	}
	if n := v.Entries(); n > 0 {
		return fmt.Sprintf("%s of %d", v.Type(), n)
	}
	return v.Type()
}

// difference finds what is not the same in two pictures of one object: the path to it, what it was and what it became.
func difference(was, is *picture) (path, before, after string) {
	for {
		a, b := differing(was, is)
		switch {
		case a == nil && b == nil: // not in what is remembered, or in too much of it
			return path, was.text, is.text
		case a == nil:
			return pickle.Join(path, b.name), "not there", b.text
		case b == nil:
			return pickle.Join(path, a.name), a.text, "not there"
		}
		path = pickle.Join(path, a.name)
		was, is = a, b
	}
}

// differing returns the one part that is not the same, as it was and as it is: nil if there are more, or none.
func differing(was, is *picture) (a, b *picture) {
	before := make(map[string]*picture, len(was.parts))
	for i := range was.parts {
		before[was.parts[i].name] = &was.parts[i]
	}
	found := 0
	for i := range is.parts {
		p := &is.parts[i]
		old := before[p.name]
		delete(before, p.name)
		if old == nil || old.sum != p.sum {
			a, b = old, p
			found++
		}
	}
	for _, old := range before {
		a, b = old, nil
		found++
	}
	if found != 1 {
		return nil, nil
	}
	return a, b
}

// alike tells whether two pictures are likely to be of one object: most of what is in it is the same.
func alike(was, is *picture) bool {
	same, all := shared(was, is)
	return same*2 > all
}

// shared returns how many bytes of what is remembered of a picture are the same as they were, and how many there are.
func shared(was, is *picture) (same, all int64) {
	if len(is.parts) == 0 || was.sum == is.sum {
		if was.sum == is.sum {
			same = is.bytes
		}
		return same, is.bytes
	}
	before := make(map[string]*picture, len(was.parts))
	for i := range was.parts {
		before[was.parts[i].name] = &was.parts[i]
	}
	for i := range is.parts {
		p := &is.parts[i]
		old := before[p.name]
		if old == nil {
			old = &picture{}
		}
		s, a := shared(old, p)
		same, all = same+s, all+a
	}
	return same, all
}

// list returns the objects that changed, those with the most versions first.
func (c *changes) list() []bill.Change {
	type place struct {
		line lineKey
		path string
	}
	merged := map[place]*bill.Change{}
	for key, v := range c.objects {
		if len(v.sums) < 2 {
			continue
		}
		at := place{key.line, v.path}
		if known := merged[at]; known != nil {
			known.Count += v.count
			known.Versions += int64(len(v.sums))
			known.Text = min(known.Text, v.text)
			continue
		}
		merged[at] = &bill.Change{
			Function: key.line.function, Class: key.line.class, Site: key.line.site,
			Path: v.path, Count: v.count, Versions: int64(len(v.sums)), Text: v.text,
		}
	}
	list := make([]bill.Change, 0, len(merged))
	for _, change := range merged {
		list = append(list, *change)
	}
	sortChanges(list)
	return list[:min(len(list), maxChanges)]
}

func sortChanges(list []bill.Change) {
	slices.SortFunc(list, func(a, b bill.Change) int {
		return cmp.Or(cmp.Compare(b.Versions, a.Versions), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Path, b.Path))
	})
}

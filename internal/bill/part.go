package bill

import (
	"cmp"
	"slices"
)

// Heaviest returns the path to what makes a value large: from part to part, as long as one of them has more than half of
// the bytes, and stands for one value.
func (p Part) Heaviest() string {
	path := ""
	for {
		i := p.heavy()
		if i < 0 {
			return path
		}
		p = p.Parts[i]
		path += p.Name
	}
}

func (p Part) heavy() int {
	for i, q := range p.Parts {
		if q.Count <= 1 && q.Bytes > p.Bytes/2 {
			return i
		}
	}
	return -1
}

// addUp has each part that belongs to a line stand for all values of it. What belongs to none stays as it is.
func (l *Bill) addUp() {
	parts := slices.DeleteFunc(slices.Clone(l.Parts), func(p Part) bool { return p.Class != "" })
	for i := range l.Lines {
		x := &l.Lines[i]
		best := -1
		for k := range l.Parts {
			if p := &l.Parts[k]; p.of(x) && (best < 0 || p.Bytes > l.Parts[best].Bytes) {
				best = k
			}
		}
		if best >= 0 {
			parts = append(parts, l.Parts[best].total(x))
		}
	}
	slices.SortStableFunc(parts, ByBytes)
	l.Parts = parts
}

func (p *Part) of(l *Line) bool {
	return p.Function == l.Function && p.Class == l.Class && p.Site == l.Site
}

// total has the part stand for all values of a line, in the proportions of the largest of them.
func (p Part) total(l *Line) Part {
	sum := l.Encode
	if sum.Count == 0 {
		sum = l.Decode
	}
	p = p.scaled(sum.Bytes)
	p.Name = ShortName(l.Function) + " " + l.Class
	p.Count = sum.Count
	p.Sum = 0
	return p
}

// scaled returns the part as if it took so many bytes, its parts in proportion.
func (p Part) scaled(bytes int64) Part {
	if bytes == p.Bytes || p.Bytes == 0 {
		p.Bytes = bytes
		return p
	}
	ratio := float64(bytes) / float64(p.Bytes)
	out := p
	out.Bytes, out.Parts = bytes, make([]Part, len(p.Parts))
	rest := bytes
	for i, q := range p.Parts {
		out.Parts[i] = q.scaled(min(rest, int64(float64(q.Bytes)*ratio)))
		rest -= out.Parts[i].Bytes
	}
	out.Own = rest
	return out
}

// pruned returns the part without parts of fewer bytes, but for those that can't be sent. Those that are left out are its
// own.
func (p Part) pruned(least int64) Part {
	parts := p.Parts
	p.Parts = nil
	for _, q := range parts {
		if q.Bytes >= least || q.Error != "" {
			p.Parts = append(p.Parts, q.pruned(least))
		} else {
			p.Own += q.Bytes
		}
	}
	return p
}

// ByBytes compares parts, the larger first.
func ByBytes(a, b Part) int { return cmp.Compare(b.Bytes, a.Bytes) }

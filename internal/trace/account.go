package trace

import (
	"github.com/brinepool/brine/internal/bill"
)

// lineKey names a line of the bill.
type lineKey struct {
	function, class, site string
}

// line is what crossed of one class of one function from one place.
type line struct {
	key            lineKey
	encode, decode bill.Tally
	tree           *bill.Part // of the largest
}

const (
	maxLines  = 5000 // places in the program that are told apart
	elsewhere = "all else"
)

// account is the bill while it is made. It is not safe for concurrent use.
type account struct {
	origin    int64 // moment of the bill's beginning
	processes []*proc
	latest    map[int]*proc
	lines     map[lineKey]*line
	order     []*line
	crossing  crossing
	chunks    chunks
	repeats   repeats
	changes   changes
	workers   int64 // that pools keep
	instead   instead
	done      int64
	failed    int64
	unread    int64 // streams that could not be looked into
}

// line returns a line of the bill.
func (a *account) line(key lineKey) *line {
	if l := a.lines[key]; l != nil {
		return l
	}
	if len(a.lines) >= maxLines {
		key = lineKey{elsewhere, key.class, ""}
		if l := a.lines[key]; l != nil {
			return l
		}
	}
	l := &line{key: key}
	if a.lines == nil {
		a.lines = make(map[lineKey]*line)
	}
	a.lines[key] = l
	a.order = append(a.order, l)
	return l
}

// lineOf returns the line of one process.
func (p *proc) lineOf(key lineKey) *line {
	if l := p.lines[key]; l != nil {
		return l
	}
	if p.lines == nil {
		p.lines = make(map[lineKey]*line)
	}
	if len(p.lines) >= maxLines {
		key = lineKey{elsewhere, key.class, ""}
		if l := p.lines[key]; l != nil {
			return l
		}
	}
	l := &line{key: key}
	p.lines[key] = l
	p.order = append(p.order, l)
	return l
}

// count adds one encode or decode to a tally. It tells whether it is the largest.
func count(t *bill.Tally, bytes, time int64) bool {
	t.Count++
	t.Bytes += bytes
	t.Time += time
	if bytes <= t.Max && t.Count > 1 {
		return false
	}
	t.Max = bytes
	return true
}

// portion is a share's part of a time.
func portion(time, bytes, all int64) int64 {
	if all <= 0 {
		return time
	}
	return int64(float64(time) * float64(bytes) / float64(all))
}

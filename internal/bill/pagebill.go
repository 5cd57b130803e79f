package bill

import (
	"cmp"
	"slices"
	"strconv"
)

const (
	pageParts   = 30   // that are listed of a part
	pageListed  = 1500 // that are listed of a bill
	pageNesting = 24   // of lists of parts
)

// pageBill is what the page shows of a bill, beside what is in it.
type pageBill struct {
	*Bill
	ID      string // of its elements, before a name of theirs
	Title   string
	Verbs   []string // what encodes and decodes are called
	Sites   bool     // whether any line says where it comes from
	Crossed []Line   // lines but those of shared memory, the largest first
	Lives   []life
	Phases  []phase
	Pieces  []piece
	More    int64 // trees that are not listed
	Total   int64 // bytes of all parts
}

// Empty tells whether there is nothing to show.
func (b *pageBill) Empty() bool {
	return len(b.Processes)+len(b.Lines)+len(b.Parts)+len(b.Chunks)+len(b.Events)+len(b.Advice) == 0
}

func newPageBill(i int, b *Bill) pageBill {
	p := pageBill{
		Bill: b, ID: "b" + strconv.Itoa(i), Title: cmp.Or(ShortName(b.Name), "Bill "+strconv.Itoa(i+1)),
		Verbs: []string{b.encodes(), b.decodes()},
	}
	for j := range b.Lines {
		if l := b.Lines[j]; l.Class != Shared || l.Encode.Count+l.Decode.Count > 0 {
			p.Crossed = append(p.Crossed, l)
			p.Sites = p.Sites || l.Site != ""
		}
	}
	slices.SortStableFunc(p.Crossed, func(x, y Line) int { return cmp.Compare(y.sent(), x.sent()) })
	p.Lives = lives(b)
	p.Phases = phases(b)
	for j := range b.Parts {
		p.Total += max(b.Parts[j].Bytes, 0)
	}
	left := pageListed
	p.Pieces, p.More = pieces(b.Parts, p.Total, pageNesting, &left)
	return p
}

// ParentSent returns the bytes that the parent encoded, and OthersSent those of all others.
func (b *pageBill) ParentSent() int64 {
	if len(b.Processes) == 0 {
		return 0
	}
	return b.Processes[0].Encode.Bytes
}

// OthersSent returns the bytes that all processes but the parent encoded.
func (b *pageBill) OthersSent() int64 {
	var n int64
	for i := range b.Processes {
		n += b.Processes[i].Encode.Bytes
	}
	return n - b.ParentSent()
}

// life is how the time of a worker went.
type life struct {
	*Process
	Coding int64
	Bars   []bar
}

// bar is a piece of a stacked bar, in thousandths of its width.
type bar struct {
	Kind        string
	From, Width float64
}

// lives returns the workers whose time is known. Their bars are on one scale, that of the longest life.
func lives(b *Bill) []life {
	longest := int64(1)
	for i := range b.Processes {
		longest = max(longest, b.Processes[i].lifetime())
	}
	var out []life
	for i := range b.Processes {
		p := &b.Processes[i]
		if p.lifetime() <= 0 {
			continue
		}
		l := life{Process: p, Coding: max(0, p.Working-p.Running)}
		from := 0.0
		for _, k := range []struct {
			kind string
			time int64
		}{{"starting", p.Starting}, {"initialising", p.Initialising}, {"run", p.Running}, {"coding", l.Coding}, {"waiting", p.Waiting}} {
			if k.time <= 0 {
				continue
			}
			width := 1000 * float64(k.time) / float64(longest)
			l.Bars = append(l.Bars, bar{k.kind, from, min(width, 1000-from)})
			from = min(from+width, 1000)
		}
		out = append(out, l)
	}
	return out
}

func (p *Process) lifetime() int64 { return p.Starting + p.Initialising + p.Working + p.Waiting }

// phase is a part of the way of chunks, over all of them.
type phase struct {
	Kind, Name, Place   string
	Count, Sum, Longest int64
	ID                  int64 // of the chunk that took the longest
}

// Average returns the time of one chunk.
func (p phase) Average() int64 { return p.Sum / max(p.Count, 1) }

func phases(b *Bill) []phase {
	out := []phase{
		{Kind: "encode", Name: "encode", Place: "in the parent"},
		{Kind: "send", Name: "send", Place: "until the worker began"},
		{Kind: "decode", Name: "decode", Place: "in the worker"},
		{Kind: "run", Name: "run", Place: "in the worker"},
		{Kind: "reencode", Name: "encode results", Place: "in the worker"},
		{Kind: "back", Name: "back", Place: "until the results were decoded"},
	}
	for i := range b.Chunks {
		c := &b.Chunks[i]
		for j, s := range []Span{c.Encode, c.Send, c.Decode, c.Run, c.Reencode, c.Back} {
			if s.Time <= 0 {
				continue
			}
			p := &out[j]
			p.Count++
			p.Sum += s.Time
			if s.Time > p.Longest {
				p.Longest, p.ID = s.Time, c.ID
			}
		}
	}
	return out
}

// piece is a part in the list that says the same as the picture.
type piece struct {
	*Part
	Share  string // of all bytes
	Pieces []piece
	More   int64 // parts of it that are not listed
	Open   bool
}

// pieces lists parts, as many as are left, and returns how many are left out. A tree is shown open to where it forks.
func pieces(parts []Part, total int64, depth int, left *int) (list []piece, more int64) {
	for i := range parts {
		if *left == 0 || depth == 0 || i == pageParts {
			return list, int64(len(parts) - i)
		}
		*left--
		list = append(list, piece{Part: &parts[i], Share: percent(parts[i].Bytes, total)})
	}
	for i := range list {
		p := &list[i]
		p.Pieces, p.More = pieces(p.Parts, total, depth-1, left)
		p.Open = p.Bytes*2 > total
	}
	return list, 0
}

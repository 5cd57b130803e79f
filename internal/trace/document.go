package trace

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/brinepool/brine/internal/bill"
)

// document is the bill of all that was told, at a moment at the end of it.
func (a *account) document(o Options, now int64) *bill.Document {
	a.crossing.finish()
	b := bill.Bill{
		Name: strings.Join(o.Program, " "), Language: "python", Elapsed: max(0, now-a.origin),
		Lines: rows(a.order), Repeats: a.repeats.list(), Changes: a.changes.list(), Parts: a.parts(),
		Instead: a.instead.text(), Dropped: a.chunks.dropped, Unread: a.unread, Stock: true,
	}
	for _, p := range a.processes {
		b.Processes = append(b.Processes, p.row(a, o.Root, now))
		b.Events = append(b.Events, p.events(a, o.Root)...)
	}
	slices.SortStableFunc(b.Processes, func(x, y bill.Process) int {
		return cmp.Or(boolean(y.PID == o.Root)-boolean(x.PID == o.Root), cmp.Compare(x.Began, y.Began))
	})
	slices.SortStableFunc(b.Events, func(x, y bill.Event) int { return cmp.Compare(x.Time, y.Time) })
	for _, c := range a.chunks.list {
		b.Chunks = append(b.Chunks, a.row(c))
	}
	b.Counts = a.counts()
	shorten(&b, o.Directory)
	b.Finish()
	return &bill.Document{Version: bill.Version, Program: o.Program, Source: "trace", Bills: []bill.Bill{b}}
}

// row is a chunk as the bill has it.
func (a *account) row(c *bill.Chunk) bill.Chunk {
	row := *c
	if row.Worker == 0 && row.Lost == "" {
		row.Lost = "no worker took it"
	}
	for _, s := range []*bill.Span{&row.Encode, &row.Send, &row.Decode, &row.Run, &row.Reencode, &row.Back} {
		s.Begin = max(0, s.Begin-a.origin)
	}
	return row
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (a *account) counts() bill.Counts {
	c := bill.Counts{Done: a.done, Failed: a.failed, Workers: a.workers}
	for _, p := range a.processes {
		if !p.worker {
			continue
		}
		c.Started++
		if _, died := p.died(); died {
			c.Deaths++
		}
	}
	return c
}

// rows are the lines as the bill has them, the largest first.
func rows(lines []*line) []bill.Line {
	list := make([]bill.Line, 0, len(lines))
	for _, l := range lines {
		list = append(list, bill.Line{Function: l.key.function, Class: l.key.class, Site: l.key.site, Encode: l.encode, Decode: l.decode})
	}
	slices.SortStableFunc(list, func(x, y bill.Line) int {
		return cmp.Compare(y.Encode.Bytes+y.Decode.Bytes, x.Encode.Bytes+x.Decode.Bytes)
	})
	return list
}

const maxTrees = 100

// parts are the trees of the largest of each line.
func (a *account) parts() []bill.Part {
	lines := slices.Clone(a.order)
	slices.SortStableFunc(lines, func(x, y *line) int { return cmp.Compare(y.encode.Bytes, x.encode.Bytes) })
	list := []bill.Part{}
	for _, l := range lines {
		if l.tree == nil || l.encode.Max == 0 || len(list) == maxTrees {
			continue
		}
		tree := *l.tree
		tree.Function, tree.Class, tree.Site = l.key.function, l.key.class, l.key.site
		list = append(list, tree)
	}
	return list
}

// within writes a place in the program as seen from a directory, if it is in there.
func within(dir, site string) string {
	path, err := filepath.Rel(dir, site)
	if dir == "" || err != nil || !filepath.IsAbs(site) || path == ".." || strings.HasPrefix(path, "../") {
		return site
	}
	return path
}

// shorten writes places in the program as seen from the directory where it was started.
func shorten(b *bill.Bill, dir string) {
	short := func(site *string) { *site = within(dir, *site) }
	for i := range b.Lines {
		short(&b.Lines[i].Site)
	}
	for i := range b.Processes {
		for j := range b.Processes[i].Lines {
			short(&b.Processes[i].Lines[j].Site)
		}
	}
	for i := range b.Parts {
		short(&b.Parts[i].Site)
	}
	for i := range b.Repeats {
		short(&b.Repeats[i].Site)
	}
	for i := range b.Changes {
		short(&b.Changes[i].Site)
	}
	for i := range b.Chunks {
		short(&b.Chunks[i].Site)
	}
}

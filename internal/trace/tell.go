package trace

import (
	"github.com/brinepool/brine/internal/bill"
)

// maxChunks is how many chunks are kept for the timeline: the last ones.
const maxChunks = 50_000

// chunks are the ways of tasks.
type chunks struct {
	list    []*bill.Chunk
	last    int64
	dropped int64
}

func (c *chunks) add(chunk *bill.Chunk) {
	c.last++
	chunk.ID = c.last
	c.list = append(c.list, chunk)
	if len(c.list) >= 2*maxChunks {
		c.dropped += maxChunks
		c.list = append(c.list[:0], c.list[maxChunks:]...)
	}
}

// dumped takes up what was pickled.
func (a *account) dumped(p *proc, f *frame, shares []share, err error) {
	p.last = max(p.last, f.begin+f.time)
	p.memory = max(p.memory, f.memory<<10)
	count(&p.encode, f.size, f.time)
	if err != nil {
		a.unread++
	}
	s := &sending{size: f.size, job: f.job, from: p}
	switch f.kind {
	case task:
		s.chunk = &bill.Chunk{
			Function: f.string(0), Site: f.string(1), Parent: p.pid, Tasks: int64(f.number), Bytes: f.size,
			Encode: span(f.begin, f.begin+f.time),
		}
		a.chunks.add(s.chunk)
		a.instead.called(p.pid, f, shares)
	case result:
		a.answered(p, f, s, shares)
		a.crossing.send(a.key(f), s)
		return
	case message, process, preparation, answer, signal:
		if f.kind == process && f.shape == worker {
			a.instead.initialised(f, shares)
		}
	}
	a.fill(p, f, s, shares, f.string(0), f.string(1))
	a.crossing.send(a.key(f), s)
}

func (a *account) key(f *frame) streamKey {
	switch {
	case f.kind == process || f.kind == preparation:
		return nameKey(f.kind, f.string(2))
	case len(f.body) == 0: // too large to be sent along, and so without a key
		return streamKey{f.size, 0}
	}
	return keyOf(f.body)
}

// fill puts shares on their lines.
func (a *account) fill(p *proc, f *frame, s *sending, shares []share, function, site string) {
	placed := make([]lined, len(shares))
	for i := range shares {
		share := &shares[i]
		name := function
		if share.function != "" {
			name = share.function
		}
		key := a.put(p, f, share, lineKey{name, share.class, site})
		placed[i] = lined{key, share.bytes}
		a.repeats.add(share.contents(key))
		for _, o := range share.objects {
			a.changes.add(&sighting{
				key: tracked{p.pid, o.number, key, o.path}, sum: o.value.Sum(), draw: func() picture { return draw(o.value) },
			}, f.job)
		}
	}
	s.know(placed)
}

// put counts a share on its line, over all and of the process.
func (a *account) put(p *proc, f *frame, s *share, key lineKey) lineKey {
	time := portion(f.time, s.bytes, f.size)
	l := a.line(key)
	if count(&l.encode, s.bytes, time) {
		tree := s.part()
		l.tree = &tree
		l.encode.MaxPath = s.heavy()
	}
	of := p.lineOf(l.key)
	if count(&of.encode, s.bytes, time) {
		of.encode.MaxPath = s.heavy()
	}
	if f.size == p.encode.Max && s.bytes*2 >= f.size {
		p.encode.MaxPath = s.heavy()
	}
	return l.key
}

// answered takes up the result of a task, which belongs to the task that the worker loaded.
func (a *account) answered(p *proc, f *frame, s *sending, shares []share) {
	key := taskKey{f.job, f.index}
	r := p.open[key]
	delete(p.open, key)
	if r == nil {
		a.fill(p, f, s, shares, unknown, "")
		return
	}
	end := f.begin + f.time
	answer := *f
	answer.body = nil // is the connection's, and used again
	var kept []share
	if r.sending == nil || !r.sending.known {
		for i := range shares { // the same for the trees
			tree := shares[i].part()
			kept = append(kept, share{class: shares[i].class, bytes: shares[i].bytes, tree: &tree, path: shares[i].heavy()})
		}
	} else {
		kept = shares
	}
	r.then(func(of *sending) {
		function, site := unknown, ""
		if c := of.chunk; c != nil {
			function, site = c.Function, c.Site
			c.Run = span(c.Decode.Begin+c.Decode.Time, f.begin)
			c.Reencode = span(f.begin, end)
			c.Results = answer.size
			p.tasks += c.Tasks
			p.running += c.Run.Time
			p.coding += c.Decode.Time + c.Reencode.Time
			if answer.flags&failed != 0 {
				a.failed += c.Tasks
			} else {
				a.done += c.Tasks
			}
			s.chunk = c
		}
		a.fill(p, &answer, s, kept, function, site)
	})
}

// loaded takes up what was unpickled.
func (a *account) loaded(p *proc, f *frame) {
	p.last = max(p.last, f.begin+f.time)
	p.memory = max(p.memory, f.memory<<10)
	key := streamKey{f.size, f.number}
	if f.kind == process || f.kind == preparation {
		key = nameKey(f.kind, f.string(2))
	} else {
		count(&p.decode, f.size, f.time)
	}
	r := a.crossing.receive(key)
	if f.kind == task {
		if p.open == nil {
			p.open = make(map[taskKey]*reception)
		}
		if len(p.open) < maxOpen {
			p.open[taskKey{f.job, f.index}] = r
		}
	}
	loads := *f
	loads.body = nil
	r.then(func(s *sending) {
		if loads.kind == process || loads.kind == preparation {
			count(&p.decode, s.size, loads.time)
		}
		s.then(func() { a.decoded(p, &loads, s) })
	})
}

// decoded counts a loads on the lines of what was pickled.
func (a *account) decoded(p *proc, f *frame, s *sending) {
	for _, part := range s.shares {
		time := portion(f.time, part.bytes, s.size)
		count(&a.line(part.key).decode, part.bytes, time)
		count(&p.lineOf(part.key).decode, part.bytes, time)
	}
	c := s.chunk
	if c == nil {
		return
	}
	end := f.begin + f.time
	switch f.kind {
	case task:
		c.Worker = p.pid
		c.Send = span(c.Encode.Begin+c.Encode.Time, f.begin)
		c.Decode = span(f.begin, end)
	case result:
		c.Back = span(c.Reencode.Begin+c.Reencode.Time, end)
	case message, process, preparation, answer, signal:
		c.Lost = "the pool was terminated"
	}
}

// span is the time between two moments. Only the bill counts it from its beginning.
func span(begin, end int64) bill.Span {
	return bill.Span{Begin: begin, Time: max(0, end-begin)}
}

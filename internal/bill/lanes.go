package bill

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// timeline is where each slice of a bill goes.
type timeline struct {
	lanes    []*lane
	journeys [][]*slice // of each chunk, what its flow goes through
	marks    []mark

	processes map[int]*lane // by process id
	links     map[int]*lane // by the worker's
}

// lane is what one process does, or what is on the way to it and back. It has as many rows as overlap.
type lane struct {
	name   string
	first  int // number of the thread that is its first row
	rows   []int64
	slices []*slice
}

// slice is something that took time.
type slice struct {
	Span
	name, category, color string
	args                  map[string]any
	lane                  *lane
	row                   int
}

func (s *slice) thread() int { return s.lane.first + s.row }

func (s *slice) end() int64 { return s.Begin + s.Time }

// mark is something that happened at one moment.
type mark struct {
	lane  *lane
	time  int64
	name  string
	color string
	args  map[string]any
}

// newTimeline places all that the bill has times of. A process has a lane whether something is in it or not.
func newTimeline(b *Bill) *timeline {
	t := &timeline{processes: make(map[int]*lane), links: make(map[int]*lane)}
	for i := range b.Processes {
		if p := &b.Processes[i]; p.PID != 0 {
			t.process(p)
		}
	}
	t.journeys = make([][]*slice, len(b.Chunks))
	for i := range b.Chunks {
		t.journeys[i] = t.chunk(&b.Chunks[i])
	}
	for _, e := range b.Events {
		m := mark{lane: t.laneOf(e.PID), time: e.Time, name: e.Kind}
		if e.Text != "" {
			m.name += ": " + e.Text
			m.args = map[string]any{"text": e.Text}
		}
		if e.Kind == "died" || e.Kind == "killed" {
			m.color = "terrible"
		}
		t.marks = append(t.marks, m)
	}
	for _, l := range t.lanes {
		l.place()
	}
	t.order()
	return t
}

// process makes a process's lane, with its start in it.
func (t *timeline) process(p *Process) {
	l := t.laneOf(p.PID)
	l.name = p.Name + " " + strconv.Itoa(p.PID)
	l.add(Span{p.Began, p.Starting}, slice{name: "starting", category: "life"})
	l.add(Span{p.Began + p.Starting, p.Initialising}, slice{name: "initialising", category: "life"})
}

// chunk puts what happened to a chunk in the lanes, and returns those of its slices that a flow goes through.
func (t *timeline) chunk(c *Chunk) []*slice {
	args := map[string]any{
		"function": c.Function, "chunk": c.ID, "tasks": c.Tasks, "bytes": c.Bytes, "result_bytes": c.Results,
	}
	for key, value := range map[string]string{"site": c.Site, "lost": c.Lost} {
		if value != "" {
			args[key] = value
		}
	}
	if c.Estimated {
		args["estimated"] = "the lengths are measured, the places inferred"
	}
	parent, worker, link := t.laneOf(c.Parent), t.laneOf(c.Worker), t.linkOf(c.Worker)
	brief := map[string]any{"chunk": c.ID}
	add := func(l *lane, span Span, name, color string, args map[string]any) *slice {
		if c.Lost != "" {
			name, color = name+" (lost)", "terrible"
		}
		return l.add(span, slice{name: name, category: "chunk", color: color, args: args})
	}
	encode := add(parent, c.Encode, "encode", "thread_state_iowait", args)
	send := add(link, c.Send, "send", "grey", brief)
	decode := add(worker, c.Decode, "decode", "thread_state_runnable", brief)
	run := add(worker, c.Run, "run "+ShortName(c.Function), "thread_state_running", args)
	reencode := add(worker, c.Reencode, "encode results", "thread_state_unknown", brief)
	back := add(link, c.Back, "back", "grey", brief)
	if c.Lost != "" {
		t.marks = append(t.marks, mark{
			worker, lastMoment(c), "lost: " + c.Lost, "terrible",
			map[string]any{"text": c.Lost, "function": c.Function, "chunk": c.ID},
		})
	}
	// In the worker, one follows the other without a link.
	hops := []*slice{encode, send, cmp.Or(decode, run, reencode), back}
	hops = slices.DeleteFunc(hops, func(s *slice) bool { return s == nil })
	slices.SortStableFunc(hops, func(a, b *slice) int { return cmp.Compare(a.Begin, b.Begin) })
	return hops
}

// lastMoment returns when a chunk was last heard of.
func lastMoment(c *Chunk) int64 {
	last := c.Encode.Begin
	for _, s := range []Span{c.Encode, c.Send, c.Decode, c.Run, c.Reencode, c.Back} {
		if s.Begin != 0 || s.Time != 0 {
			last = max(last, s.Begin+s.Time)
		}
	}
	return last
}

func (t *timeline) laneOf(pid int) *lane {
	if t.processes[pid] == nil {
		name := "process " + strconv.Itoa(pid)
		if pid == 0 {
			name = "unknown process"
		}
		t.processes[pid] = &lane{name: name}
		t.lanes = append(t.lanes, t.processes[pid])
	}
	return t.processes[pid]
}

// linkOf returns the lane of what is on the way to a worker and back.
func (t *timeline) linkOf(pid int) *lane {
	if t.links[pid] == nil {
		t.links[pid] = &lane{}
		t.lanes = append(t.lanes, t.links[pid])
	}
	return t.links[pid]
}

// add puts a slice in the lane, if it took any time.
func (l *lane) add(span Span, s slice) *slice {
	if span.Time <= 0 || span.Begin > math.MaxInt64-span.Time {
		return nil
	}
	s.Span, s.lane = span, l
	l.slices = append(l.slices, &s)
	return &s
}

// place gives each slice the first row that is free.
func (l *lane) place() {
	slices.SortStableFunc(l.slices, func(a, b *slice) int { return cmp.Compare(a.Begin, b.Begin) })
	for _, s := range l.slices {
		s.row = slices.IndexFunc(l.rows, func(end int64) bool { return end <= s.Begin })
		if s.row < 0 {
			s.row = len(l.rows)
			l.rows = append(l.rows, 0)
		}
		l.rows[s.row] = s.end()
	}
	if len(l.rows) == 0 {
		l.rows = []int64{0}
	}
}

// order puts each link behind its worker, and leaves out links that nothing went over.
func (t *timeline) order() {
	owner := make(map[*lane]*lane)
	for pid, link := range t.links {
		worker := t.laneOf(pid)
		link.name = "to and from " + worker.name
		owner[worker] = link
	}
	var lanes []*lane
	for _, l := range t.processes {
		lanes = append(lanes, l)
	}
	position := make(map[*lane]int)
	for i, l := range t.lanes {
		position[l] = i
	}
	slices.SortFunc(lanes, func(a, b *lane) int { return cmp.Compare(position[a], position[b]) })
	t.lanes = t.lanes[:0:0]
	for _, l := range lanes {
		t.lanes = append(t.lanes, l)
		if link := owner[l]; link != nil && len(link.slices) > 0 {
			t.lanes = append(t.lanes, link)
		}
	}
}

// enumerate gives each row a thread: Perfetto shows threads in the order of their numbers, and takes equal numbers in two
// processes for the same thread.
func (t *timeline) enumerate(last *int) {
	for _, l := range t.lanes {
		l.first = *last + 1
		*last += len(l.rows)
	}
}

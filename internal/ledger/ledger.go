// Package ledger is the account of what crossed between a parent and its workers: how often, how many bytes and how
// long each encode and decode took, by process, function and class. It is told; it measures nothing itself, and it
// knows no process and no codec.
package ledger

import (
	"sync"
	"sync/atomic"
	"time"
)

// Class says what kind of thing crossed.
type Class uint8

// The classes.
const (
	Config   Class = iota // what an initializer was given
	Bound                 // arguments sent once a worker
	Argument              // of tasks
	Result                // of tasks
	Shared                // mapped by the workers, not sent
	Classes               // how many there are
)

func (c Class) String() string {
	return [...]string{"config", "bound", "argument", "result", "shared", "?"}[min(c, Classes)]
}

// Direction tells encodes from decodes.
type Direction uint8

// The directions.
const (
	Encode Direction = iota
	Decode
)

// keepEnded is how many ended workers keep a line of their own; older ones are added up in one.
const keepEnded = 32

// Tally counts encodes or decodes. It is safe for concurrent use.
type Tally struct{ count, bytes, nanos, largest atomic.Int64 }

// Add counts n values of so many bytes in all, the largest of them and the time they took.
func (t *Tally) Add(n int, bytes, largest int64, d time.Duration) {
	if !On {
		return
	}
	t.count.Add(int64(n))
	t.bytes.Add(bytes)
	t.nanos.Add(int64(d))
	for {
		old := t.largest.Load()
		if largest <= old || t.largest.CompareAndSwap(old, largest) {
			return
		}
	}
}

// Sum is a Tally at one moment.
type Sum struct {
	Count, Bytes, Largest int64
	Time                  time.Duration
}

// Sum returns the counts so far.
func (t *Tally) Sum() Sum {
	return Sum{t.count.Load(), t.bytes.Load(), t.largest.Load(), time.Duration(t.nanos.Load())}
}

func (s *Sum) add(o Sum) {
	s.Count += o.Count
	s.Bytes += o.Bytes
	s.Time += o.Time
	s.Largest = max(s.Largest, o.Largest)
}

// Lines are the tallies of one function in one process.
type Lines [Classes][2]Tally

// Process is the account of one process.
type Process struct {
	Name string
	PID  int

	ledger *Ledger
	ended  bool
	mu     sync.Mutex
	lines  map[string][]*Lines
	order  []string
	tasks  atomic.Int64
	run    atomic.Int64
	last   Chunk // that is not remembered yet
	life   life
	times  Times // of those that were merged into it; guarded by the ledger's lock
}

// Ran counts tasks that the process ran and the time their functions took.
func (p *Process) Ran(n int, d time.Duration) {
	if !On {
		return
	}
	p.tasks.Add(int64(n))
	p.run.Add(int64(d))
}

// Lines returns the tallies of a function, for its caller to keep and add to.
func (p *Process) Lines(function string) *Lines {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lines[function]; len(l) > 0 {
		return l[0]
	}
	return p.add(function)
}

// Share returns tallies of a function that are the caller's alone, and count with the others: what several processors
// write often is dear.
func (p *Process) Share(function string) *Lines {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines[function]) == 0 {
		p.add(function)
	}
	return p.add(function)
}

// add appends tallies of a function. The caller holds the lock.
func (p *Process) add(function string) *Lines {
	if len(p.lines[function]) == 0 {
		p.order = append(p.order, function)
	}
	l := new(Lines)
	p.lines[function] = append(p.lines[function], l)
	return l
}

// sum adds up the tallies of a function. The caller holds the lock.
func (p *Process) sum(function string) FunctionSum {
	sum := FunctionSum{Name: function}
	for _, l := range p.lines[function] {
		for c := range l {
			for d := range l[c] {
				sum.Classes[c][d].add(l[c][d].Sum())
			}
		}
	}
	return sum
}

// Ledger is the account of one pool. It is safe for concurrent use.
type Ledger struct {
	mu        sync.Mutex
	processes []*Process // the parent first
	earlier   *Process   // what ended workers without a line of their own did
	repeats   repeats
	history   history
	sights    sights
}

// New returns an empty ledger with a line for the parent.
func New(pid int) (*Ledger, *Process) {
	l := &Ledger{}
	l.repeats.init()
	return l, l.Open("parent", pid, 0)
}

// Open begins the account of a process that was started at a moment.
func (l *Ledger) Open(name string, pid int, at time.Duration) *Process {
	p := newProcess(l, name, pid)
	p.life.began.Store(int64(at))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.processes = append(l.processes, p)
	return p
}

func newProcess(l *Ledger, name string, pid int) *Process {
	return &Process{Name: name, PID: pid, ledger: l, lines: make(map[string][]*Lines)}
}

// End notes that the process has ended, at a moment. Nothing may be added to it any more.
func (p *Process) End(at time.Duration) {
	l := p.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	p.mu.Lock()
	p.remember()
	p.mu.Unlock()
	p.ended = true
	p.life.ended.Store(int64(at))
	ended, oldest := 0, -1
	for i, q := range l.processes {
		if q.ended {
			if oldest < 0 {
				oldest = i
			}
			ended++
		}
	}
	if ended <= keepEnded {
		return
	}
	if l.earlier == nil {
		l.earlier = newProcess(l, "earlier workers", 0)
	}
	l.earlier.merge(l.processes[oldest])
	l.processes = append(l.processes[:oldest], l.processes[oldest+1:]...)
}

func (p *Process) merge(q *Process) {
	p.tasks.Add(q.tasks.Load())
	p.run.Add(q.run.Load())
	p.times.add(q.spent(0))
	p.Peak(q.life.peak.Load())
	for _, name := range q.order {
		to := p.Lines(name)
		sum := q.sum(name)
		for c := range sum.Classes {
			for d, s := range sum.Classes[c] {
				to[c][d].Add(int(s.Count), s.Bytes, s.Largest, s.Time)
			}
		}
	}
}

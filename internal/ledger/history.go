package ledger

import (
	"sync"
	"time"
)

const (
	// keepChunks is how many chunks the ledger remembers: the last ones, in some 1.5 MB.
	keepChunks = 8192
	// keepEvents is how many events it does.
	keepEvents = 4096
)

// Chunk is the way of one chunk of tasks, or of all tasks of a lease. Moments are counted from the ledger's beginning.
type Chunk struct {
	Function string
	Worker   int // process id
	Tasks    int
	Bytes    int64 // of the arguments
	Results  int64 // bytes of the results that came

	Begun  time.Duration // when the parent began to encode it
	Sent   time.Duration // when it had
	Back   time.Duration // when the last of its results had come
	Read   time.Duration // when the parent had decoded them
	Decode time.Duration // how long the worker did that
	Run    time.Duration
	Encode time.Duration
	Lost   string // why not all of its tasks were answered; empty if they were
}

// EventKind says what happened to a process.
type EventKind uint8

// The kinds of events.
const (
	Started EventKind = iota
	Ready
	Ended  // orderly
	Killed // by the parent, on purpose
	Died
)

func (k EventKind) String() string {
	return [...]string{"started", "ready", "ended", "killed", "died"}[k]
}

// Event is something that happened to a process at one moment, counted from the ledger's beginning.
type Event struct {
	At   time.Duration
	PID  int
	Kind EventKind
	Text string
}

// history is what happened last. It is safe for concurrent use.
type history struct {
	mu     sync.Mutex
	chunks ring[Chunk]
	events ring[Event]
}

// joined is how long chunks may take, from the first's beginning to the last's end, that are remembered as one: where each
// takes microseconds, the memory of single ones would not reach far back.
const joined = time.Millisecond

// Done notes a chunk of the process that has been answered, or was lost; one that is short with those before and behind it.
func (p *Process) Done(c *Chunk) {
	if !On {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := &p.last
	if last.Tasks > 0 && last.Function == c.Function && last.Lost == "" && c.Lost == "" && c.Read-last.Begun < joined {
		last.Tasks += c.Tasks
		last.Bytes += c.Bytes
		last.Results += c.Results
		last.Back, last.Read = c.Back, c.Read
		last.Decode += c.Decode
		last.Run += c.Run
		last.Encode += c.Encode
		return
	}
	p.remember()
	*last = *c
}

// remember puts the last chunk to the others. The caller holds the lock.
func (p *Process) remember() {
	if p.last.Tasks == 0 {
		return
	}
	h := &p.ledger.history
	h.mu.Lock()
	h.chunks.add(p.last, keepChunks)
	h.mu.Unlock()
	p.last.Tasks = 0
}

// Note notes an event.
func (l *Ledger) Note(e Event) {
	if !On {
		return
	}
	l.history.mu.Lock()
	l.history.events.add(e, keepEvents)
	l.history.mu.Unlock()
}

// History returns the last chunks, in about the order in which they ended, the last events, and how many chunks were
// forgotten.
func (l *Ledger) History() (chunks []Chunk, events []Event, forgotten int64) {
	l.mu.Lock()
	for _, p := range l.processes {
		p.mu.Lock()
		p.remember()
		p.mu.Unlock()
	}
	l.mu.Unlock()
	h := &l.history
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chunks.list(), h.events.list(), h.chunks.lost
}

// ring keeps the last elements that were added.
type ring[T any] struct {
	all  []T
	next int // the oldest, once it is full
	lost int64
}

func (r *ring[T]) add(v T, most int) {
	if len(r.all) < most {
		r.all = append(r.all, v)
		return
	}
	r.all[r.next] = v
	r.next = (r.next + 1) % most
	r.lost++
}

func (r *ring[T]) list() []T {
	return append(append([]T(nil), r.all[r.next:]...), r.all[:r.next]...)
}

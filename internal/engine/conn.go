package engine

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/sched"
	"github.com/brinepool/brine/internal/shm"
)

const (
	// chunkBytes is the size from which a chunk takes no more tasks: large arguments travel alone.
	chunkBytes = 1 << 20
	// boundKept is how many bound arguments a worker keeps; the one used least recently makes room.
	boundKept = 64
)

// conn is one worker and what was sent to it. Its fields belong to its owner but where it says otherwise.
type conn struct {
	e      *Engine
	link   *link.Parent
	proc   Process
	acct   *ledger.Process
	broken error

	flights []flight // sent and not wholly answered, in order
	groups  int      // of flights
	nextID  uint64
	config  link.Place // until the worker is ready
	spans   []sched.Span
	knows   []*ledger.Lines // by number of function, nil for one that the worker has not been told of
	shares  *shares         // of the parent's account
	bound   []*Bound        // that the worker keeps, the least recently used first
	issued  int             // tasks, since the worker was started
	stuck   stuck
	woke    bool // somebody waited for what was delivered

	refs  shm.Refs     // of the chunk that is being encoded
	loose []link.Place // of bound arguments that go out ahead of the next chunk

	why      string // it was ended on purpose, if it was
	left     bool   // it has closed its state and said bye
	answered bool   // a chunk was, which is still among the active ones
	fruitful bool   // it has answered something

	items []link.Item // that are passed on together

	dismissals uint64 // of bound arguments, that the worker was told of

	progress atomic.Int64 // when it last answered, in nanoseconds of CLOCK_MONOTONIC

	// Guarded by e.mu.
	active   []active
	recalled uint64 // id of the last chunk that was
	cause    *cause
	timer    *time.Timer
	due      time.Time               // when timer fires
	segments map[uint64]*shm.Segment // that the worker has
	unsent   []uint64                // of those, what it is to forget and has not been told yet
	telling  bool                    // a timer is set to tell it the rest
	closed   bool
	kickDue  bool // it has ended while it was lent
}

// flight is a chunk on its way. The tasks from next on are not answered.
type flight struct {
	id        uint64
	span      sched.Span
	job       *Job
	next      int
	bytes     int            // of the arguments that are not answered, evenly spread
	placed    []placed       // arguments in the arena that are not answered
	refs      []*shm.Segment // that the chunk uses
	endsGroup bool
	way       ledger.Chunk // what is known of it so far
}

// active is what others may know of a flight, to cancel it or to watch its time.
type active struct {
	id    uint64
	job   *Job
	since int64 // when it was issued, if it has a time limit: nanoseconds of CLOCK_MONOTONIC
}

// stuck is the stack that a task had when its time was up.
type stuck struct {
	chunk uint64
	index uint32
	stack string
}

func (w *conn) outstanding() int { return len(w.flights) }

// spent says that the worker has run as many tasks as one may.
func (w *conn) spent() bool { return w.e.cfg.MaxTasks > 0 && w.issued >= w.e.cfg.MaxTasks }

// allowance returns how many more tasks the worker may run.
func (w *conn) allowance() int {
	if w.e.cfg.MaxTasks > 0 {
		return w.e.cfg.MaxTasks - w.issued
	}
	return 1 << 30
}

// release forgets the answered chunks among the active ones. The caller holds e.mu.
func (w *conn) release() {
	first := w.nextID
	if len(w.flights) > 0 {
		first = w.flights[0].id
	}
	n := 0
	for n < len(w.active) && w.active[n].id < first {
		n++
	}
	if n > 0 {
		w.active = append(w.active[:0], w.active[n:]...)
	}
}

// refill takes as much from the queue as the worker has credit for, and sends it.
func (w *conn) refill() {
	if w.answered {
		w.answered = false
		w.e.mu.Lock()
		w.release()
		w.e.mu.Unlock()
	}
	for w.groups < 2 {
		if w.groups == 1 && w.flights[len(w.flights)-1].job.queue.Credit() < 2 {
			return
		}
		w.e.mu.Lock()
		w.take(w.allowance())
		w.e.mu.Unlock()
		if len(w.spans) == 0 {
			return
		}
		w.post()
	}
}

// take takes at most so many tasks from the queue, for post to send. The caller holds e.mu.
func (w *conn) take(most int) {
	w.spans = w.e.queue.Take(w.spans[:0], w.e.cfg.Workers, most)
	for i, s := range w.spans {
		a := active{id: w.nextID + uint64(i), job: s.Job.Owner.(*Job)}
		if a.job.Timeout > 0 {
			a.since = link.Monotonic()
		}
		w.active = append(w.active, a)
	}
	w.watch()
}

// post sends what was taken, as one group.
func (w *conn) post() {
	sent := len(w.flights)
	w.forgetBound()
	for _, s := range w.spans {
		w.send(s)
	}
	if len(w.flights) > sent {
		w.flights[len(w.flights)-1].endsGroup = true
		w.groups++
	}
	if sent == 0 && len(w.flights) > 0 {
		w.busy(w.flights[0].way.Sent)
	}
	_ = w.link.Flush() // an error means that the worker is gone; what it had written is still read by exchange
}

// send encodes a chunk. Tasks whose argument can't be encoded end here; those that make the chunk too large go back.
func (w *conn) send(s sched.Span) {
	e, j := w.e, s.Job.Owner.(*Job)
	id := w.nextID
	w.nextID++
	b, err := w.introduce(w.link.Buffer(), j)
	if err != nil {
		w.link.SetBuffer(b)
		e.failSpan(j, s, Unsent, err)
		j.work.Flushed()
		return
	}
	before := len(b)
	b, at := link.AppendHeader(b)
	m := link.ChunkMessage{Timeout: int64(j.Timeout)}
	if j.Bound != nil {
		m.Bound = j.Bound.ID
	}
	b = m.Append(b)

	start, looked := time.Now(), e.looked.Load()
	var largest, bytes int
	var places []placed
	hi := s.Lo
	for hi < s.Hi && (hi == s.Lo || bytes < chunkBytes) {
		var c []byte
		var n int
		var place link.Place
		var err error
		if j.Sized {
			c, n, place, err = w.pack(b, j, hi)
		} else { // what pack does for a small value, without its questions, which would show in the cost of an empty task
			var item int
			b, item = link.AppendItem(b)
			if c, err = j.work.Encode(b, hi, nil); err == nil {
				link.EndItem(c, item, link.OK)
				n = len(c) - len(b)
			}
			b = b[:item]
		}
		if err == nil && len(c)-at-link.HeaderSize > link.MaxPayload {
			err = link.ErrTooLarge
			if place.Len > 0 {
				w.link.Arena.Free(place)
			}
		}
		if err == nil {
			if b = c; place.Len > 0 {
				places = append(places, placed{index: hi, at: place})
			}
			bytes += n
			largest = max(largest, n)
			hi++
			continue
		}
		// It ends here, and so does the chunk: its tasks are consecutive.
		j.fail(hi, &Failure{Cause: Unsent, Attempt: s.Attempt, Err: err})
		e.counts.failed.Add(1)
		j.work.Flushed()
		e.settle(j, 1)
		if hi > s.Lo {
			e.giveBack(j, sched.Span{Job: s.Job, Lo: hi + 1, Hi: s.Hi, Attempt: s.Attempt})
			s.Hi = hi
			break
		}
		s.Lo++
		hi++
	}
	if hi < s.Hi {
		e.giveBack(j, sched.Span{Job: s.Job, Lo: hi, Hi: s.Hi, Attempt: s.Attempt})
		s.Hi = hi
	}
	if s.Len() == 0 {
		w.link.SetBuffer(b[:before])
		shm.ReleaseAll(w.refs.Take())
		return
	}
	begun := start.Sub(e.began)
	took := max(0, time.Since(start)-time.Duration(e.looked.Load()-looked))
	sent := begun + took
	if j.relay != nil {
		o := j.relay.Origin(s.Lo, s.Hi)
		bytes += int(o.Beside)
		largest = max(largest, int(o.Most))
		begun = max(0, o.Begun.Sub(e.began))
		sent = begun + o.Encode
	}
	(*w.shares)[j.Func.number][ledger.Argument][ledger.Encode].Add(s.Len(), int64(bytes), int64(largest), took)
	h := link.Header{Type: link.Chunk, Count: uint32(s.Len()), Chunk: id, Func: j.Func.number}
	if j.Lent {
		h.Flags = link.Lent
	}
	_ = link.EndFrame(b, at, h)
	w.link.SetBuffer(b)
	for _, place := range w.loose { // the worker has read them when it has answered the first task
		places = slices.Insert(places, 0, placed{s.Lo, place, true})
	}
	w.loose = w.loose[:0]
	w.flights = append(w.flights, flight{id: id, span: s, job: j, next: s.Lo, bytes: bytes, placed: places, refs: w.refs.Take(), way: ledger.Chunk{
		Function: j.Func.Name, Worker: w.acct.PID, Tasks: s.Len(), Bytes: int64(bytes), Begun: begun, Sent: sent,
	}})
	w.issued += s.Len()
}

// giveBack returns tasks to the queue, or fails them when their job was cancelled.
func (e *Engine) giveBack(j *Job, s sched.Span) {
	e.mu.Lock()
	ok := e.queue.Return(s)
	if ok {
		e.rouse(1)
	}
	err := j.cancelled
	e.mu.Unlock()
	if !ok {
		cause := Cancelled
		if err == nil {
			cause, err = Refused, ErrClosed
		}
		e.failSpan(j, s, cause, err)
		j.work.Flushed()
	}
}

// introduce tells the worker of the function and the bound arguments that a chunk needs, once.
func (w *conn) introduce(b []byte, j *Job) ([]byte, error) {
	number := int(j.Func.number)
	for len(w.knows) <= number {
		w.knows = append(w.knows, nil)
	}
	if w.knows[number] == nil {
		w.knows[number] = w.acct.Lines(j.Func.Name)
		w.shares.add(w.e.parent, number, j.Func.Name)
		b, _ = link.AppendFrame(b, link.Header{Type: link.Func, Func: j.Func.number}, []byte(j.Func.Name))
	}
	if j.Bound == nil {
		return b, nil
	}
	for _, s := range j.Bound.Shared {
		if err := w.refs.Add(s); err != nil {
			w.refs.Cut(0)
			return b, fmt.Errorf("brine: bound arguments of %s: %w", j.Func.Name, err)
		}
	}
	if err := w.passAll(j.Func.sent, w.knows[number], 0); err != nil {
		w.refs.Cut(0)
		return b, fmt.Errorf("brine: bound arguments of %s: %w", j.Func.Name, err)
	}
	for i, k := range w.bound {
		if k == j.Bound {
			copy(w.bound[i:], w.bound[i+1:])
			w.bound[len(w.bound)-1] = k
			return b, nil
		}
	}
	// What can't be used any more goes first, for the worker keeps the shared data with it.
	w.bound = slices.DeleteFunc(w.bound, func(k *Bound) bool {
		gone := slices.ContainsFunc(k.Shared, (*shm.Segment).Closed)
		if gone {
			b, _ = link.AppendFrame(b, link.Header{Type: link.Free, Chunk: k.ID}, nil)
		}
		return gone
	})
	if len(w.bound) == boundKept {
		b, _ = link.AppendFrame(b, link.Header{Type: link.Free, Chunk: w.bound[0].ID}, nil)
		w.bound = append(w.bound[:0], w.bound[1:]...)
	}
	before := len(b)
	b, at := link.AppendHeader(b)
	b, place := w.load(b, j.Bound.Bytes)
	if err := link.EndFrame(b, at, link.Header{Type: link.Bind, Func: j.Func.number, Chunk: j.Bound.ID}); err != nil {
		w.refs.Cut(0)
		return b[:before], fmt.Errorf("brine: bound arguments of %s: %w", j.Func.Name, err)
	}
	if place.Len > 0 {
		w.loose = append(w.loose, place)
	}
	w.bound = append(w.bound, j.Bound)
	n := int64(len(j.Bound.Bytes)) + j.Bound.Beside
	w.knows[number][ledger.Bound][ledger.Decode].Add(1, n, n, 0) // its time comes with the first results
	return b, nil
}

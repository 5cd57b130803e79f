package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/proc"
	"github.com/brinepool/brine/internal/sched"
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
	proc   *proc.Process
	acct   *ledger.Process
	broken error

	flights []flight // sent and not wholly answered, in order
	groups  int      // of flights
	nextID  uint64
	spans   []sched.Span
	knows   []*ledger.Lines // by number of function, nil for one that the worker has not been told of
	bound   []uint64        // that the worker keeps, the least recently used first
	issued  int             // tasks, since the worker was started
	stuck   stuck
	woke    bool // somebody waited for what was delivered

	answered bool // a chunk was, which is still among the active ones

	// Guarded by e.mu.
	active   []active
	recalled uint64 // id of the last chunk that was
	cause    *cause
	timer    *time.Timer
	due      time.Time // when timer fires
}

// flight is a chunk on its way. The tasks from next on are not answered.
type flight struct {
	id        uint64
	span      sched.Span
	job       *Job
	next      int
	bytes     int // of the arguments that are not answered, evenly spread
	endsGroup bool
}

// active is what others may know of a flight, to cancel it or to watch its time.
type active struct {
	id  uint64
	job *Job
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
		most := 1 << 30
		if w.e.cfg.MaxTasks > 0 {
			most = w.e.cfg.MaxTasks - w.issued
		}
		w.e.mu.Lock()
		w.take(most)
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
		w.active = append(w.active, active{w.nextID + uint64(i), s.Job.Owner.(*Job)})
	}
	w.watch()
}

// post sends what was taken, as one group.
func (w *conn) post() {
	sent := len(w.flights)
	for _, s := range w.spans {
		w.send(s)
	}
	if len(w.flights) > sent {
		w.flights[len(w.flights)-1].endsGroup = true
		w.groups++
	}
	_ = w.link.Flush() // an error means that the worker is gone; what it had written is still read by exchange
}

// send encodes a chunk. Tasks whose argument can't be encoded end here; those that make the chunk too large go back.
func (w *conn) send(s sched.Span) {
	e, j := w.e, s.Job.Owner.(*Job)
	id := w.nextID
	w.nextID++
	b := w.link.Buffer()
	b = w.introduce(b, j)
	before := len(b)
	b, at := link.AppendHeader(b)
	m := link.ChunkMessage{Timeout: int64(j.Timeout)}
	if j.Bound != nil {
		m.Bound = j.Bound.ID
	}
	b = m.Append(b)

	start := time.Now()
	var largest, bytes int
	hi := s.Lo
	for hi < s.Hi && (hi == s.Lo || len(b)-at < chunkBytes) {
		var item int
		b, item = link.AppendItem(b)
		c, err := j.work.Encode(b, hi)
		if err == nil && len(c)-at-link.HeaderSize > link.MaxPayload {
			err = link.ErrTooLarge
		}
		if err == nil {
			b = c
			link.EndItem(b, item, link.OK)
			n := len(b) - item - link.ItemSize
			bytes += n
			largest = max(largest, n)
			if n > ledger.RepeatSize {
				e.ledger.Watch(j.Func.Name, ledger.Argument, b[item+link.ItemSize:], j.Unordered)
			}
			hi++
			continue
		}
		// It ends here, and so does the chunk: its tasks are consecutive.
		b = b[:item]
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
		return
	}
	j.Func.sent[ledger.Argument][ledger.Encode].Add(s.Len(), int64(bytes), int64(largest), time.Since(start))
	_ = link.EndFrame(b, at, link.Header{Type: link.Chunk, Count: uint32(s.Len()), Chunk: id, Func: j.Func.number})
	w.link.SetBuffer(b)
	w.flights = append(w.flights, flight{id: id, span: s, job: j, next: s.Lo, bytes: bytes})
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
func (w *conn) introduce(b []byte, j *Job) []byte {
	number := int(j.Func.number)
	for len(w.knows) <= number {
		w.knows = append(w.knows, nil)
	}
	if w.knows[number] == nil {
		w.knows[number] = w.acct.Lines(j.Func.Name)
		b, _ = link.AppendFrame(b, link.Header{Type: link.Func, Func: j.Func.number}, []byte(j.Func.Name))
	}
	if j.Bound == nil {
		return b
	}
	for i, id := range w.bound {
		if id == j.Bound.ID {
			copy(w.bound[i:], w.bound[i+1:])
			w.bound[len(w.bound)-1] = id
			return b
		}
	}
	if len(w.bound) == boundKept {
		b, _ = link.AppendFrame(b, link.Header{Type: link.Free, Chunk: w.bound[0]}, nil)
		w.bound = append(w.bound[:0], w.bound[1:]...)
	}
	w.bound = append(w.bound, j.Bound.ID)
	n := int64(len(j.Bound.Bytes))
	w.knows[number][ledger.Bound][ledger.Decode].Add(1, n, n, 0) // its time comes with the first results
	b, _ = link.AppendFrame(b, link.Header{Type: link.Bind, Func: j.Func.number, Chunk: j.Bound.ID}, j.Bound.Bytes)
	return b
}

// exchange waits for results and hands them out. An error means that the worker has ended or must.
func (w *conn) exchange() error {
	if err := w.link.Exchange(); err != nil {
		if errors.Is(err, io.EOF) {
			return errEnded
		}
		return err
	}
	return w.deliver()
}

// protocolError is the fault of a worker whose frames can't be believed.
type protocolError struct{ err error }

func (e *protocolError) Error() string {
	return "brine: the worker broke the protocol: " + e.err.Error()
}
func (e *protocolError) Unwrap() error { return e.err }

func violation(format string, args ...any) error {
	return &protocolError{fmt.Errorf(format, args...)}
}

// deliver hands out the results that have arrived.
func (w *conn) deliver() error {
	for {
		h, payload, ok := w.link.Next()
		if !ok {
			return nil
		}
		switch h.Type {
		case link.Results:
			if err := w.results(h, payload); err != nil {
				return err
			}
		case link.Returned:
			if err := w.returned(h.Chunk); err != nil {
				return err
			}
		case link.Stuck:
			w.stuck = stuck{h.Chunk, h.First, string(payload)}
		default:
			return violation("unexpected frame: %v", h.Type)
		}
	}
}

// returned takes back a chunk that the worker will not run.
func (w *conn) returned(id uint64) error {
	for i, f := range w.flights {
		if f.id != id {
			continue
		}
		if f.next != f.span.Lo {
			return violation("chunk %d was returned, which had begun", id)
		}
		if f.endsGroup {
			if i > 0 && !w.flights[i-1].endsGroup {
				w.flights[i-1].endsGroup = true
			} else {
				w.groups--
			}
		}
		w.flights = append(w.flights[:i], w.flights[i+1:]...)
		w.e.mu.Lock()
		for k, a := range w.active {
			if a.id == id {
				w.active = append(w.active[:k], w.active[k+1:]...)
				break
			}
		}
		w.e.mu.Unlock()
		w.issued -= f.span.Len()
		w.e.giveBack(f.job, f.span)
		return nil
	}
	if id == 0 || id >= w.nextID {
		return violation("chunk %d was returned, which was never sent", id)
	}
	return nil // cancelled before it turned out that none of its arguments could be encoded
}

func (w *conn) results(h link.Header, payload []byte) error {
	if len(w.flights) == 0 {
		return violation("results of chunk %d, but nothing is outstanding", h.Chunk)
	}
	f := &w.flights[0]
	first := f.span.Lo + int(h.First)
	if h.Chunk != f.id || first != f.next || h.Count == 0 || uint64(h.Count) > uint64(f.span.Hi-first) {
		return violation("results %d+%d of chunk %d, expected from %d on of chunk %d", h.First, h.Count, h.Chunk, f.next-f.span.Lo, f.id)
	}
	spent, items, err := link.ParseSpent(payload)
	if err != nil {
		return violation("%w", err)
	}
	j, span := f.job, f.span
	start := time.Now()
	t := tally{argument: f.bytes / (span.Hi - f.next)}
	if first+int(h.Count) == span.Hi {
		t.arguments = f.bytes
	} else {
		t.arguments = t.argument * int(h.Count)
	}
	f.bytes -= t.arguments
	for i := first; i < first+int(h.Count); i++ {
		var status link.Status
		var body []byte
		if status, body, items, err = link.NextItem(items); err != nil {
			// What came before stands. The rest of the chunk is handled with the worker's end.
			f.next = i
			w.count(j, t, spent, time.Since(start))
			return violation("%w", err)
		}
		w.result(j, span, i, status, body, uint32(i-span.Lo), &t)
	}
	if len(items) >= 8 {
		return violation("%d bytes behind the results of chunk %d", len(items), h.Chunk)
	}
	f.next = first + int(h.Count)
	whole := f.next == span.Hi
	if whole {
		w.answered = true
		if f.endsGroup {
			w.groups--
		}
		w.flights = append(w.flights[:0], w.flights[1:]...)
	}
	w.count(j, t, spent, time.Since(start))
	return nil
}

// tally counts what one Results frame held.
type tally struct {
	ran, values, ended, failed int
	arguments, argument        int // bytes of all, and of one
	bytes, largest             int64
}

// result takes one result.
func (w *conn) result(j *Job, span sched.Span, i int, status link.Status, body []byte, index uint32, t *tally) {
	var unread error
	if status == link.OK {
		t.ran++
		t.values++
		t.bytes += int64(len(body))
		t.largest = max(t.largest, int64(len(body)))
		if unread = j.work.Decode(i, body); unread == nil {
			t.ended++
			return
		}
		t.ran-- // counted again below
	}
	f := &Failure{Attempt: span.Attempt + 1}
	switch status {
	case link.OK:
		f.Cause, f.Err = Unread, unread
	case link.Failed:
		f.Cause, f.Err = Erred, remoteError(body)
		// A worker's context only knows that it was cancelled; the caller's may have met its deadline.
		if errors.Is(f.Err, context.Canceled) {
			w.e.mu.Lock()
			if j.cancelled != nil {
				f.Cause, f.Err = Cancelled, j.cancelled
			}
			w.e.mu.Unlock()
		}
	case link.Panicked:
		var m link.PanicMessage
		f.Cause = Panicked
		if err := m.Parse(body); err != nil {
			f.Value = err.Error()
		} else {
			f.Value, f.Stack = m.Value, m.Stack
		}
	case link.Exited:
		f.Cause, f.Stack = Exited, string(body)
	case link.BadArg:
		f.Cause, f.Err = Unsent, remoteError(body)
	case link.BadResult:
		f.Cause, f.Err = Unread, remoteError(body)
	case link.Expired:
		t.ran++
		w.expired(j, i, f, body, index, t)
		return
	case link.Cancelled:
		w.e.mu.Lock()
		f.Cause, f.Err = Cancelled, j.cancelled
		w.e.mu.Unlock()
		if f.Err == nil {
			f.Err = ErrClosed
		}
	}
	t.ran++
	f.Deaths = j.reports(i)
	j.fail(i, f)
	t.ended++
	t.failed++
}

// stackOf returns where the task was when its time was up, as far as the worker has told.
func (w *conn) stackOf(chunk uint64, index int) string {
	if w.stuck.chunk == chunk && int(w.stuck.index) == index {
		return w.stuck.stack
	}
	return ""
}

// expired takes a task that ended after its time was up, by itself.
func (w *conn) expired(j *Job, i int, f *Failure, body []byte, index uint32, t *tally) {
	f.Cause, f.Timeout = TimedOut, j.Timeout
	if len(body) > 0 {
		f.Err = remoteError(body)
	}
	f.Stack = w.stackOf(w.flights[0].id, int(index))
	if !w.e.lose(j, i, f) {
		t.ended++
		t.failed++
	}
}

// lose ends or retries a task after a death or a timeout; it returns true when it will be tried again. An ended task
// is for the caller to settle.
func (e *Engine) lose(j *Job, i int, f *Failure) (again bool) {
	e.mu.Lock()
	died := j.queue.Died(i)
	if died <= j.Retries && j.cancelled == nil && !e.killed {
		again = e.queue.Return(sched.Span{Job: &j.queue, Lo: i, Hi: i + 1, Attempt: died})
		if again {
			e.rouse(1)
		}
	}
	if !again {
		if j.cancelled != nil {
			f.Cause, f.Err = Cancelled, j.cancelled
		} else if e.killed {
			f.Cause, f.Err = Refused, ErrClosed
		}
	}
	e.mu.Unlock()
	if again {
		e.counts.retried.Add(1)
		return true
	}
	f.Deaths = j.reports(i)
	j.fail(i, f)
	return false
}

// count books what one Results frame held, and settles its tasks.
func (w *conn) count(j *Job, t tally, spent link.Spent, decode time.Duration) {
	run := time.Duration(max(0, spent.Run))
	lines := w.knows[j.Func.number]
	w.acct.Ran(t.ran, run)
	lines[ledger.Argument][ledger.Decode].Add(t.ran, int64(t.arguments), int64(t.argument), time.Duration(max(0, spent.Decode)))
	lines[ledger.Bound][ledger.Decode].Add(0, 0, 0, time.Duration(max(0, spent.Bound)))
	lines[ledger.Result][ledger.Encode].Add(t.values, t.bytes, t.largest, time.Duration(max(0, spent.Encode)))
	j.Func.sent[ledger.Result][ledger.Decode].Add(t.values, t.bytes, t.largest, decode)
	j.Func.cost.Observe(t.ran, run)
	w.e.counts.done.Add(int64(t.ended - t.failed))
	w.e.counts.failed.Add(int64(t.failed))
	if t.ended > 0 {
		j.work.Flushed()
		w.woke = w.e.settle(j, t.ended) || w.woke
	}
}

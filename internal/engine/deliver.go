package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"time"

	"github.com/brinepool/brine/internal/ledger"
	"github.com/brinepool/brine/internal/link"
	"github.com/brinepool/brine/internal/sched"
)

// exchange waits for results and hands them out. An error means that the worker has ended or must.
func (w *conn) exchange() error {
	err := w.link.Exchange()
	if bad := w.deliver(); bad != nil { // at the end of the stream there may be more than there was before
		return bad
	}
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	if errors.Is(err, link.ErrTooLarge) {
		return violation("%w", err)
	}
	return err
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
		for _, p := range f.placed { // the worker may not have read them yet, and will before the next chunk
			if p.bound {
				w.loose = append(w.loose, p.at)
			}
		}
		f.placed = slices.DeleteFunc(f.placed, func(p placed) bool { return p.bound })
		w.e.keep(&f)
		w.unload(&f)
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
		if len(w.flights) == 0 {
			w.busy(0)
		}
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
	start, looked := time.Now(), w.e.looked.Load()
	t := tally{argument: f.bytes / (span.Hi - f.next)}
	if first+int(h.Count) == span.Hi {
		t.arguments = f.bytes
	} else {
		t.arguments = t.argument * int(h.Count)
	}
	f.bytes -= t.arguments
	next := first
	if j.forward != nil {
		next, items, err = w.forward(j, span, first, int(h.Count), items, &t)
	} else {
		var item link.Item
		for ; next < first+int(h.Count); next++ {
			if body, rest, ok := link.NextPlain(items); ok {
				items, item.Status, item.Body, item.Place = rest, link.OK, body, link.Place{}
			} else if items, err = item.Next(items, w.link.Results()); err != nil {
				break
			}
			w.result(j, span, next, &item, &t)
		}
	}
	f.next = next
	took := max(0, time.Since(start)-time.Duration(w.e.looked.Load()-looked))
	back := w.book(f, &t, spent, start, took)
	if err != nil {
		// What came before stands. The rest of the chunk is handled with the worker's end.
		w.count(j, t, spent, took)
		return violation("%w", err)
	}
	w.answeredUpTo(f, f.next)
	whole := f.next == span.Hi
	if whole {
		w.acct.Done(&f.way)
		w.unload(f)
		w.answered = true
		if f.endsGroup {
			w.groups--
		}
		w.flights = append(w.flights[:0], w.flights[1:]...)
	}
	w.busy(back)
	w.fruitful = true
	if j.Timeout > 0 || (len(w.flights) > 0 && w.flights[0].job.Timeout > 0) {
		w.progress.Store(link.Monotonic()) // a system call, which most calls can do without
	}
	w.count(j, t, spent, took)
	if len(items) >= 8 {
		return violation("%d bytes behind the results of chunk %d", len(items), h.Chunk)
	}
	return nil
}

// forward passes results on, those that are results or errors in runs. It returns how far it came.
func (w *conn) forward(j *Job, span sched.Span, first, count int, items []byte, t *tally) (next int, rest []byte, err error) {
	run, begin := w.items[:0], first
	pass := func() {
		if len(run) > 0 {
			j.forward.Forward(begin, run, w.proc.Worker())
			run = run[:0]
		}
	}
	for next = first; next < first+count; next++ {
		var item link.Item
		if body, behind, ok := link.NextPlain(items); ok {
			items, item.Body = behind, body
		} else if items, err = item.Next(items, w.link.Results()); err != nil {
			break
		}
		switch item.Status {
		case link.OK:
			t.values++
			t.bytes += int64(len(item.Body))
			t.largest = max(t.largest, int64(len(item.Body)))
		case link.Failed:
			t.failed++
		default:
			pass()
			begin = next + 1
			w.result(j, span, next, &item, t)
			continue
		}
		t.ran++
		t.ended++
		run = append(run, item)
	}
	pass()
	w.items = run
	return next, items, err
}

// tally counts what one Results frame held.
type tally struct {
	ran, values, ended, failed int
	arguments, argument        int // bytes of all, and of one
	bytes, largest             int64
}

// hand hands out a value that is in the arena, or kept, and tells the worker when its place is free again.
func (w *conn) hand(j *Job, i int, item *link.Item) error {
	switch {
	case j.keep != nil && item.Place.Len > 0:
		release := w.link.Hold(item.Place)
		err := j.keep.Keep(i, item.Body, release)
		if err != nil {
			release()
		}
		return err
	case j.keep != nil:
		return j.keep.Keep(i, bytes.Clone(item.Body), func() {})
	default:
		// Methods of the program's own may write to what they decode; here that must be their own panic.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer w.link.Release(item.Place)
		return j.work.Decode(i, item.Body)
	}
}

// result takes one result.
func (w *conn) result(j *Job, span sched.Span, i int, item *link.Item, t *tally) {
	var unread error
	status, body, index := item.Status, item.Body, uint32(i-span.Lo)
	if status == link.OK {
		t.ran++
		t.values++
		t.bytes += int64(len(body))
		t.largest = max(t.largest, int64(len(body)))
		if j.keep == nil && item.Place.Len == 0 {
			unread = j.work.Decode(i, body)
		} else {
			unread = w.hand(j, i, item)
		}
		if unread == nil {
			t.ended++
			return
		}
		t.ran-- // counted again below
	} else if item.Place.Len > 0 {
		defer w.link.Release(item.Place)
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
	(*w.shares)[j.Func.number][ledger.Result][ledger.Decode].Add(t.values, t.bytes, t.largest, decode)
	j.Func.cost.Observe(t.ran, run)
	w.e.counts.done.Add(int64(t.ended - t.failed))
	w.e.counts.failed.Add(int64(t.failed))
	if t.ended > 0 {
		j.work.Flushed()
		w.woke = w.e.settle(j, t.ended) || w.woke
	}
}

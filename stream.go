package brine

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/shm"
)

// Result is what Unordered yields: one task, as it ended.
type Result[In, Out any] struct {
	Index int // of the element in the sequence
	In    In
	Out   Out
	Err   error // a *TaskError, or why the sequence ends early; then Index is -1
}

// All runs a task for each element of seq and yields the results in the same order, each as soon as it and all before
// it are there. An error is that of its task; the others go on. When ctx ends, or the pool is closed, the last error
// that is yielded is ctx.Err() or ErrClosed.
//
// seq is read in a goroutine of its own, at most Options.InFlight elements ahead of the loop, so it may be endless.
// Breaking out of the loop ends the work: what runs is cancelled, and All returns when it has ended. A sequence that
// is itself blocked at that time is left at its next element. A panic of seq becomes one of the loop.
func All[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], seq iter.Seq[In]) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		s := startStream(ctx, p, f, seq, true)
		defer s.stop()
		for {
			r, ok := s.next()
			if !ok || !yield(r.Out, r.Err) || r.Index < 0 {
				return
			}
		}
	}
}

// Unordered is All with results in the order in which the tasks end, along with their elements and indices. Where All
// would yield an error that is no task's, so does Unordered, with index -1.
func Unordered[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], seq iter.Seq[In]) iter.Seq[Result[In, Out]] {
	return func(yield func(Result[In, Out]) bool) {
		s := startStream(ctx, p, f, seq, false)
		defer s.stop()
		for {
			r, ok := s.next()
			if !ok || !yield(r) || r.Index < 0 {
				return
			}
		}
	}
}

var errStopped = errors.New("brine: the loop over the results has ended")

// stream is the engine's work of an All or Unordered. Elements are kept from when they are pulled until their result
// is yielded: in a ring when results are yielded in order, in a map when a slow task may be overtaken by any number of
// others.
type stream[In, Out any] struct {
	ctx     context.Context
	cancel  context.CancelFunc
	pool    *pool
	job     *engine.Job
	plan    *plan[In, Out]
	ordered bool
	fed     chan struct{} // closed when the feeder has ended
	pulled  any           // what the sequence panicked with

	mu      sync.Mutex
	room    sync.Cond // the feeder waits for it
	ready   sync.Cond // the loop waits for it
	bound   int       // of elements that are kept
	ring    []element[In, Out]
	open    map[int]*element[In, Out]
	spare   []*element[In, Out] // of open
	finish  []int               // indices in the order in which they ended, when unordered
	tail    int                 // of finish
	yielded int                 // elements, the one that the loop's body has included
	freed   int                 // elements that the loop's body is done with
	pushed  int                 // elements; the index of the next
	over    bool                // no more elements come
	stopped bool                // the loop has ended
	err     error               // why the stream ends early
	abort   bool                // at once, without what is still in flight
	unwatch func() bool
}

type element[In, Out any] struct {
	Result[In, Out]
	ended bool
}

func startStream[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], seq iter.Seq[In], ordered bool) *stream[In, Out] {
	s := &stream[In, Out]{ordered: ordered, fed: make(chan struct{})}
	s.room.L, s.ready.L = &s.mu, &s.mu
	s.ctx, s.cancel = context.WithCancel(ctx) //nolint:gosec // stop calls it
	fail := func(err error) *stream[In, Out] {
		s.err, s.over = err, true
		close(s.fed)
		return s
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if seq == nil {
		return fail(errors.New("brine: nil sequence"))
	}
	j, pl, err := job(s.ctx, p, f, s) //nolint:contextcheck // made of ctx above
	if err != nil {
		return fail(err)
	}
	s.pool, s.plan = p.pool, pl
	if s.bound = p.opts.InFlight; ordered {
		s.ring = make([]element[In, Out], s.bound)
	} else {
		s.open = make(map[int]*element[In, Out])
	}
	if err := p.e.Submit(j, 0, true); err != nil {
		return fail(err)
	}
	s.job = j
	s.unwatch = context.AfterFunc(s.ctx, func() { //nolint:contextcheck // made of ctx above
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.stopped {
			s.err, s.abort = s.ctx.Err(), true
		}
		s.room.Signal()
		s.ready.Signal()
	})
	go s.feed(seq)
	return s
}

// feed pulls elements as long as there is room for them.
func (s *stream[In, Out]) feed(seq iter.Seq[In]) {
	defer close(s.fed)
	defer func() {
		v := recover()
		s.mu.Lock()
		s.pulled, s.over = v, true
		s.ready.Signal()
		s.mu.Unlock()
		s.pool.e.Finish(s.job)
	}()
	// Room is awaited before an element is pulled, so that at no time more than the ring holds are out of the sequence.
	if !s.await() {
		return
	}
	for in := range seq {
		if !s.push(in) || !s.await() {
			return
		}
	}
}

// await waits for room and returns false when no more elements are wanted.
func (s *stream[In, Out]) await() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && !s.stopped && s.pushed-s.freed >= s.bound {
		s.room.Wait()
	}
	return s.err == nil && !s.stopped
}

func (s *stream[In, Out]) push(in In) bool {
	s.mu.Lock()
	if s.err != nil || s.stopped {
		s.mu.Unlock()
		return false
	}
	i := s.pushed
	e := s.add(i)
	e.In, e.Index = in, i
	s.pushed++
	s.mu.Unlock()
	if err := s.pool.e.Extend(s.job, 1); err != nil {
		s.mu.Lock()
		s.pushed--
		s.remove(i)
		if s.err == nil {
			s.err = err
		}
		s.ready.Signal()
		s.mu.Unlock()
		return false
	}
	return true
}

// add, at and remove keep the elements. The caller holds mu, but for at in an ordered stream, where an element stays in
// its place and belongs to its task until that has ended.
func (s *stream[In, Out]) add(i int) *element[In, Out] {
	if s.ordered {
		return s.at(i)
	}
	var e *element[In, Out]
	if last := len(s.spare) - 1; last >= 0 {
		e, s.spare = s.spare[last], s.spare[:last]
	} else {
		e = new(element[In, Out])
	}
	s.open[i] = e
	return e
}

func (s *stream[In, Out]) at(i int) *element[In, Out] {
	if s.ordered {
		return &s.ring[i%len(s.ring)]
	}
	return s.open[i]
}

func (s *stream[In, Out]) remove(i int) {
	e := s.at(i)
	*e = element[In, Out]{}
	if !s.ordered {
		delete(s.open, i)
		s.spare = append(s.spare, e)
	}
}

// slot is at for the goroutine that drives the task's worker.
func (s *stream[In, Out]) slot(i int) *element[In, Out] {
	if s.ordered {
		return s.at(i)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(i)
}

// next returns the next result to yield, false at the end.
func (s *stream[In, Out]) next() (Result[In, Out], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed < s.yielded {
		s.freed = s.yielded
		s.room.Signal()
	}
	for {
		if !s.abort {
			if r, ok := s.take(); ok {
				return r, true
			}
		}
		drained := s.yielded == s.pushed
		switch {
		case s.abort, s.err != nil && drained:
			return Result[In, Out]{Index: -1, Err: s.err}, true
		case s.over && drained:
			if s.pulled != nil {
				panic(s.pulled)
			}
			return Result[In, Out]{}, false
		}
		s.ready.Wait()
	}
}

// take takes the next result out. The caller holds mu.
func (s *stream[In, Out]) take() (r Result[In, Out], ok bool) {
	i := s.yielded
	if s.ordered {
		if s.yielded == s.pushed || !s.at(i).ended {
			return r, false
		}
	} else {
		if s.tail == len(s.finish) {
			return r, false
		}
		i = s.finish[s.tail]
		s.tail++
		if s.tail == len(s.finish) {
			s.finish, s.tail = s.finish[:0], 0
		}
	}
	r = s.at(i).Result
	s.remove(i)
	s.yielded++
	return r, true
}

// stop ends the work and waits until nothing of it is left.
func (s *stream[In, Out]) stop() {
	s.mu.Lock()
	s.stopped = true
	s.room.Signal()
	s.mu.Unlock()
	defer s.cancel()
	if s.job == nil {
		return
	}
	s.unwatch()
	s.pool.e.Cancel(s.job, errStopped) // does nothing when all has ended
	select {
	case <-s.fed:
		<-s.job.Done()
	case <-time.After(s.pool.opts.Grace): // the sequence is blocked; its goroutine ends at its next element
	}
}

// The element stays where it is until the task has ended, and only this task's owner reads it.

func (s *stream[In, Out]) Estimate(i int) int { return s.plan.estimate(&s.slot(i).In) }

func (s *stream[In, Out]) Encode(dst []byte, i int, refs *shm.Refs) ([]byte, error) {
	return s.plan.encode(dst, &s.slot(i).In, refs)
}

func (s *stream[In, Out]) Decode(i int, b []byte) error {
	e := s.slot(i)
	if err := s.plan.decode(b, &e.Out); err != nil {
		return err
	}
	s.end(i, e)
	return nil
}

func (s *stream[In, Out]) Fail(i int, f *engine.Failure) {
	e := s.slot(i)
	var zero Out
	e.Out, e.Err = zero, taskError(s.plan.f.Name, i, f)
	s.end(i, e)
}

func (s *stream[In, Out]) end(i int, e *element[In, Out]) {
	s.mu.Lock()
	e.ended = true
	if !s.ordered {
		s.finish = append(s.finish, i)
	}
	s.mu.Unlock()
}

func (s *stream[In, Out]) Flushed() {
	s.mu.Lock()
	s.ready.Signal()
	s.mu.Unlock()
}

// Closing ends the sequence: what was pulled is still run and yielded, then the loop gets ErrClosed.
func (s *stream[In, Out]) Closing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.over {
		s.err = ErrClosed
	}
	s.room.Signal()
	s.ready.Signal()
}

package brine

import (
	"context"
	"sync"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/shm"
)

// Call runs one task and waits for it. Its error, when the task fails, is a *TaskError.
//
// When ctx ends, Call returns as soon as the task has: a task that waits does not run, one that runs is told by its
// context and ended by force after Options.Grace. Values of ctx do not cross.
func Call[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], in In) (Out, error) {
	c := &call[In, Out]{in: in}
	if err := ctx.Err(); err != nil {
		return c.out, err
	}
	j, pl, err := job(ctx, p, f, c)
	if err != nil {
		return c.out, err
	}
	c.plan = pl
	if err := p.e.Call(j); err != nil {
		return c.out, err
	}
	return c.out, c.err
}

// call is the engine's work of one task.
type call[In, Out any] struct {
	plan *plan[In, Out]
	in   In
	out  Out
	err  error
}

func (c *call[In, Out]) Estimate(int) int { return c.plan.estimate(&c.in) }
func (c *call[In, Out]) Encode(dst []byte, _ int, refs *shm.Refs) ([]byte, error) {
	return c.plan.encode(dst, &c.in, refs)
}
func (c *call[In, Out]) Decode(_ int, b []byte) error { return c.plan.decode(b, &c.out) }
func (c *call[In, Out]) Flushed()                     {}
func (c *call[In, Out]) Closing()                     {}

func (c *call[In, Out]) Fail(i int, f *engine.Failure) {
	var zero Out
	c.out, c.err = zero, taskError(c.plan.f.Name, i, f)
}

// Go runs one task in the background. The future has its result; a problem with the submission itself, such as a
// closed pool, is the future's error too.
func Go[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], in In) *Future[Out] {
	c := &call[In, Out]{in: in}
	if err := ctx.Err(); err != nil {
		return failed[Out](p, err)
	}
	j, pl, err := job(ctx, p, f, c)
	if err != nil {
		return failed[Out](p, err)
	}
	c.plan = pl
	if err := p.e.Submit(j, 1, false); err != nil {
		return failed[Out](p, err)
	}
	return &Future[Out]{pool: p.pool, done: j.Done(), result: func() (Out, error) { return c.out, c.err }}
}

// Map runs a task for each element of ins and returns their results in the same order. It waits for all of them, also
// when some fail: then the error is the *TaskError of the first index that failed, and the results of the others are
// there. When ctx ends, the error is ctx.Err(), and what had succeeded is there. The memory that Map needs beside ins
// and its result is bounded by what is in flight.
func Map[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], ins []In) ([]Out, error) {
	m := &mapping[In, Out]{ins: ins, first: -1}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j, pl, err := job(ctx, p, f, m)
	if err != nil {
		return nil, err
	}
	if m.plan = pl; len(ins) == 0 {
		return []Out{}, p.e.Err()
	}
	m.outs = make([]Out, len(ins))
	if err := p.e.Submit(j, len(ins), false); err != nil {
		return nil, err
	}
	<-j.Done()
	if m.first >= 0 && ctx.Err() != nil && m.cancelled {
		return m.outs, ctx.Err()
	}
	return m.outs, m.err
}

// mapping is the engine's work of a Map. Decode and Fail touch different elements, so only the error needs a lock.
type mapping[In, Out any] struct {
	plan *plan[In, Out]
	ins  []In
	outs []Out

	mu        sync.Mutex
	first     int // index of the first failed task, -1 for none
	err       error
	cancelled bool
}

func (m *mapping[In, Out]) Estimate(i int) int { return m.plan.estimate(&m.ins[i]) }
func (m *mapping[In, Out]) Encode(dst []byte, i int, refs *shm.Refs) ([]byte, error) {
	return m.plan.encode(dst, &m.ins[i], refs)
}

func (m *mapping[In, Out]) Decode(i int, b []byte) error {
	return m.plan.decode(b, &m.outs[i])
}
func (m *mapping[In, Out]) Flushed() {}
func (m *mapping[In, Out]) Closing() {}

func (m *mapping[In, Out]) Fail(i int, f *engine.Failure) {
	var zero Out
	m.outs[i] = zero
	m.fail(i, f)
}

// fail remembers the error of the first task that failed.
func (m *mapping[In, Out]) fail(i int, f *engine.Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancelled = m.cancelled || f.Cause == engine.Cancelled
	if m.first < 0 || i < m.first {
		m.first, m.err = i, taskError(m.plan.f.Name, i, f)
	}
}

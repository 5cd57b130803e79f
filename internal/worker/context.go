package worker

import (
	"context"
	"sync/atomic"
	"time"
)

// taskContext is the context that tasks are given. It has no values; it makes its channel when somebody asks for it,
// which few tasks do; and it is told when its deadline has passed, so that the task's stack can be taken before the
// task hears of it.
type taskContext struct {
	deadline time.Time // zero for none
	state    atomic.Int32
	inner    atomic.Pointer[cancellable]
}

// States of a taskContext: why it has ended.
const (
	running int32 = iota
	cancelled
	expired
)

type cancellable struct {
	context.Context
	cancel context.CancelFunc
}

// end ends the context, unless it has ended.
func (c *taskContext) end(why int32) {
	c.state.CompareAndSwap(running, why)
	if in := c.inner.Load(); in != nil {
		in.cancel()
	}
}

// Deadline returns when the task's time is up.
func (c *taskContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done is closed when the context has ended.
func (c *taskContext) Done() <-chan struct{} {
	in := c.inner.Load()
	if in == nil {
		ctx, cancel := context.WithCancel(context.Background())
		in = &cancellable{ctx, cancel}
		if !c.inner.CompareAndSwap(nil, in) {
			cancel()
			in = c.inner.Load()
		}
		// The state is set before inner is looked at, and here the other way round: one of the two sees the other.
		if c.state.Load() != running {
			in.cancel()
		}
	}
	return in.Done()
}

// Err returns why the context has ended.
func (c *taskContext) Err() error {
	switch c.state.Load() {
	case cancelled:
		return context.Canceled
	case expired:
		return context.DeadlineExceeded
	}
	return nil
}

// Value returns nil: values don't cross.
func (c *taskContext) Value(any) any { return nil }

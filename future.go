package brine

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Future is the result of a task that runs in the background. Its methods are safe for concurrent use.
type Future[Out any] struct {
	pool   *pool
	done   <-chan struct{}
	result func() (Out, error)
}

// closedChannel is the done channel of futures that failed before they began.
var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func failed[Out, S any](p *Pool[S], err error) *Future[Out] {
	f := &Future[Out]{done: closedChannel, result: func() (out Out, _ error) { return out, err }}
	if p != nil {
		f.pool = p.pool
	}
	return f
}

// Wait returns the task's result, or ctx.Err() when ctx ends first; then the task goes on, for the context that Go was
// given is the task's.
func (f *Future[Out]) Wait(ctx context.Context) (Out, error) {
	select {
	case <-f.done:
		return f.result()
	default:
	}
	select {
	case <-f.done:
		return f.result()
	case <-ctx.Done():
		var zero Out
		return zero, ctx.Err()
	}
}

// Done is closed when the task has ended.
func (f *Future[Out]) Done() <-chan struct{} { return f.done }

// Then has callback called with the task's result, in a goroutine of its own, once the task has ended, or now if it
// has. A future may have several callbacks; they run in no particular order. Close waits for them. A callback that
// panics harms nothing else: the panic is logged, with its stack, by the pool's logger.
func (f *Future[Out]) Then(callback func(Out, error)) {
	if callback == nil {
		panic("brine: Then of a nil callback")
	}
	p := f.pool
	if p != nil {
		p.mu.Lock()
		tracked := !p.finished
		if tracked {
			p.callbacks.Add(1)
		}
		p.mu.Unlock()
		if !tracked {
			p = nil
		}
	}
	go func() {
		if p != nil {
			defer p.callbacks.Done()
		}
		<-f.done
		defer func() {
			if v := recover(); v != nil && f.pool != nil {
				f.pool.opts.Logger.Error("brine: a callback panicked", "kind", f.pool.kind, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		callback(f.result())
	}()
}

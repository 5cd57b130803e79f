package brine

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/brinepool/brine/internal/engine"
	"github.com/brinepool/brine/internal/shm"
)

// Each runs a task for each element of ins and hands each result to use, with the index of its element, as the tasks
// end. It is Map for results that are large and not kept: where they came in shared memory, the strings, byte slices
// and slices of numbers in out are read in place, without a copy. (Slices whose elements are not aligned there, and
// those that hold bools, are copies.) Such an out is valid until use returns, and read-only: a write to it panics. What
// is to be kept is to be copied; results of Call, Go, Map, All and Unordered are copies already, their receiver's to keep
// and to change.
//
// use is called by the goroutine that called Each, one result at a time; it may use the pool, but not close it. When it
// returns an error, tasks that have not begun are not run, and Each returns the error once the others have ended. A task
// that fails has no result; the error is then, as that of Map, the *TaskError of the first index that failed. When ctx
// ends before all tasks have, it is ctx.Err(), and ErrClosed when the pool is closed.
//
// Tasks are begun as results are used: no more than Options.InFlight results wait for use, nor more than some 32 MB of
// them for each worker, or two results where those are larger, as far as the size of those before tells.
func Each[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], ins []In, use func(i int, out Out) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	taskCtx, cancel := ctx, func() {}
	if len(ins) > 1 { // or else there is nothing to cancel when use has returned
		taskCtx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	m := &visit[In, Out]{mapping: mapping[In, Out]{ins: ins, first: -1}, use: use, cancel: cancel}
	m.come.L = &m.mu
	j, pl, err := job(taskCtx, p, f, m)
	if err != nil {
		return err
	}
	m.plan, m.job, m.e = pl, j, p.e
	switch len(ins) {
	case 0:
		return p.e.Err()
	case 1:
		m.submitted, m.whole = 1, true
		err = p.e.Call(j) // the calling goroutine drives the worker itself
	default:
		m.workers, m.most = p.opts.Workers, p.opts.InFlight
		m.submitted = m.window()
		err = p.e.Submit(j, m.submitted, true)
	}
	if err != nil {
		return err
	}
	err = m.run()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil && (m.cancelled || m.refused != nil):
		return ctx.Err()
	case m.refused != nil:
		return m.refused
	}
	return m.err
}

// visit is the engine's work of an Each.
type visit[In, Out any] struct {
	mapping[In, Out]
	use    func(int, Out) error
	cancel func() // the job
	job    *engine.Job
	e      *engine.Engine

	workers, most int
	submitted     int   // tasks
	whole         bool  // no more will be submitted
	refused       error // why not all of them were

	// Guarded by mapping.mu.
	come  sync.Cond
	found []arrival
	ended int   // tasks
	sized int   // results
	bytes int64 // of them
}

const (
	eachFirst  = 4        // tasks for each worker before anything is known of their results
	eachMemory = 32 << 20 // bytes of results that wait for use, for each worker
)

// window returns how many tasks may be ahead of the results that were used.
func (v *visit[In, Out]) window() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := eachFirst * v.workers
	if v.sized > 0 {
		n = int(min(int64(v.most), eachMemory*int64(v.workers)*int64(v.sized)/max(1, v.bytes)))
	}
	return min(max(n, 2*v.workers), len(v.ins), max(1, v.most))
}

// submit submits what there is room for after used results were used, or nothing more if stop.
func (v *visit[In, Out]) submit(used int, stop bool) {
	if v.whole {
		return
	}
	window := v.window()
	more := min(len(v.ins), used+window) - v.submitted
	switch {
	case stop:
		v.whole = true
	case v.submitted+more == len(v.ins) || more >= (window+3)/4:
		if more > 0 {
			if v.refused = v.e.Extend(v.job, more); v.refused == nil {
				v.submitted += more
			}
		}
		v.whole = v.refused != nil || v.submitted == len(v.ins)
	}
	if v.whole {
		v.e.Finish(v.job)
	}
}

// arrival is an encoded result in its place.
type arrival struct {
	index   int
	b       []byte
	release func()
}

// Keep takes a result for the goroutine that called Each.
func (v *visit[In, Out]) Keep(i int, b []byte, release func()) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found = append(v.found, arrival{i, b, release})
	v.ended++
	v.sized++
	v.bytes += int64(len(b))
	v.come.Signal()
	return nil
}

func (v *visit[In, Out]) Fail(i int, f *engine.Failure) {
	v.fail(i, f)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended++
	v.come.Signal()
}

// run hands out results until all tasks have ended. The first error of use, and a panic of it, are the last that is
// handed out; results that come later are let go of.
func (v *visit[In, Out]) run() (err error) {
	over := false
	defer func() {
		if over {
			return
		}
		v.cancel()
		v.submit(0, true)
		for a, ok := v.next(); ok; a, ok = v.next() {
			a.release()
		}
	}()
	for used := 0; ; {
		v.submit(used, false)
		a, ok := v.next()
		if !ok && v.whole {
			break
		}
		if ok {
			if err := v.hand(a); err != nil {
				return err
			}
		}
		used = v.done()
	}
	over = true
	return nil
}

// done returns how many tasks have ended and have no result that waits.
func (v *visit[In, Out]) done() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended - len(v.found)
}

// next waits for a result, and returns false when no more come of what was submitted.
func (v *visit[In, Out]) next() (a arrival, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.found) == 0 {
		if v.ended == v.submitted {
			return a, false
		}
		v.come.Wait()
	}
	a = v.found[0]
	v.found = v.found[1:]
	return a, true
}

// hand decodes one result in place, has it used and gives its place back.
func (v *visit[In, Out]) hand(a arrival) error {
	defer a.release()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if writtenTo(r, a.b) {
				r = fmt.Sprintf("brine: the callback of Each wrote to result %d of %s, which is read-only: copy what is to be changed", a.index, v.plan.f.Name)
			}
			panic(r)
		}
	}()
	var out Out
	decode := v.plan.out.lend
	if decode == nil {
		decode = v.plan.out.decode
	}
	if err := decode(a.b, &out, nil); err != nil {
		v.fail(a.index, &engine.Failure{Cause: engine.Unread, Attempt: 1, Err: err})
		return nil
	}
	return v.use(a.index, out)
}

// writtenTo says whether a panic is that of a write to b.
func writtenTo(r any, b []byte) bool {
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	return ok && shm.Contains(b, fault.Addr())
}

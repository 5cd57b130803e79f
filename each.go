package brine

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"

	"github.com/brinepool/brine/internal/engine"
)

// Each runs a task for each element of ins and hands each result to use, with the index of its element, as the tasks
// end. It is Map for results that are large and not kept: where they came in shared memory, the strings, byte slices
// and slices of numbers in out are read in place, without a copy. (Slices whose elements are not aligned there, and
// those that hold bools, are copies.) Such an out is valid until use returns, and read-only: a write to it panics. What
// is to be kept is to be copied; results of Call, Go, Map, All and Unordered are copies already, their receiver's to keep
// and to change.
//
// use is called by the goroutine that called Each, one result at a time; it may use the pool. When it returns an error,
// tasks that have not begun are not run, and Each returns the error once the others have ended. A task that fails has
// no result; the error is then, as that of Map, the *TaskError of the first index that failed. When ctx ends, it is
// ctx.Err().
func Each[S, In, Out any](ctx context.Context, p *Pool[S], f Func[S, In, Out], ins []In, use func(i int, out Out) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	taskCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &visit[In, Out]{mapping: mapping[In, Out]{ins: ins, first: -1}}
	m.come.L = &m.mu
	j, pl, err := job(taskCtx, p, f, m)
	if err != nil {
		return err
	}
	m.plan = pl
	switch len(ins) {
	case 0:
		return p.e.Err()
	case 1:
		err = p.e.Call(j) // the calling goroutine drives the worker itself
	default:
		err = p.e.Submit(j, len(ins), false)
	}
	if err != nil {
		return err
	}
	err = m.visit(use, cancel)
	switch {
	case err != nil:
		return err
	case m.cancelled && ctx.Err() != nil:
		return ctx.Err()
	}
	return m.err
}

// visit is the engine's work of an Each.
type visit[In, Out any] struct {
	mapping[In, Out]

	// Guarded by mapping.mu.
	come  sync.Cond
	found []arrival
	ended int // tasks
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

// visit hands out results until all tasks have ended.
func (v *visit[In, Out]) visit(use func(int, Out) error, cancel func()) error {
	var first error
	defer func() { // use has panicked: what comes from now on is let go of
		if first == nil && v.left() {
			cancel()
			for a, ok := v.next(); ok; a, ok = v.next() {
				a.release()
			}
		}
	}()
	for a, ok := v.next(); ok; a, ok = v.next() {
		if first != nil {
			a.release()
			continue
		}
		if err := v.hand(a, use); err != nil {
			first = err
			cancel()
		}
	}
	return first
}

// left says whether results are still to come.
func (v *visit[In, Out]) left() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended < len(v.ins) || len(v.found) > 0
}

// next waits for a result, and returns false when there are no more.
func (v *visit[In, Out]) next() (a arrival, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.found) == 0 {
		if v.ended == len(v.ins) {
			return a, false
		}
		v.come.Wait()
	}
	a = v.found[0]
	v.found = v.found[1:]
	return a, true
}

// hand decodes one result in place, has it used and gives its place back.
func (v *visit[In, Out]) hand(a arrival, use func(int, Out) error) error {
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
	return use(a.index, out)
}

// writtenTo says whether a panic is that of a write to b.
func writtenTo(r any, b []byte) bool {
	fault, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok || len(b) == 0 {
		return false
	}
	at := fault.Addr() - uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at < uintptr(len(b))
}
